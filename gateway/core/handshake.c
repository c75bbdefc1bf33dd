// Logins that come encrypted: INIT and RESUME of the suite noise, from strangers' bytes to a login
// that is understood. Any shard does this part; the shard of the user goes on with it.
//
// Cheapest first, and each step is silent to whoever fails it: length and version, mac1 (does the
// sender know our key?), the cookie if one is asked for (is he there?), his share and ours of
// handshakes, the exchange of keys, and last what lets him in.
#include <string.h>

#include "common/base/mutant.h"
#include "common/proto/noise.h"
#include "gateway/core/engine_impl.h"

// Without a cookie a shard makes so many handshakes a second before it asks for cookies, and then
// asks until the rush has been over for LOADED_NS.
#define HELLO_INTERVAL_NS (PQB_NS_PER_SEC / 500)
#define HELLO_BURST       250
#define LOADED_NS         PQB_NS_PER_SEC

// What a shard spends on handshakes at most: about half of a core, and about half a millisecond
// of a turn; the others wait for the next ones. When so many wait that it takes some turns, cookies
// are asked for: it is often the first sign of a rush. A login of signed tokens costs a check for
// each issuer besides, about a quarter of a handshake.
#define HANDSHAKES_PER_TURN   2
#define WAITING_LOADED        8
#define HANDSHAKE_INTERVAL_NS (PQB_NS_PER_SEC / 2000)
#define HANDSHAKE_BURST       64
#define CHECKS_A_HANDSHAKE    4
#define HANDSHAKE_RETRY_MS    500

#define PREFIX_BURST_SECONDS 2
#define SITE_FACTOR          4 // what an IPv6 /48 gets more than a /64

// ------------------------------------------------------------------------------ who may ask

bool pqb_handshake_is_loaded(struct pqb_engine *e, pqb_tstamp now)
{
    if (e->config.keys == NULL)
        return false;
    if (!pqb_rate_take(&e->hellos, HELLO_INTERVAL_NS, HELLO_BURST, now))
        e->loaded_until = pqb_tstamp_add(now, LOADED_NS);
    return now < e->loaded_until || e->waiting.count >= WAITING_LOADED;
}

// The bucket of an address's first `len` bytes. Two that share one share its rate.
static struct pqb_rate *bucket_of(struct pqb_engine *e, const struct pqb_addr *from, size_t len)
{
    return &e->prefixes[pqb_siphash24(e->prefix_key, from->ip, len) % PQB_PREFIXES];
}

// The address is proven, so what it asks for is charged to it; an IPv6 /64 is one, and a /48 may
// ask for a few times as much. Everybody on this machine would share one bucket; whoever is here
// can do worse.
static bool is_within_share(struct pqb_engine *e, const struct pqb_addr *from, pqb_tstamp now)
{
    const uint32_t rate = e->config.login_rate;

    if (rate == 0 || pqb_addr_is_loopback(from))
        return true;
    const pqb_duration interval = PQB_NS_PER_SEC / rate;
    const uint32_t burst = PREFIX_BURST_SECONDS * rate;

    if (from->family == 6 &&
        !pqb_rate_take(bucket_of(e, from, 6), interval / SITE_FACTOR, SITE_FACTOR * burst, now))
        return false;
    return pqb_rate_take(bucket_of(e, from, from->family == 6 ? 8 : 4), interval, burst, now);
}

bool pqb_handshake_may_spend(struct pqb_engine *e, const struct pqb_addr *from, uint64_t init_id,
                             pqb_tstamp now)
{
    const pqb_duration checks = e->config.signature_checks * HANDSHAKE_INTERVAL_NS;

    if (pqb_rate_take(&e->handshakes, HANDSHAKE_INTERVAL_NS + checks / CHECKS_A_HANDSHAKE,
                      HANDSHAKE_BURST, now))
        return true;
    pqb_login_send_busy(e, from, init_id, HANDSHAKE_RETRY_MS, PQB_COUNTER_LOGIN_BUSY_HANDSHAKES);
    return false;
}

