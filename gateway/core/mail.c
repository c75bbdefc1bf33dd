// Messages between shards: datagrams that came to the wrong socket, hints, ephemerals. All of them
// may be lost; each loss is counted. Both ends are the same program, so there is no version.
#include <string.h>

#include "common/base/mutant.h"
#include "common/wire/cursor.h"
#include "gateway/core/engine_impl.h"

enum mail_kind {
    MAIL_DATAGRAM = 1,
    MAIL_HINT = 2,
    MAIL_EPHEMERAL = 3,
    MAIL_LOGIN = 4,
};

static void post(struct pqb_engine *e, uint32_t shard, const struct pqb_writer_cursor *w)
{
    PQB_ASSERT(!w->is_bad && shard != e->config.shard);
    if (e->env.post && e->env.post(e->env.ctx, shard, w->start, pqb_wcur_len(w)))
        pqb_count(e, PQB_COUNTER_MAIL_OUT);
    else
        pqb_count(e, PQB_COUNTER_MAIL_DROPPED);
}

static void put_addr(struct pqb_writer_cursor *w, const struct pqb_addr *from)
{
    pqb_wcur_bytes(w, from->ip, sizeof(from->ip));
    pqb_wcur_u16(w, from->port);
    pqb_wcur_u8(w, from->family);
    pqb_wcur_u8(w, from->local);
}

static struct pqb_addr get_addr(struct pqb_reader_cursor *c)
{
    struct pqb_addr from = {.family = 0};

    pqb_rcur_copy(c, from.ip, sizeof(from.ip));
    from.port = pqb_rcur_u16(c);
    from.family = pqb_rcur_u8(c);
    from.local = pqb_rcur_u8(c);
    return from;
}

void pqb_mail_datagram(struct pqb_engine *e, uint32_t shard, const struct pqb_addr *from,
                       const uint8_t *data, size_t len)
{
    uint8_t mail[PQB_MAIL_MAX];
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, mail, sizeof(mail));
    pqb_wcur_u8(&w, MAIL_DATAGRAM);
    put_addr(&w, from);
    pqb_wcur_bytes(&w, data, len);
    post(e, shard, &w);
}

static void open_datagram(struct pqb_engine *e, struct pqb_reader_cursor *c, pqb_tstamp now)
{
    const struct pqb_addr from = get_addr(c);

    if (c->is_bad)
        pqb_count(e, PQB_COUNTER_MAIL_BAD);
    else
        pqb_datagram_dispatch(e, &from, c->at, pqb_rcur_left(c), true, now);
}

static void put_text(struct pqb_writer_cursor *w, const struct pqb_text *text)
{
    pqb_wcur_u8(w, (uint8_t)text->len);
    pqb_wcur_bytes(w, text->data, text->len);
}

static struct pqb_text get_text(struct pqb_reader_cursor *c)
{
    const size_t len = pqb_rcur_u8(c);

    return (struct pqb_text){(const char *)pqb_rcur_bytes(c, len), len};
}

// A login that this shard has opened; the token has done its work.
void pqb_mail_login(struct pqb_engine *e, uint32_t shard, const struct pqb_addr *from,
                    const struct pqb_opened_login *login)
{
    uint8_t mail[PQB_MAIL_MAX];
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, mail, sizeof(mail));
    pqb_wcur_u8(&w, MAIL_LOGIN);
    put_addr(&w, from);
    pqb_wcur_u64(&w, login->init.init_id);
    pqb_wcur_u8(&w, login->is_proven);
    pqb_wcur_u8(&w, login->ciphers);
    pqb_wcur_bytes(&w, login->middle, sizeof(login->middle));
    pqb_grant_write(&w, &login->grant);
    put_text(&w, &login->init.user);
    put_text(&w, &login->init.device);
    pqb_wcur_u32(&w, login->init.epoch);
    pqb_wcur_u64(&w, login->init.low);
    pqb_wcur_u64(&w, login->init.cursor);
    post(e, shard, &w);
    pqb_secret_erase(mail, sizeof(mail));
}

