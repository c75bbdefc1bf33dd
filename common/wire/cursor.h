// Bounds-checked reader and writer over a byte buffer, integers in network byte order. The first
// error is latched and later calls do nothing, so the caller checks once at the end.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"

struct pqb_reader_cursor {
    const uint8_t *at, *end;
    bool is_bad; // a read went past the end; every later read gives 0
};

struct pqb_writer_cursor {
    uint8_t *start, *at, *end;
    bool is_bad; // a write did not fit; nothing more is written
};

void pqb_rcur_init(struct pqb_reader_cursor *c, const void *data, size_t len);
uint8_t pqb_rcur_u8(struct pqb_reader_cursor *c);
uint16_t pqb_rcur_u16(struct pqb_reader_cursor *c);
uint32_t pqb_rcur_u32(struct pqb_reader_cursor *c);
uint64_t pqb_rcur_u64(struct pqb_reader_cursor *c);
const uint8_t *pqb_rcur_bytes(struct pqb_reader_cursor *c, size_t len); // borrowed; NULL when bad
void pqb_rcur_copy(struct pqb_reader_cursor *c, void *out, size_t len); // nothing when bad
size_t pqb_rcur_left(const struct pqb_reader_cursor *c);

void pqb_wcur_init(struct pqb_writer_cursor *c, void *data, size_t capacity);
void pqb_wcur_u8(struct pqb_writer_cursor *c, uint8_t value);
void pqb_wcur_u16(struct pqb_writer_cursor *c, uint16_t value);
void pqb_wcur_u32(struct pqb_writer_cursor *c, uint32_t value);
void pqb_wcur_u64(struct pqb_writer_cursor *c, uint64_t value);
void pqb_wcur_bytes(struct pqb_writer_cursor *c, const void *data, size_t len);
size_t pqb_wcur_len(const struct pqb_writer_cursor *c); // bytes written so far
