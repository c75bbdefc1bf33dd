// The client as its users see it: life, the turn, and what ends a session.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/client/impl.h"
#include "common/client/paquebot.h"

static_assert((int)PQB_CLIENT_ERR_LOCKED == (int)PQB_ERR_LOCKED &&
                  (int)PQB_CLIENT_ERR_FULL == (int)PQB_ERR_FULL &&
                  (int)PQB_CLIENT_ERR_CORRUPT == (int)PQB_ERR_CORRUPT,
              "public and internal errors are the same numbers");
static_assert(PQB_CLIENT_DATAGRAM_MAX == PQB_DATAGRAM_MAX && PQB_CLIENT_BODY_MAX == PQB_BODY_MAX &&
                  PQB_CLIENT_USER_MAX == PQB_USER_MAX && PQB_CLIENT_DEVICE_MAX == PQB_DEVICE_MAX &&
                  PQB_CLIENT_TOKEN_MAX == PQB_TOKEN_MAX,
              "the public header repeats the wire's limits");
static_assert(PQB_CLIENT_SEED_LEN == PQB_SIPHASH_KEY_LEN + PQB_SECRET_SEED_LEN,
              "the seeds of both generators");
static_assert((int)PQB_RECEIPT_READ == (int)PQB_STATE_READ &&
                  (int)PQB_RECEIPT_ABANDONED == (int)PQB_STATE_ABANDONED,
              "receipts are the wire's states");

// ------------------------------------------------------------------------------------ attempts

void pqb_attempt_ask(struct pqb_attempt *a)
{
    *a = (struct pqb_attempt){.at = 0};
}

void pqb_attempt_ask_by(struct pqb_attempt *a, pqb_tstamp at)
{
    a->tries = 0;
    a->at = PQB_MIN(a->at, at);
}

void pqb_attempt_on_sent(struct pqb_attempt *a, struct pqb_client *c, pqb_tstamp now)
{
    const pqb_duration rto = pqb_rtt_rto(&c->channel.rtt, a->tries);

    a->at = pqb_tstamp_add(now, rto + pqb_client_jitter(c, rto / 4));
    if (++a->tries > PQB_CLIENT_TRIES_MAX)
        pqb_client_end(c, PQB_REASON_SILENT);
}

void pqb_attempt_done(struct pqb_attempt *a)
{
    *a = (struct pqb_attempt){.at = PQB_NEVER};
}

static void ask_again(struct pqb_attempt *a)
{
    if (a->at != PQB_NEVER)
        pqb_attempt_ask(a);
}

void pqb_client_ask_again(struct pqb_client *c)
{
    pqb_sent_map_mark_all_lost(&c->outbox.sent, &c->channel);
    ask_again(&c->login.epoch);
    ask_again(&c->outbox.skip);
    ask_again(&c->inbox.ack);
    ask_again(&c->pull.ask);
}

bool pqb_attempt_is_due(const struct pqb_attempt *a, pqb_tstamp now)
{
    return a->at <= now;
}

pqb_duration pqb_client_jitter(struct pqb_client *c, pqb_duration span)
{
    return span == 0 ? 0 : pqb_rng_below(&c->rng, span);
}

pqb_tstamp pqb_client_may_send_at(const struct pqb_client *c, uint32_t len)
{
    const pqb_tstamp at = pqb_cc_next_send(&c->channel.cc, c->now);

    // Pacing may allow what the window does not: then only an acknowledgement opens it.
    return at != PQB_NEVER && pqb_cc_may_send(&c->channel.cc, len, at) ? at : PQB_NEVER;
}

// ---------------------------------------------------------------------------------------- life

int pqb_client_scratch_create(struct pqb_client_scratch **out)
{
    struct pqb_client_scratch *s = calloc(1, sizeof(*s));
    int err;

    if (s == NULL)
        return PQB_ERR_NOMEM;
    err = pqb_unpacker_create(&s->unpacker);
    if (err != PQB_OK) {
        free(s);
        return err;
    }
    *out = s;
    return PQB_OK;
}

