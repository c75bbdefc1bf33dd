// From INIT to a confirmed session and, when it ends, back: repeats, cookie, backoff, epoch.
#include <string.h>

#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/client/impl.h"
#include "common/proto/cookie.h"
#include "common/wire/cursor.h"

void pqb_login_init(struct pqb_client *c)
{
    c->login.phase = PQB_LOGIN_IDLE;
    c->login.at = PQB_NEVER;
    pqb_attempt_done(&c->login.epoch);
}

// A new id, so that a late answer to an older one is not taken for its answer; and a handshake of
// its own.
static void begin(struct pqb_client *c, bool is_resuming)
{
    struct pqb_login *l = &c->login;

    do {
        l->init_id = pqb_rng_next(&c->rng);
    } while (l->init_id == 0);
    l->has_cookie = false;
    l->is_resuming = is_resuming;
    pqb_identity_forget_handshake(c->identity);
    pqb_client_tell_route(c);
}

void pqb_login_start(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_login *l = &c->login;

    PQB_ASSERT(c->channel.cid == 0);
    l->phase = PQB_LOGIN_ASKING;
    l->inits = 0;
    l->at = now;
    begin(c, c->identity != NULL && c->identity->has_ticket);
}

void pqb_login_stop(struct pqb_client *c)
{
    c->login.phase = PQB_LOGIN_IDLE;
    c->login.init_id = 0;
    c->login.at = PQB_NEVER;
    pqb_identity_forget_handshake(c->identity);
    pqb_attempt_done(&c->login.epoch);
}

// Full jitter: a random part of the doubled wait, so that clients of a restarted gateway do not
// come back together.
static pqb_duration backoff(struct pqb_client *c)
{
    const unsigned doublings = PQB_MIN(c->login.failures, 16u);

    return pqb_client_jitter(c, PQB_MIN(PQB_CLIENT_BACKOFF_NS << doublings, c->reconnect_max_ns));
}

void pqb_login_retry(struct pqb_client *c, pqb_duration at_least, pqb_tstamp now)
{
    struct pqb_login *l = &c->login;
    const bool was_steady =
        l->phase == PQB_LOGIN_DONE && pqb_elapsed(l->online_at, now) >= PQB_CLIENT_STEADY_NS;

    if (was_steady)
        l->failures = 0;
    pqb_login_stop(c);
    l->phase = PQB_LOGIN_WAITING;
    l->at = pqb_tstamp_add(now, at_least + backoff(c));
    l->failures++;
    pqb_client_tell_route(c);
}

// Why the old epoch is over, and nobody is to blame: the next try need not wait.
static void restart_for_epoch(struct pqb_client *c, pqb_tstamp now)
{
    if (c->login.failures > 0) {
        pqb_client_end(c, PQB_REASON_EPOCH);
        return;
    }
    c->login.failures++;
    pqb_login_start(c, now);
    pqb_client_set_state(c, PQB_CLIENT_CONNECTING, PQB_REASON_EPOCH);
}

void pqb_login_on_retry(struct pqb_client *c, const uint8_t *data, size_t len, pqb_tstamp now)
{
    struct pqb_login *l = &c->login;
    struct pqb_retry retry;

    if (l->phase != PQB_LOGIN_ASKING || pqb_retry_decode(data, len, &retry) != PQB_VERDICT_OK ||
        retry.init_id != l->init_id) {
        c->stats.dropped++;
        return;
    }
    // Used at once, or it grows as stale as the one before by the next repeat; but not again and
    // again when the gateway likes none.
    if (!l->has_cookie || pqb_elapsed(l->cookie_at, now) >= PQB_CLIENT_INIT_NS)
        l->at = now;
    l->has_cookie = true;
    l->cookie_at = now;
    memcpy(l->cookie, retry.cookie, PQB_COOKIE_LEN);
}

void pqb_login_on_busy(struct pqb_client *c, const uint8_t *data, size_t len, pqb_tstamp now)
{
    struct pqb_busy busy;

    if (c->login.phase != PQB_LOGIN_ASKING || pqb_busy_decode(data, len, &busy) != PQB_VERDICT_OK ||
        busy.init_id != c->login.init_id) {
        c->stats.dropped++;
        return;
    }
    if (c->login.is_resuming && busy.retry_after_ms == 0) {
        // The ticket does not do; the device's own key does.
        if (!PQB_MUTANT(TICKET_IS_KEPT))
            pqb_identity_drop_ticket(c);
        pqb_login_start(c, now);
        return;
    }
    // A forged or absurd wait is not obeyed beyond the longest one of our own.
    const pqb_duration asked = busy.retry_after_ms * PQB_NS_PER_MS;
    const pqb_duration wait =
        PQB_MUTANT(BUSY_IS_OBEYED) ? asked : PQB_MIN(asked, c->reconnect_max_ns);
    pqb_login_retry(c, wait, now);
    pqb_client_set_state(c, PQB_CLIENT_CONNECTING, PQB_REASON_BUSY);
}

