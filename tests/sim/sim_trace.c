#include "tests/sim/sim_trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "common/base/err.h"
#include "common/proto/packet_keys.h"
#include "common/wire/datagram.h"
#include "common/wire/frame.h"

#define LINES    1024
#define LINE_LEN 240

static struct {
    enum sim_trace_mode mode;
    char lines[LINES][LINE_LEN];
    size_t count;
    uint64_t digest;
    bool is_sealed;
} trace;

void sim_trace_begin(enum sim_trace_mode mode)
{
    trace.mode = mode;
    trace.count = 0;
    trace.digest = 0;
}

bool sim_trace_is_on(void)
{
    return trace.mode != SIM_TRACE_OFF;
}

void sim_trace_seal(bool is_sealed)
{
    trace.is_sealed = is_sealed;
}

void sim_trace(pqb_tstamp now, const char *format, ...)
{
    char *line = trace.lines[trace.count % LINES];
    va_list args;
    int at;

    if (trace.mode == SIM_TRACE_OFF)
        return;
    at = snprintf(line, LINE_LEN, "%12.6f ", (double)now / 1e9);
    va_start(args, format);
    vsnprintf(line + at, LINE_LEN - (size_t)at, format, args);
    va_end(args);
    trace.count++;
    if (trace.mode == SIM_TRACE_PRINT)
        puts(line);
}

void sim_trace_print_tail(FILE *out, size_t lines)
{
    size_t first = trace.count > lines ? trace.count - lines : 0;

    if (trace.count > LINES && first < trace.count - LINES)
        first = trace.count - LINES;
    for (size_t i = first; i < trace.count; i++)
        fprintf(out, "%s\n", trace.lines[i % LINES]);
}

static void append(char *text, size_t size, const char *format, ...) PQB_PRINTF(3, 4);

static void append(char *text, size_t size, const char *format, ...)
{
    const size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

static void describe_frame(char *text, size_t size, uint8_t code, struct pqb_bytes content)
{
    static struct pqb_unpacker *unpacker;
    struct pqb_frame f;

    append(text, size, " %s", pqb_frame_name(code));
    if (!unpacker && pqb_unpacker_create(&unpacker) != PQB_OK)
        return;
    if (!pqb_frame_is_known(code) ||
        pqb_frame_decode(unpacker, code, content, &f) != PQB_VERDICT_OK)
        return;
    if (code == PQB_FRAME_MSG_R)
        append(text, size, "(%" PRIu64 " low %" PRIu64 " after %" PRIu64 ")", f.msg_r.seq,
               f.msg_r.low, f.msg_r.after);
    else if (code == PQB_FRAME_MSG_A || code == PQB_FRAME_STAT_A)
        append(text, size, "(%" PRIu64 " %s)", f.msg_a.seq, pqb_state_name(f.msg_a.state));
    else if (code == PQB_FRAME_MSG_N)
        append(text, size, "(%" PRIu64 ")", f.msg_n.iseq & PQB_ISEQ_COUNTER_MASK);
    else if (code == PQB_FRAME_ACK_R || code == PQB_FRAME_ACK_A)
        append(text, size, "(%" PRIu64 ")", f.ack_r.cursor & PQB_ISEQ_COUNTER_MASK);
    else if (code == PQB_FRAME_OFF_R)
        append(text, size, "(%" PRIu64 " after %" PRIu64 ")",
               f.off_r.cursor & PQB_ISEQ_COUNTER_MASK, f.off_r.after & PQB_ISEQ_COUNTER_MASK);
    else if (code == PQB_FRAME_OFF_A)
        append(text, size, "(%" PRIu64 "-%" PRIu64 " of %" PRIu64 ")",
               f.off_a.first & PQB_ISEQ_COUNTER_MASK, f.off_a.last & PQB_ISEQ_COUNTER_MASK,
               f.off_a.head & PQB_ISEQ_COUNTER_MASK);
    else if (code == PQB_FRAME_NACK)
        append(text, size, "(%" PRIu64 " %s %ums)", f.nack.ref, pqb_nack_reason_name(f.nack.reason),
               f.nack.retry_after_ms);
    else if (code == PQB_FRAME_KICK)
        append(text, size, "(%u)", f.kick.reason);
    else if (code == PQB_FRAME_EPOCH_A)
        append(text, size, "(%u)", f.epoch_a.epoch);
    else if (code == PQB_FRAME_FRAG)
        append(text, size, "(%u/%u)", f.frag.id, f.frag.index);
    else if (code == PQB_FRAME_FRAG_A && f.frag_a.received.count > 0)
        append(text, size, "(%u:%" PRIu64 "-%" PRIu64 ",+%zu)", f.frag_a.id,
               f.frag_a.received.at[0].first, f.frag_a.received.at[0].last,
               f.frag_a.received.count - 1);
    else if (code == PQB_FRAME_FRAG_RESET)
        append(text, size, "(%u)", f.frag_reset.id);
    else if (code == PQB_FRAME_GAP_N)
        append(text, size, "(%" PRIu64 "-%" PRIu64 " %u)", f.gap_n.from, f.gap_n.to,
               f.gap_n.reason);
}

static void describe_data(char *text, size_t size, const void *data, size_t len)
{
    struct pqb_data d;
    struct pqb_bytes content;
    const uint8_t *at;
    enum pqb_verdict verdict;
    uint8_t code;

    if (pqb_data_decode(data, len, &d) != PQB_VERDICT_OK)
        return;
    if (trace.is_sealed) {
        append(text, size, "%04x pn %u:%" PRIu64 " (%zu bytes)", (unsigned)(d.cid & 0xffff),
               (unsigned)(d.pn >> PQB_PN_COUNTER_BITS), d.pn & PQB_PN_COUNTER_MASK, len);
        return;
    }
    append(text, size, "%04x pn %" PRIu64, (unsigned)(d.cid & 0xffff), d.pn);
    at = d.frames;
    while (pqb_frame_next(&at, d.frames + d.frames_len, &code, &content, &verdict))
        describe_frame(text, size, code, content);
}

void sim_trace_datagram(pqb_tstamp now, const char *what, const void *data, size_t len)
{
    static const char *const names[] = {"?",      "init", "retry", "resp",
                                        "resume", "busy", "data",  "reset"};
    enum pqb_datagram_type type;
    char text[200] = "";

    if (trace.mode == SIM_TRACE_OFF)
        return;
    if (pqb_datagram_peek(data, len, &type) != PQB_VERDICT_OK) {
        sim_trace(now, "%s broken datagram of %zu bytes", what, len);
        return;
    }
    if (type == PQB_DATAGRAM_DATA)
        describe_data(text, sizeof(text), data, len);
    sim_trace(now, "%s %s %s", what, names[type & 7], text);
}

void sim_trace_mix(uint64_t value)
{
    trace.digest = (trace.digest ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    trace.digest ^= trace.digest >> 29;
}

uint64_t sim_trace_digest(void)
{
    return trace.digest;
}