void pqb_client_scratch_destroy(struct pqb_client_scratch *scratch)
{
    if (scratch == NULL)
        return;
    pqb_unpacker_destroy(scratch->unpacker);
    free(scratch);
}

void pqb_client_config_default(struct pqb_client_config *config)
{
    *config = (struct pqb_client_config){
        .queue_max = 1024,
        .queue_bytes_max = 4u << 20,
        .watch_max = 256,
        .keepalive_ns = 25 * PQB_NS_PER_SEC,
        .reconnect_max_ns = 30 * PQB_NS_PER_SEC,
        .ack_delay_ns = 20 * PQB_NS_PER_MS,
        .auto_pull = true,
        .page_max = 100,
        .poison_limit = 5,
    };
}

static bool is_config_valid(const struct pqb_client_config *k)
{
    return k->user != NULL && k->device != NULL && k->store != NULL &&
           pqb_name_is_valid(k->user, strlen(k->user), PQB_USER_MAX) &&
           pqb_name_is_valid(k->device, strlen(k->device), PQB_DEVICE_MAX) &&
           (k->token == NULL || strlen(k->token) <= PQB_TOKEN_MAX) && k->queue_max > 0 &&
           k->keepalive_ns > 0 && k->reconnect_max_ns > 0 && k->page_max > 0 &&
           k->page_max <= PQB_PAGE_MAX && (k->server_key == NULL) == (k->device_key == NULL) &&
           (k->store->attempt == NULL) == (k->store->dead_letter == NULL);
}

static void copy_config(struct pqb_client *c, const struct pqb_client_config *k)
{
    c->user_len = (uint8_t)strlen(k->user);
    c->device_len = (uint8_t)strlen(k->device);
    memcpy(c->user, k->user, c->user_len);
    memcpy(c->device, k->device, c->device_len);
    c->store = k->store;
    c->scratch = k->scratch;
    c->callbacks = k->callbacks;
    c->ctx = k->ctx;
    c->queue_max = k->queue_max;
    c->queue_bytes_max = k->queue_bytes_max;
    c->watch_max = k->watch_max;
    c->page_max = k->page_max;
    c->keepalive_ns = k->keepalive_ns;
    c->reconnect_max_ns = k->reconnect_max_ns;
    c->ack_delay_ns = k->ack_delay_ns;
    c->is_auto_pull = k->auto_pull;
    pqb_rng_init_key(&c->rng, k->seed);
}

static int create_owned(struct pqb_client *c, const struct pqb_client_config *k)
{
    if (k->token != NULL && *k->token != '\0') {
        c->token = strdup(k->token);
        if (c->token == NULL)
            return PQB_ERR_NOMEM;
        c->token_len = (uint16_t)strlen(k->token);
    }
    if (k->server_key != NULL) {
        const int err = pqb_identity_create(&c->identity, k);

        if (err != PQB_OK)
            return err;
    }
    if (c->scratch == NULL) {
        c->is_own_scratch = true;
        return pqb_client_scratch_create(&c->scratch);
    }
    return PQB_OK;
}

static int load(struct pqb_client *c, uint32_t poison_limit)
{
    struct pqb_client_saved saved = {.next_seq = 1};
    int err;

    // What was queued without an epoch was never sent: an epoch comes first.
    err = c->store->load(c->store->ctx, &saved, pqb_outbox_load, c);
    if (err != PQB_OK)
        return err;
    c->inbox.cursor = saved.cursor;
    pqb_poison_load(c, &saved, poison_limit);
    c->outbox.epoch = saved.epoch;
    c->outbox.next_seq = PQB_MAX(saved.next_seq, c->outbox.next_seq);
    c->outbox.low_durable = pqb_outbox_low(c);
    PQB_LIST_FOREACH (it, &c->outbox.queue)
        PQB_CONTAINER_OF(it, struct pqb_outmsg, link)->is_fresh = saved.epoch == 0;
    return PQB_OK;
}

