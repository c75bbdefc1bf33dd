#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "common/client/paquebot.h"

#define SEQS_MAX 64

static char dir[] = "/tmp/pqb-store-XXXXXX";
static char path[256], log_path[280];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir + sizeof(dir) - 7, "XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/deep/state", dir);
    (void)snprintf(log_path, sizeof(log_path), "%s/log", path);
    return 0;
}

static int remove_dir(void **state)
{
    char command[320];

    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

// ------------------------------------------------------------------------------ what is loaded

struct contents {
    struct pqb_client_saved saved;
    size_t count;
    uint64_t seqs[SEQS_MAX];
    size_t body_bytes;
    bool is_sound; // every message has the recipient and body that its seq gives it
};

static void body_of(uint64_t seq, char *to, char *body)
{
    (void)sprintf(to, "user-%u", (unsigned)(seq % 7));
    (void)sprintf(body, "body of message %u", (unsigned)seq);
}

static bool note(void *arg, const struct pqb_client_pending *p)
{
    struct contents *c = arg;
    char to[32], body[64];

    body_of(p->seq, to, body);
    assert_true(c->count < SEQS_MAX);
    c->seqs[c->count++] = p->seq;
    c->body_bytes += p->len;
    c->is_sound &= strcmp(p->to, to) == 0 && p->kind == (uint16_t)p->seq &&
                   (p->len > 100 || (p->len == strlen(body) && memcmp(p->body, body, p->len) == 0));
    return true;
}

static struct contents contents_of(const struct pqb_client_store *s)
{
    struct contents c = {.is_sound = true};

    assert_int_equal(s->load(s->ctx, &c.saved, note, &c), 0);
    assert_true(c.is_sound);
    return c;
}

static int put(struct pqb_client_store *s, uint64_t seq)
{
    char to[32], body[64];

    body_of(seq, to, body);
    const struct pqb_client_pending p = {.seq = seq,
                                         .to = to,
                                         .body = (const uint8_t *)body,
                                         .len = strlen(body),
                                         .kind = (uint16_t)seq};
    return s->put(s->ctx, &p);
}

static struct pqb_client_store *open_store(void)
{
    struct pqb_client_store *s = NULL;

    assert_int_equal(pqb_client_store_file_open(&s, path), 0);
    return s;
}

static off_t log_len(void)
{
    struct stat st;

    assert_int_equal(stat(log_path, &st), 0);
    return st.st_size;
}

// --------------------------------------------------------------------------------------- cases

static void a_new_directory_is_empty(void **state)
{
    struct pqb_client_store *s = open_store();
    const struct contents c = contents_of(s);

    (void)state;
    assert_int_equal(c.count, 0);
    assert_int_equal(c.saved.epoch, 0);
    assert_int_equal(c.saved.next_seq, 1);
    assert_int_equal(c.saved.cursor, 0);
    pqb_client_store_file_close(s);
}

static void swap_halves(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len / 2; i++) {
        const uint8_t kept = bytes[i];

        bytes[i] = bytes[len / 2 + i];
        bytes[len / 2 + i] = kept;
    }
}

// Each record checks for itself; whoever walks the queue relies on its order.
static void a_queue_that_does_not_go_up_is_damage(void **state)
{
    struct pqb_client_store *s = open_store();
    uint8_t log[512];

    (void)state;
    assert_int_equal(put(s, 1), 0);
    assert_int_equal(put(s, 2), 0);
    pqb_client_store_file_close(s);
    const int fd = open(log_path, O_RDWR);
    const ssize_t len = pread(fd, log, sizeof(log), 0);
    assert_true(len > 0 && len % 2 == 0);
    swap_halves(log, (size_t)len);
    assert_int_equal(pwrite(fd, log, (size_t)len, 0), len);
    assert_int_equal(pqb_client_store_file_open(&s, path), PQB_CLIENT_ERR_CORRUPT);
    swap_halves(log, (size_t)len);
    assert_int_equal(pwrite(fd, log, (size_t)len, 0), len);
    (void)close(fd);
    s = open_store();
    assert_int_equal(contents_of(s).count, 2);
    pqb_client_store_file_close(s);
}

