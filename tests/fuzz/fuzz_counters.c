// The counters page as pqbctl reads it: any bytes are a verdict or a snapshot that stays inside
// what it copied, of a gateway in one of its four states; what is printed of it is JSON.
#include <stdio.h>
#include <string.h>

#include <sys/mman.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "gateway/io/stats_page.h"
#include "tests/fuzz/fuzz.h"
#include "tools/pqbctl/pqbctl.h"

#define TEXT_MAX ((size_t)8 << 20)

static void check_json(const struct pqb_stats_snapshot *s)
{
    struct pqb_json j;

    pqb_json_init(&j, TEXT_MAX);
    pqb_json_object_begin(&j, NULL);
    for (size_t i = 0; i < s->row_count; i++)
        pqb_json_uint(&j, s->rows[i].name, pqb_stats_snapshot_sum(s, i));
    for (size_t i = 0; i < s->column_count; i++)
        pqb_json_string(&j, NULL, s->columns[i].name);
    pqb_json_object_end(&j);
    PQB_ASSERT(pqb_json_text(&j) != NULL);
    pqb_json_fini(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    struct pqb_stats_snapshot s;
    struct ctl_health health;

    if (fd < 0) {
        fd = memfd_create("page", 0);
        PQB_ASSERT(fd >= 0);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    PQB_ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);

    const size_t before = fuzz_heap_in_use();
    const int err = pqb_stats_snapshot_read(&s, path);
    PQB_ASSERT(err == PQB_OK || err == PQB_ERR_CORRUPT || err == PQB_ERR_VERSION);
    if (err == PQB_OK) {
        PQB_ASSERT(fuzz_heap_in_use() - before <= 2 * size + 65536);
        PQB_ASSERT(s.row_count <= PQB_STATS_ROWS_MAX && s.column_count <= PQB_STATS_COLUMNS_MAX);
        for (size_t i = 0; i < s.row_count; i++) {
            bool is_known;
            (void)pqb_stats_snapshot_get(&s, s.rows[i].name, &is_known);
            PQB_ASSERT(is_known && strlen(s.rows[i].unit) < sizeof(s.rows[i].unit) &&
                       strlen(s.rows[i].help) < sizeof(s.rows[i].help));
        }
        ctl_health_of(&s, &health);
        PQB_ASSERT(ctl_life_name(health.life)[0] != '\0' &&
                   strlen(health.note) < sizeof(health.note));
        check_json(&s);
    }
    pqb_stats_snapshot_fini(&s);
    return 0;
}