// Does the gateway's memory of this device contradict ours? Then one of the two was restored from
// an older copy (or the device is a clone), and what was sent can no longer be told by its seq.
static bool is_rolled_back(const struct pqb_client *c, const struct pqb_resp *resp)
{
    if (c->outbox.epoch == 0)
        return false;
    if (resp->epoch != c->outbox.epoch || resp->low > c->outbox.low_durable)
        return true;
    // A seq was consumed that this queue has never given out.
    return resp->consumed_count > 0 &&
           resp->consumed[resp->consumed_count - 1].last >= c->outbox.next_seq;
}

static void tell_forgotten(struct pqb_client *c, uint64_t from, uint64_t to)
{
    if (c->callbacks.on_forgotten != NULL && from <= to)
        c->callbacks.on_forgotten(c->ctx, from, to);
}

// Epochs only rise: a gateway that shows a lower one than ours, or none, is on an older store, or
// has ended what it knew of us. Of what it accepted since nobody can say what is left.
static void roll_back(struct pqb_client *c, const struct pqb_resp *resp, pqb_tstamp now)
{
    const bool is_older = resp->epoch < c->outbox.epoch;

    pqb_outbox_on_rollback(c);
    if (is_older)
        tell_forgotten(c, 1, c->outbox.next_seq - 1);
    if (!c->is_ending)
        restart_for_epoch(c, now);
}

// The same epoch, but less of it than we were told: an older copy of the store without a mark, or
// an async one that lost its end. What is still queued is sent as ever.
static void look_for_lost(struct pqb_client *c, const struct pqb_resp *resp)
{
    uint64_t from, to, unknown;
    bool has_lost;

    if (c->outbox.epoch == 0)
        return;
    has_lost = pqb_accepted_find_lost(&c->outbox.accepted, resp, &from, &to, &unknown);
    // Another message may stand at a lost one's position: its receipt proves nothing any more.
    pqb_watch_forget(c, unknown, UINT64_MAX);
    if (!has_lost)
        return;
    pqb_watch_forget(c, from, to);
    pqb_accepted_clear(&c->outbox.accepted);
    tell_forgotten(c, from, to);
}

static bool read_resp(struct pqb_client *c, const uint8_t *data, size_t len, struct pqb_resp *out)
{
    return c->identity != NULL
               ? pqb_identity_read_answer(c->identity, c->scratch->unpacker, data, len, out)
               : pqb_resp_decode(c->scratch->unpacker, data, len, out) == PQB_VERDICT_OK;
}

void pqb_login_on_resp(struct pqb_client *c, const uint8_t *data, size_t len, pqb_tstamp now)
{
    struct pqb_login *l = &c->login;
    struct pqb_resp resp;

    if (l->phase != PQB_LOGIN_ASKING || !read_resp(c, data, len, &resp) ||
        resp.init_id != l->init_id || resp.cid == 0) {
        c->stats.dropped++;
        return;
    }
    if (is_rolled_back(c, &resp)) {
        roll_back(c, &resp, now);
        return;
    }
    l->phase = PQB_LOGIN_CONFIRMING;
    l->init_id = 0;
    l->at = PQB_NEVER;
    memcpy(l->reset_token, resp.reset_token, PQB_RESET_LEN);
    l->cursor = resp.cursor;
    l->head = resp.head;
    l->count = resp.count;
    l->push_max = resp.push_max;
    l->keepalive_ns = c->keepalive_ns;
    if (resp.idle_ms > 0)
        l->keepalive_ns = PQB_MIN(l->keepalive_ns, PQB_MAX(resp.idle_ms * PQB_NS_PER_MS / 2,
                                                           PQB_CLIENT_KEEPALIVE_LEAST_NS));
    c->stats.gateway_time_ms = resp.time_ms;
    l->early = 0;
    c->sent_at = now;
    pqb_channel_init(&c->channel, resp.cid, now);
    if (c->identity != NULL)
        pqb_identity_protect(c->identity, &c->channel, resp.cipher, now);
    // The first DATA confirms the login: it asks for a sign of life and tells the cursor, whose
    // answer is binding where RESP was a preview.
    c->keepalive_now_ns = l->keepalive_ns;
    c->answers.has_ping = true;
    pqb_attempt_ask(&c->inbox.ack);
    if (c->outbox.epoch == 0) {
        pqb_rng_fill(&c->rng, l->nonce, PQB_NONCE_LEN);
        pqb_attempt_ask(&l->epoch);
    }
    pqb_client_tell_route(c);
    look_for_lost(c, &resp);
}

void pqb_login_on_confirmed(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_login *l = &c->login;

    l->phase = PQB_LOGIN_DONE;
    l->online_at = now;
    c->stats.logins++;
    c->inbox.moved_at = now;
    pqb_inbox_adopt(c, l->cursor, now);
    c->inbox.head = PQB_MAX(c->inbox.head, l->head);
    pqb_watch_on_session(c, now);
    pqb_client_set_state(c, PQB_CLIENT_ONLINE, PQB_REASON_NONE);
    pqb_pull_on_online(c, l->count);
}