static void open_login(struct pqb_engine *e, struct pqb_reader_cursor *c, pqb_tstamp now)
{
    const struct pqb_addr from = get_addr(c);
    struct pqb_opened_login login = {.is_sealed = true};

    login.init.init_id = pqb_rcur_u64(c);
    login.is_proven = pqb_rcur_u8(c) != 0;
    login.ciphers = pqb_rcur_u8(c);
    pqb_rcur_copy(c, login.middle, sizeof(login.middle));
    pqb_grant_read(c, &login.grant);
    if (PQB_MUTANT(MAIL_LOSES_GRANT))
        login.grant = (struct pqb_grant){.expires_ms = UINT64_MAX};
    login.init.user = get_text(c);
    login.init.device = get_text(c);
    login.init.epoch = pqb_rcur_u32(c);
    login.init.low = pqb_rcur_u64(c);
    login.init.cursor = pqb_rcur_u64(c);
    if (c->is_bad || e->config.keys == NULL)
        pqb_count(e, PQB_COUNTER_MAIL_BAD);
    else
        pqb_login_on_mailed(e, &from, &login, now);
    pqb_secret_erase(&login, sizeof(login));
}

void pqb_mail_hint(struct pqb_engine *e, const struct pqb_hint *h)
{
    uint8_t mail[PQB_MAIL_MAX];
    struct pqb_writer_cursor w;

    pqb_wcur_init(&w, mail, sizeof(mail));
    pqb_wcur_u8(&w, MAIL_HINT);
    pqb_wcur_u64(&w, h->uid);
    pqb_wcur_u32(&w, h->devno);
    pqb_wcur_u32(&w, h->epoch);
    pqb_wcur_u32(&w, h->uhash);
    pqb_wcur_u8(&w, h->state);
    pqb_wcur_u8(&w, (uint8_t)h->seqs.count);
    for (size_t i = 0; i < h->seqs.count; i++) {
        pqb_wcur_u64(&w, h->seqs.at[i].first);
        pqb_wcur_u64(&w, h->seqs.at[i].last);
    }
    post(e, h->uhash % e->config.shards, &w);
}

static void open_hint(struct pqb_engine *e, struct pqb_reader_cursor *c)
{
    struct pqb_hint h = {.uid = pqb_rcur_u64(c)};

    h.devno = pqb_rcur_u32(c);
    h.epoch = pqb_rcur_u32(c);
    h.uhash = pqb_rcur_u32(c);
    h.state = pqb_rcur_u8(c);
    h.seqs.count = pqb_rcur_u8(c);
    if (h.seqs.count > PQB_FRAME_RANGES_MAX)
        c->is_bad = true;
    for (size_t i = 0; !c->is_bad && i < h.seqs.count; i++) {
        h.seqs.at[i].first = pqb_rcur_u64(c);
        h.seqs.at[i].last = pqb_rcur_u64(c);
    }
    if (c->is_bad)
        pqb_count(e, PQB_COUNTER_MAIL_BAD);
    else
        pqb_hint_deliver(e, &h);
}

void pqb_mail_ephemeral(struct pqb_engine *e, uint32_t shard, const struct pqb_text *to,
                        const uint8_t *frame, size_t len)
{
    uint8_t mail[PQB_MAIL_MAX];
    struct pqb_writer_cursor w;

    if (2 + to->len + len > sizeof(mail)) {
        pqb_count(e, PQB_COUNTER_EPHEMERAL_DROPPED);
        return;
    }
    pqb_wcur_init(&w, mail, sizeof(mail));
    pqb_wcur_u8(&w, MAIL_EPHEMERAL);
    pqb_wcur_u8(&w, (uint8_t)to->len);
    pqb_wcur_bytes(&w, to->data, to->len);
    pqb_wcur_bytes(&w, frame, len);
    post(e, shard, &w);
}

static void open_ephemeral(struct pqb_engine *e, struct pqb_reader_cursor *c)
{
    const size_t to_len = pqb_rcur_u8(c);
    const uint8_t *to = pqb_rcur_bytes(c, to_len);
    const size_t len = pqb_rcur_left(c);

    if (c->is_bad || len == 0 || len > PQB_FRAMES_MAX)
        pqb_count(e, PQB_COUNTER_MAIL_BAD);
    else
        pqb_ephemeral_deliver(e, (const char *)to, to_len, c->at, len);
}

void pqb_mail_open(struct pqb_engine *e, const void *mail, size_t len, pqb_tstamp now)
{
    struct pqb_reader_cursor c;

    pqb_count(e, PQB_COUNTER_MAIL_IN);
    pqb_rcur_init(&c, mail, len);
    switch ((enum mail_kind)pqb_rcur_u8(&c)) {
    case MAIL_DATAGRAM:
        open_datagram(e, &c, now);
        return;
    case MAIL_LOGIN:
        open_login(e, &c, now);
        return;
    case MAIL_HINT:
        open_hint(e, &c);
        return;
    case MAIL_EPHEMERAL:
        open_ephemeral(e, &c);
        return;
    }
    pqb_count(e, PQB_COUNTER_MAIL_BAD);
}
