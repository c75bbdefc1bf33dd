#include "tests/unit/wire_samples.h"

#include <string.h>

#include "common/base/check.h"
#include "common/wire/fields.h"

const uint8_t wire_sample_codes[] = {
#define PQB_FRAME(name, code, text, direction, fragmentable, help) code,
#include "common/wire/frames.def"
#undef PQB_FRAME
};
const size_t wire_sample_code_count = PQB_ARRAY_LEN(wire_sample_codes);

static const uint8_t states[] = {PQB_STATE_UNKNOWN,   PQB_STATE_ACCEPTED, PQB_STATE_STORED,
                                 PQB_STATE_DELIVERED, PQB_STATE_READ,     PQB_STATE_REFUSED,
                                 PQB_STATE_ABANDONED};
static const char names[] = "Zo\xc3\xab"
                            "-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJ";
static char text[PQB_TOKEN_MAX];
static uint8_t filler[PQB_BODY_MAX];

static uint64_t pick(struct pqb_rng *rng, enum wire_sample_mode mode, uint64_t min, uint64_t max)
{
    if (mode == WIRE_SAMPLE_LOWEST)
        return min;
    if (mode == WIRE_SAMPLE_HIGHEST)
        return max;
    // All lengths of integer: a random number of bits.
    const uint64_t bits = UINT64_MAX >> pqb_rng_below(rng, 64);
    const uint64_t span = max - min;
    const uint64_t offset = pqb_rng_next(rng) & bits;
    return min + (span == UINT64_MAX ? offset : offset % (span + 1));
}

static void store(void *member, uint8_t width, uint64_t value)
{
    if (width == 1)
        *(uint8_t *)member = (uint8_t)value;
    else if (width == 2)
        *(uint16_t *)member = (uint16_t)value;
    else if (width == 4)
        *(uint32_t *)member = (uint32_t)value;
    else
        *(uint64_t *)member = value;
}

static uint8_t pick_state(struct pqb_rng *rng, enum wire_sample_mode mode)
{
    return states[pick(rng, mode, 0, PQB_ARRAY_LEN(states) - 1)];
}

// Random names are prefixes cut so that no character is torn.
static void sample_name(struct pqb_rng *rng, enum wire_sample_mode mode, size_t max,
                        struct pqb_text *out)
{
    size_t len = (size_t)pick(rng, mode, 1, max);

    PQB_ASSERT(sizeof(names) - 1 >= max);
    if (len == 3)
        len = 4;
    *out = (struct pqb_text){names, len};
}

static void sample_ranges(struct pqb_rng *rng, enum wire_sample_mode mode, uint64_t count_max,
                          size_t *count, struct pqb_range *ranges)
{
    uint64_t next = 0;

    *count = (size_t)pick(rng, mode, 0, count_max);
    if (mode == WIRE_SAMPLE_HIGHEST)
        next = UINT64_MAX - 2 * *count + 1;
    for (size_t i = 0; i < *count; i++) {
        const bool is_random = mode == WIRE_SAMPLE_RANDOM;
        ranges[i].first = next + (is_random ? pqb_rng_below(rng, 100000) : 0);
        ranges[i].last = ranges[i].first + (is_random ? pqb_rng_below(rng, 3) : 1);
        next = ranges[i].last + 1;
    }
}

static void sample_seq_states(struct pqb_rng *rng, enum wire_sample_mode mode, uint64_t count_max,
                              size_t *count, struct pqb_seq_state *pairs)
{
    *count = (size_t)pick(rng, mode, 0, count_max);
    for (size_t i = 0; i < *count; i++) {
        pairs[i].seq = pick(rng, mode, 1, UINT64_MAX);
        pairs[i].state = pick_state(rng, mode);
    }
}

static void sample_field(struct pqb_rng *rng, enum wire_sample_mode mode, const struct pqb_field *f,
                         size_t body_max, char *base)
{
    void *member = base + f->offset, *second = base + f->second;

    switch (f->kind) {
    case PQB_FIELD_UINT:
        store(member, f->width, pick(rng, mode, f->min, f->max));
        return;
    case PQB_FIELD_BOOL:
        *(bool *)member = pick(rng, mode, 0, 1) != 0;
        return;
    case PQB_FIELD_STATE:
        *(uint8_t *)member = pick_state(rng, mode);
        return;
    case PQB_FIELD_TEXT:
        memset(text, 't', sizeof(text));
        *(struct pqb_text *)member =
            (struct pqb_text){text, (size_t)pick(rng, mode, f->min, f->max)};
        return;
    case PQB_FIELD_NAME:
        sample_name(rng, mode, (size_t)f->max, member);
        return;
    case PQB_FIELD_BYTES:
        *(struct pqb_bytes *)member = (struct pqb_bytes){
            filler, (size_t)pick(rng, mode, f->min, PQB_MIN(f->max, (uint64_t)body_max))};
        return;
    case PQB_FIELD_FIXED:
        pqb_rng_fill(rng, member, (size_t)f->max);
        return;
    case PQB_FIELD_OPTIONAL:
        *(bool *)member = pick(rng, mode, 0, 1) != 0;
        if (*(bool *)member)
            pqb_rng_fill(rng, second, (size_t)f->max);
        return;
    case PQB_FIELD_RANGES:
        sample_ranges(rng, mode, f->max, member, second);
        return;
    case PQB_FIELD_SEQ_STATES:
        sample_seq_states(rng, mode, f->max, member, second);
        return;
    }
}