int pqb_client_create(struct pqb_client **out, const struct pqb_client_config *config, uint64_t now)
{
    struct pqb_client *c;
    int err;

    if (!is_config_valid(config))
        return PQB_ERR_INVALID;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return PQB_ERR_NOMEM;
    c->now = now;
    c->unanswered_since = PQB_NEVER;
    copy_config(c, config);
    pqb_login_init(c);
    pqb_outbox_init(c);
    pqb_watch_init(c);
    pqb_inbox_init(c);
    pqb_pull_init(c);
    c->answers.frag_ack_at = PQB_NEVER;
    err = create_owned(c, config);
    if (err == PQB_OK)
        err = load(c, config->poison_limit);
    if (err != PQB_OK) {
        pqb_client_destroy(c);
        return err;
    }
    *out = c;
    return PQB_OK;
}

void pqb_client_destroy(struct pqb_client *c)
{
    if (c == NULL)
        return;
    pqb_outbox_fini(c);
    pqb_inbox_fini(c);
    pqb_watch_clear(c);
    if (c->is_own_scratch)
        pqb_client_scratch_destroy(c->scratch);
    pqb_channel_fini(&c->channel);
    pqb_identity_destroy(c->identity);
    if (c->token != NULL)
        pqb_secret_erase(c->token, c->token_len);
    free(c->token);
    free(c);
}

// ------------------------------------------------------------------------------------- session

void pqb_client_set_state(struct pqb_client *c, enum pqb_client_state state,
                          enum pqb_client_reason reason)
{
    if (c->state == state && reason == PQB_REASON_NONE)
        return;
    c->state = state;
    if (c->callbacks.on_state != NULL)
        c->callbacks.on_state(c->ctx, state, reason);
}

void pqb_client_tell_route(struct pqb_client *c)
{
    if (c->callbacks.on_route != NULL)
        c->callbacks.on_route(c->ctx, c->login.init_id, c->channel.cid);
}

bool pqb_client_sync(struct pqb_client *c)
{
    if (!c->inbox.is_cursor_pending && !c->outbox.is_drop_pending)
        return true;
    if (c->store->sync(c->store->ctx) != PQB_OK) {
        pqb_client_end(c, PQB_REASON_STORE);
        return false;
    }
    c->inbox.is_cursor_pending = false;
    c->outbox.is_drop_pending = false;
    c->outbox.low_durable = pqb_outbox_low(c);
    return true;
}

void pqb_client_clear_session(struct pqb_client *c)
{
    c->channel.cid = 0;
    pqb_channel_fini(&c->channel);
    c->unanswered_since = PQB_NEVER;
    c->answers = (struct pqb_answers){.frag_ack_at = PQB_NEVER};
    pqb_outbox_on_session(c);
    pqb_inbox_on_session(c);
    pqb_pull_init(c);
}

void pqb_client_end(struct pqb_client *c, enum pqb_client_reason reason)
{
    if (c->is_ending)
        return;
    c->is_ending = true;
    c->ending = reason;
}

static bool is_final(enum pqb_client_reason reason)
{
    return reason == PQB_REASON_REPLACED || reason == PQB_REASON_STORE;
}

// Does what pqb_client_end asked for. Runs when no part is in the middle of anything.
static void settle(struct pqb_client *c, pqb_tstamp now)
{
    enum pqb_client_reason reason = c->ending;

    if (!c->is_ending)
        return;
    c->is_ending = false;
    if (c->is_closing && !is_final(reason))
        reason = PQB_REASON_CLOSED; // whatever else ended it, nobody wants it back
    pqb_client_clear_session(c);
    if (reason == PQB_REASON_CLOSED || is_final(reason)) {
        c->is_closing = false;
        pqb_login_stop(c);
        pqb_client_tell_route(c);
        pqb_client_set_state(c, is_final(reason) ? PQB_CLIENT_FAILED : PQB_CLIENT_OFFLINE, reason);
        return;
    }
    pqb_login_retry(c, 0, now);
    pqb_client_set_state(c, PQB_CLIENT_CONNECTING, reason);
}

