// What each frame carries, element by element, with its limits.
#include "common/wire/layout.h"

// clang-format off
#define FRAME                        struct pqb_frame
#define UINT_IN(member, label, lowest, highest) \
    PQB_UINT(FRAME, member, label, lowest, highest)
#define UINT(member, label)          UINT_IN(member, label, 0, PQB_UINT_MAX_OF(FRAME, member))
#define POSITIVE(member, label)      UINT_IN(member, label, 1, PQB_UINT_MAX_OF(FRAME, member))
#define BOOL(member, label)          PQB_ONE(FRAME, member, label, PQB_FIELD_BOOL, 0, 1)
#define STATE(member, label)         PQB_ONE(FRAME, member, label, PQB_FIELD_STATE, 0, 255)
#define NAME(member, label, highest) PQB_ONE(FRAME, member, label, PQB_FIELD_NAME, 1, highest)
#define BYTES(member, label, highest) PQB_ONE(FRAME, member, label, PQB_FIELD_BYTES, 0, highest)
#define FIXED(member, label)                                                            \
    PQB_ONE(FRAME, member, label, PQB_FIELD_FIXED, 0, PQB_SIZE_OF(FRAME, member))
#define RECEIPT(frame)                                                                  \
    PQB_TWO(FRAME, frame.has_receipt, frame.receipt, "receipt", PQB_FIELD_OPTIONAL,     \
            PQB_RECEIPT_LEN)
#define RANGES(member, label)                                                           \
    PQB_TWO(FRAME, member.count, member.at, label, PQB_FIELD_RANGES, PQB_FRAME_RANGES_MAX)
// clang-format on

static const struct pqb_field ping_fields[] = {
    UINT(ping.nonce, "nonce"),
};

static const struct pqb_field path_fields[] = {
    FIXED(path.data, "data"),
};

static const struct pqb_field nack_fields[] = {
    POSITIVE(nack.frame, "frame"),
    UINT(nack.ref, "ref"),
    POSITIVE(nack.reason, "reason"),
    UINT(nack.retry_after_ms, "retry_after_ms"),
};

static const struct pqb_field kick_fields[] = {
    POSITIVE(kick.reason, "reason"),
};

static const struct pqb_field ticket_fields[] = {
    FIXED(ticket.ticket, "ticket"),
    FIXED(ticket.psk, "psk"),
};

static const struct pqb_field msg_r_fields[] = {
    UINT(msg_r.seq, "seq"),
    UINT(msg_r.low, "low"),
    UINT(msg_r.after, "after"),
    UINT(msg_r.flags, "flags"),
    UINT(msg_r.kind, "kind"),
    NAME(msg_r.to, "to", PQB_USER_MAX),
    BYTES(msg_r.body, "body", PQB_BODY_MAX),
};

static const struct pqb_field msg_a_fields[] = {
    POSITIVE(msg_a.seq, "seq"),
    STATE(msg_a.state, "state"),
    RECEIPT(msg_a),
};

static const struct pqb_field msg_n_fields[] = {
    UINT(msg_n.iseq, "iseq"),
    UINT(msg_n.flags, "flags"),
    UINT(msg_n.kind, "kind"),
    UINT(msg_n.time_ms, "time_ms"),
    NAME(msg_n.from, "from", PQB_USER_MAX),
    NAME(msg_n.device, "device", PQB_DEVICE_MAX),
    BYTES(msg_n.body, "body", PQB_BODY_MAX),
};

static const struct pqb_field ack_r_fields[] = {
    UINT(ack_r.cursor, "cursor"),
    RANGES(ack_r.received, "received"),
};

static const struct pqb_field ack_a_fields[] = {
    UINT(ack_a.cursor, "cursor"),
};

static const struct pqb_field ack_n_fields[] = {
    STATE(ack_n.state, "state"),
    RANGES(ack_n.seqs, "seqs"),
};

static const struct pqb_field off_r_fields[] = {
    UINT(off_r.cursor, "cursor"),
    UINT(off_r.after, "after"),
    UINT(off_r.max, "max"),
    UINT(off_r.max_bytes, "max_bytes"),
};

static const struct pqb_field off_a_fields[] = {
    UINT(off_a.after, "after"), UINT(off_a.first, "first"), UINT(off_a.last, "last"),
    UINT(off_a.tail, "tail"),   UINT(off_a.head, "head"),   BOOL(off_a.has_more, "has_more"),
};

static const struct pqb_field off_n_fields[] = {
    UINT(off_n.head, "head"),
};

static const struct pqb_field stat_r_fields[] = {
    POSITIVE(stat_r.seq, "seq"),
    NAME(stat_r.to, "to", PQB_USER_MAX),
    RECEIPT(stat_r),
};