// True: a handshake may be spent on it; otherwise BUSY is on its way. An address that is not proven
// is charged nothing: it may be anybody's.
static bool may_spend(struct pqb_engine *e, const struct pqb_addr *from, uint64_t init_id,
                      bool is_proven, pqb_tstamp now)
{
    if (is_proven && !is_within_share(e, from, now)) {
        pqb_login_send_busy(e, from, init_id, HANDSHAKE_RETRY_MS, PQB_COUNTER_LOGIN_BUSY_PREFIX);
        return false;
    }
    return pqb_handshake_may_spend(e, from, init_id, now);
}

// ---------------------------------------------------------------------------- the first message

struct opening {
    const struct pqb_addr *from;
    const uint8_t *datagram;
    const struct pqb_hello *hello;
    const struct pqb_server_key *key; // that the client has pinned
    struct pqb_ticket ticket;
    struct pqb_noise noise;
    uint8_t payload[PQB_INIT_LEN];
    size_t payload_len;
};

static bool read_message(struct pqb_engine *e, struct opening *o)
{
    uint8_t prologue[PQB_PROLOGUE_MAX];
    const size_t len = pqb_prologue_make(o->datagram, o->hello->ticket, prologue);

    if (o->hello->type == PQB_DATAGRAM_INIT)
        pqb_noise_init_ik(&o->noise, false, &o->key->pair, NULL, prologue, len);
    else
        pqb_noise_init_nnpsk0(&o->noise, false, o->ticket.psk, prologue, len);
    if (pqb_noise_read(&o->noise, o->hello->message, o->hello->message_len, o->payload,
                       &o->payload_len))
        return true;
    pqb_count(e, PQB_COUNTER_LOGIN_FORGED);
    return false;
}

static bool read_payload(struct pqb_engine *e, const struct opening *o, struct pqb_init *init)
{
    const enum pqb_verdict verdict =
        pqb_hello_payload_decode(e->unpacker, o->hello->type, o->payload, o->payload_len, init);

    if (verdict != PQB_VERDICT_OK) {
        pqb_count_verdict(e, verdict);
        return false;
    }
    init->init_id = o->hello->init_id;
    if (o->hello->type == PQB_DATAGRAM_RESUME) {
        init->user = (struct pqb_text){o->ticket.user, o->ticket.user_len};
        init->device = (struct pqb_text){o->ticket.device, o->ticket.device_len};
    }
    return true;
}

// The ticket's holder is told that it does not do, so that he does not wait for an answer: he
// knows our key, and the answer is short.
static bool refuse_ticket(struct pqb_engine *e, const struct opening *o)
{
    pqb_login_send_busy(e, o->from, o->hello->init_id, 0, PQB_COUNTER_LOGIN_TICKET_BAD);
    return false;
}

static bool open_ticket(struct pqb_engine *e, struct opening *o, struct pqb_opened_login *out)
{
    struct pqb_ticket *t = &o->ticket;

    if (!pqb_ticket_open(&e->config.keys->tickets, o->hello->ticket, e->env.wall(e->env.ctx), t))
        return refuse_ticket(e, o);
    const struct pqb_text user = {t->user, t->user_len}, device = {t->device, t->device_len};

    out->grant = t->grant;
    if (PQB_MUTANT(GRANT_FOR_EVER))
        out->grant.expires_ms = UINT64_MAX;
    return e->env.may_stay(e->env.ctx, &user, &device, &out->grant) || PQB_MUTANT(TICKET_UNASKED) ||
           refuse_ticket(e, o);
}

static void go_on(struct pqb_engine *e, const struct pqb_addr *from,
                  const struct pqb_opened_login *login, pqb_tstamp now)
{
    const uint32_t shard = pqb_shard_of_user(e, &login->init.user);

    if (shard == e->config.shard)
        pqb_login_on_opened(e, from, login, now);
    else
        pqb_mail_login(e, shard, from, login);
}

