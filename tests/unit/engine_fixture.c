#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"

static bool post(void *ctx, uint32_t shard, const void *mail, size_t len)
{
    struct gate *g = ctx;
    struct gate_mail *m;

    if (g->mail_count >= g->mails_max)
        return false;
    PQB_ASSERT(len <= PQB_MAIL_MAX && shard < g->config.shards);
    m = &g->mails[g->mail_count++];
    m->shard = shard;
    m->len = len;
    memcpy(m->data, mail, len);
    return true;
}

static bool may_login(void *ctx, const struct pqb_credentials *c, struct pqb_grant *out)
{
    struct gate *g = ctx;

    *out = (struct pqb_grant){.expires_ms = g->expires_ms};
    memset(g->key_seen, 0, sizeof(g->key_seen));
    if (c->device_key) {
        memcpy(g->key_seen, c->device_key, sizeof(g->key_seen));
        pqb_id_make(c->device_key, PQB_KEY_LEN, out->key_id);
    }
    return !g->is_login_refused;
}

static bool may_stay(void *ctx, const struct pqb_text *user, const struct pqb_text *device,
                     const struct pqb_grant *grant)
{
    const struct gate *g = ctx;

    PQB_ASSERT(device->len > 0 && grant->expires_ms == g->expires_ms);
    if (!g->revoked_user)
        return true;
    return g->revoked_user[0] && (user->len != strlen(g->revoked_user) ||
                                  memcmp(user->data, g->revoked_user, user->len) != 0);
}

static pqb_wall_ms wall(void *ctx)
{
    const struct gate *g = ctx;

    return g->store.wall;
}

void gate_init(struct gate *g, uint32_t shards)
{
    memset(g, 0, sizeof(*g));
    g->mails_max = GATE_MAILS_MAX;
    g->expires_ms = UINT64_MAX - 1;
    fixture_init(&g->store);
    g->store.config.shards = shards;
    g->store.config.requests_max = 1024;
    pqb_engine_config_default(&g->config);
    g->config.shards = shards;
    g->sent = calloc(GATE_SENT_MAX, sizeof(*g->sent));
    PQB_ASSERT(g->sent && pqb_unpacker_create(&g->unpacker) == PQB_OK);
}

void gate_protect(struct gate *g)
{
    static const uint8_t present[PQB_KEY_LEN] = {0, 1}, before[PQB_KEY_LEN] = {0, 2};

    PQB_ASSERT(pqb_aead_init() == PQB_OK);
    pqb_server_keys_add(&g->keys, present);
    pqb_server_keys_add(&g->keys, before);
    g->keys.ciphers = pqb_aead_ciphers();
    g->keys.tickets = (struct pqb_ticket_keys){.count = 1, .at = {{.id = 7, .key = {1, 2, 3}}}};
    g->config.keys = &g->keys;
}

void gate_reconfigure(struct gate *g)
{
    for (uint32_t i = 0; i < g->config.shards; i++) {
        struct pqb_engine_config config = g->config;

        config.shard = i;
        pqb_engine_reconfigure(g->engines[i], &config);
    }
}

static void open_engines(struct gate *g)
{
    const struct pqb_engine_env env = {
        .ctx = g, .post = post, .may_login = may_login, .may_stay = may_stay, .wall = wall};

    for (uint32_t i = 0; i < g->config.shards; i++) {
        struct pqb_engine_config config = g->config;
        uint8_t seed[PQB_ENGINE_SEED_LEN] = {(uint8_t)(i + 1), 42};

        config.shard = i;
        PQB_ASSERT(pqb_engine_create(&g->engines[i], &config, &env, g->store.s, g->counters[i],
                                     seed, g->store.now) == PQB_OK);
    }
}

int gate_try_engine(struct gate *g)
{
    const struct pqb_engine_env env = {
        .ctx = g, .post = post, .may_login = may_login, .may_stay = may_stay, .wall = wall};
    static uint64_t counters[PQB_COUNTER_COUNT];
    const uint8_t seed[PQB_ENGINE_SEED_LEN] = {9};
    struct pqb_engine *e = NULL;
    const int err = pqb_engine_create(&e, &g->config, &env, g->store.s, counters, seed, 1);

    pqb_engine_destroy(e);
    return err;
}

static void close_engines(struct gate *g)
{
    for (uint32_t i = 0; i < g->config.shards; i++) {
        pqb_engine_destroy(g->engines[i]);
        g->engines[i] = NULL;
    }
    g->mail_count = 0;
}

void gate_open(struct gate *g)
{
    fixture_open(&g->store);
    open_engines(g);
}

