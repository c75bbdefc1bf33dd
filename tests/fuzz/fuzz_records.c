// What stands on disk, with a CRC that fits, whatever the rest says. Records and rows: what decodes
// must encode, and decode and encode again to the same bytes. A history: rows as tables, records
// folded by the ledger as at a start, requests decided on top, an abort that leaves no trace, and
// rows of it all that could be written by a checkpoint.
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"
#include "common/wire/cursor.h"
#include "storage/ledger.h"
#include "storage/records.h"
#include "tests/fuzz/fuzz.h"

enum {
    CRC_LEN = 4,
    ITEMS_MAX = 64, // rows of a history
    ITEM_LEN_MAX = PQB_DEVICE_ROW_MAX
};

static uint8_t value[ITEM_LEN_MAX + CRC_LEN], first[ITEM_LEN_MAX], second[ITEM_LEN_MAX];

// The value that the input makes of `size` bytes: all of it but the CRC, which is put in front.
static size_t seal(const uint8_t *data, size_t size, const void *key, size_t key_len)
{
    size = PQB_MIN(size, (size_t)ITEM_LEN_MAX - CRC_LEN);
    if (size > 0)
        memcpy(value + CRC_LEN, data, size);

    const uint32_t crc = pqb_crc32c(pqb_crc32c(0, key, key_len), value + CRC_LEN, size);

    for (int i = 0; i < CRC_LEN; i++)
        value[i] = (uint8_t)(crc >> (24 - 8 * i));
    return CRC_LEN + size;
}

// --------------------------------------------------------------------------- one value at a time

static void check_record(const uint8_t *data, size_t size, uint64_t gseq)
{
    struct pqb_journal_record r, again;
    uint8_t key[PQB_JOURNAL_KEY_LEN];

    pqb_key_journal(key, gseq);
    const size_t len = seal(data, size, key, sizeof(key));
    if (pqb_record_decode(&r, gseq, value, len) != PQB_OK || r.type == PQB_RECORD_PART)
        return;
    PQB_ASSERT(pqb_record_len(&r) == len);
    pqb_record_encode(&r, gseq, first, len);
    PQB_ASSERT(pqb_record_decode(&again, gseq, first, len) == PQB_OK);
    pqb_record_encode(&again, gseq, second, pqb_record_len(&again));
    PQB_ASSERT(pqb_record_len(&again) == len && memcmp(first, second, len) == 0);
}

static void check_inbox(const uint8_t *data, size_t size, uint64_t at)
{
    struct pqb_journal_record r;
    struct pqb_bytes piece;
    uint8_t key[PQB_INBOX_KEY_LEN];

    pqb_key_inbox(key, at >> 8, at & 0xff, (uint16_t)(at & 1));
    const size_t len = seal(data, size, key, sizeof(key));
    if (pqb_part_decode(key, sizeof(key), value, len, &piece) == PQB_OK)
        PQB_ASSERT(piece.len == 0 || piece.data + piece.len == value + len);
    if (pqb_inbox_decode(&r, key, value, len) != PQB_OK)
        return;
    PQB_ASSERT(pqb_record_len(&r) == len);
    pqb_inbox_encode(&r, key, first, len);
    PQB_ASSERT(memcmp(first, value, len) == 0);
}

static void check_user_row(const uint8_t *data, size_t size, uint64_t uid)
{
    struct pqb_user_row row;
    uint8_t key[PQB_USER_KEY_LEN];

    pqb_key_user(key, uid);
    const size_t len = seal(data, size, key, sizeof(key));
    if (pqb_user_row_decode(&row, uid, value, len) == PQB_OK)
        PQB_ASSERT(pqb_user_row_encode(&row, first) == len && memcmp(first, value, len) == 0);
}

static void check_device_row(const uint8_t *data, size_t size, uint64_t uid)
{
    static struct pqb_device_row row;
    uint8_t key[PQB_DEVICE_KEY_LEN];

    pqb_key_device(key, uid, 7);
    const size_t len = seal(data, size, key, sizeof(key));
    if (pqb_device_row_decode(&row, uid, 7, value, len) == PQB_OK)
        PQB_ASSERT(pqb_device_row_encode(&row, first) == len && memcmp(first, value, len) == 0);
}

