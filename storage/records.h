// What stands on disk, to and from structs: journal records, table rows, keys. Byte tables:
// storage/FORMAT.md. No LMDB, no state.
//
// Every value begins with a CRC32C over its key and the rest of the value, then a schema byte, so
// that neither a flipped bit nor a value under a wrong key passes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/wire/frame.h"
#include "common/wire/limits.h"
#include "storage/store.h"

#define PQB_FORMAT_VERSION 1 // of the whole directory, in meta
#define PQB_RECORD_SCHEMA  1 // of each value

#define PQB_GENERATION_MAX ((UINT32_C(1) << 24) - 1) // the high bits of an iseq

// A value up to this many bytes stays inside a 4 KiB page with its neighbours; larger messages
// continue in parts.
#define PQB_VALUE_MAX        1900
#define PQB_VALUE_HEADER_LEN 5 // CRC32C 4, schema 1
#define PQB_PART_HEADER_LEN  (PQB_VALUE_HEADER_LEN + 1)
#define PQB_PART_BYTES_MAX   (PQB_VALUE_MAX - PQB_PART_HEADER_LEN)
#define PQB_DEVICE_ROW_MAX   4000 // with a full window; fits one overflow page

#define PQB_JOURNAL_KEY_LEN 8  // gseq
#define PQB_USER_KEY_LEN    8  // uid
#define PQB_DEVICE_KEY_LEN  12 // uid, devno
#define PQB_INBOX_KEY_LEN   18 // uid, iseq, part

void pqb_key_journal(uint8_t key[PQB_JOURNAL_KEY_LEN], uint64_t gseq);
void pqb_key_user(uint8_t key[PQB_USER_KEY_LEN], uint64_t uid);
void pqb_key_device(uint8_t key[PQB_DEVICE_KEY_LEN], uint64_t uid, uint32_t devno);
void pqb_key_inbox(uint8_t key[PQB_INBOX_KEY_LEN], uint64_t uid, uint64_t iseq, uint16_t part);
uint64_t pqb_key_u64(const uint8_t *key); // the big-endian number at `key`
uint32_t pqb_key_u32(const uint8_t *key);
uint16_t pqb_key_u16(const uint8_t *key);

// What a user's counts are after its floor moved; records that move it carry the result, so that
// replay needs no table to redo it.
struct pqb_settled {
    uint64_t floor; // everything at or below has been acknowledged by all devices or has expired
    uint64_t tail;  // lowest retained iseq; head + 1 when there is none
    uint64_t count, bytes; // retained
};

// One journal record. Which fields mean something depends on `type`; the rest is 0.
struct pqb_journal_record {
    enum pqb_record_type type;
    uint64_t uid;   // MSG: the recipient; else the user concerned
    uint32_t uhash; // of `uid`
    pqb_wall_ms at; // the store's clock

    // The device that acts: MSG (of from_uid), REFUSAL, SKIP, CURSOR, DEVICE, EPOCH, FORGET.
    uint32_t devno, epoch;
    uint64_t low; // the device's low from now on; 0: unchanged

    // MSG, REFUSAL
    uint64_t seq;
    uint32_t hash;
    uint8_t nack; // REFUSAL

    // MSG; iseq also EXPIRE (upto), GENERATION (first), CURSOR (the cursor)
    uint64_t iseq;
    uint64_t from_uid;
    uint32_t from_uhash;
    uint16_t kind;
    pqb_wall_ms time;
    uint16_t part_count; // parts that follow the head record
    uint32_t body_len;   // of the whole
    struct pqb_text from, device;
    struct pqb_bytes body; // encoding: the whole; decoding: what the head record holds, borrowed

    uint64_t delivered;         // CURSOR
    uint64_t cursor;            // DEVICE: where a new device starts
    bool is_new;                // DEVICE: registration, else "seen"
    struct pqb_settled settled; // CURSOR, EXPIRE, FORGET
    uint8_t nonce[PQB_NONCE_LEN];
    struct pqb_frame_skip_a skipped; // SKIP: the seqs that were abandoned
    struct pqb_text name;            // USER, DEVICE
    uint32_t generation;             // USER
    uint64_t creator_uid;            // USER; 0: it logged in by itself
    uint32_t creator_devno;
};

// Bytes of the head record's value, and how many parts a message takes besides.
size_t pqb_record_len(const struct pqb_journal_record *r);
uint16_t pqb_record_part_count(const struct pqb_journal_record *r);

// Encodes the head value for key `gseq` into exactly pqb_record_len bytes.
void pqb_record_encode(const struct pqb_journal_record *r, uint64_t gseq, uint8_t *out, size_t len);

// PQB_ERR_CORRUPT: CRC, schema or structure. Text and body borrow from `data`.
PQB_MUST_USE int pqb_record_decode(struct pqb_journal_record *r, uint64_t gseq, const void *data,
                                   size_t len);