static void what_was_kept_is_found_again(void **state)
{
    struct pqb_client_store *s = open_store();

    (void)state;
    for (uint64_t seq = 1; seq <= 5; seq++)
        assert_int_equal(put(s, seq), 0);
    assert_int_equal(s->drop(s->ctx, 1), 0);
    assert_int_equal(s->drop(s->ctx, 5), 0);
    assert_int_equal(s->set_epoch(s->ctx, 9), 0);
    assert_int_equal(s->deliver(s->ctx, NULL, 77), 0);
    pqb_client_store_file_close(s);
    s = open_store();
    const struct contents c = contents_of(s);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.seqs[0], 2);
    assert_int_equal(c.seqs[2], 4);
    assert_int_equal(c.saved.epoch, 9);
    assert_int_equal(c.saved.next_seq, 6); // never used again though 5 is gone
    assert_int_equal(c.saved.cursor, 77);
    pqb_client_store_file_close(s);
}

static void a_second_process_is_kept_out(void **state)
{
    struct pqb_client_store *s = open_store(), *other;

    (void)state;
    assert_int_equal(pqb_client_store_file_open(&other, path), PQB_CLIENT_ERR_LOCKED);
    pqb_client_store_file_close(s);
    s = open_store();
    pqb_client_store_file_close(s);
}

static void copy_log(const char *to, off_t len)
{
    static uint8_t bytes[1 << 16];
    int fd = open(log_path, O_RDONLY);

    assert_true(fd >= 0 && len <= (off_t)sizeof(bytes));
    assert_int_equal(read(fd, bytes, (size_t)len), len);
    (void)close(fd);
    fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, bytes, (size_t)len), len);
    (void)close(fd);
}

// A process may be killed after any byte of any write: what was durable before must be there, and
// nothing half done.
static void every_cut_of_the_log_leaves_a_prefix(void **state)
{
    struct pqb_client_store *s = open_store();
    off_t ends[8];
    char copy[300];

    (void)state;
    for (uint64_t seq = 1; seq <= 8; seq++) {
        assert_int_equal(put(s, seq), 0);
        ends[seq - 1] = log_len();
    }
    pqb_client_store_file_close(s);
    (void)snprintf(copy, sizeof(copy), "%s/whole", dir);
    copy_log(copy, ends[7]);
    for (off_t cut = ends[5]; cut <= ends[7]; cut++) {
        const size_t expected = cut >= ends[7] ? 8 : cut >= ends[6] ? 7 : 6;

        assert_int_equal(rename(copy, log_path), 0);
        copy_log(copy, ends[7]);
        assert_int_equal(truncate(log_path, cut), 0);
        s = open_store();
        assert_int_equal(contents_of(s).count, expected);
        assert_int_equal(put(s, expected + 1), 0); // and it goes on from there
        pqb_client_store_file_close(s);
        s = open_store();
        assert_int_equal(contents_of(s).count, expected + 1);
        pqb_client_store_file_close(s);
    }
}