static void check_small_values(const uint8_t *data, size_t size)
{
    struct pqb_state_row row;
    struct pqb_bytes bytes;
    size_t len = seal(data, size, "state", 5);

    if (pqb_state_row_decode(&row, value, len) == PQB_OK) {
        pqb_state_row_encode(&row, first);
        PQB_ASSERT(len == PQB_STATE_ROW_LEN && memcmp(first, value, len) == 0);
    }
    len = seal(data, size, "name", 4);
    if (pqb_blob_decode("name", 4, value, len, &bytes) == PQB_OK && bytes.len <= PQB_BLOB_MAX)
        PQB_ASSERT(pqb_blob_encode("name", 4, bytes.data, bytes.len, first) == len &&
                   memcmp(first, value, len) == 0);
}

// ------------------------------------------------------------------------------------ a history

struct item {
    const uint8_t *data;
    size_t len;
    uint64_t uid;
    uint32_t devno; // 0: the user's own row
};

struct history {
    struct item rows[ITEMS_MAX];
    size_t row_count;
    uint64_t next_gseq;
};

static const struct item *find_row(const struct history *h, uint64_t uid, uint32_t devno)
{
    for (size_t i = 0; i < h->row_count; i++) {
        if (h->rows[i].uid == uid && h->rows[i].devno == devno)
            return &h->rows[i];
    }
    return NULL;
}

static int user_load(void *ctx, uint64_t uid, struct pqb_user_row *out)
{
    const struct item *item = find_row(ctx, uid, 0);
    uint8_t key[PQB_USER_KEY_LEN];

    if (item == NULL)
        return PQB_ERR_NOT_FOUND;
    pqb_key_user(key, uid);
    return pqb_user_row_decode(out, uid, value, seal(item->data, item->len, key, sizeof(key)));
}

static int device_load(void *ctx, uint64_t uid, uint32_t after, struct pqb_device_row *out)
{
    const struct history *h = ctx;
    const struct item *best = NULL;
    uint8_t key[PQB_DEVICE_KEY_LEN];

    for (size_t i = 0; i < h->row_count; i++) {
        const struct item *item = &h->rows[i];

        if (item->uid == uid && item->devno > after && (best == NULL || item->devno < best->devno))
            best = item;
    }
    if (best == NULL)
        return PQB_ERR_NOT_FOUND;
    out->devno = best->devno;
    pqb_key_device(key, uid, best->devno);
    return pqb_device_row_decode(out, uid, best->devno, value,
                                 seal(best->data, best->len, key, sizeof(key)));
}

// The name table is not fuzzed: it says what the rows of users say.
static int name_find(void *ctx, const char *name, size_t len, uint64_t *uid)
{
    const struct history *h = ctx;
    struct pqb_user_row row;

    for (size_t i = 0; i < h->row_count; i++) {
        if (h->rows[i].devno == 0 && user_load(ctx, h->rows[i].uid, &row) == PQB_OK &&
            row.name_len == len && memcmp(row.name, name, len) == 0) {
            *uid = row.uid;
            return PQB_OK;
        }
    }
    return PQB_ERR_NOT_FOUND;
}

static int inbox_sum(void *ctx, uint64_t uid, uint64_t after, uint64_t upto,
                     struct pqb_inbox_sum *out)
{
    (void)ctx, (void)uid;
    *out = (struct pqb_inbox_sum){.count = upto > after, .bytes = 10};
    return PQB_OK;
}

static void append(void *ctx, const struct pqb_journal_record *r, uint64_t gseq)
{
    struct pqb_journal_record again;
    const size_t len = pqb_record_len(r);

    (void)ctx;
    pqb_record_encode(r, gseq, first, len);
    PQB_ASSERT(pqb_record_decode(&again, gseq, first, len) == PQB_OK);
}