void pqb_client_connect(struct pqb_client *c, uint64_t now)
{
    c->now = now;
    c->is_closing = c->answers.has_logout = false;
    if (c->login.phase != PQB_LOGIN_IDLE || c->is_ending)
        return;
    c->login.failures = 0;
    pqb_login_start(c, now);
    pqb_client_set_state(c, PQB_CLIENT_CONNECTING, PQB_REASON_NONE);
}

void pqb_client_close(struct pqb_client *c, uint64_t now)
{
    c->now = now;
    if (c->login.phase == PQB_LOGIN_IDLE)
        return;
    // The logout leaves with the next datagram, which also ends the session.
    if (c->channel.cid != 0)
        c->is_closing = c->answers.has_logout = true;
    else
        pqb_client_end(c, PQB_REASON_CLOSED);
}

// ------------------------------------------------------------------------------------- sending

int pqb_client_send(struct pqb_client *c, const char *to, uint16_t kind, const void *body,
                    size_t len, unsigned flags, uint64_t *id)
{
    const struct pqb_client_pending pending = {.to = to, .body = body, .len = len, .kind = kind};

    if (id != NULL)
        *id = 0;
    if (to == NULL || (body == NULL && len > 0) || (flags & ~PQB_CLIENT_EPHEMERAL) != 0 ||
        !pqb_name_is_valid(to, strlen(to), PQB_USER_MAX))
        return PQB_ERR_INVALID;
    if (len > PQB_BODY_MAX)
        return PQB_ERR_TOO_LARGE;
    if (c->state == PQB_CLIENT_FAILED)
        return PQB_ERR_CLOSED;
    if (flags & PQB_CLIENT_EPHEMERAL)
        return pqb_outbox_send_ephemeral(c, &pending);
    return pqb_outbox_send(c, &pending, id);
}

int pqb_client_abandon(struct pqb_client *c, uint64_t id)
{
    return pqb_outbox_abandon(c, id);
}

int pqb_client_pull(struct pqb_client *c, uint32_t page_max)
{
    if (page_max == 0 || page_max > PQB_PAGE_MAX)
        return PQB_ERR_INVALID;
    return pqb_pull_start(c, page_max);
}

void pqb_client_resume(struct pqb_client *c)
{
    if (c->inbox.handover_at != PQB_NEVER)
        c->inbox.handover_at = 0;
}

// ------------------------------------------------------------------------------------ the turn

void pqb_client_on_datagram(struct pqb_client *c, const void *data, size_t len, uint64_t now)
{
    enum pqb_datagram_type type;

    c->now = now;
    c->stats.datagrams_in++;
    c->stats.bytes_in += len;
    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK) {
        c->stats.dropped++;
        return;
    }
    switch (type) {
    case PQB_DATAGRAM_RETRY:
        pqb_login_on_retry(c, data, len, now);
        break;
    case PQB_DATAGRAM_RESP:
        pqb_login_on_resp(c, data, len, now);
        break;
    case PQB_DATAGRAM_BUSY:
        pqb_login_on_busy(c, data, len, now);
        break;
    case PQB_DATAGRAM_DATA:
        pqb_client_on_data(c, data, len, now);
        break;
    case PQB_DATAGRAM_RESET:
        pqb_login_on_reset(c, data, len);
        break;
    case PQB_DATAGRAM_INIT:
    case PQB_DATAGRAM_RESUME:
        c->stats.dropped++;
        break;
    }
    settle(c, now);
}

