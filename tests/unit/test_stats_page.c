#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/base/err.h"
#include "gateway/io/stats_page.h"

static const struct pqb_stats_row rows[] = {
    {.name = "msg.accepted", .unit = "messages", .help = "made durable"},
    {.name = "session.current", .unit = "sessions", .help = "now", .kind = PQB_STATS_GAUGE},
    {.name = "udp.kernel_drops", .unit = "datagrams", .help = "lost", .kind = PQB_STATS_ALARM},
};
static const char *const columns[] = {"shard.0", "shard.1", "process"};

struct place {
    char dir[32], path[64];
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/test_stats.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof(p->path), "%s/stats", p->dir);
    *state = p;
    return 0;
}

static int drop_place(void **state)
{
    struct place *p = *state;

    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0); // nothing else was left behind
    free(p);
    return 0;
}

static struct pqb_stats_page *make_page(const struct place *p)
{
    struct pqb_stats_page *page = NULL;

    assert_int_equal(pqb_stats_page_create(&page, p->path, rows, 3, columns, 3, 1700000000000),
                     PQB_OK);
    return page;
}

static void a_reader_adds_the_columns_up(void **state)
{
    const struct place *p = *state;
    struct pqb_stats_page *page = make_page(p);
    struct pqb_stats_snapshot s;
    bool is_known;

    pqb_stats_page_column(page, 0)[0] = 40;
    pqb_stats_page_column(page, 1)[0] = 2;
    pqb_stats_page_column(page, 2)[2] = 7;
    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_OK);
    assert_int_equal(s.row_count, 3);
    assert_int_equal(s.column_count, 3);
    assert_string_equal(s.rows[0].help, "made durable");
    assert_string_equal(s.columns[1].name, "shard.1");
    assert_int_equal(pqb_stats_snapshot_get(&s, "msg.accepted", &is_known), 42);
    assert_true(is_known);
    assert_int_equal(pqb_stats_snapshot_sum(&s, 2), 7);
    assert_int_equal(pqb_stats_snapshot_get(&s, "msg.nothing", &is_known), 0);
    assert_false(is_known);
    pqb_stats_snapshot_fini(&s);
    pqb_stats_page_destroy(page, 1);
}

static void a_page_tells_who_wrote_it_and_whether_it_lives(void **state)
{
    const struct place *p = *state;
    struct pqb_stats_page *page = make_page(p);
    struct pqb_stats_snapshot s;

    pqb_stats_page_heartbeat(page, 123);
    pqb_stats_page_turn_begin(page, 1, 55);
    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_OK);
    assert_int_equal(s.pid, getpid());
    assert_int_equal(s.started_at, 1700000000000);
    assert_int_equal(s.stopped_at, 0);
    assert_int_equal(s.heartbeat, 123);
    assert_int_equal(s.columns[1].busy_since, 55);
    assert_int_equal(s.columns[0].busy_since, 0);
    pqb_stats_snapshot_fini(&s);
    pqb_stats_page_turn_end(page, 1);
    pqb_stats_page_destroy(page, 1700000000999);
    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_OK);
    assert_int_equal(s.stopped_at, 1700000000999);
    assert_int_equal(s.columns[1].busy_since, 0);
    pqb_stats_snapshot_fini(&s);
}

static void a_restart_leaves_the_old_page_to_whoever_reads_it(void **state)
{
    const struct place *p = *state;
    struct pqb_stats_page *old = make_page(p);
    struct pqb_stats_page *fresh = make_page(p);
    struct pqb_stats_snapshot s;

    pqb_stats_page_column(old, 0)[0] = 9; // must not show in the new file
    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_OK);
    assert_int_equal(pqb_stats_snapshot_sum(&s, 0), 0);
    pqb_stats_snapshot_fini(&s);
    pqb_stats_page_destroy(old, 1);
    pqb_stats_page_destroy(fresh, 1);
}

static void what_is_not_a_page_is_refused(void **state)
{
    const struct place *p = *state;
    struct pqb_stats_snapshot s;
    struct pqb_stats_header header = {.magic = PQB_STATS_MAGIC, .version = 99, .header_len = 64};
    int fd;

    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_ERR_NOT_FOUND);
    fd = open(p->path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_ERR_CORRUPT);
    assert_int_equal(write(fd, &header, sizeof(header)), sizeof(header));
    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_ERR_VERSION);
    header.version = PQB_STATS_VERSION;
    header.row_len = 192;
    header.column_len = 32;
    header.row_count = UINT32_MAX; // would ask for gigabytes
    assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_ERR_CORRUPT);
    (void)close(fd);
}

static void a_page_cut_short_is_refused(void **state)
{
    const struct place *p = *state;
    struct pqb_stats_page *page = make_page(p);
    struct pqb_stats_snapshot s;

    assert_int_equal(truncate(p->path, 500), 0);
    assert_int_equal(pqb_stats_snapshot_read(&s, p->path), PQB_ERR_CORRUPT);
    pqb_stats_page_destroy(page, 1);
}

static void a_place_that_cannot_be_written_is_an_error(void **state)
{
    struct pqb_stats_page *page = NULL;

    (void)state;
    assert_int_equal(pqb_stats_page_create(&page, "/proc/none/stats", rows, 3, columns, 3, 1),
                     PQB_ERR_IO);
    assert_null(page);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_place, drop_place)
    const struct CMUnitTest tests[] = {
        CASE(a_reader_adds_the_columns_up),
        CASE(a_page_tells_who_wrote_it_and_whether_it_lives),
        CASE(a_restart_leaves_the_old_page_to_whoever_reads_it),
        CASE(what_is_not_a_page_is_refused),
        CASE(a_page_cut_short_is_refused),
        CASE(a_place_that_cannot_be_written_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