static void flip(off_t at)
{
    const int fd = open(log_path, O_RDWR);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static void damage_in_the_middle_is_told_not_cut_off(void **state)
{
    struct pqb_client_store *s = open_store();
    off_t first;

    (void)state;
    assert_int_equal(put(s, 1), 0);
    first = log_len();
    assert_int_equal(put(s, 2), 0);
    assert_int_equal(put(s, 3), 0);
    pqb_client_store_file_close(s);
    for (off_t at = 0; at < first; at++) {
        flip(at);
        assert_int_equal(pqb_client_store_file_open(&s, path), PQB_CLIENT_ERR_CORRUPT);
        flip(at);
    }
    flip(log_len() - 1); // the end looks like a torn tail
    s = open_store();
    assert_int_equal(contents_of(s).count, 2);
    pqb_client_store_file_close(s);
}

static void garbage_behind_the_end_is_cut_off(void **state)
{
    struct pqb_client_store *s = open_store();
    off_t len;

    (void)state;
    assert_int_equal(put(s, 1), 0);
    pqb_client_store_file_close(s);
    len = log_len();
    assert_int_equal(truncate(log_path, len + 5000), 0); // zeros: a lost write of a longer file
    s = open_store();
    assert_int_equal(contents_of(s).count, 1);
    assert_int_equal(log_len(), len);
    pqb_client_store_file_close(s);
}

static void a_long_history_is_rewritten(void **state)
{
    struct pqb_client_store *s = open_store();

    (void)state;
    assert_int_equal(put(s, 1), 0);
    assert_int_equal(s->set_epoch(s->ctx, 3), 0);
    for (uint64_t cursor = 1; cursor <= 40000; cursor++)
        assert_int_equal(s->deliver(s->ctx, NULL, cursor), 0);
    assert_true(log_len() < (1 << 20));
    pqb_client_store_file_close(s);
    s = open_store();
    const struct contents c = contents_of(s);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.seqs[0], 1);
    assert_int_equal(c.saved.epoch, 3);
    assert_int_equal(c.saved.next_seq, 2);
    assert_int_equal(c.saved.cursor, 40000);
    pqb_client_store_file_close(s);
}

static void a_rewrite_that_was_interrupted_changes_nothing(void **state)
{
    struct pqb_client_store *s = open_store();
    char half[300];

    (void)state;
    assert_int_equal(put(s, 1), 0);
    pqb_client_store_file_close(s);
    (void)snprintf(half, sizeof(half), "%s.new", log_path);
    copy_log(half, log_len() / 2);
    s = open_store();
    assert_int_equal(contents_of(s).count, 1);
    pqb_client_store_file_close(s);
}

static void the_largest_message_is_kept(void **state)
{
    struct pqb_client_store *s = open_store();
    uint8_t *body = calloc(1, PQB_CLIENT_BODY_MAX);
    char to[32], unused[64];

    (void)state;
    body_of(1, to, unused);
    const struct pqb_client_pending p = {
        .seq = 1, .to = to, .body = body, .len = PQB_CLIENT_BODY_MAX, .kind = 1};
    assert_int_equal(s->put(s->ctx, &p), 0);
    pqb_client_store_file_close(s);
    s = open_store();
    assert_int_equal(contents_of(s).body_bytes, PQB_CLIENT_BODY_MAX);
    pqb_client_store_file_close(s);
    free(body);
}

// The file against the memory store, with the process dying now and then.
static void it_agrees_with_the_memory_store(void **state)
{
    struct pqb_client_store *file = open_store(), *memory;
    struct pqb_rng rng;
    uint64_t next = 1, cursor = 0;

    (void)state;
    pqb_rng_init_seed(&rng, 20);
    assert_int_equal(pqb_client_store_memory_create(&memory), 0);
    for (int step = 0; step < 3000; step++) {
        const uint64_t dice = pqb_rng_below(&rng, 100);

        if (dice < 30 && contents_of(memory).count < SEQS_MAX - 1) {
            assert_int_equal(put(file, next), put(memory, next));
            next++;
        } else if (dice < 65) {
            const struct contents c = contents_of(memory);
            const uint64_t seq = c.count > 0 ? c.seqs[pqb_rng_below(&rng, c.count)] : 999999;

            assert_int_equal(file->drop(file->ctx, seq), memory->drop(memory->ctx, seq));
        } else if (dice < 90) {
            cursor += 1 + pqb_rng_below(&rng, 3);
            assert_int_equal(file->deliver(file->ctx, NULL, cursor), 0);
            assert_int_equal(memory->deliver(memory->ctx, NULL, cursor), 0);
        } else if (dice < 93) {
            const uint32_t epoch = (uint32_t)pqb_rng_below(&rng, 50);

            assert_int_equal(file->set_epoch(file->ctx, epoch), 0);
            assert_int_equal(memory->set_epoch(memory->ctx, epoch), 0);
        } else if (dice < 95) {
            const uint64_t iseq = cursor + pqb_rng_below(&rng, 3);
            const uint32_t attempts = (uint32_t)pqb_rng_below(&rng, 6);

            assert_int_equal(file->attempt(file->ctx, iseq, attempts), 0);
            assert_int_equal(memory->attempt(memory->ctx, iseq, attempts), 0);
        } else {
            pqb_client_store_file_close(file);
            file = open_store();
        }
        const struct contents a = contents_of(file), b = contents_of(memory);
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.seqs, b.seqs, a.count * sizeof(a.seqs[0]));
        assert_int_equal(a.saved.epoch, b.saved.epoch);
        assert_int_equal(a.saved.next_seq, b.saved.next_seq);
        assert_int_equal(a.saved.cursor, b.saved.cursor);
        assert_int_equal(a.saved.attempt_iseq, b.saved.attempt_iseq);
        assert_int_equal(a.saved.attempts, b.saved.attempts);
    }
    pqb_client_store_file_close(file);
    pqb_client_store_memory_destroy(memory);
}

