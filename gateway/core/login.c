// A login: INIT -> (cookie) -> LOOKUP -> RESP -> first DATA -> LOGIN -> session. Nothing durable or
// visible happens before the first DATA; the session exists when the registration is committed.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mutant.h"
#include "gateway/core/engine_impl.h"

// A device that keeps replacing its own session (two copies of one client kick each other) may do
// so FLAP_BURST times at once and then once every FLAP_INTERVAL_NS.
#define FLAP_INTERVAL_NS (5 * PQB_NS_PER_SEC)
#define FLAP_BURST       6

#define DRAIN_RETRY_MS    5000
#define SESSIONS_RETRY_MS 5000
#define CID_TRIES         64
#define LOOKUPS_MAX       256 // with the writer at once: logins leave slots to messages
#define ROLLBACK_RETRY_NS (50 * PQB_NS_PER_MS)

void pqb_login_send_busy(struct pqb_engine *e, const struct pqb_addr *to, uint64_t init_id,
                         uint64_t retry_after_ms, enum pqb_counter counter)
{
    struct pqb_reply *reply = pqb_replies_push(&e->replies, to, PQB_INIT_LEN);
    struct pqb_busy busy = {.init_id = init_id};

    pqb_count(e, counter);
    if (!reply) {
        pqb_count(e, PQB_COUNTER_REPLY_DROPPED);
        return;
    }
    // Spread, so that those who were put off together do not come back together.
    busy.retry_after_ms =
        (uint32_t)(retry_after_ms + pqb_rng_below(&e->rng, retry_after_ms / 2 + 1));
    reply->len = pqb_busy_encode(&busy, reply->data);
}

static void send_retry(struct pqb_engine *e, const struct pqb_addr *to, uint64_t init_id,
                       pqb_tstamp now)
{
    struct pqb_reply *reply = pqb_replies_push(&e->replies, to, PQB_INIT_LEN);
    struct pqb_retry retry = {.init_id = init_id};

    if (!reply) {
        pqb_count(e, PQB_COUNTER_REPLY_DROPPED);
        return;
    }
    pqb_cookie_make(&e->keys, to, init_id, now, retry.cookie);
    reply->len = pqb_retry_encode(&retry, reply->data);
    pqb_count(e, PQB_COUNTER_LOGIN_RETRY);
}

static void send_resp(struct pqb_engine *e, struct pqb_half_open *h)
{
    struct pqb_reply *reply = pqb_replies_push(&e->replies, &h->from, PQB_INIT_LEN);

    if (!reply) {
        pqb_count(e, PQB_COUNTER_REPLY_DROPPED);
        return;
    }
    pqb_half_open_spend(h, h->resp_len);
    memcpy(reply->data, h->resp, h->resp_len);
    reply->len = h->resp_len;
}

// An unused connection id whose first byte names this shard; 0 if luck fails.
static uint64_t draw_cid(struct pqb_engine *e)
{
    const uint32_t shards = e->config.shards;
    const uint32_t bytes = (256 - e->config.shard + shards - 1) / shards; // that name this shard

    for (int i = 0; i < CID_TRIES; i++) {
        const uint64_t byte = e->config.shard + pqb_rng_below(&e->rng, bytes) * shards;
        const uint64_t cid = byte << 56 | pqb_rng_next(&e->rng) >> 8;

        if (cid != 0 && !pqb_session_get(e, cid) && !pqb_half_open_table_get(&e->half_open, cid))
            return cid;
    }
    return 0;
}

static bool is_half_full(const struct pqb_engine *e)
{
    return e->half_open.count >= (e->config.half_open_max + 1) / 2;
}

bool pqb_login_is_cookie_passed(struct pqb_engine *e, const struct pqb_addr *from, uint64_t init_id,
                                const uint8_t *cookie, bool *is_proven, pqb_tstamp now)
{
    *is_proven = cookie != NULL && pqb_cookie_is_valid(&e->keys, from, init_id, cookie, now);
    if (*is_proven)
        return true;
    if (cookie != NULL)
        pqb_count(e, PQB_COUNTER_LOGIN_COOKIE_BAD);
    // Counted whatever else asks for cookies, or the rush would seem to be over.
    const bool is_loaded = pqb_handshake_is_loaded(e, now);

    if (!is_loaded && e->config.retry != PQB_RETRY_ALWAYS && !is_half_full(e))
        return true;
    send_retry(e, from, init_id, now);
    return false;
}

