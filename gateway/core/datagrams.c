#include "gateway/core/engine_impl.h"

#define RESET_INTERVAL_NS (PQB_NS_PER_SEC / 1000) // 1000 a second
#define RESET_BURST       100

void pqb_send_reset(struct pqb_engine *e, const struct pqb_addr *to, uint64_t cid, size_t len_max)
{
    struct pqb_reset reset = {.cid = cid};
    struct pqb_reply *reply = pqb_replies_push(&e->replies, to, len_max);

    if (!reply) {
        pqb_count(e, PQB_COUNTER_REPLY_DROPPED);
        return;
    }
    pqb_reset_token_make(&e->keys, cid, reset.token);
    reply->len = pqb_reset_encode(&reset, reply->data);
    pqb_count(e, PQB_COUNTER_RESET_SENT);
}

static void on_unknown_cid(struct pqb_engine *e, const struct pqb_addr *from, uint64_t cid,
                           size_t len, pqb_tstamp now)
{
    pqb_count(e, PQB_COUNTER_DROP_CID);
    // The address is not validated: no answer longer than its question.
    if (len < PQB_RESET_DATAGRAM_LEN)
        return;
    if (!pqb_rate_take(&e->resets, RESET_INTERVAL_NS, RESET_BURST, now)) {
        pqb_count(e, PQB_COUNTER_RESET_LIMITED);
        return;
    }
    pqb_send_reset(e, from, cid, len);
}

static void on_data(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                    size_t len, bool is_mail, pqb_tstamp now)
{
    const uint64_t cid = pqb_datagram_cid(data, len);
    const uint32_t shard = (uint32_t)(cid >> 56) % e->config.shards;
    struct pqb_session *s;
    struct pqb_half_open *h;

    if (cid == 0) {
        pqb_count_verdict(e, PQB_VERDICT_SHORT);
        return;
    }
    if (shard != e->config.shard) {
        if (is_mail)
            pqb_count(e, PQB_COUNTER_MAIL_BAD);
        else
            pqb_mail_datagram(e, shard, from, data, len);
        return;
    }
    s = pqb_session_get(e, cid);
    if (s) {
        pqb_session_on_datagram(e, s, from, data, len, now);
        return;
    }
    h = pqb_half_open_table_get(&e->half_open, cid);
    if (h)
        pqb_login_on_data(e, h, from, data, len, now);
    else
        on_unknown_cid(e, from, cid, len, now);
}

// A gateway speaks one suite: what it does not answer, nobody can make it fall back to.
static void on_login(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                     size_t len, bool is_mail, pqb_tstamp now)
{
    const uint8_t suite = e->config.keys != NULL ? PQB_SUITE_NOISE : PQB_SUITE_PLAIN;

    if (pqb_datagram_suite(data, len) != suite)
        pqb_count(e, PQB_COUNTER_LOGIN_OTHER_SUITE);
    else if (suite == PQB_SUITE_NOISE)
        pqb_handshake_on_hello(e, from, data, len, now);
    else
        pqb_login_on_init(e, from, data, len, is_mail, now);
}

void pqb_datagram_dispatch(struct pqb_engine *e, const struct pqb_addr *from, const uint8_t *data,
                           size_t len, bool is_mail, pqb_tstamp now)
{
    enum pqb_datagram_type type;
    const enum pqb_verdict verdict = pqb_datagram_peek(data, len, &type);

    if (verdict != PQB_VERDICT_OK) {
        pqb_count_verdict(e, verdict);
        return;
    }
    switch (type) {
    case PQB_DATAGRAM_INIT:
    case PQB_DATAGRAM_RESUME:
        on_login(e, from, data, len, is_mail, now);
        break;
    case PQB_DATAGRAM_DATA:
        on_data(e, from, data, len, is_mail, now);
        break;
    case PQB_DATAGRAM_RETRY:
    case PQB_DATAGRAM_RESP:
    case PQB_DATAGRAM_BUSY:
    case PQB_DATAGRAM_RESET:
        pqb_count_verdict(e, PQB_VERDICT_TYPE);
        break;
    }
}

int pqb_engine_shard_of(const uint8_t *data, size_t len, uint32_t shards)
{
    enum pqb_datagram_type type;

    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK || type != PQB_DATAGRAM_DATA ||
        pqb_datagram_cid(data, len) == 0)
        return -1;
    return (int)((pqb_datagram_cid(data, len) >> 56) % shards);
}