void gate_fini(struct gate *g)
{
    for (uint32_t i = 0; i < g->config.shards; i++)
        pqb_engine_validate(g->engines[i]);
    close_engines(g);
    fixture_fini(&g->store);
    pqb_unpacker_destroy(g->unpacker);
    free(g->sent);
}

void gate_crash(struct gate *g)
{
    close_engines(g);
    fixture_reopen(&g->store);
    open_engines(g);
}

uint64_t gate_count(const struct gate *g, enum pqb_counter counter)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < g->config.shards; i++)
        sum += g->counters[i][counter];
    return sum;
}

static void deliver_mail(struct gate *g, uint32_t shard)
{
    size_t kept = 0;

    for (size_t i = 0; i < g->mail_count; i++) {
        struct gate_mail *m = &g->mails[i];

        if (m->shard == shard)
            pqb_engine_on_mail(g->engines[shard], m->data, m->len, g->store.now);
        else
            g->mails[kept++] = *m;
    }
    g->mail_count = kept;
}

static size_t turn(struct gate *g, uint32_t shard)
{
    struct pqb_engine *e = g->engines[shard];
    const size_t before = g->sent_count;

    const int err = pqb_engine_begin(e, g->store.now);

    PQB_ASSERT(err == PQB_OK || g->may_fail);
    if (err != PQB_OK)
        return 0; // as a shard does
    deliver_mail(g, shard);
    pqb_engine_on_timeout(e, g->store.now);
    while (pqb_engine_poll_transmit(e, &g->sent[g->sent_count], g->store.now)) {
        g->sent_count++;
        PQB_ASSERT(g->sent_count < GATE_SENT_MAX);
    }
    pqb_engine_handshake(e, g->store.now);
    pqb_engine_end(e);
    pqb_engine_validate(e);
    return g->sent_count - before;
}

void gate_turn(struct gate *g)
{
    for (uint32_t i = 0; i < g->config.shards; i++)
        (void)turn(g, i);
}

void gate_settle(struct gate *g)
{
    for (int i = 0; i < 6; i++) {
        gate_turn(g);
        if (!g->is_store_stopped)
            fixture_settle(&g->store);
    }
    gate_turn(g);
}

static pqb_tstamp next_deadline(const struct gate *g)
{
    pqb_tstamp at = PQB_NEVER;

    for (uint32_t i = 0; i < g->config.shards; i++)
        at = PQB_MIN(at, pqb_engine_next_deadline(g->engines[i]));
    return at;
}

void gate_pass(struct gate *g, pqb_duration duration)
{
    const pqb_tstamp end = g->store.now + duration;

    while (next_deadline(g) <= end) {
        g->store.now = PQB_MAX(g->store.now, next_deadline(g));
        gate_settle(g);
    }
    g->store.now = PQB_MAX(g->store.now, end);
    gate_settle(g);
}

void gate_clear(struct gate *g)
{
    g->sent_count = 0;
}

// ------------------------------------------------------------------------------------ peers

static struct peer_identity *make_identity(struct gate *g)
{
    struct peer_identity *id = &g->identities[g->identity_count++];
    const uint8_t seed[PQB_SECRET_SEED_LEN] = {(uint8_t)g->identity_count};

    PQB_ASSERT(g->identity_count <= GATE_PEERS_MAX);
    memcpy(id->server_key, g->keys.at[0].pair.public, PQB_KEY_LEN);
    id->device.secret[1] = (uint8_t)(10 + g->identity_count);
    pqb_noise_keypair_complete(&id->device);
    pqb_secret_rng_init(&id->rng, seed);
    id->ciphers = pqb_aead_ciphers();
    return id;
}

struct peer peer_make(struct gate *g, const char *user, const char *device, uint16_t port)
{
    return (struct peer){.g = g,
                         .identity = g->config.keys ? make_identity(g) : NULL,
                         .addr = {.ip = {127, 0, 0, 1}, .port = port, .family = 4},
                         .user = user,
                         .device = device,
                         .init_id = port * UINT64_C(1000)};
}

void gate_deliver(struct gate *g, const struct pqb_addr *from, const uint8_t *data, size_t len)
{
    const int shard = pqb_engine_shard_of(data, len, g->config.shards);

    pqb_engine_on_datagram(g->engines[shard < 0 ? 0 : shard], from, data, len, g->store.now);
}