void pqb_client_on_timeout(struct pqb_client *c, uint64_t now)
{
    c->now = now;
    pqb_login_on_timeout(c, now);
    if (c->channel.cid != 0) {
        pqb_channel_on_timeout(&c->channel, now);
        pqb_outbox_on_timeout(c, now);
        pqb_large_on_timeout(c, now);
        pqb_watch_on_timeout(c, now);
        pqb_pull_on_timeout(c, now);
    }
    pqb_inbox_on_timeout(c, now);
    if (c->unanswered_since != PQB_NEVER &&
        now >= pqb_tstamp_add(c->unanswered_since, PQB_CLIENT_SILENCE_NS))
        pqb_client_end(c, PQB_REASON_SILENT);
    settle(c, now);
}

size_t pqb_client_poll_transmit(struct pqb_client *c, void *buf, size_t cap, uint64_t now)
{
    size_t len = 0;

    PQB_ASSERT(cap >= PQB_DATAGRAM_MAX);
    c->now = now;
    settle(c, now);
    if (c->login.phase == PQB_LOGIN_ASKING)
        len = pqb_login_poll(c, buf, now);
    else if (c->channel.cid != 0)
        len = pqb_client_write_data(c, buf, now);
    if (c->is_ending) {
        settle(c, now);
        // The datagram was written before the session ended; only a logout is worth sending.
        if (c->state != PQB_CLIENT_OFFLINE)
            len = 0;
    }
    if (len > 0) {
        c->stats.datagrams_out++;
        c->stats.bytes_out += len;
    }
    return len;
}

uint64_t pqb_client_next_deadline(const struct pqb_client *c)
{
    pqb_tstamp at = pqb_login_deadline(c);

    if (c->is_ending)
        return 0;
    at = PQB_MIN(at, c->inbox.handover_at);
    if (c->channel.cid != 0)
        at = PQB_MIN(at, pqb_client_frames_deadline(c));
    return at;
}

void pqb_client_on_path_change(struct pqb_client *c, uint64_t now)
{
    c->now = now;
    if (c->channel.cid == 0) {
        // Another INIT by the new path need not wait for the old one's timeout.
        if (c->login.phase == PQB_LOGIN_ASKING || c->login.phase == PQB_LOGIN_WAITING)
            pqb_login_start(c, now);
        return;
    }
    c->answers.has_ping = true;
    pqb_channel_on_path_change(&c->channel, false);
    pqb_client_ask_again(c);
}

int pqb_client_set_token(struct pqb_client *c, const char *token)
{
    char *copy = NULL;

    if (token != NULL && strlen(token) > PQB_TOKEN_MAX)
        return PQB_ERR_INVALID;
    if (token != NULL && *token != '\0') {
        copy = strdup(token);
        if (copy == NULL)
            return PQB_ERR_NOMEM;
    }
    if (c->token != NULL)
        pqb_secret_erase(c->token, c->token_len);
    free(c->token);
    c->token = copy;
    c->token_len = (uint16_t)(copy != NULL ? strlen(copy) : 0);
    if (c->login.phase == PQB_LOGIN_ASKING && !c->login.is_resuming)
        pqb_login_start(c, c->now); // what is under way has the old one
    return PQB_OK;
}

// ------------------------------------------------------------------------------------- getters

enum pqb_client_state pqb_client_get_state(const struct pqb_client *c)
{
    return c->state;
}

uint64_t pqb_client_get_cursor(const struct pqb_client *c)
{
    return c->inbox.cursor;
}

uint64_t pqb_client_init_id(const struct pqb_client *c)
{
    return c->login.init_id;
}

uint64_t pqb_client_cid(const struct pqb_client *c)
{
    return c->channel.cid;
}

void pqb_client_get_stats(const struct pqb_client *c, struct pqb_client_stats *out)
{
    *out = c->stats;
    out->srtt_ns = c->channel.cid != 0 ? c->channel.rtt.srtt : 0;
    out->queue_count = c->outbox.count;
    out->queue_bytes = c->outbox.bytes;
    out->watch_count = c->watches.count;
    out->buffered = c->inbox.count;
}