void pqb_login_on_mailed(struct pqb_engine *e, const struct pqb_addr *from,
                         const struct pqb_opened_login *login, pqb_tstamp now)
{
    if (!pqb_login_may_begin(e, from, login->init.init_id))
        return;
    // The table that it comes to is this shard's: the other one could not know how full it is.
    if (!login->is_proven && is_half_full(e))
        send_retry(e, from, login->init.init_id, now);
    else if (pqb_handshake_may_spend(e, from, login->init.init_id, now))
        pqb_login_on_opened(e, from, login, now);
}

// True: there is room for this login; otherwise BUSY is on its way.
static bool is_admitted(struct pqb_engine *e, const struct pqb_addr *from,
                        const struct pqb_init *init, pqb_tstamp now)
{
    const struct pqb_user *u = pqb_user_table_get_name(&e->users, init->user.data, init->user.len);
    const struct pqb_session *old =
        u ? pqb_session_get_name(u, init->device.data, init->device.len) : NULL;

    if (old && !pqb_rate_is_free(&old->logins, FLAP_INTERVAL_NS, FLAP_BURST, now)) {
        const pqb_duration wait = pqb_rate_wait(&old->logins, FLAP_INTERVAL_NS, FLAP_BURST, now);

        pqb_login_send_busy(e, from, init->init_id, wait / PQB_NS_PER_MS + 1,
                            PQB_COUNTER_LOGIN_BUSY_FLAPPING);
        return false;
    }
    if (e->lookups >= LOOKUPS_MAX) {
        pqb_login_send_busy(e, from, init->init_id, PQB_BUSY_RETRY_MS,
                            PQB_COUNTER_LOGIN_BUSY_STORE);
        return false;
    }
    if (e->half_open.count >= e->config.half_open_max) {
        pqb_login_send_busy(e, from, init->init_id, PQB_BUSY_RETRY_MS,
                            PQB_COUNTER_LOGIN_BUSY_HALF_OPEN);
        return false;
    }
    if (!old && e->sessions.count >= e->config.sessions_max) {
        pqb_login_send_busy(e, from, init->init_id, SESSIONS_RETRY_MS,
                            PQB_COUNTER_LOGIN_BUSY_SESSIONS);
        return false;
    }
    if (!old && u && u->session_count >= e->config.sessions_per_user_max) {
        pqb_login_send_busy(e, from, init->init_id, SESSIONS_RETRY_MS, PQB_COUNTER_LOGIN_BUSY_USER);
        return false;
    }
    return true;
}

static void fill_names(struct pqb_request *r, const struct pqb_half_open *h)
{
    memcpy(r->user, h->user, h->user_len);
    r->user_len = h->user_len;
    memcpy(r->device, h->device, h->device_len);
    r->device_len = h->device_len;
    r->epoch = h->epoch;
    r->low = h->low;
    r->tag[0] = h->cid;
}

static void begin(struct pqb_engine *e, const struct pqb_addr *from,
                  const struct pqb_opened_login *login, pqb_tstamp now)
{
    const struct pqb_init *init = &login->init;
    struct pqb_half_open proto = {.from = *from,
                                  .created_at = now,
                                  .cid = draw_cid(e),
                                  .init_id = init->init_id,
                                  .low = init->low,
                                  .cursor = init->cursor,
                                  .epoch = init->epoch,
                                  .grant = login->grant,
                                  .is_sealed = login->is_sealed,
                                  .ciphers = login->ciphers,
                                  .user_len = (uint8_t)init->user.len,
                                  .device_len = (uint8_t)init->device.len};
    struct pqb_half_open *h;
    struct pqb_request *r;

    memcpy(proto.user, init->user.data, init->user.len);
    memcpy(proto.device, init->device.data, init->device.len);
    memcpy(proto.secret, login->middle, sizeof(proto.secret));
    pqb_half_open_earn(&proto, PQB_INIT_LEN);
    // A login that is repeated from many addresses takes its device's places, nobody else's.
    if (is_half_full(e) && pqb_half_open_table_crowd_out(&e->half_open, &proto))
        pqb_count(e, PQB_COUNTER_LOGIN_CROWDED_OUT);
    h = proto.cid ? pqb_half_open_table_add(&e->half_open, &proto) : NULL;
    pqb_secret_erase(&proto, sizeof(proto));
    if (!h) {
        pqb_login_send_busy(e, from, init->init_id, PQB_BUSY_RETRY_MS, PQB_COUNTER_MEMORY_FAILED);
        return;
    }
    r = pqb_engine_request(e, PQB_OP_LOOKUP, NULL, 0);
    if (r)
        fill_names(r, h);
    if (pqb_engine_submit(e, r)) {
        e->lookups++;
        return;
    }
    pqb_half_open_table_remove(&e->half_open, h);
    pqb_login_send_busy(e, from, init->init_id, PQB_BUSY_RETRY_MS, PQB_COUNTER_LOGIN_BUSY_STORE);
}