// ---------------------------------------------------------------------------------- dead letters

struct letters {
    size_t count;
    uint64_t iseqs[PQB_CLIENT_DEAD_LETTERS_MAX + 1];
    struct pqb_client_dead_letter last; // texts are not kept
    char text[200];                     // from device body of the last, if short
};

static bool note_letter(void *arg, const struct pqb_client_dead_letter *letter)
{
    struct letters *l = arg;

    assert_true(l->count < PQB_CLIENT_DEAD_LETTERS_MAX + 1);
    l->iseqs[l->count++] = letter->iseq;
    l->last = *letter;
    if (letter->len < 100)
        (void)snprintf(l->text, sizeof(l->text), "%s %s %.*s", letter->from, letter->device,
                       (int)letter->len, (const char *)letter->body);
    return true;
}

static struct letters letters(int expected)
{
    struct letters l = {0};

    assert_int_equal(pqb_client_dead_letters_read(path, note_letter, &l), expected);
    return l;
}

static void put_letter(struct pqb_client_store *s, uint64_t iseq, const void *body, size_t len)
{
    const struct pqb_client_dead_letter letter = {.iseq = iseq,
                                                  .time_ms = 1234567890123,
                                                  .from = "bob",
                                                  .device = "pc",
                                                  .body = body,
                                                  .len = len,
                                                  .attempts = 5,
                                                  .kind = 7};

    assert_int_equal(s->dead_letter(s->ctx, &letter), 0);
}

static void a_dead_letter_is_read_again_while_the_store_is_open(void **state)
{
    struct letters l = letters(PQB_CLIENT_ERR_NOT_FOUND);
    struct pqb_client_store *s = open_store();

    (void)state;
    l = letters(0);
    assert_int_equal(l.count, 0);
    put_letter(s, UINT64_C(0x100000000000005), "drink me", 8);
    put_letter(s, 4, NULL, 0);
    put_letter(s, UINT64_C(0x100000000000005), "eat me", 6); // replaces
    l = letters(0);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.iseqs[0], 4);
    assert_int_equal(l.iseqs[1], UINT64_C(0x100000000000005));
    assert_string_equal(l.text, "bob pc eat me");
    assert_int_equal(l.last.time_ms, 1234567890123);
    assert_int_equal(l.last.attempts, 5);
    assert_int_equal(l.last.kind, 7);
    pqb_client_store_file_close(s);
}

static void the_oldest_dead_letters_go_beyond_256_or_4_mib(void **state)
{
    struct pqb_client_store *s = open_store();
    uint8_t *body = calloc(1, PQB_CLIENT_BODY_MAX);
    struct letters l;

    (void)state;
    assert_non_null(body);
    for (uint64_t iseq = 1; iseq <= PQB_CLIENT_DEAD_LETTERS_MAX; iseq++)
        put_letter(s, iseq, body, 10);
    assert_int_equal(letters(0).count, PQB_CLIENT_DEAD_LETTERS_MAX);
    put_letter(s, 1000, body, 10);
    l = letters(0);
    assert_int_equal(l.count, PQB_CLIENT_DEAD_LETTERS_MAX);
    assert_int_equal(l.iseqs[0], 2);
    // 63 of the largest are below 4 MiB, 64 with their headers above.
    for (uint64_t iseq = 2001; iseq <= 2064; iseq++)
        put_letter(s, iseq, body, PQB_CLIENT_BODY_MAX);
    l = letters(0);
    assert_int_equal(l.count, 63);
    assert_int_equal(l.iseqs[0], 2002);
    free(body);
    pqb_client_store_file_close(s);
}

