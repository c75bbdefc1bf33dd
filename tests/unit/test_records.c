#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "storage/records.h"

static uint8_t body[PQB_BODY_MAX];

static struct pqb_journal_record sample(enum pqb_record_type type)
{
    struct pqb_journal_record r = {
        .type = type, .uid = 0x0102030405060708, .uhash = 0xa1a2a3a4, .at = 1234567890123};

    switch (type) {
    case PQB_RECORD_MSG:
        r.devno = 3;
        r.epoch = 9;
        r.low = 5;
        r.seq = 7;
        r.hash = 0xdeadbeef;
        r.iseq = PQB_ISEQ_MAKE(77, 12);
        r.from_uid = 42;
        r.from_uhash = 43;
        r.kind = 513;
        r.time = 99;
        r.from = (struct pqb_text){"alice", 5};
        r.device = (struct pqb_text){"phone", 5};
        r.body_len = 300;
        r.body = (struct pqb_bytes){body, 300};
        break;
    case PQB_RECORD_REFUSAL:
        r.devno = 3;
        r.epoch = 9;
        r.low = 5;
        r.seq = 7;
        r.hash = 1;
        r.nack = PQB_NACK_QUOTA;
        break;
    case PQB_RECORD_SKIP:
        r.devno = 3;
        r.epoch = 9;
        r.skipped.count = PQB_SKIP_MAX;
        for (size_t i = 0; i < PQB_SKIP_MAX; i++) {
            r.skipped.at[i].seq = 100 + i;
            r.skipped.at[i].state = PQB_STATE_ABANDONED;
        }
        break;
    case PQB_RECORD_CURSOR:
        r.devno = 3;
        r.iseq = 8;
        r.delivered = 9;
        r.settled = (struct pqb_settled){1, 2, 3, 4};
        break;
    case PQB_RECORD_DEVICE:
        r.devno = 3;
        r.cursor = 8;
        r.is_new = true;
        r.name = (struct pqb_text){"phone", 5};
        break;
    case PQB_RECORD_EPOCH:
        r.devno = 3;
        r.epoch = 9;
        memset(r.nonce, 7, sizeof(r.nonce));
        break;
    case PQB_RECORD_EXPIRE:
        r.iseq = 8;
        r.settled = (struct pqb_settled){1, 2, 3, 4};
        break;
    case PQB_RECORD_GENERATION:
        r.iseq = 8;
        break;
    case PQB_RECORD_FORGET:
        r.devno = 3;
        r.settled = (struct pqb_settled){1, 2, 3, 4};
        break;
    case PQB_RECORD_USER:
        r.generation = 5;
        r.creator_uid = 6;
        r.creator_devno = 7;
        r.name = (struct pqb_text){"bob", 3};
        break;
    case PQB_RECORD_PART:
    case PQB_RECORD_BAD:
        break;
    }
    return r;
}

static const enum pqb_record_type types[] = {
    PQB_RECORD_MSG,    PQB_RECORD_REFUSAL, PQB_RECORD_SKIP,   PQB_RECORD_CURSOR,
    PQB_RECORD_DEVICE, PQB_RECORD_EPOCH,   PQB_RECORD_EXPIRE, PQB_RECORD_GENERATION,
    PQB_RECORD_FORGET, PQB_RECORD_USER,
};

static bool same_text(struct pqb_text a, struct pqb_text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void assert_same(const struct pqb_journal_record *a, const struct pqb_journal_record *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->uhash, b->uhash);
    assert_int_equal(a->at, b->at);
    assert_int_equal(a->devno, b->devno);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->low, b->low);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->hash, b->hash);
    assert_int_equal(a->nack, b->nack);
    assert_int_equal(a->iseq, b->iseq);
    assert_int_equal(a->from_uid, b->from_uid);
    assert_int_equal(a->from_uhash, b->from_uhash);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->time, b->time);
    assert_int_equal(a->body_len, b->body_len);
    assert_true(same_text(a->from, b->from) && same_text(a->device, b->device));
    assert_true(same_text(a->name, b->name));
    assert_int_equal(a->delivered, b->delivered);
    assert_int_equal(a->cursor, b->cursor);
    assert_int_equal(a->is_new, b->is_new);
    assert_memory_equal(&a->settled, &b->settled, sizeof(a->settled));
    assert_memory_equal(a->nonce, b->nonce, sizeof(a->nonce));
    assert_int_equal(a->skipped.count, b->skipped.count);
    for (size_t i = 0; i < a->skipped.count; i++)
        assert_int_equal(a->skipped.at[i].seq, b->skipped.at[i].seq);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->creator_uid, b->creator_uid);
    assert_int_equal(a->creator_devno, b->creator_devno);
}

