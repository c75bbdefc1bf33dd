// The frame of every stored value: CRC32C over key and value, schema byte, content. Shared by the
// codecs of records and rows.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/wire/cursor.h"
#include "storage/records.h"

// Leaves `c` where the content begins. `capacity` is known to hold it all.
void pqb_value_begin(struct pqb_writer_cursor *c, void *out, size_t capacity);
// Puts the CRC in; returns the value's length.
size_t pqb_value_end(struct pqb_writer_cursor *c, const void *key, size_t key_len);

// Checks CRC and schema and leaves `c` behind them. PQB_ERR_CORRUPT.
PQB_MUST_USE int pqb_value_open(struct pqb_reader_cursor *c, const void *key, size_t key_len,
                                const void *data, size_t len);
// PQB_ERR_CORRUPT when the content was shorter or longer than what was read.
PQB_MUST_USE int pqb_value_close(const struct pqb_reader_cursor *c);

void pqb_value_put_text(struct pqb_writer_cursor *c, struct pqb_text text);
struct pqb_text pqb_value_get_text(struct pqb_reader_cursor *c, size_t max); // borrowed

void pqb_value_put_settled(struct pqb_writer_cursor *c, const struct pqb_settled *s);
void pqb_value_get_settled(struct pqb_reader_cursor *c, struct pqb_settled *s);
