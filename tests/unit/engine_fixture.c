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
    const struct gate *g = ctx;

    (void)c;
    *out = (struct pqb_grant){.expires_ms = UINT64_MAX - 1};
    return !g->is_login_refused;
}

static bool may_stay(void *ctx, const struct pqb_text *user, const struct pqb_text *device,
                     const struct pqb_grant *grant)
{
    const struct gate *g = ctx;

    PQB_ASSERT(device->len > 0 && grant->expires_ms == UINT64_MAX - 1);
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
    *g = (struct gate){.mails_max = GATE_MAILS_MAX};
    fixture_init(&g->store);
    g->store.config.shards = shards;
    g->store.config.requests_max = 1024;
    pqb_engine_config_default(&g->config);
    g->config.shards = shards;
    g->sent = calloc(GATE_SENT_MAX, sizeof(*g->sent));
    PQB_ASSERT(g->sent && pqb_unpacker_create(&g->unpacker) == PQB_OK);
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

struct peer peer_make(struct gate *g, const char *user, const char *device, uint16_t port)
{
    return (struct peer){.g = g,
                         .addr = {.ip = {127, 0, 0, 1}, .port = port, .family = 4},
                         .user = user,
                         .device = device,
                         .init_id = port * UINT64_C(1000)};
}

static void deliver(struct peer *p, const uint8_t *data, size_t len)
{
    const int shard = pqb_engine_shard_of(data, len, p->g->config.shards);

    pqb_engine_on_datagram(p->g->engines[shard < 0 ? 0 : shard], &p->addr, data, len,
                           p->g->store.now);
}

void peer_send_init(struct peer *p, const uint8_t *cookie)
{
    const struct pqb_init init = {
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
    uint8_t data[PQB_DATAGRAM_MAX];

    deliver(p, data, pqb_init_encode(&init, data));
}

bool peer_take_resp(struct peer *p)
{
    for (size_t i = p->g->sent_count; i > 0; i--) {
        const struct pqb_transmit *t = &p->g->sent[i - 1];

        if (pqb_addr_is_equal(&t->to, &p->addr) &&
            pqb_resp_decode(p->g->unpacker, t->data, t->len, &p->resp) == PQB_VERDICT_OK &&
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

void peer_send(struct peer *p, const struct pqb_frame *frames, size_t count)
{
    uint8_t data[PQB_DATAGRAM_MAX];
    const struct pqb_data header = {.cid = p->cid, .pn = ++p->pn, .echo_pn = (uint32_t)p->pn_seen};
    size_t len = PQB_DATA_HEADER_LEN;

    pqb_data_header_encode(&header, data);
    for (size_t i = 0; i < count; i++) {
        const size_t written = pqb_frame_encode(&frames[i], data + len, sizeof(data) - len);

        PQB_ASSERT(written > 0);
        len += written;
    }
    deliver(p, data, len);
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

// Counts frames of a type, and fills `out` with the nth.
static unsigned scan(const struct peer *p, enum pqb_frame_type type, unsigned nth,
                     struct pqb_frame *out, bool *is_found)
{
    unsigned count = 0;

    for (size_t i = 0; i < p->g->sent_count; i++) {
        const struct pqb_transmit *t = &p->g->sent[i];
        struct pqb_data d;
        struct pqb_bytes content;
        enum pqb_verdict verdict;
        struct pqb_frame f;
        const uint8_t *at;
        uint8_t code;

        if (pqb_data_decode(t->data, t->len, &d) != PQB_VERDICT_OK || d.cid != p->cid)
            continue;
        at = d.frames;
        while (pqb_frame_next(&at, d.frames + d.frames_len, &code, &content, &verdict)) {
            if (code != type || count++ != nth || !out)
                continue;
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

int gate_end(void **state)
{
    gate_fini(*state);
    return 0;
}