static void replay(struct pqb_ledger *l, struct history *h, const uint8_t *data, size_t size)
{
    static uint8_t copy[sizeof(value)]; // loading a row uses `value`
    struct pqb_journal_record r;
    uint8_t key[PQB_JOURNAL_KEY_LEN];
    const uint64_t gseq = h->next_gseq++;

    pqb_key_journal(key, gseq);
    const size_t len = seal(data, size, key, sizeof(key));
    memcpy(copy, value, len);
    l->counters.next_gseq = h->next_gseq;
    if (pqb_record_decode(&r, gseq, copy, len) == PQB_OK) {
        const int err = pqb_ledger_replay(l, &r, gseq);
        PQB_ASSERT(err == PQB_OK || err == PQB_ERR_CORRUPT);
    }
}

// A checksum of all rows as a checkpoint would write them; each must decode again.
static uint32_t digest(const struct pqb_ledger *l)
{
    static struct pqb_device_row device, device_again;
    struct pqb_user_row user, user_again;
    uint32_t sum = 0; // order does not count

    for (struct pqb_hnode *n = NULL; (n = pqb_htable_next(&l->by_uid, n)) != NULL;) {
        const struct pqb_ledger_user *u = PQB_CONTAINER_OF(n, struct pqb_ledger_user, by_uid);

        pqb_ledger_user_row(l, u, &user);
        user.as_of = 0;
        size_t len = pqb_user_row_encode(&user, first);
        PQB_ASSERT(pqb_user_row_decode(&user_again, u->uid, first, len) == PQB_OK);
        sum += pqb_crc32c(0, first, len);
        for (size_t i = 0; i < u->device_count; i++) {
            pqb_ledger_device_row(l, u, u->devices[i], &device);
            device.as_of = 0;
            len = pqb_device_row_encode(&device, first);
            PQB_ASSERT(pqb_device_row_decode(&device_again, u->uid, device.devno, first, len) ==
                       PQB_OK);
            sum += pqb_crc32c(1, first, len);
        }
    }
    return sum;
}

static void decide(struct pqb_ledger *l, struct pqb_request *r)
{
    static const struct pqb_ledger_turn turn = {.at = 5000, .minutes = 100, .may_store = true};
    const int err = pqb_ledger_decide(l, r, &turn);

    PQB_ASSERT(err == PQB_OK || err == PQB_ERR_CORRUPT);
}

static struct pqb_request request(enum pqb_op op, const struct pqb_request *login)
{
    return (struct pqb_request){.op = op,
                                .uid = login->user_state.uid,
                                .devno = login->device_state.devno,
                                .epoch = login->device_state.epoch,
                                .low = login->device_state.low,
                                .seq = login->device_state.low,
                                .to = "ben",
                                .to_len = 3};
}

// One of each request, by the first device of ann.
static void decide_all(struct pqb_ledger *l)
{
    struct pqb_request login = {
        .op = PQB_OP_LOGIN, .user = "ann", .user_len = 3, .device = "phone", .device_len = 5};

    decide(l, &login);
    if (login.result != PQB_RESULT_DONE)
        return;
    for (int op = PQB_OP_MSG; op <= PQB_OP_FORGET; op++) {
        struct pqb_request r = request((enum pqb_op)op, &login);

        r.seqs.count = 1;
        r.seqs.at[0] = (struct pqb_range){r.seq + 1, r.seq + 2};
        r.cursor = login.user_state.head;
        if (op == PQB_OP_USER)
            continue; // answers with a list of its own
        if (op == PQB_OP_FORGET) {
            memcpy(r.device, "phone", 5);
            memcpy(r.user, "ann", 3);
            r.device_len = 5;
            r.user_len = 3;
        }
        decide(l, &r);
        if (op == PQB_OP_EPOCH)
            login.device_state = r.device_state;
    }
}