// Parts of a large message, numbered from 1, under any key (journal or inbox).
size_t pqb_part_len(const struct pqb_journal_record *r, uint16_t part);
void pqb_part_encode(const struct pqb_journal_record *r, uint16_t part, const void *key,
                     size_t key_len, uint8_t *out, size_t len);
PQB_MUST_USE int pqb_part_decode(const void *key, size_t key_len, const void *data, size_t len,
                                 struct pqb_bytes *out);

// Inbox: head rows are MSG records under the inbox key (part 0); parts as above.
void pqb_inbox_encode(const struct pqb_journal_record *r, const uint8_t key[PQB_INBOX_KEY_LEN],
                      uint8_t *out, size_t len);
PQB_MUST_USE int pqb_inbox_decode(struct pqb_journal_record *r,
                                  const uint8_t key[PQB_INBOX_KEY_LEN], const void *data,
                                  size_t len);

// How a consumed seq ended.
struct pqb_consumed {
    uint64_t seq;
    uint64_t iseq; // accepted: position in the recipient's inbox
    uint32_t hash; // over to, kind, body
    uint8_t state; // enum pqb_state: ACCEPTED, REFUSED, ABANDONED
    uint8_t nack;  // REFUSED: why
};

struct pqb_user_row {
    uint64_t uid; // key
    uint64_t as_of;
    uint32_t uhash;
    uint64_t head;
    struct pqb_settled settled;
    uint64_t delivered;
    uint64_t inbox_upto;   // messages up to here have left the journal for good
    uint64_t trimmed_upto; // inbox rows up to here have been deleted
    uint32_t generation;
    uint32_t devno_next;
    pqb_wall_ms oldest_at; // store clock of the oldest row in inbox; 0: none
    pqb_wall_ms seen_min;  // when the longest silent device was last seen; 0: no device
    uint8_t name_len;
    char name[PQB_USER_MAX];
};

#define PQB_USER_ROW_MAX (PQB_VALUE_HEADER_LEN + 12 * 8 + 3 * 4 + 1 + PQB_USER_MAX)

struct pqb_device_row {
    uint64_t uid; // key
    uint32_t devno;
    uint64_t as_of;
    uint32_t epoch;
    uint64_t low, cursor;
    pqb_wall_ms last_seen;
    uint32_t created_count; // users that this device's messages brought into being
    uint8_t nonce[PQB_NONCE_LEN];
    uint8_t name_len;
    char name[PQB_DEVICE_MAX];
    uint16_t consumed_count;
    struct pqb_consumed consumed[PQB_SEQ_WINDOW]; // ascending seq in [low, low + 256)
};

// meta "state": what is the store's as a whole.
struct pqb_state_row {
    uint64_t journal_first, next_gseq; // the journal holds [journal_first, next_gseq) or less
    uint64_t next_uid;
    uint32_t next_epoch;
    uint32_t generation_max;   // highest generation ever begun
    uint32_t generation_floor; // users below it begin this one with their next message
    uint64_t quarantined_upto; // bad records up to here have raised the floor already
    pqb_wall_ms clock;         // the store's own
    uint8_t open_mode;         // enum pqb_open_mode
};

enum pqb_open_mode {
    PQB_OPEN_CLOSED = 0, // the last user closed it in order
    PQB_OPEN_COMMIT = 1,
    PQB_OPEN_ASYNC = 2, // found at start: up to 100 ms of answered messages may be missing
};

#define PQB_STATE_ROW_LEN (PQB_VALUE_HEADER_LEN + 5 * 8 + 3 * 4 + 1)

size_t pqb_user_row_encode(const struct pqb_user_row *row, uint8_t out[PQB_USER_ROW_MAX]);
PQB_MUST_USE int pqb_user_row_decode(struct pqb_user_row *row, uint64_t uid, const void *data,
                                     size_t len);
size_t pqb_device_row_encode(const struct pqb_device_row *row, uint8_t out[PQB_DEVICE_ROW_MAX]);
PQB_MUST_USE int pqb_device_row_decode(struct pqb_device_row *row, uint64_t uid, uint32_t devno,
                                       const void *data, size_t len);
void pqb_state_row_encode(const struct pqb_state_row *row, uint8_t out[PQB_STATE_ROW_LEN]);
PQB_MUST_USE int pqb_state_row_decode(struct pqb_state_row *row, const void *data, size_t len);

// Small values under a string key: name -> uid, and the blobs in meta.
#define PQB_BLOB_MAX 64

size_t pqb_blob_encode(const void *key, size_t key_len, const void *data, size_t data_len,
                       uint8_t out[PQB_VALUE_HEADER_LEN + PQB_BLOB_MAX]);
PQB_MUST_USE int pqb_blob_decode(const void *key, size_t key_len, const void *value,
                                 size_t value_len, struct pqb_bytes *out);