bool pqb_login_may_begin(struct pqb_engine *e, const struct pqb_addr *from, uint64_t init_id)
{
    struct pqb_half_open *h;

    if (e->is_draining) {
        pqb_login_send_busy(e, from, init_id, DRAIN_RETRY_MS, PQB_COUNTER_LOGIN_BUSY_DRAIN);
        return false;
    }
    h = pqb_half_open_table_get_init(&e->half_open, from, init_id);
    if (!h)
        return true;
    pqb_count(e, PQB_COUNTER_LOGIN_REPEATED);
    pqb_half_open_earn(h, PQB_INIT_LEN);
    if (h->resp)
        send_resp(e, h);
    return false;
}

void pqb_login_on_opened(struct pqb_engine *e, const struct pqb_addr *from,
                         const struct pqb_opened_login *login, pqb_tstamp now)
{
    if (is_admitted(e, from, &login->init, now))
        begin(e, from, login, now);
}

bool pqb_login_is_let_in(struct pqb_engine *e, struct pqb_opened_login *login,
                         const uint8_t *device_key)
{
    const struct pqb_credentials c = {.user = login->init.user,
                                      .device = login->init.device,
                                      .token = login->init.token,
                                      .device_key = device_key};

    if (e->env.may_login(e->env.ctx, &c, &login->grant))
        return true;
    pqb_count(e, PQB_COUNTER_LOGIN_REFUSED);
    return false;
}

bool pqb_login_may_stay(const struct pqb_engine *e, const struct pqb_half_open *h)
{
    const struct pqb_text user = {h->user, h->user_len}, device = {h->device, h->device_len};

    return e->env.may_stay(e->env.ctx, &user, &device, &h->grant);
}

void pqb_login_on_init(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                       size_t len, bool is_mail, pqb_tstamp now)
{
    struct pqb_opened_login login = {.is_sealed = false};
    struct pqb_init *init = &login.init;
    const enum pqb_verdict verdict = pqb_init_decode(e->unpacker, data, len, init);
    uint32_t shard;

    if (verdict != PQB_VERDICT_OK) {
        pqb_count_verdict(e, verdict);
        return;
    }
    shard = pqb_shard_of_user(e, &init->user);
    if (shard != e->config.shard && !PQB_MUTANT(SHARD_OF_ADDRESS)) {
        if (is_mail)
            pqb_count(e, PQB_COUNTER_MAIL_BAD);
        else
            pqb_mail_datagram(e, shard, from, data, len);
        return;
    }
    pqb_count(e, PQB_COUNTER_LOGIN_INITS);
    if (pqb_login_may_begin(e, from, init->init_id) &&
        pqb_login_is_cookie_passed(e, from, init->init_id,
                                   init->cookie_len != 0 ? init->cookie : NULL, &login.is_proven,
                                   now) &&
        pqb_login_is_let_in(e, &login, NULL))
        pqb_login_on_opened(e, from, &login, now);
}

// ------------------------------------------------------------------------------------ preview

static void build_resp(struct pqb_engine *e, struct pqb_half_open *h, const struct pqb_request *r,
                       struct pqb_resp *resp)
{
    const struct pqb_user_state *u = &r->user_state;
    const struct pqb_device_state *d = &r->device_state;
    const uint64_t base = d->cursor; // of a new device: where it would start

    // What the client took is below what it will be sent, even if the store has not heard of it.
    h->preview_cursor = h->cursor <= u->head ? PQB_MAX(base, h->cursor) : base;
    *resp = (struct pqb_resp){
        .init_id = h->init_id,
        .cid = h->cid,
        .epoch = d->epoch,
        .low = d->low,
        .consumed_count = d->consumed.count,
        .cursor = base,
        .tail = u->tail,
        .head = u->head,
        .count = pqb_offline_backlog(u, h->preview_cursor),
        .generation_first = u->generation_first,
        .idle_ms = (uint32_t)PQB_MIN(e->config.idle_ns / PQB_NS_PER_MS, UINT32_MAX),
        .body_max = e->config.body_max,
        .push_max = e->config.push_max,
        .time_ms = e->env.wall(e->env.ctx),
    };
    memcpy(resp->consumed, d->consumed.at, d->consumed.count * sizeof(resp->consumed[0]));
    pqb_reset_token_make(&e->keys, h->cid, resp->reset_token);
    // The client waits for a push or pulls by what RESP says, so the session must go by it too,
    // whatever arrives between RESP and registration.
    h->is_pull = resp->count > resp->push_max;
}