static void make_msg_r_consistent(struct pqb_frame_msg_r *f)
{
    f->seq = PQB_MAX(f->seq, UINT64_C(1));
    f->after = PQB_MIN(f->after, f->seq - 1);
    if (f->flags & PQB_MSG_EPHEMERAL)
        f->seq = f->after = 0;
}

static void make_off_a_consistent(struct pqb_frame_off_a *f)
{
    if (f->last <= 1 || f->first == 0 || f->after >= f->last) {
        f->first = f->last = 0;
        return;
    }
    f->first = PQB_MAX(PQB_MIN(f->first, f->last), f->after + 1);
}

static void make_skip_r_consistent(struct pqb_frame_skip_r *f)
{
    struct pqb_ranges *seqs = &f->seqs;

    if (seqs->count == 0)
        *seqs = (struct pqb_ranges){.count = 1, .at = {{5, 5}}};
    seqs->at[0].first = PQB_MAX(seqs->at[0].first, UINT64_C(1));
    for (size_t i = 0; i < seqs->count; i++)
        seqs->at[i].first = seqs->at[i].last = PQB_MAX(seqs->at[i].first, UINT64_C(1));
}

static void make_frag_consistent(struct pqb_frame_frag *f)
{
    f->frame = f->frame % 2 ? PQB_FRAME_MSG_R : PQB_FRAME_MSG_N;
    f->index = (uint16_t)PQB_MIN(f->index, (f->total - 1) / PQB_FRAG_LEN);
    const uint32_t rest = f->total - (uint32_t)f->index * PQB_FRAG_LEN;
    f->piece = (struct pqb_bytes){filler, PQB_MIN(rest, (uint32_t)PQB_FRAG_LEN)};
}

static void make_consistent(struct pqb_frame *f)
{
    struct pqb_ranges *received = &f->frag_a.received;

    if (f->type == PQB_FRAME_MSG_R)
        make_msg_r_consistent(&f->msg_r);
    else if (f->type == PQB_FRAME_MSG_N && f->msg_n.iseq == 0)
        f->msg_n.flags |= PQB_MSG_EPHEMERAL;
    else if (f->type == PQB_FRAME_MSG_N && f->msg_n.flags & PQB_MSG_EPHEMERAL)
        f->msg_n.iseq = 0;
    else if (f->type == PQB_FRAME_OFF_R)
        f->off_r.after = PQB_MAX(f->off_r.after, f->off_r.cursor);
    else if (f->type == PQB_FRAME_OFF_A)
        make_off_a_consistent(&f->off_a);
    else if (f->type == PQB_FRAME_SKIP_R)
        make_skip_r_consistent(&f->skip_r);
    else if (f->type == PQB_FRAME_GAP_N)
        f->gap_n.to = PQB_MAX(f->gap_n.to, f->gap_n.from);
    else if (f->type == PQB_FRAME_FRAG)
        make_frag_consistent(&f->frag);
    else if (f->type == PQB_FRAME_FRAG_A && received->count > 0)
        *received = (struct pqb_ranges){.count = 1, .at = {{0, PQB_FRAG_COUNT_MAX - 1}}};
}

void wire_sample_frame(struct pqb_rng *rng, uint8_t code, enum wire_sample_mode mode,
                       size_t body_max, struct pqb_frame *out)
{
    const struct pqb_layout *layout = pqb_frame_layout(code);

    memset(out, 0, sizeof(*out));
    out->type = (enum pqb_frame_type)code;
    for (size_t i = 0; i < sizeof(filler); i++)
        filler[i] = (uint8_t)i;
    for (size_t i = 0; i < layout->count; i++)
        sample_field(rng, mode, &layout->fields[i], body_max, (char *)out);
    make_consistent(out);
}

void wire_sample_init(struct pqb_rng *rng, enum wire_sample_mode mode, struct pqb_init *out)
{
    memset(out, 0, sizeof(*out));
    out->init_id = pqb_rng_next(rng);
    out->cookie = filler;
    out->cookie_len = pick(rng, mode, 0, 1) != 0 ? PQB_COOKIE_LEN : 0;
    for (size_t i = 0; i < pqb_init_layout.count; i++)
        sample_field(rng, mode, &pqb_init_layout.fields[i], 0, (char *)out);
}

void wire_sample_resp(struct pqb_rng *rng, enum wire_sample_mode mode, struct pqb_resp *out)
{
    memset(out, 0, sizeof(*out));
    out->init_id = pqb_rng_next(rng);
    for (size_t i = 0; i < pqb_resp_layout.count; i++)
        sample_field(rng, mode, &pqb_resp_layout.fields[i], 0, (char *)out);
}