static struct pqb_init init_of(const struct peer *p, const uint8_t *cookie)
{
    return (struct pqb_init){
        .init_id = p->init_id,
        .cookie = cookie,
        .cookie_len = cookie ? PQB_COOKIE_LEN : 0,
        .user = {p->user, strlen(p->user)},
        .device = {p->device, strlen(p->device)},
        .token = {"", 0},
        .epoch = p->epoch,
        .low = p->low,
        .cursor = p->cursor,
    };
}

void peer_sign_hello(const struct peer *p, uint8_t *hello)
{
    uint8_t key[PQB_KEY_LEN];

    pqb_mac1_key(p->identity->server_key, key);
    pqb_mac1_make(key, hello, PQB_HELLO_MAC1_AT, hello + PQB_HELLO_MAC1_AT);
}

static void make_hello(struct peer *p, const struct pqb_init *init)
{
    struct peer_identity *id = p->identity;
    struct pqb_hello hello = {.type = id->is_resuming ? PQB_DATAGRAM_RESUME : PQB_DATAGRAM_INIT,
                              .ciphers = id->ciphers,
                              .init_id = p->init_id,
                              .ticket = id->is_resuming ? id->ticket : NULL};
    uint8_t prologue[PQB_PROLOGUE_MAX], payload[PQB_INIT_LEN], ephemeral[PQB_KEY_LEN];
    uint8_t *message = pqb_hello_begin(&hello, id->hello);
    const size_t prologue_len = pqb_prologue_make(id->hello, hello.ticket, prologue);
    const size_t len =
        hello.message_len - (id->is_resuming ? PQB_NOISE_NNPSK0_OVERHEAD : PQB_NOISE_IK_OVERHEAD);

    if (id->is_resuming)
        pqb_noise_init_nnpsk0(&id->noise, true, id->psk, prologue, prologue_len);
    else
        pqb_noise_init_ik(&id->noise, true, &id->device, id->server_key, prologue, prologue_len);
    pqb_hello_payload_encode(hello.type, init, payload, len);
    pqb_secret_rng_fill(&id->rng, ephemeral, sizeof(ephemeral));
    PQB_ASSERT(pqb_noise_write(&id->noise, ephemeral, payload, len, message) == hello.message_len);
    id->hello_id = p->init_id;
}

const uint8_t *peer_make_hello(struct peer *p, const uint8_t *cookie)
{
    const struct pqb_init init = init_of(p, cookie);

    if (p->identity->hello_id != p->init_id)
        make_hello(p, &init);
    if (cookie)
        pqb_hello_put_cookie(p->identity->hello, cookie);
    peer_sign_hello(p, p->identity->hello);
    return p->identity->hello;
}

void peer_send_init(struct peer *p, const uint8_t *cookie)
{
    const struct pqb_init init = init_of(p, cookie);
    uint8_t data[PQB_DATAGRAM_MAX];

    if (p->identity)
        gate_deliver(p->g, &p->addr, peer_make_hello(p, cookie), PQB_INIT_LEN);
    else
        gate_deliver(p->g, &p->addr, data, pqb_init_encode(&init, data));
}

// A copy reads it: whatever it is, the true one can still be read.
static bool read_sealed_resp(struct peer *p, const struct pqb_transmit *t)
{
    struct peer_identity *id = p->identity;
    uint8_t payload[PQB_DATAGRAM_MAX];
    struct pqb_noise noise = id->noise;
    const uint8_t *message;
    size_t message_len, len;
    uint64_t init_id;

    if (id->hello_id != p->init_id ||
        pqb_answer_decode(t->data, t->len, &init_id, &message, &message_len) != PQB_VERDICT_OK ||
        init_id != p->init_id || !pqb_noise_read(&noise, message, message_len, payload, &len) ||
        pqb_answer_payload_decode(p->g->unpacker, payload, len, &p->resp) != PQB_VERDICT_OK)
        return false;
    p->resp.init_id = init_id;
    id->cipher = (enum pqb_cipher)p->resp.cipher;
    pqb_noise_finish(&noise, id->send, id->recv);
    return true;
}

static bool read_resp(struct peer *p, const struct pqb_transmit *t)
{
    return p->identity
               ? read_sealed_resp(p, t)
               : pqb_resp_decode(p->g->unpacker, t->data, t->len, &p->resp) == PQB_VERDICT_OK;
}

bool peer_take_resp(struct peer *p)
{
    for (size_t i = p->g->sent_count; i > 0; i--) {
        const struct pqb_transmit *t = &p->g->sent[i - 1];

        if (pqb_addr_is_equal(&t->to, &p->addr) && read_resp(p, t) &&
            p->resp.init_id == p->init_id) {
            p->cid = p->resp.cid;
            p->pn = 0;
            p->pn_seen = 0;
            return true;
        }
    }
    return false;
}

