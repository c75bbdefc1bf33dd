#include "tests/unit/fake_gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// -------------------------------------------------------------------------- the application

static struct fake_event *note(struct fake *f, enum fake_event_type type)
{
    assert_true(f->event_count < FAKE_EVENTS_MAX);
    struct fake_event *e = &f->events[f->event_count++];

    *e = (struct fake_event){.type = type};
    return e;
}

static void on_state(void *ctx, enum pqb_client_state state, enum pqb_client_reason reason)
{
    struct fake_event *e = note(ctx, FAKE_STATE);
    struct fake *f = ctx;

    e->a = state;
    e->b = reason;
    if (f->on_state != NULL)
        f->on_state(f, reason);
}

static void on_ticket(void *ctx, const void *ticket, size_t len)
{
    struct fake *f = ctx;

    note(f, FAKE_TICKET)->len = len;
    assert_true(len <= sizeof(f->kept));
    if (len > 0)
        memcpy(f->kept, ticket, len);
    f->kept_len = len;
}

static void on_receipt(void *ctx, uint64_t id, enum pqb_client_receipt receipt, unsigned refusal)
{
    struct fake_event *e = note(ctx, FAKE_RECEIPT);

    e->id = id;
    e->a = receipt;
    e->b = refusal;
}

static int on_message(void *ctx, const struct pqb_client_message *m, uint64_t cursor)
{
    struct fake *f = ctx;

    assert_int_equal(cursor, m->iseq);
    if (f->dies_at != 0 && m->iseq >= f->dies_at) {
        if (m->iseq == f->dies_at && f->at_death == NULL)
            assert_int_equal(pqb_client_store_memory_copy(f->store, &f->at_death), 0);
        return 1;
    }
    if (f->refuse_messages > 0) {
        f->refuse_messages--;
        return 1;
    }
    struct fake_event *e = note(f, FAKE_MESSAGE);
    e->id = m->iseq;
    e->a = m->flags;
    e->len = m->len;
    if (m->len > 0)
        memcpy(e->text, m->body, m->len < sizeof(e->text) - 1 ? m->len : sizeof(e->text) - 1);
    strcpy(e->from, m->from);
    return 0;
}

static void on_gap(void *ctx, uint64_t from, uint64_t to, unsigned gap)
{
    struct fake_event *e = note(ctx, FAKE_GAP);

    e->id = from;
    e->to = to;
    e->a = gap;
}

static void on_forgotten(void *ctx, uint64_t from, uint64_t to)
{
    struct fake_event *e = note(ctx, FAKE_FORGOTTEN);

    e->id = from;
    e->to = to;
}

static void on_backlog(void *ctx, uint64_t count)
{
    note(ctx, FAKE_BACKLOG)->id = count;
}

static void on_dead_letter(void *ctx, const struct pqb_client_dead_letter *letter)
{
    struct fake_event *e = note(ctx, FAKE_DEAD_LETTER);

    assert_null(letter->body);
    e->id = letter->iseq;
    e->a = letter->attempts;
    e->len = letter->len;
    strcpy(e->from, letter->from);
}

// --------------------------------------------------------------------------------- life

static void create_client(struct fake *f, const struct pqb_client_config *base)
{
    struct pqb_client_config config;

    pqb_client_config_default(&config);
    if (base != NULL)
        config = *base;
    config.user = "alice";
    config.device = "phone";
    config.store = f->store;
    config.ctx = f;
    config.callbacks = (struct pqb_client_callbacks){.on_state = on_state,
                                                     .on_receipt = on_receipt,
                                                     .on_message = on_message,
                                                     .on_gap = on_gap,
                                                     .on_forgotten = on_forgotten,
                                                     .on_backlog = on_backlog,
                                                     .on_dead_letter = on_dead_letter};
    config.seed[0] = 42;
    if (f->is_sealed) {
        config.seed[sizeof(config.seed) - 1] = ++f->lives;
        config.server_key = f->server.public;
        config.device_key = f->device.secret;
        config.callbacks.on_ticket = on_ticket;
        if (config.ticket == NULL) {
            config.ticket = f->kept;
            config.ticket_len = f->kept_len;
        }
    }
    assert_int_equal(pqb_client_create(&f->c, &config, f->now), 0);
}

static void start(struct fake *f, struct pqb_client_store *store,
                  const struct pqb_client_config *base)
{
    f->now = 100 * FAKE_SECOND;
    f->store = store;
    if (store == NULL)
        assert_int_equal(pqb_client_store_memory_create(&f->store), 0);
    assert_int_equal(pqb_unpacker_create(&f->unpacker), 0);
    create_client(f, base);
}