void pqb_login_on_lookup(struct pqb_engine *e, const struct pqb_request *r)
{
    struct pqb_half_open *h = pqb_half_open_table_get(&e->half_open, r->tag[0]);
    struct pqb_resp resp;
    uint8_t bytes[PQB_DATAGRAM_MAX];

    PQB_ASSERT(e->lookups > 0);
    e->lookups--;
    if (!h || h->stage != PQB_LOGIN_LOOKUP)
        return; // expired meanwhile
    if (r->result != PQB_RESULT_DONE && r->result != PQB_RESULT_UNKNOWN) {
        pqb_half_open_spend(h, PQB_BUSY_LEN);
        pqb_login_send_busy(e, &h->from, h->init_id, PQB_STORAGE_RETRY_MS,
                            PQB_COUNTER_LOGIN_BUSY_STORE);
        pqb_half_open_table_remove(&e->half_open, h);
        return;
    }
    build_resp(e, h, r, &resp);
    h->resp_len =
        h->is_sealed ? pqb_handshake_answer(e, h, &resp, bytes) : pqb_resp_encode(&resp, bytes);
    PQB_ASSERT(h->resp_len <= PQB_INIT_LEN);
    if (h->resp_len == 0) {
        pqb_count(e, PQB_COUNTER_LOGIN_FORGED);
        pqb_half_open_table_remove(&e->half_open, h);
        return;
    }
    h->resp = malloc(h->resp_len);
    if (!h->resp) {
        pqb_half_open_spend(h, PQB_BUSY_LEN);
        pqb_login_send_busy(e, &h->from, h->init_id, PQB_BUSY_RETRY_MS, PQB_COUNTER_MEMORY_FAILED);
        pqb_half_open_table_remove(&e->half_open, h);
        return;
    }
    memcpy(h->resp, bytes, h->resp_len);
    h->stage = PQB_LOGIN_RESPONDED;
    send_resp(e, h);
}

// ------------------------------------------------------------------------------- confirmation

static void hold(struct pqb_engine *e, struct pqb_half_open *h, const struct pqb_addr *from,
                 const uint8_t *data, size_t len)
{
    const bool is_held = pqb_half_open_hold(&e->half_open, h, from, data, len);

    pqb_count(e, is_held ? PQB_COUNTER_LOGIN_HELD : PQB_COUNTER_LOGIN_HELD_DROPPED);
}

static void confirm(struct pqb_engine *e, struct pqb_half_open *h)
{
    struct pqb_request *r = pqb_engine_request(e, PQB_OP_LOGIN, NULL, 0);

    if (r)
        fill_names(r, h);
    if (r && PQB_MUTANT(REGISTER_AT_PREVIEW))
        r->cursor = h->preview_cursor;
    if (pqb_engine_submit(e, r))
        pqb_half_open_confirm(h);
}

static void refuse(struct pqb_engine *e, struct pqb_half_open *h, enum pqb_counter counter)
{
    pqb_count(e, counter);
    pqb_half_open_spend(h, PQB_RESET_DATAGRAM_LEN);
    pqb_send_reset(e, &h->from, h->cid,
                   PQB_RESET_DATAGRAM_LEN); // the client logs in again, with backoff
    pqb_half_open_table_remove(&e->half_open, h);
}

// A later login of the device is a session already: this one's first DATA was held back on the way,
// by chance or by somebody. Coming now it must not end the other.
static bool is_overtaken(const struct pqb_engine *e, const struct pqb_half_open *h)
{
    const struct pqb_user *u = pqb_user_table_get_name(&e->users, h->user, h->user_len);
    const struct pqb_session *s = u ? pqb_session_get_name(u, h->device, h->device_len) : NULL;

    return s && s->login_at > h->created_at;
}