static bool open_resume(struct pqb_engine *e, struct opening *o, struct pqb_opened_login *login)
{
    if (!open_ticket(e, o, login) || !read_message(e, o) || !read_payload(e, o, &login->init))
        return false;
    pqb_count(e, PQB_COUNTER_LOGIN_RESUMED);
    return true;
}

static bool open_init(struct pqb_engine *e, struct opening *o, struct pqb_opened_login *login)
{
    return read_message(e, o) && read_payload(e, o, &login->init) &&
           pqb_login_is_let_in(e, login, o->noise.rs);
}

// Apart from what comes before it: strangers do not get here, and do not pay for the room.
static void open_hello(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                       const struct pqb_hello *hello, const struct pqb_server_key *key,
                       bool is_proven, pqb_tstamp now)
{
    struct pqb_opened_login login = {
        .is_sealed = true, .is_proven = is_proven, .ciphers = hello->ciphers};
    struct opening o = {.from = from, .datagram = data, .hello = hello, .key = key};

    if (hello->type == PQB_DATAGRAM_RESUME ? open_resume(e, &o, &login)
                                           : open_init(e, &o, &login)) {
        pqb_noise_save(&o.noise, login.middle);
        go_on(e, from, &login, now);
    }
    pqb_secret_erase(&o, sizeof(o));
    pqb_secret_erase(&login, sizeof(login));
}

static void wait_for_turn(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                          uint64_t init_id, bool is_proven)
{
    struct pqb_waiting_hello *w = pqb_hellos_push(&e->waiting);

    if (w == NULL) {
        pqb_login_send_busy(e, from, init_id, HANDSHAKE_RETRY_MS,
                            PQB_COUNTER_LOGIN_BUSY_HANDSHAKES);
        return;
    }
    w->from = *from;
    w->is_proven = is_proven;
    memcpy(w->data, data, sizeof(w->data));
}

void pqb_handshake_on_hello(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                            size_t len, pqb_tstamp now)
{
    struct pqb_hello hello;
    const enum pqb_verdict verdict = pqb_hello_decode(data, len, &hello);
    bool is_proven = false;

    if (verdict != PQB_VERDICT_OK) {
        pqb_count_verdict(e, verdict);
        return;
    }
    if (pqb_server_keys_find(e->config.keys, data, PQB_HELLO_MAC1_AT, hello.mac1) == NULL) {
        pqb_count(e, PQB_COUNTER_LOGIN_MAC1_BAD);
        return;
    }
    pqb_count(e, PQB_COUNTER_LOGIN_INITS);
    if (pqb_login_may_begin(e, from, hello.init_id) &&
        pqb_login_is_cookie_passed(e, from, hello.init_id,
                                   hello.cookie_len != 0 ? hello.cookie : NULL, &is_proven, now) &&
        may_spend(e, from, hello.init_id, is_proven, now))
        wait_for_turn(e, from, data, hello.init_id, is_proven);
}

// Since it began to wait it may have been answered, as a repeat, or the keys have changed.
static void go_on_with(struct pqb_engine *e, const struct pqb_waiting_hello *w, pqb_tstamp now)
{
    struct pqb_hello hello;
    const enum pqb_verdict verdict = pqb_hello_decode(w->data, sizeof(w->data), &hello);
    const struct pqb_server_key *key;

    PQB_ASSERT(verdict == PQB_VERDICT_OK);
    if (!pqb_login_may_begin(e, &w->from, hello.init_id))
        return;
    key = pqb_server_keys_find(e->config.keys, w->data, PQB_HELLO_MAC1_AT, hello.mac1);
    if (key != NULL)
        open_hello(e, &w->from, w->data, &hello, key, w->is_proven, now);
    else
        pqb_count(e, PQB_COUNTER_LOGIN_MAC1_BAD);
}