void fake_start(struct fake *f, struct pqb_client_store *store,
                const struct pqb_client_config *base)
{
    memset(f, 0, sizeof(*f));
    start(f, store, base);
}

void fake_start_sealed(struct fake *f, struct pqb_client_store *store,
                       const struct pqb_client_config *base)
{
    memset(f, 0, sizeof(*f));
    assert_int_equal(pqb_aead_init(), 0);
    f->is_sealed = true;
    f->server.secret[1] = 1;
    f->device.secret[1] = 2;
    pqb_noise_keypair_complete(&f->server);
    pqb_noise_keypair_complete(&f->device);
    start(f, store, base);
}

void fake_stop(struct fake *f, bool keep_store)
{
    pqb_client_destroy(f->c);
    pqb_unpacker_destroy(f->unpacker);
    if (!keep_store)
        pqb_client_store_memory_destroy(f->store);
}

void fake_restart(struct fake *f)
{
    pqb_client_destroy(f->c);
    create_client(f, NULL);
}

void fake_restart_after_death(struct fake *f)
{
    assert_non_null(f->at_death);
    pqb_client_destroy(f->c);
    pqb_client_store_memory_destroy(f->store);
    f->store = f->at_death;
    f->at_death = NULL;
    create_client(f, NULL);
}

// --------------------------------------------------------------------------------- catching

static struct pqb_aead_with with_of(const uint8_t *datagram, uint64_t pn)
{
    return (struct pqb_aead_with){.number = pn, .ad = datagram, .ad_len = PQB_DATA_CLEAR_LEN};
}

// Takes the seal off, in place.
static void open_sealed(const struct fake *f, uint8_t *datagram, size_t *len)
{
    struct pqb_data d;
    struct pqb_aead_with with;

    if (!f->is_sealed)
        return;
    assert_int_equal(pqb_data_decode(datagram, *len, &d), PQB_VERDICT_OK);
    with = with_of(datagram, d.pn);
    assert_true(pqb_aead_open(PQB_CIPHER_CHACHAPOLY, f->recv, &with, datagram + PQB_DATA_CLEAR_LEN,
                              *len - PQB_DATA_CLEAR_LEN, datagram + PQB_DATA_CLEAR_LEN));
    *len -= PQB_TAG_LEN;
}

static void catch_data(struct fake *f, uint8_t *datagram, size_t len)
{
    struct pqb_data d;
    enum pqb_verdict verdict;
    struct pqb_bytes content;
    uint8_t code;

    open_sealed(f, datagram, &len);
    assert_int_equal(pqb_data_decode(datagram, len, &d), PQB_VERDICT_OK);
    assert_int_equal(d.cid, f->cid);
    f->pn_seen = d.pn;
    const uint8_t *at = d.frames;
    while (pqb_frame_next(&at, d.frames + d.frames_len, &code, &content, &verdict)) {
        assert_true(f->frame_count < FAKE_FRAMES_MAX);
        uint8_t *copy = f->copies[f->frame_count];

        memcpy(copy, content.data, content.len);
        content.data = copy;
        assert_int_equal(pqb_frame_decode(f->unpacker, code, content, &f->frames[f->frame_count]),
                         PQB_VERDICT_OK);
        f->frame_count++;
    }
    assert_int_equal(verdict, PQB_VERDICT_OK);
}

// The gateway's side of the first message. What the client writes must open.
static void catch_hello(struct fake *f)
{
    uint8_t prologue[PQB_PROLOGUE_MAX], key[PQB_KEY_LEN], mac1[PQB_MAC1_LEN];
    size_t len;

    assert_int_equal(pqb_hello_decode(f->init_datagram, PQB_INIT_LEN, &f->hello), PQB_VERDICT_OK);
    pqb_mac1_key(f->server.public, key);
    pqb_mac1_make(key, f->init_datagram, PQB_HELLO_MAC1_AT, mac1);
    assert_memory_equal(mac1, f->hello.mac1, sizeof(mac1));
    len = pqb_prologue_make(f->init_datagram, f->hello.ticket, prologue);
    if (f->hello.ticket != NULL) {
        assert_memory_equal(f->hello.ticket, f->ticket, PQB_TICKET_LEN);
        pqb_noise_init_nnpsk0(&f->noise, false, f->psk, prologue, len);
        f->resumes++;
    } else {
        pqb_noise_init_ik(&f->noise, false, &f->server, NULL, prologue, len);
    }
    assert_true(
        pqb_noise_read(&f->noise, f->hello.message, f->hello.message_len, f->init_payload, &len));
    assert_int_equal(
        pqb_hello_payload_decode(f->unpacker, f->hello.type, f->init_payload, len, &f->init),
        PQB_VERDICT_OK);
    f->init.init_id = f->hello.init_id;
    f->init.cookie = f->hello.cookie;
    f->init.cookie_len = f->hello.cookie_len;
    if (f->hello.ticket == NULL)
        assert_memory_equal(f->noise.rs, f->device.public, PQB_KEY_LEN);
}