void pqb_login_on_data(struct pqb_engine *e, struct pqb_half_open *h, const struct pqb_addr *from,
                       const uint8_t *data, size_t len, pqb_tstamp now)
{
    struct pqb_data d;
    const enum pqb_verdict verdict = pqb_data_decode(data, len, &d);

    if (verdict != PQB_VERDICT_OK) {
        pqb_count_verdict(e, verdict);
        return;
    }
    if (h->stage == PQB_LOGIN_LOOKUP) { // nobody has been told this connection id
        pqb_count(e, PQB_COUNTER_DROP_CID);
        return;
    }
    if (pqb_half_open_holds(h, data, len)) {
        pqb_count(e, PQB_COUNTER_DROP_REPLAY);
        return;
    }
    if (h->is_sealed && !pqb_handshake_is_confirmed(e, h, data, len, now)) {
        pqb_count(e, PQB_COUNTER_DROP_FORGED);
        return;
    }
    if (h->stage == PQB_LOGIN_RESPONDED && is_overtaken(e, h)) {
        refuse(e, h, PQB_COUNTER_LOGIN_OVERTAKEN);
        return;
    }
    // It confirms whether there is room to keep it or not: the client repeats what it said. Without
    // a slot for the request its next datagram tries again.
    hold(e, h, from, data, len);
    if (h->stage == PQB_LOGIN_RESPONDED)
        confirm(e, h);
}

// The user's entry, named and up to date: the tail has made it so. NULL: no memory.
static struct pqb_user *make_user(struct pqb_engine *e, const struct pqb_half_open *h,
                                  const struct pqb_user_state *state)
{
    struct pqb_user *u = pqb_user_table_make(&e->users, state->uid, state->uhash), *named;

    if (!u)
        return NULL;
    named = pqb_user_table_name(&e->users, u, h->user, h->user_len);
    if (!named) {
        pqb_user_table_release(&e->users, u);
        return NULL;
    }
    pqb_tail_cover(named, state);
    return named;
}

void pqb_login_ask_rollback(struct pqb_engine *e, struct pqb_session *s, pqb_tstamp now)
{
    struct pqb_request *r = pqb_engine_request(e, PQB_OP_ROLLBACK, s, 0);

    PQB_ASSERT(s->is_rolling_back && !s->is_cursor_busy);
    if (r)
        r->cursor = s->rollback_cursor;
    s->is_cursor_busy = pqb_engine_submit(e, r);
    s->retry_at = s->is_cursor_busy ? PQB_NEVER : pqb_tstamp_add(now, ROLLBACK_RETRY_NS);
}

// The client has taken what the store does not have: the store is the older one.
static void begin_rollback(struct pqb_engine *e, struct pqb_session *s, uint64_t cursor,
                           pqb_tstamp now)
{
    pqb_count(e, PQB_COUNTER_LOGIN_ROLLBACK);
    pqb_engine_log(e, PQB_LOG_ERROR, now,
                   "login proves a rollback of the store uid=%" PRIu64 " cursor=%" PRIu64
                   " head=%" PRIu64,
                   s->user->uid, cursor, s->user->head);
    s->is_rolling_back = true;
    s->rollback_cursor = cursor;
    pqb_login_ask_rollback(e, s, now);
}

static void start_session(struct pqb_engine *e, struct pqb_session *s,
                          const struct pqb_half_open *h, const struct pqb_request *r,
                          pqb_tstamp now)
{
    const struct pqb_device_state *d = &r->device_state;

    s->devno = d->devno;
    s->epoch = h->epoch == d->epoch ? d->epoch : 0;
    s->low = s->epoch != 0 ? PQB_MAX(h->low, d->low) : 0;
    // Since the preview others may have acknowledged what this device would have begun with.
    s->cursor = s->queued_upto = PQB_MAX(h->preview_cursor, d->cursor);
    // Where a device starts is not an acknowledgement; what its client says it took is one.
    s->cursor_durable = h->cursor == s->cursor ? PQB_MIN(d->cursor, s->cursor) : s->cursor;
    s->allowed_upto = h->is_pull ? s->cursor : UINT64_MAX;
    if (s->cursor > h->preview_cursor)
        pqb_ack_answer(e, s); // the client steps there before anything is sent from there on
    if (h->cursor > s->user->head)
        begin_rollback(e, s, h->cursor, now);
    else
        pqb_ack_request(e, s, now);
}

// A session of the same device gives way; its limits are inherited, or a loop would reset them.
static void replace(struct pqb_engine *e, struct pqb_session *old, struct pqb_session *s,
                    pqb_tstamp now)
{
    s->logins = old->logins;
    s->messages = old->messages;
    (void)pqb_rate_take(&s->logins, FLAP_INTERVAL_NS, FLAP_BURST, now);
    pqb_session_kick(e, old, PQB_KICK_REPLACED, now);
}