void peer_login(struct peer *p)
{
    p->init_id++;
    peer_send_init(p, NULL);
    gate_settle(p->g);
    PQB_ASSERT(peer_take_resp(p));
    peer_send_one(p, (struct pqb_frame){.type = PQB_FRAME_PING, .ping = {.nonce = 7}});
    gate_settle(p->g);
    PQB_ASSERT(peer_got_count(p, PQB_FRAME_PONG) > 0);
}

void peer_get_epoch(struct peer *p, uint8_t nonce)
{
    struct pqb_frame f = {.type = PQB_FRAME_EPOCH_R};

    f.epoch_r.nonce[0] = nonce;
    peer_send_one(p, f);
    gate_settle(p->g);
    PQB_ASSERT(peer_got(p, PQB_FRAME_EPOCH_A, 0, &f));
    p->epoch = f.epoch_a.epoch;
    p->low = 1;
}

struct peer peer_ready(struct gate *g, const char *user, const char *device, uint16_t port)
{
    struct peer p = peer_make(g, user, device, port);

    peer_login(&p);
    peer_get_epoch(&p, 1);
    return p;
}

void gate_open_with_two(struct gate *g, struct peer *alice, struct peer *bob)
{
    gate_open(g);
    *alice = peer_ready(g, "alice", "phone", 1);
    *bob = peer_ready(g, "bob", "phone", 2);
    peer_ack_all(bob);
    gate_clear(g);
}

void peer_seal(const struct peer *p, uint8_t *datagram, size_t *len)
{
    const struct pqb_aead_with with = {
        .number = p->pn, .ad = datagram, .ad_len = PQB_DATA_CLEAR_LEN};
    uint8_t *sealed = datagram + PQB_DATA_CLEAR_LEN;

    if (!p->identity || p->identity->cipher == PQB_CIPHER_NONE)
        return;
    PQB_ASSERT(*len + PQB_TAG_LEN <= PQB_DATAGRAM_MAX);
    pqb_aead_seal(p->identity->cipher, p->identity->send, &with, sealed, *len - PQB_DATA_CLEAR_LEN,
                  sealed);
    *len += PQB_TAG_LEN;
}

size_t peer_make_data(struct peer *p, const struct pqb_frame *frames, size_t count, uint8_t *out)
{
    const struct pqb_data header = {.cid = p->cid, .pn = ++p->pn, .echo_pn = (uint32_t)p->pn_seen};
    const size_t room = PQB_DATAGRAM_MAX - (p->identity ? PQB_TAG_LEN : 0);
    size_t len = PQB_DATA_HEADER_LEN;

    pqb_data_header_encode(&header, out);
    for (size_t i = 0; i < count; i++) {
        const size_t written = pqb_frame_encode(&frames[i], out + len, room - len);

        PQB_ASSERT(written > 0);
        len += written;
    }
    peer_seal(p, out, &len);
    return len;
}

void peer_send(struct peer *p, const struct pqb_frame *frames, size_t count)
{
    uint8_t data[PQB_DATAGRAM_MAX];

    gate_deliver(p->g, &p->addr, data, peer_make_data(p, frames, count, data));
}

void peer_send_one(struct peer *p, struct pqb_frame frame)
{
    peer_send(p, &frame, 1);
}

void peer_msg(struct peer *p, uint64_t seq, uint64_t after, const char *to, const char *body)
{
    struct pqb_frame f = {.type = PQB_FRAME_MSG_R};

    f.msg_r = (struct pqb_frame_msg_r){.seq = seq,
                                       .low = p->low,
                                       .after = after,
                                       .to = {to, strlen(to)},
                                       .body = {(const uint8_t *)body, strlen(body)}};
    peer_send_one(p, f);
}

void peer_ack(struct peer *p, uint64_t cursor)
{
    p->cursor = cursor;
    peer_send_one(p, (struct pqb_frame){.type = PQB_FRAME_ACK_R, .ack_r = {.cursor = cursor}});
}

// What the engine sent on the peer's connection id, without its seal, borrowing from `plain`.
static bool open_data(const struct peer *p, const struct pqb_transmit *t, uint8_t *plain,
                      struct pqb_data *d)
{
    const struct peer_identity *id = p->identity;