void fake_pump(struct fake *f)
{
    uint8_t buf[PQB_DATAGRAM_MAX];
    enum pqb_datagram_type type;
    size_t len;

    for (int i = 0; (len = pqb_client_poll_transmit(f->c, buf, sizeof(buf), f->now)) > 0; i++) {
        assert_true(i < 1000);
        f->datagrams++;
        assert_int_equal(pqb_datagram_peek(buf, len, &type), PQB_VERDICT_OK);
        if (f->is_sealed && (type == PQB_DATAGRAM_INIT || type == PQB_DATAGRAM_RESUME)) {
            assert_int_equal(len, PQB_INIT_LEN);
            memcpy(f->init_datagram, buf, len);
            catch_hello(f);
            f->inits++;
        } else if (type == PQB_DATAGRAM_INIT) {
            memcpy(f->init_datagram, buf, len);
            assert_int_equal(pqb_init_decode(f->unpacker, f->init_datagram, len, &f->init),
                             PQB_VERDICT_OK);
            f->inits++;
        } else {
            catch_data(f, buf, len);
        }
    }
    // Whatever it wanted to do now is done: a driver would sleep, not spin.
    assert_true(pqb_client_next_deadline(f->c) > f->now);
}

void fake_run_until(struct fake *f, uint64_t now)
{
    f->now = now;
    pqb_client_on_timeout(f->c, now);
    fake_pump(f);
}

void fake_advance(struct fake *f, uint64_t duration)
{
    const uint64_t end = f->now + duration;

    for (int i = 0; pqb_client_next_deadline(f->c) <= end; i++) {
        const uint64_t next = pqb_client_next_deadline(f->c);

        assert_true(i < 100000);
        fake_run_until(f, next > f->now ? next : f->now);
    }
    fake_run_until(f, end);
}

// --------------------------------------------------------------------------------- answering

struct pqb_resp fake_resp(const struct fake *f)
{
    struct pqb_resp resp = {
        .init_id = f->init.init_id,
        .cid = FAKE_CID + f->inits,
        .epoch = f->init.epoch,
        .low = f->init.low,
        .cursor = f->init.cursor,
        .tail = 1,
        .head = f->init.cursor,
        .idle_ms = 600000,
        .body_max = 65536,
        .push_max = 200,
        .time_ms = 1700000000000,
        .cipher = f->is_sealed ? PQB_CIPHER_CHACHAPOLY : PQB_CIPHER_NONE,
    };
    memset(resp.reset_token, 0x5a, sizeof(resp.reset_token));
    return resp;
}

size_t fake_make_resp(struct fake *f, const struct pqb_resp *resp, uint8_t *out)
{
    const uint8_t ephemeral[PQB_KEY_LEN] = {0, 7, ++f->resp_count};
    uint8_t payload[PQB_DATAGRAM_MAX];
    struct pqb_noise noise = f->noise;
    size_t len, head;

    if (!f->is_sealed)
        return pqb_resp_encode(resp, out);
    len = pqb_answer_payload_encode(resp, payload);
    head = pqb_answer_begin(resp->init_id, out);
    len = pqb_noise_write(&noise, ephemeral, payload, len, out + head);
    assert_true(len > 0);
    pqb_noise_finish(&noise, f->recv, f->send);
    return head + len;
}

void fake_give(struct fake *f, const uint8_t *datagram, size_t len)
{
    pqb_client_on_datagram(f->c, datagram, len, f->now);
    fake_pump(f);
}

void fake_send_resp(struct fake *f, const struct pqb_resp *resp)
{
    uint8_t buf[PQB_DATAGRAM_MAX];
    const size_t len = fake_make_resp(f, resp, buf);

    f->cid = resp->cid;
    f->pn = 0;
    fake_give(f, buf, len);
}

size_t fake_make_data(struct fake *f, const struct pqb_frame *frames, size_t count, uint8_t *out)
{
    const struct pqb_aead_with with = with_of(out, f->pn + 1);
    const size_t room = PQB_DATAGRAM_MAX - (f->is_sealed ? PQB_TAG_LEN : 0);
    const struct pqb_data header = {.cid = f->cid,
                                    .pn = ++f->pn,
                                    .echo_pn = f->is_echoing ? (uint32_t)f->pn_seen : 0,
                                    .echo_delay = f->is_echoing ? 0 : 0xffff};
    size_t len = PQB_DATA_HEADER_LEN;

    pqb_data_header_encode(&header, out);
    for (size_t i = 0; i < count; i++) {
        const size_t n = pqb_frame_encode(&frames[i], out + len, room - len);

        assert_true(n > 0);
        len += n;
    }
    if (!f->is_sealed)
        return len;
    pqb_aead_seal(PQB_CIPHER_CHACHAPOLY, f->send, &with, out + PQB_DATA_CLEAR_LEN,
                  len - PQB_DATA_CLEAR_LEN, out + PQB_DATA_CLEAR_LEN);
    return len + PQB_TAG_LEN;
}