static void a_damaged_dead_letter_is_told_and_the_others_are_shown(void **state)
{
    struct pqb_client_store *s = open_store();
    char name[320];

    (void)state;
    for (uint64_t iseq = 1; iseq <= 3; iseq++)
        put_letter(s, iseq, "drink me", 8);
    (void)snprintf(name, sizeof(name), "%s/dead/0000000000000002", path);
    const int fd = open(name, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "!", 1, 40), 1);
    (void)close(fd);
    const struct letters l = letters(PQB_CLIENT_ERR_CORRUPT);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.iseqs[1], 3);
    pqb_client_store_file_close(s);
}

static void a_note_survives_the_process_and_a_rewrite_of_the_log(void **state)
{
    struct pqb_client_store *s = open_store();
    off_t before;

    (void)state;
    assert_int_equal(s->deliver(s->ctx, NULL, 8), 0);
    assert_int_equal(s->attempt(s->ctx, 9, 3), 0);
    pqb_client_store_file_close(s);
    s = open_store();
    assert_int_equal(contents_of(s).saved.attempt_iseq, 9);
    assert_int_equal(contents_of(s).saved.attempts, 3);
    do {
        before = log_len();
        assert_int_equal(s->drop(s->ctx, 1), 0);
    } while (log_len() > before);
    pqb_client_store_file_close(s);
    s = open_store();
    assert_int_equal(contents_of(s).saved.attempt_iseq, 9);
    assert_int_equal(contents_of(s).saved.attempts, 3);
    assert_int_equal(contents_of(s).saved.cursor, 8);
    pqb_client_store_file_close(s);
}

static void a_copy_of_a_memory_store_lives_its_own_life(void **state)
{
    struct pqb_client_store *a, *b;

    (void)state;
    assert_int_equal(pqb_client_store_memory_create(&a), 0);
    assert_int_equal(put(a, 1), 0);
    assert_int_equal(a->set_epoch(a->ctx, 4), 0);
    assert_int_equal(pqb_client_store_memory_copy(a, &b), 0);
    assert_int_equal(put(a, 2), 0);
    assert_int_equal(contents_of(b).count, 1);
    assert_int_equal(contents_of(b).saved.epoch, 4);
    assert_int_equal(contents_of(b).saved.next_seq, 2);
    pqb_client_store_memory_destroy(a);
    assert_int_equal(contents_of(b).count, 1);
    pqb_client_store_memory_destroy(b);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        CASE(a_new_directory_is_empty),
        CASE(a_queue_that_does_not_go_up_is_damage),
        CASE(what_was_kept_is_found_again),
        CASE(a_second_process_is_kept_out),
        CASE(every_cut_of_the_log_leaves_a_prefix),
        CASE(damage_in_the_middle_is_told_not_cut_off),
        CASE(garbage_behind_the_end_is_cut_off),
        CASE(a_long_history_is_rewritten),
        CASE(a_rewrite_that_was_interrupted_changes_nothing),
        CASE(the_largest_message_is_kept),
        CASE(it_agrees_with_the_memory_store),
        CASE(a_note_survives_the_process_and_a_rewrite_of_the_log),
        CASE(a_dead_letter_is_read_again_while_the_store_is_open),
        CASE(the_oldest_dead_letters_go_beyond_256_or_4_mib),
        CASE(a_damaged_dead_letter_is_told_and_the_others_are_shown),
        CASE(a_copy_of_a_memory_store_lives_its_own_life),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