static void go_on(struct pqb_ledger *l)
{
    static const struct pqb_ledger_turn turn = {.at = 5000, .minutes = 100, .may_store = true};
    uint64_t forgotten = 0;

    decide_all(l);
    const int err = pqb_ledger_expire(l, 1, PQB_ISEQ_MAKE(100, 2), &turn);
    PQB_ASSERT(err == PQB_OK || err == PQB_ERR_CORRUPT);
    const int idle = pqb_ledger_forget_idle(l, 2, 4000, &turn, &forgotten);
    PQB_ASSERT(idle == PQB_OK || idle == PQB_ERR_CORRUPT);
}

static void check_found(int err)
{
    PQB_ASSERT(err == PQB_OK || err == PQB_ERR_CORRUPT);
}

static void check_history(struct pqb_reader_cursor *c)
{
    static const uint8_t key[PQB_SIPHASH_KEY_LEN] = {1};
    static const struct pqb_ledger_limits limits = {.inbox_messages_max = 10,
                                                    .inbox_bytes_max = 1000,
                                                    .users_max = 100,
                                                    .users_per_sender_max = 5,
                                                    .devices_per_user_max = 4};
    struct history h = {.next_gseq = 1000};
    const struct pqb_ledger_io io = {&h, name_find, user_load, device_load, inbox_sum, append};
    struct pqb_ledger *l;

    PQB_ASSERT(pqb_ledger_create(&l, &limits, &io, key) == PQB_OK);
    l->counters.next_uid = 100;
    l->counters.next_epoch = 1;
    while (pqb_rcur_left(c) > 0 && !c->is_bad) {
        const uint8_t kind = pqb_rcur_u8(c) % 4;
        const size_t wanted = pqb_rcur_u16(c);
        const size_t len = PQB_MIN(wanted, pqb_rcur_left(c));
        const uint8_t *data = pqb_rcur_bytes(c, len);

        if (c->is_bad)
            break;
        if (kind < 2) {
            replay(l, &h, data, len);
        } else if (len > 0 && h.row_count < ITEMS_MAX) {
            // Of users 1 to 4, and their devices 1 to 4.
            const struct item item = {data + 1, len - 1, 1 + data[0] % 4,
                                      kind == 2 ? 0 : 1 + (data[0] >> 4) % 4};
            if (find_row(&h, item.uid, item.devno) == NULL)
                h.rows[h.row_count++] = item;
        }
    }
    l->counters.next_gseq = h.next_gseq;

    // Whom the requests concern are in memory already, as far as they are anywhere.
    struct pqb_ledger_user *u;
    check_found(pqb_ledger_name_find(l, "ann", 3, &u));
    check_found(pqb_ledger_name_find(l, "ben", 3, &u));
    for (uint64_t uid = 1; uid <= 4; uid++)
        check_found(pqb_ledger_user_find(l, uid, &u));
    const uint32_t before = digest(l);
    const uint64_t next_uid = l->counters.next_uid;
    pqb_ledger_batch_begin(l);
    go_on(l);
    pqb_ledger_batch_abort(l);
    PQB_ASSERT(digest(l) == before && l->counters.next_uid == next_uid);
    pqb_ledger_batch_begin(l);
    go_on(l);
    pqb_ledger_batch_commit(l);
    (void)digest(l);
    pqb_ledger_evict(l, 0, l->batch + 1);
    pqb_ledger_destroy(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pqb_reader_cursor c;
    struct pqb_journal_record r;

    PQB_ASSERT(pqb_record_decode(&r, 1, data, size) == PQB_ERR_CORRUPT || size >= CRC_LEN);
    pqb_rcur_init(&c, data, size);
    const uint8_t what = pqb_rcur_u8(&c);
    const uint64_t at = 1 + what / 8u;
    const uint8_t *rest = c.at;
    const size_t left = pqb_rcur_left(&c);
    switch (what % 8) {
    case 0:
        check_record(rest, left, at);
        break;
    case 1:
        check_inbox(rest, left, at);
        break;
    case 2:
        check_user_row(rest, left, at);
        break;
    case 3:
        check_device_row(rest, left, at);
        break;
    case 4:
        check_small_values(rest, left);
        break;
    default:
        check_history(&c);
        break;
    }
    return 0;
}