void fake_deliver_only(struct fake *f, const struct pqb_frame *frames, size_t count)
{
    uint8_t buf[PQB_DATAGRAM_MAX];
    const size_t len = fake_make_data(f, frames, count, buf);

    pqb_client_on_datagram(f->c, buf, len, f->now);
}

void fake_send_ticket(struct fake *f, uint8_t n)
{
    struct pqb_frame frame = {.type = PQB_FRAME_TICKET};

    memset(f->ticket, n, sizeof(f->ticket));
    memset(f->psk, n + 100, sizeof(f->psk));
    memcpy(frame.ticket.ticket, f->ticket, sizeof(f->ticket));
    memcpy(frame.ticket.psk, f->psk, sizeof(f->psk));
    fake_send(f, &frame, 1);
}

void fake_send(struct fake *f, const struct pqb_frame *frames, size_t count)
{
    fake_deliver_only(f, frames, count);
    fake_pump(f);
}

void fake_login(struct fake *f)
{
    pqb_client_connect(f->c, f->now);
    fake_pump(f);
    const struct pqb_resp resp = fake_resp(f);
    fake_send_resp(f, &resp);
    const struct pqb_frame *epoch = fake_last(f, PQB_FRAME_EPOCH_R);
    struct pqb_frame answers[3] = {
        {.type = PQB_FRAME_PONG},
        {.type = PQB_FRAME_ACK_A, .ack_a = {f->init.cursor}},
        {.type = PQB_FRAME_EPOCH_A, .epoch_a = {.epoch = 7}},
    };
    if (epoch != NULL)
        memcpy(answers[2].epoch_a.nonce, epoch->epoch_r.nonce, PQB_NONCE_LEN);
    fake_send(f, answers, epoch != NULL ? 3 : 2);
    assert_int_equal(pqb_client_get_state(f->c), PQB_CLIENT_ONLINE);
}

// --------------------------------------------------------------------------------- looking

void fake_forget(struct fake *f)
{
    f->frame_count = 0;
    f->event_count = 0;
    f->datagrams = 0;
}

const struct pqb_frame *fake_nth(const struct fake *f, enum pqb_frame_type type, size_t n)
{
    for (size_t i = 0; i < f->frame_count; i++) {
        if (f->frames[i].type == type && n-- == 0)
            return &f->frames[i];
    }
    return NULL;
}

size_t fake_count(const struct fake *f, enum pqb_frame_type type)
{
    size_t count = 0;

    while (fake_nth(f, type, count) != NULL)
        count++;
    return count;
}

const struct pqb_frame *fake_last(const struct fake *f, enum pqb_frame_type type)
{
    const size_t count = fake_count(f, type);

    return count > 0 ? fake_nth(f, type, count - 1) : NULL;
}

size_t fake_event_count(const struct fake *f, enum fake_event_type type)
{
    size_t count = 0;

    for (size_t i = 0; i < f->event_count; i++)
        count += f->events[i].type == type;
    return count;
}

const struct fake_event *fake_last_event(const struct fake *f, enum fake_event_type type)
{
    for (size_t i = f->event_count; i > 0; i--) {
        if (f->events[i - 1].type == type)
            return &f->events[i - 1];
    }
    return NULL;
}

struct pqb_frame fake_msg_a(uint64_t seq, uint8_t state)
{
    struct pqb_frame frame = {.type = PQB_FRAME_MSG_A};

    frame.msg_a = (struct pqb_frame_msg_a){.seq = seq, .state = state, .has_receipt = true};
    memset(frame.msg_a.receipt, (int)seq, PQB_RECEIPT_LEN);
    return frame;
}

struct pqb_frame fake_msg_n(uint64_t iseq, const char *body)
{
    struct pqb_frame frame = {.type = PQB_FRAME_MSG_N};

    frame.msg_n = (struct pqb_frame_msg_n){.iseq = iseq,
                                           .flags = iseq == 0 ? PQB_MSG_EPHEMERAL : 0,
                                           .time_ms = 1700000000000,
                                           .from = {"bob", 3},
                                           .device = {"desk", 4},
                                           .body = {(const uint8_t *)body, strlen(body)}};
    return frame;
}