void pqb_engine_handshake(struct pqb_engine *e, pqb_tstamp now)
{
    for (int i = 0; i < HANDSHAKES_PER_TURN; i++) {
        const struct pqb_waiting_hello *w = pqb_hellos_pop(&e->waiting);

        if (w == NULL)
            return;
        go_on_with(e, w, now);
    }
}

// --------------------------------------------------------------------------- the second message

size_t pqb_handshake_answer(struct pqb_engine *e, struct pqb_half_open *h, struct pqb_resp *resp,
                            uint8_t out[PQB_DATAGRAM_MAX])
{
    uint8_t payload[PQB_DATAGRAM_MAX], ephemeral[PQB_KEY_LEN];
    struct pqb_noise noise;
    size_t len, written;

    h->cipher = pqb_aead_choose(h->ciphers, e->config.keys->ciphers);
    if (h->cipher == PQB_CIPHER_NONE)
        h->cipher = PQB_CIPHER_CHACHAPOLY; // every client has it, whatever it says
    resp->cipher = (uint8_t)h->cipher;
    len = pqb_answer_payload_encode(resp, payload);
    pqb_secret_rng_fill(&e->secrets, ephemeral, sizeof(ephemeral));
    pqb_noise_restore(&noise, h->secret);
    written = pqb_answer_begin(h->init_id, out);
    len = pqb_noise_write(&noise, ephemeral, payload, len, out + written);
    if (len > 0)
        pqb_noise_finish(&noise, h->secret, h->secret + PQB_KEY_LEN);
    pqb_noise_fini(&noise);
    pqb_secret_erase(ephemeral, sizeof(ephemeral));
    pqb_secret_erase(payload, sizeof(payload)); // it has the reset token
    return len > 0 ? written + len : 0;
}

// Key confirmation: only who has the keys of both exchanges can make this datagram.
bool pqb_handshake_is_confirmed(struct pqb_engine *e, const struct pqb_half_open *h,
                                const uint8_t *data, size_t len, pqb_tstamp now)
{
    struct pqb_packet_keys keys;
    bool is_genuine;

    pqb_packet_keys_init(&keys, h->secret + PQB_KEY_LEN, h->secret, now);
    is_genuine = pqb_packet_keys_open(&keys, h->cipher, data, len, e->plain, 0, now);
    pqb_packet_keys_fini(&keys);
    return is_genuine || PQB_MUTANT(CONFIRM_UNOPENED);
}

void pqb_handshake_protect(const struct pqb_half_open *h, struct pqb_channel *c, pqb_tstamp now)
{
    if (h->cipher != PQB_CIPHER_NONE)
        pqb_channel_protect(c, h->cipher, h->secret + PQB_KEY_LEN, h->secret, now);
}

void pqb_handshake_send_ticket(struct pqb_engine *e, struct pqb_session *s)
{
    const pqb_wall_ms wall = e->env.wall(e->env.ctx);
    struct pqb_frame f = {.type = PQB_FRAME_TICKET};
    struct pqb_ticket t = {.user_len = s->user->name_len,
                           .device_len = s->device_len,
                           .until = wall + PQB_TICKET_VALID_MS,
                           .grant = s->grant};

    if (s->channel.cipher == PQB_CIPHER_NONE)
        return;
    memcpy(t.user, s->user->name, t.user_len);
    memcpy(t.device, s->device, t.device_len);
    pqb_secret_rng_fill(&e->secrets, t.psk, sizeof(t.psk));
    pqb_ticket_seal(&e->config.keys->tickets, &t, &e->secrets, f.ticket.ticket);
    memcpy(f.ticket.psk, t.psk, sizeof(f.ticket.psk));
    pqb_session_answer(e, s, &f);
    pqb_secret_erase(&f, sizeof(f));
    pqb_secret_erase(&t, sizeof(t));
}