    if (pqb_data_decode(t->data, t->len, d) != PQB_VERDICT_OK || d->cid != p->cid)
        return false;
    if (!id || id->cipher == PQB_CIPHER_NONE)
        return true;
    const struct pqb_aead_with with = {
        .number = d->pn, .ad = t->data, .ad_len = PQB_DATA_CLEAR_LEN};
    memcpy(plain, t->data, PQB_DATA_CLEAR_LEN);
    return pqb_aead_open(id->cipher, id->recv, &with, t->data + PQB_DATA_CLEAR_LEN,
                         t->len - PQB_DATA_CLEAR_LEN, plain + PQB_DATA_CLEAR_LEN) &&
           pqb_data_decode(plain, t->len - PQB_TAG_LEN, d) == PQB_VERDICT_OK;
}

// Counts frames of a type, and fills `out` with the nth.
static unsigned scan(const struct peer *p, enum pqb_frame_type type, unsigned nth,
                     struct pqb_frame *out, bool *is_found)
{
    static uint8_t found[PQB_DATAGRAM_MAX]; // what `out` borrows from
    unsigned count = 0;

    for (size_t i = 0; i < p->g->sent_count; i++) {
        const struct pqb_transmit *t = &p->g->sent[i];
        uint8_t plain[PQB_DATAGRAM_MAX];
        struct pqb_data d;
        struct pqb_bytes content;
        enum pqb_verdict verdict;
        struct pqb_frame f;
        const uint8_t *at;
        uint8_t code;

        if (!open_data(p, t, plain, &d))
            continue;
        at = d.frames;
        while (pqb_frame_next(&at, d.frames + d.frames_len, &code, &content, &verdict)) {
            if (code != type || count++ != nth || !out)
                continue;
            if (p->identity)
                content.data = memcpy(found, content.data, content.len);
            PQB_ASSERT(pqb_frame_decode(p->g->unpacker, code, content, &f) == PQB_VERDICT_OK);
            *out = f;
            *is_found = true;
        }
    }
    return count;
}

bool peer_got(const struct peer *p, enum pqb_frame_type type, unsigned nth, struct pqb_frame *out)
{
    bool is_found = false;

    (void)scan(p, type, nth, out, &is_found);
    return is_found;
}

unsigned peer_got_count(const struct peer *p, enum pqb_frame_type type)
{
    return scan(p, type, 0, NULL, NULL);
}

bool peer_take_ticket(struct peer *p)
{
    const unsigned count = peer_got_count(p, PQB_FRAME_TICKET);
    struct pqb_frame f;

    if (count == 0 || !peer_got(p, PQB_FRAME_TICKET, count - 1, &f))
        return false;
    memcpy(p->identity->ticket, f.ticket.ticket, PQB_TICKET_LEN);
    memcpy(p->identity->psk, f.ticket.psk, PQB_KEY_LEN);
    p->identity->is_resuming = true;
    return true;
}

unsigned peer_datagrams(const struct peer *p)
{
    unsigned count = 0;

    for (size_t i = 0; i < p->g->sent_count; i++)
        count += pqb_addr_is_equal(&p->g->sent[i].to, &p->addr);
    return count;
}

void peer_ack_all(struct peer *p)
{
    struct pqb_frame f;
    uint64_t cursor = p->cursor;

    for (unsigned i = 0; peer_got(p, PQB_FRAME_ACK_A, i, &f); i++)
        cursor = PQB_MAX(cursor, f.ack_a.cursor);
    for (unsigned i = 0; peer_got(p, PQB_FRAME_GAP_N, i, &f); i++)
        cursor = PQB_MAX(cursor, f.gap_n.to);
    for (unsigned i = 0; peer_got(p, PQB_FRAME_MSG_N, i, &f); i++)
        cursor = PQB_MAX(cursor, f.msg_n.iseq);
    peer_ack(p, cursor);
    gate_settle(p->g);
}

void peer_send_many(struct peer *p, uint64_t first, uint64_t last, const char *to)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        char body[32];

        (void)snprintf(body, sizeof(body), "message %d", (int)seq);
        p->low = seq;
        peer_msg(p, seq, 0, to, body);
        if (seq % 32 == 0)
            gate_settle(p->g);
    }
    gate_settle(p->g);
}

static struct gate the_gate; // large; one test at a time

int gate_begin(void **state)
{
    gate_init(&the_gate, 1);
    *state = &the_gate;
    return 0;
}

int gate_begin_two_shards(void **state)
{
    gate_init(&the_gate, 2);
    *state = &the_gate;
    return 0;
}

int gate_begin_protected(void **state)
{
    (void)gate_begin(state);
    gate_protect(&the_gate);
    return 0;
}

int gate_begin_protected_two_shards(void **state)
{
    (void)gate_begin_two_shards(state);
    gate_protect(&the_gate);
    return 0;
}

int gate_end(void **state)
{
    gate_fini(*state);
    return 0;
}
