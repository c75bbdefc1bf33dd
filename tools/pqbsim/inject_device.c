#include "tools/pqbsim/inject_device.h"

#include <stdio.h>
#include <string.h>

#include "common/base/check.h"

#define ASK_INTERVAL_NS (300 * PQB_NS_PER_MS)
#define REPEAT_NS       (500 * PQB_NS_PER_MS)

void inject_device_init(struct inject *in, struct inject_device *d, const char *user,
                        bool is_sender, uint64_t init_id)
{
    PQB_ASSERT(init_id != 0);
    memset(d, 0, sizeof(*d));
    d->gateway = &in->gateway;
    d->init_id = init_id;
    d->is_sender = is_sender;
    d->low = 1;
    (void)snprintf(d->user, sizeof(d->user), "%s", user);
}

bool inject_device_is_ready(const struct inject_device *d)
{
    return d->cid != 0 && d->is_heard && (!d->is_sender || d->epoch != 0);
}

static size_t make_init(struct inject_device *d, uint8_t *out)
{
    const struct pqb_init init = {.init_id = d->init_id,
                                  .cookie = d->has_cookie ? d->cookie : NULL,
                                  .cookie_len = d->has_cookie ? PQB_COOKIE_LEN : 0,
                                  .user = {d->user, strlen(d->user)},
                                  .device = {"x", 1},
                                  .token = {"guess", 5},
                                  .epoch = d->epoch,
                                  .low = d->epoch != 0 ? d->low : 0,
                                  .cursor = d->cursor};

    return sealed_init(d->gateway, &d->sealed, &init, out);
}

size_t inject_device_log_in(struct inject_device *d, uint8_t *out, pqb_tstamp now)
{
    struct pqb_frame f = {.type = PQB_FRAME_PING, .ping = {.nonce = d->init_id}};

    if (d->asked_at != 0 && pqb_elapsed(d->asked_at, now) < ASK_INTERVAL_NS)
        return 0;
    d->asked_at = now;
    if (d->cid == 0)
        return make_init(d, out);
    if (d->is_sender && d->epoch == 0) {
        f = (struct pqb_frame){.type = PQB_FRAME_EPOCH_R};
        memcpy(f.epoch_r.nonce, &d->init_id, sizeof(d->init_id));
    }
    return inject_device_stamp(d, out, inject_device_put(&f, out, 0));
}

size_t inject_device_put(const struct pqb_frame *f, uint8_t *out, size_t used)
{
    if (used == 0)
        used = PQB_DATA_HEADER_LEN;
    return used + pqb_frame_encode(f, out + used, PQB_DATA_HEADER_LEN + PQB_FRAMES_MAX - used);
}

size_t inject_device_stamp(struct inject_device *d, uint8_t *out, size_t used)
{
    const struct pqb_data header = {.cid = d->cid, .pn = ++d->pn, .echo_pn = (uint32_t)d->echo_pn};

    return used > 0 ? sealed_data(&d->sealed, &header, out, used) : 0;
}

// ------------------------------------------------------------------------------------- answers

static void forget_session(struct inject_device *d)
{
    d->cid = d->pn = d->echo_pn = 0;
    d->asked_at = 0;
    d->is_heard = d->has_cookie = false;
    d->init_id += UINT64_C(1) << 32; // another login
}

static void on_resp(struct inject_device *d, const struct pqb_resp *resp)
{
    if (d->cid != 0 || resp->init_id != d->init_id)
        return;
    d->cid = resp->cid;
    d->cursor = resp->cursor;
    d->logins++;
    d->asked_at = 0; // go on at once
}

static void on_data(struct inject *in, struct inject_device *d, const struct pqb_data *data,
                    inject_frame_fn on_frame, void *ctx)
{
    const uint8_t *at = data->frames;
    enum pqb_verdict verdict = PQB_VERDICT_OK;
    struct pqb_bytes content;
    struct pqb_frame f;
    uint8_t code;

    d->is_heard = true;
    d->echo_pn = PQB_MAX(d->echo_pn, data->pn & PQB_PN_COUNTER_MASK);
    while (pqb_frame_next(&at, data->frames + data->frames_len, &code, &content, &verdict)) {
        if (!pqb_frame_is_known(code) ||
            pqb_frame_decode(in->unpacker, code, content, &f) != PQB_VERDICT_OK)
            continue;
        if (f.type == PQB_FRAME_EPOCH_A)
            d->epoch = f.epoch_a.epoch;
        if (f.type == PQB_FRAME_KICK)
            forget_session(d);
        else if (on_frame != NULL)
            on_frame(ctx, &f);
    }
}