static void every_record_comes_back_as_it_went(void **state)
{
    uint8_t value[PQB_VALUE_MAX];
    struct pqb_journal_record out;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(types); i++) {
        const struct pqb_journal_record r = sample(types[i]);
        const size_t len = pqb_record_len(&r);

        pqb_record_encode(&r, 17, value, len);
        assert_int_equal(pqb_record_decode(&out, 17, value, len), PQB_OK);
        assert_same(&r, &out);
    }
}

static void a_record_with_any_bit_flipped_or_under_another_key_does_not_check(void **state)
{
    uint8_t value[PQB_VALUE_MAX];
    struct pqb_journal_record out;

    (void)state;
    for (size_t i = 0; i < PQB_ARRAY_LEN(types); i++) {
        const struct pqb_journal_record r = sample(types[i]);
        const size_t len = pqb_record_len(&r);

        pqb_record_encode(&r, 17, value, len);
        assert_int_equal(pqb_record_decode(&out, 18, value, len), PQB_ERR_CORRUPT);
        assert_int_equal(pqb_record_decode(&out, 17, value, len - 1), PQB_ERR_CORRUPT);
        for (size_t bit = 0; bit < len * 8; bit++) {
            value[bit / 8] ^= (uint8_t)(1U << bit % 8);
            assert_int_equal(pqb_record_decode(&out, 17, value, len), PQB_ERR_CORRUPT);
            value[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
    }
}

static void random_bytes_decode_to_nothing(void **state)
{
    uint8_t value[256];
    struct pqb_journal_record out;
    struct pqb_rng rng;

    (void)state;
    pqb_rng_init_seed(&rng, 1);
    for (int i = 0; i < 10000; i++) {
        const size_t len = (size_t)pqb_rng_below(&rng, sizeof(value));

        pqb_rng_fill(&rng, value, len);
        assert_int_equal(pqb_record_decode(&out, 1, value, len), PQB_ERR_CORRUPT);
    }
}

// Both sides of each place where one more part is needed.
static void a_large_body_is_cut_into_parts_and_put_together_again(void **state)
{
    static uint8_t whole[PQB_BODY_MAX];
    struct pqb_journal_record r = sample(PQB_RECORD_MSG);

    (void)state;
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)(i * 31 >> 3);
    for (uint32_t len = 0; len <= PQB_BODY_MAX; len += len % 1894 == 0 ? 1 : 947) {
        uint8_t value[PQB_VALUE_MAX];
        struct pqb_journal_record out;
        const uint64_t gseq = 5;
        size_t at;

        r.body_len = len;
        r.body = (struct pqb_bytes){body, len};
        pqb_record_encode(&r, gseq, value, pqb_record_len(&r));
        assert_int_equal(pqb_record_decode(&out, gseq, value, pqb_record_len(&r)), PQB_OK);
        assert_int_equal(out.part_count, pqb_record_part_count(&r));
        memcpy(whole, out.body.data, out.body.len);
        at = out.body.len;
        for (uint16_t part = 1; part <= out.part_count; part++) {
            uint8_t key[PQB_JOURNAL_KEY_LEN];
            struct pqb_bytes piece;

            pqb_key_journal(key, gseq + part);
            assert_true(pqb_part_len(&r, part) <= PQB_VALUE_MAX);
            pqb_part_encode(&r, part, key, sizeof(key), value, pqb_part_len(&r, part));
            assert_int_equal(
                pqb_part_decode(key, sizeof(key), value, pqb_part_len(&r, part), &piece), PQB_OK);
            memcpy(whole + at, piece.data, piece.len);
            at += piece.len;
        }
        assert_int_equal(at, len);
        assert_memory_equal(whole, body, len);
    }
}

static void a_device_row_holds_a_full_window(void **state)
{
    static struct pqb_device_row row, out;
    uint8_t value[PQB_DEVICE_ROW_MAX];
    size_t len;

    (void)state;
    row = (struct pqb_device_row){.uid = 1,
                                  .devno = 2,
                                  .as_of = 3,
                                  .epoch = 4,
                                  .low = 1000,
                                  .cursor = 6,
                                  .last_seen = 7,
                                  .created_count = 8,
                                  .name_len = PQB_DEVICE_MAX,
                                  .consumed_count = PQB_SEQ_WINDOW};
    memset(row.name, 'n', PQB_DEVICE_MAX);
    for (uint64_t i = 0; i < PQB_SEQ_WINDOW; i++)
        row.consumed[i] = (struct pqb_consumed){
            .seq = 1000 + i, .iseq = i, .hash = (uint32_t)i, .state = PQB_STATE_ACCEPTED};
    len = pqb_device_row_encode(&row, value);
    assert_true(len <= PQB_DEVICE_ROW_MAX);
    assert_int_equal(pqb_device_row_decode(&out, 1, 2, value, len), PQB_OK);
    assert_memory_equal(&row, &out, sizeof(row));
    assert_int_equal(pqb_device_row_decode(&out, 1, 3, value, len), PQB_ERR_CORRUPT);
    value[len / 2] ^= 1;
    assert_int_equal(pqb_device_row_decode(&out, 1, 2, value, len), PQB_ERR_CORRUPT);
}

static void user_and_state_rows_come_back_as_they_went(void **state)
{
    struct pqb_user_row user = {.uid = 1,
                                .as_of = 2,
                                .uhash = 3,
                                .head = 4,
                                .settled = {5, 6, 7, 8},
                                .delivered = 9,
                                .inbox_upto = 10,
                                .trimmed_upto = 11,
                                .generation = 12,
                                .devno_next = 13,
                                .oldest_at = 14,
                                .seen_min = 15,
                                .name_len = PQB_USER_MAX};
    struct pqb_state_row whole = {1, 2, 3, 4, 5, 6, 7, 8, PQB_OPEN_ASYNC};
    struct pqb_state_row whole_out;
    struct pqb_user_row user_out = {0};
    uint8_t value[PQB_USER_ROW_MAX];
    size_t len;

    (void)state;
    memset(user.name, 'u', PQB_USER_MAX);
    len = pqb_user_row_encode(&user, value);
    assert_int_equal(pqb_user_row_decode(&user_out, 1, value, len), PQB_OK);
    assert_int_equal(user_out.settled.bytes, 8);
    assert_int_equal(user_out.seen_min, 15);
    assert_int_equal(user_out.devno_next, 13);
    assert_memory_equal(user_out.name, user.name, PQB_USER_MAX);
    assert_int_equal(pqb_user_row_decode(&user_out, 2, value, len), PQB_ERR_CORRUPT);
    pqb_state_row_encode(&whole, value);
    assert_int_equal(pqb_state_row_decode(&whole_out, value, PQB_STATE_ROW_LEN), PQB_OK);
    assert_int_equal(whole_out.clock, 8);
    assert_int_equal(whole_out.open_mode, PQB_OPEN_ASYNC);
}

static void keys_sort_as_the_numbers_they_stand_for(void **state)
{
    uint8_t a[PQB_INBOX_KEY_LEN], b[PQB_INBOX_KEY_LEN];

    (void)state;
    pqb_key_inbox(a, 1, 255, 9);
    pqb_key_inbox(b, 1, 256, 0);
    assert_true(memcmp(a, b, sizeof(a)) < 0);
    pqb_key_inbox(a, 1, UINT64_MAX, UINT16_MAX);
    pqb_key_inbox(b, 2, 0, 0);
    assert_true(memcmp(a, b, sizeof(a)) < 0);
    pqb_key_inbox(a, 7, 8, 0);
    pqb_key_inbox(b, 7, 8, 1);
    assert_true(memcmp(a, b, sizeof(a)) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_comes_back_as_it_went),
        cmocka_unit_test(a_record_with_any_bit_flipped_or_under_another_key_does_not_check),
        cmocka_unit_test(random_bytes_decode_to_nothing),
        cmocka_unit_test(a_large_body_is_cut_into_parts_and_put_together_again),
        cmocka_unit_test(a_device_row_holds_a_full_window),
        cmocka_unit_test(user_and_state_rows_come_back_as_they_went),
        cmocka_unit_test(keys_sort_as_the_numbers_they_stand_for),
    };

    return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