static const struct pqb_field stat_a_fields[] = {
    POSITIVE(stat_a.seq, "seq"),
    STATE(stat_a.state, "state"),
    RECEIPT(stat_a),
};

static const struct pqb_field epoch_r_fields[] = {
    FIXED(epoch_r.nonce, "nonce"),
};

static const struct pqb_field epoch_a_fields[] = {
    FIXED(epoch_a.nonce, "nonce"),
    POSITIVE(epoch_a.epoch, "epoch"),
};

static const struct pqb_field skip_r_fields[] = {
    UINT(skip_r.low, "low"),
    RANGES(skip_r.seqs, "seqs"),
};

static const struct pqb_field skip_a_fields[] = {
    PQB_TWO(FRAME, skip_a.count, skip_a.at, "seqs", PQB_FIELD_SEQ_STATES, PQB_SKIP_MAX),
};

static const struct pqb_field gap_n_fields[] = {
    POSITIVE(gap_n.from, "from"),
    POSITIVE(gap_n.to, "to"),
    POSITIVE(gap_n.reason, "reason"),
};

static const struct pqb_field frag_fields[] = {
    POSITIVE(frag.id, "id"),
    POSITIVE(frag.frame, "frame"),
    POSITIVE(frag.seq, "seq"),
    UINT_IN(frag.total, "total", 1, PQB_FRAG_TOTAL_MAX),
    UINT(frag.hash, "hash"),
    UINT_IN(frag.index, "index", 0, PQB_FRAG_COUNT_MAX - 1),
    BYTES(frag.piece, "piece", PQB_FRAG_LEN),
};

static const struct pqb_field frag_a_fields[] = {
    POSITIVE(frag_a.id, "id"),
    RANGES(frag_a.received, "received"),
};

static const struct pqb_field frag_reset_fields[] = {
    POSITIVE(frag_reset.id, "id"),
    POSITIVE(frag_reset.seq, "seq"),
};

static const struct pqb_layout layouts[] = {
    [PQB_FRAME_PING] = PQB_LAYOUT(ping_fields),
    [PQB_FRAME_PONG] = PQB_LAYOUT(ping_fields),
    [PQB_FRAME_PATH_CHALLENGE] = PQB_LAYOUT(path_fields),
    [PQB_FRAME_PATH_RESPONSE] = PQB_LAYOUT(path_fields),
    [PQB_FRAME_NACK] = PQB_LAYOUT(nack_fields),
    [PQB_FRAME_KICK] = PQB_LAYOUT(kick_fields),
    [PQB_FRAME_LOGOUT] = {NULL, 0},
    [PQB_FRAME_TICKET] = PQB_LAYOUT(ticket_fields),
    [PQB_FRAME_MSG_R] = PQB_LAYOUT(msg_r_fields),
    [PQB_FRAME_MSG_A] = PQB_LAYOUT(msg_a_fields),
    [PQB_FRAME_MSG_N] = PQB_LAYOUT(msg_n_fields),
    [PQB_FRAME_ACK_R] = PQB_LAYOUT(ack_r_fields),
    [PQB_FRAME_ACK_A] = PQB_LAYOUT(ack_a_fields),
    [PQB_FRAME_ACK_N] = PQB_LAYOUT(ack_n_fields),
    [PQB_FRAME_OFF_R] = PQB_LAYOUT(off_r_fields),
    [PQB_FRAME_OFF_A] = PQB_LAYOUT(off_a_fields),
    [PQB_FRAME_OFF_N] = PQB_LAYOUT(off_n_fields),
    [PQB_FRAME_STAT_R] = PQB_LAYOUT(stat_r_fields),
    [PQB_FRAME_STAT_A] = PQB_LAYOUT(stat_a_fields),
    [PQB_FRAME_EPOCH_R] = PQB_LAYOUT(epoch_r_fields),
    [PQB_FRAME_EPOCH_A] = PQB_LAYOUT(epoch_a_fields),
    [PQB_FRAME_SKIP_R] = PQB_LAYOUT(skip_r_fields),
    [PQB_FRAME_SKIP_A] = PQB_LAYOUT(skip_a_fields),
    [PQB_FRAME_GAP_N] = PQB_LAYOUT(gap_n_fields),
    [PQB_FRAME_FRAG] = PQB_LAYOUT(frag_fields),
    [PQB_FRAME_FRAG_A] = PQB_LAYOUT(frag_a_fields),
    [PQB_FRAME_FRAG_RESET] = PQB_LAYOUT(frag_reset_fields),
};

const struct pqb_layout *pqb_frame_layout(uint8_t code)
{
    if (!pqb_frame_is_known(code))
        return NULL;
    return &layouts[code];
}