void inject_device_on_answer(struct inject *in, struct inject_device *d, const uint8_t *data,
                             size_t len, inject_frame_fn on_frame, void *ctx)
{
    enum pqb_datagram_type type;
    struct pqb_retry retry;
    struct pqb_reset reset;
    struct pqb_resp resp;
    struct pqb_data dd;
    uint8_t plain[PQB_DATAGRAM_MAX];

    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK)
        return;
    if (type == PQB_DATAGRAM_DATA && d->cid != 0 && pqb_datagram_cid(data, len) == d->cid &&
        sealed_open(&d->sealed, data, len, plain, &dd, in->fleet.now))
        on_data(in, d, &dd, on_frame, ctx);
    if (type == PQB_DATAGRAM_RESP && d->cid == 0 &&
        sealed_read_resp(&in->gateway, &d->sealed, in->unpacker, data, len, &resp))
        on_resp(d, &resp);
    if (type == PQB_DATAGRAM_RETRY && pqb_retry_decode(data, len, &retry) == PQB_VERDICT_OK &&
        retry.init_id == d->init_id) {
        memcpy(d->cookie, retry.cookie, sizeof(d->cookie));
        d->has_cookie = true;
        d->asked_at = 0;
    }
    if (type == PQB_DATAGRAM_RESET && pqb_reset_decode(data, len, &reset) == PQB_VERDICT_OK &&
        reset.cid == d->cid)
        forget_session(d);
}

// --------------------------------------------------------------------------------------- flows

static pqb_tstamp *slot(struct inject_flow *f, uint64_t seq)
{
    return &f->sent_at[seq % PQB_SEQ_WINDOW];
}

void inject_flow_init(struct inject *in, struct inject_flow *f, const char *user, uint64_t init_id)
{
    memset(f, 0, sizeof(*f));
    f->next = 1;
    inject_device_init(in, &f->device, user, true, init_id);
}

uint64_t inject_flow_take(struct inject_flow *f, pqb_tstamp now)
{
    const uint64_t low = f->device.low;

    if (f->next - low < PQB_SEQ_WINDOW) {
        *slot(f, f->next) = now;
        return f->next++;
    }
    for (uint64_t seq = low; seq < f->next; seq++) {
        pqb_tstamp *sent_at = slot(f, seq);

        if (*sent_at != 0 && pqb_elapsed(*sent_at, now) >= REPEAT_NS) {
            *sent_at = now;
            return seq;
        }
    }
    return 0;
}

static bool resolve(struct inject_flow *f, uint64_t seq)
{
    uint64_t *low = &f->device.low;

    if (seq < *low || seq >= f->next || *slot(f, seq) == 0)
        return false;
    *slot(f, seq) = 0;
    while (*low < f->next && *slot(f, *low) == 0)
        (*low)++;
    return true;
}

bool inject_flow_on_frame(struct inject_flow *f, const struct pqb_frame *frame, uint64_t *seq,
                          bool *is_accepted)
{
    if (frame->type == PQB_FRAME_MSG_A) {
        *seq = frame->msg_a.seq;
        *is_accepted = true;
    } else if (frame->type == PQB_FRAME_NACK && frame->nack.frame == PQB_FRAME_MSG_R) {
        *seq = frame->nack.ref;
        *is_accepted = false;
        if (!pqb_nack_reason_is_final(frame->nack.reason))
            return false;
    } else {
        return false;
    }
    if (!resolve(f, *seq))
        return false;
    f->accepted += *is_accepted;
    f->refused += !*is_accepted;
    f->quota += !*is_accepted && frame->nack.reason == PQB_NACK_QUOTA;
    return true;
}