void pqb_login_on_reset(struct pqb_client *c, const uint8_t *data, size_t len)
{
    struct pqb_reset reset;

    if (c->channel.cid == 0 || pqb_reset_decode(data, len, &reset) != PQB_VERDICT_OK ||
        reset.cid != c->channel.cid ||
        (!pqb_token_is_equal(reset.token, c->login.reset_token) && !PQB_MUTANT(RESET_UNPROVEN))) {
        c->stats.dropped++;
        return;
    }
    pqb_client_end(c, PQB_REASON_RESET);
}

void pqb_login_on_epoch(struct pqb_client *c, const struct pqb_frame_epoch_a *f)
{
    struct pqb_login *l = &c->login;

    if (l->epoch.at == PQB_NEVER || c->outbox.epoch != 0 ||
        memcmp(f->nonce, l->nonce, PQB_NONCE_LEN) != 0)
        return;
    if (pqb_outbox_set_epoch(c, f->epoch))
        pqb_attempt_done(&l->epoch);
}

void pqb_login_on_timeout(struct pqb_client *c, pqb_tstamp now)
{
    struct pqb_login *l = &c->login;

    if (l->phase == PQB_LOGIN_WAITING && now >= l->at)
        pqb_login_start(c, now);
}

// 1 s, 2 s, then 4 s for a while, which keeps below the one datagram in three seconds that RFC 8085
// 3.1.3 allows a sender without an answer; a gateway that stays silent is asked ever more seldom.
static pqb_duration init_wait(const struct pqb_client *c)
{
    const unsigned tries = c->login.inits;
    const unsigned doublings =
        tries <= 2 ? tries
                   : 2 + (tries > PQB_CLIENT_INIT_STEADY ? tries - PQB_CLIENT_INIT_STEADY : 0);

    return PQB_MIN(PQB_CLIENT_INIT_NS << PQB_MIN(doublings, 16u), c->reconnect_max_ns);
}

static size_t write_init(struct pqb_client *c, const struct pqb_init *init, uint8_t *out)
{
    return c->identity != NULL
               ? pqb_identity_write_hello(c->identity, init, c->login.is_resuming, out)
               : pqb_init_encode(init, out);
}

size_t pqb_login_poll(struct pqb_client *c, uint8_t *out, pqb_tstamp now)
{
    struct pqb_login *l = &c->login;

    if (now < l->at || !pqb_client_sync(c))
        return 0;
    if (l->is_resuming && l->inits >= PQB_CLIENT_RESUMES_MAX)
        begin(c, false);
    // Told before anything is read: the application may bring another token, which begins anew.
    if (l->inits > 0 && !l->has_cookie)
        pqb_client_set_state(c, PQB_CLIENT_CONNECTING, PQB_REASON_TIMEOUT);
    const struct pqb_init init = {
        .init_id = l->init_id,
        .cookie = l->cookie,
        .cookie_len = l->has_cookie ? PQB_COOKIE_LEN : 0,
        .user = {c->user, c->user_len},
        .device = {c->device, c->device_len},
        .token = {c->token, c->token_len},
        .epoch = c->outbox.epoch,
        .low = c->outbox.low_durable,
        .cursor = c->inbox.cursor,
    };
    const pqb_duration wait = init_wait(c);
    l->at = pqb_tstamp_add(now, wait + pqb_client_jitter(c, wait / 4));
    c->stats.inits_sent++;
    l->inits++;
    return write_init(c, &init, out);
}

pqb_tstamp pqb_login_deadline(const struct pqb_client *c)
{
    return c->login.at;
}

enum pqb_client_id pqb_client_datagram_id(const void *data, size_t len, uint64_t *id)
{
    enum pqb_datagram_type type;
    struct pqb_reader_cursor at;

    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK)
        return PQB_CLIENT_ID_NONE;
    switch (type) {
    case PQB_DATAGRAM_RETRY:
    case PQB_DATAGRAM_BUSY:
        *id = pqb_datagram_cid(data, len); // the same eight bytes
        return PQB_CLIENT_ID_INIT;
    case PQB_DATAGRAM_RESP: // byte 0, suite, two reserved bytes
        pqb_rcur_init(&at, data, len);
        (void)pqb_rcur_u32(&at);
        *id = pqb_rcur_u64(&at);
        return PQB_CLIENT_ID_INIT;
    case PQB_DATAGRAM_DATA:
    case PQB_DATAGRAM_RESET:
        *id = pqb_datagram_cid(data, len);
        return PQB_CLIENT_ID_CID;
    case PQB_DATAGRAM_INIT:
    case PQB_DATAGRAM_RESUME:
        break;
    }
    return PQB_CLIENT_ID_NONE;
}
