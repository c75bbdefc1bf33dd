// Copies of the gateway's store, and what happens when one is put in its place.
#include <stdio.h>
#include <stdlib.h>

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_gateway.h"
#include "tests/sim/sim_history.h"
#include "tests/sim/sim_trace.h"

#define PAGES_MAX (UINT64_C(1) << 20)

static void data_file(const char *directory, char *out, size_t len)
{
    PQB_ASSERT(snprintf(out, len, "%s/data.mdb", directory) < (int)len);
}

// The volume as it is between two commits.
static void copy_volume(const char *from, const char *to)
{
    char from_file[160], to_file[160];
    struct stat stat;
    int in, out;

    data_file(from, from_file, sizeof(from_file));
    data_file(to, to_file, sizeof(to_file));
    PQB_ASSERT(mkdir(to, 0700) == 0);
    in = open(from_file, O_RDONLY);
    out = open(to_file, O_WRONLY | O_CREAT | O_EXCL, 0600);
    PQB_ASSERT(in >= 0 && out >= 0 && fstat(in, &stat) == 0);
    for (off_t at = 0; at < stat.st_size;)
        PQB_ASSERT(sendfile(out, in, &at, (size_t)(stat.st_size - at)) > 0);
    close(in);
    close(out);
}

void sim_gateway_back_up(struct sim_gateway *g, bool is_marked, pqb_tstamp now)
{
    struct sim_backup *b = &g->backup;
    int err = PQB_OK;

    if (!g->store || b->path[0])
        return;
    PQB_ASSERT(snprintf(b->path, sizeof(b->path), "%.100s-copy", g->path) < (int)sizeof(b->path));
    g->is_backing_up = true;
    if (is_marked)
        err = pqb_store_backup(g->store, b->path, PAGES_MAX);
    else
        copy_volume(g->path, b->path);
    g->is_backing_up = false;
    if (err != PQB_OK) {
        sim_oracle_fail(g->oracle, "no backup can be taken: %s", pqb_err_name(err));
        b->path[0] = '\0';
        return;
    }
    b->is_marked = is_marked;
    b->gseq_end = g->journal.next_gseq;
    b->taken_at = now;
    sim_trace(now, "a %s is taken", is_marked ? "backup" : "copy of the volume");
}

void sim_gateway_restore(struct sim_gateway *g, pqb_duration down, pqb_tstamp now)
{
    struct sim_backup *b = &g->backup;
    char from[160], to[160];

    if (!b->path[0])
        return;
    sim_gateway_crash(g, down, now);
    data_file(b->path, from, sizeof(from));
    data_file(g->path, to, sizeof(to));
    PQB_ASSERT(rename(from, to) == 0);
    sim_gateway_remove_directory(b->path);
    b->path[0] = '\0';
    g->journal.next_gseq = b->gseq_end;
    sim_history_on_restore(g->oracle, b->gseq_end, b->taken_at, b->is_marked, now);
    sim_fault_fired(b->is_marked ? SIM_FAULT_restore : SIM_FAULT_roll_back, 1);
    sim_trace(now, "the %s is restored", b->is_marked ? "backup" : "volume");
}
