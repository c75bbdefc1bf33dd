// How a struct travels as a msgpack array: one descriptor an element, in the order of the wire.
// Encoder, decoder and the element tables of PROTOCOL.md all come from these descriptors.
//
// Internal to common/wire (its tests read the descriptors too).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/wire/cursor.h"
#include "common/wire/datagram.h"
#include "common/wire/frame.h"

enum pqb_field_kind {
    PQB_FIELD_UINT,       // unsigned integer, min..max
    PQB_FIELD_BOOL,       // true or false
    PQB_FIELD_STATE,      // uint8_t that is an enum pqb_state
    PQB_FIELD_TEXT,       // str: UTF-8, min..max bytes
    PQB_FIELD_NAME,       // str: pqb_name_is_valid, 1..max bytes
    PQB_FIELD_BYTES,      // bin, min..max bytes
    PQB_FIELD_FIXED,      // bin of exactly `max` bytes, copied
    PQB_FIELD_OPTIONAL,   // nil, or bin of exactly `max` bytes
    PQB_FIELD_RANGES,     // array [first, last, first, last ...], at most `max` ranges
    PQB_FIELD_SEQ_STATES, // array [seq, state, seq, state ...], at most `max` pairs
};

struct pqb_field {
    const char *name;
    enum pqb_field_kind kind;
    uint8_t width;   // UINT: size of the member, 1, 2, 4 or 8
    uint16_t offset; // of the member; of the count or the has_ flag where there are two
    uint16_t second; // of the array that goes with a count, of the bytes that go with a flag
    uint64_t min, max;
};

struct pqb_layout {
    const struct pqb_field *fields;
    size_t count;
};

extern const struct pqb_layout pqb_init_layout;   // of struct pqb_init
extern const struct pqb_layout pqb_resume_layout; // of struct pqb_init
extern const struct pqb_layout pqb_resp_layout;   // of struct pqb_resp

// Layout of frame type `code`, offsets within struct pqb_frame; NULL for an unknown type.
const struct pqb_layout *pqb_frame_layout(uint8_t code);

// Rules between the fields of one frame (`after < seq`). Each field alone has been checked.
bool pqb_frame_is_consistent(const struct pqb_frame *frame);

bool pqb_state_is_known(uint64_t state);

// count <= max, each first <= last, ascending and disjoint.
bool pqb_ranges_are_valid(const struct pqb_range *ranges, size_t count, uint64_t max);

// Fills the members that `layout` names; text and bytes borrow from `data`.
PQB_MUST_USE enum pqb_verdict pqb_fields_decode(struct pqb_unpacker *u,
                                                const struct pqb_layout *layout, const void *data,
                                                size_t len, void *out);

// Appends the array. Asserts what the decoder would refuse, save that text is UTF-8.
void pqb_fields_encode(const struct pqb_layout *layout, const void *in,
                       struct pqb_writer_cursor *out);