// The kept datagrams are handled as if they came now. Only the address that RESP went to is proven
// by them; one that comes from elsewhere starts a path challenge like any other.
static void replay_held(struct pqb_engine *e, struct pqb_list *held, uint64_t cid, pqb_tstamp now)
{
    struct pqb_list *node;

    while ((node = pqb_list_pop_front(held))) {
        struct pqb_held_datagram *d = PQB_CONTAINER_OF(node, struct pqb_held_datagram, link);
        struct pqb_session *s = pqb_session_get(e, cid); // a frame may have ended it

        if (s)
            pqb_session_on_datagram(e, s, &d->from, d->data, d->len, now);
        free(d);
    }
}

static bool is_full_now(const struct pqb_engine *e, const struct pqb_user *u,
                        const struct pqb_session *old)
{
    return !old && (e->sessions.count >= e->config.sessions_max ||
                    u->session_count >= e->config.sessions_per_user_max);
}

void pqb_login_on_registered(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now)
{
    struct pqb_half_open *h = pqb_half_open_table_get(&e->half_open, r->tag[0]);
    struct pqb_session *old, *s;
    struct pqb_user *u;
    struct pqb_list held;
    const uint64_t cid = r->tag[0];

    if (!h)
        return;
    PQB_ASSERT(h->stage == PQB_LOGIN_CONFIRMING);
    if (r->result != PQB_RESULT_DONE || e->is_draining) {
        refuse(e, h, PQB_COUNTER_LOGIN_FAILED);
        return;
    }
    if (is_overtaken(e, h)) {
        refuse(e, h, PQB_COUNTER_LOGIN_OVERTAKEN);
        return;
    }
    if (!pqb_login_may_stay(e, h)) {
        refuse(e, h, PQB_COUNTER_LOGIN_REFUSED);
        return;
    }
    u = make_user(e, h, &r->user_state);
    if (!u) {
        refuse(e, h, PQB_COUNTER_MEMORY_FAILED);
        return;
    }
    old = pqb_session_get_device(e, u->uid, r->device_state.devno);
    if (is_full_now(e, u, old)) {
        pqb_user_table_release(&e->users, u);
        refuse(e, h, PQB_COUNTER_LOGIN_BUSY_SESSIONS);
        return;
    }
    // The cid moves from one table to the other; the entry itself is needed a little longer.
    s = pqb_session_create(e, u, h, now);
    if (!s) {
        pqb_user_table_release(&e->users, u);
        refuse(e, h, PQB_COUNTER_MEMORY_FAILED);
        return;
    }
    start_session(e, s, h, r, now);
    if (old)
        replace(e, old, s, now);
    pqb_handshake_send_ticket(e, s);
    pqb_list_init(&held);
    while (!pqb_list_is_empty(&h->held)) {
        struct pqb_list *node = pqb_list_pop_front(&h->held);

        pqb_list_push_back(&held, node);
    }
    pqb_half_open_table_remove(&e->half_open, h);
    pqb_session_touch(e, s);
    replay_held(e, &held, cid, now);
}

void pqb_login_on_rollback(struct pqb_engine *e, const struct pqb_request *r, pqb_tstamp now)
{
    struct pqb_session *s = pqb_session_get(e, r->tag[0]);

    if (!s)
        return;
    PQB_ASSERT(s->is_rolling_back && s->is_cursor_busy);
    s->is_cursor_busy = false;
    pqb_session_touch(e, s);
    if (r->result != PQB_RESULT_DONE) { // nothing may be pushed before it is made
        s->retry_at = pqb_tstamp_add(now, ROLLBACK_RETRY_NS);
        return;
    }
    s->is_rolling_back = false;
    pqb_tail_cover(s->user, &r->user_state);
    // The client is where it says; the jump to the new generation is told by a gap.
    if (s->rollback_cursor <= s->user->head && s->rollback_cursor > s->cursor) {
        s->cursor = s->queued_upto = s->rollback_cursor;
        if (s->allowed_upto != UINT64_MAX)
            s->allowed_upto = PQB_MAX(s->allowed_upto, s->cursor);
    }
}

void pqb_login_expire(struct pqb_engine *e, pqb_tstamp now)
{
    struct pqb_half_open *h;

    while ((h = pqb_half_open_table_expired(&e->half_open, now))) {
        pqb_count(e, PQB_COUNTER_LOGIN_EXPIRED);
        pqb_half_open_table_remove(&e->half_open, h);
    }
}
