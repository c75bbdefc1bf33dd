// Where the gateway is, and how it does, from its counters page alone.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/err.h"
#include "tools/pqbctl/pqbctl.h"

#define DATA_DEFAULT "/var/lib/paquebot"

#define HUNG_AFTER_NS (2 * PQB_NS_PER_SEC) // the heartbeat moves every 250 ms

void ctl_place_init(struct ctl_place *place)
{
    const char *data = getenv("PQB_DATA");

    *place = (struct ctl_place){.data = data != NULL && data[0] != '\0' ? data : DATA_DEFAULT};
}

static void join(char *path, const char *whole, const char *dir, const char *file)
{
    if (whole != NULL)
        (void)snprintf(path, CTL_PATH_MAX, "%s", whole);
    else
        (void)snprintf(path, CTL_PATH_MAX, "%s/%s", dir, file);
}

void ctl_control_path(const struct ctl_place *place, char *path)
{
    join(path, place->control, place->data, "control.sock");
}

void ctl_stats_path(const struct ctl_place *place, char *path)
{
    join(path, place->stats, place->data, "stats");
}

bool ctl_stats_read(const struct ctl_place *place, struct pqb_stats_snapshot *out)
{
    char path[CTL_PATH_MAX];
    int err;

    ctl_stats_path(place, path);
    err = pqb_stats_snapshot_read(out, path);
    if (err == PQB_OK)
        return true;
    if (err == PQB_ERR_NOT_FOUND)
        fprintf(stderr,
                "pqbctl: there are no counters at %s\n"
                "Has a gateway run with this data directory? Name it by --data or PQB_DATA.\n",
                path);
    else if (err == PQB_ERR_VERSION)
        fprintf(stderr, "pqbctl: %s is of another version; use the pqbctl of that gateway\n", path);
    else if (err == PQB_ERR_IO)
        fprintf(stderr, "pqbctl: cannot read %s: %s\n", path, strerror(errno));
    else
        fprintf(stderr, "pqbctl: %s is not a counters page (%s)\n", path, pqb_err_name(err));
    return false;
}

const char *ctl_life_name(enum ctl_life life)
{
    switch (life) {
    case CTL_RUNNING:
        return "running";
    case CTL_HUNG:
        return "hung";
    case CTL_DEAD:
        return "dead";
    case CTL_STOPPED:
        return "stopped";
    }
    return "";
}

static void look_for_hung_threads(const struct pqb_stats_snapshot *s, pqb_tstamp now,
                                  struct ctl_health *out)
{
    if (pqb_elapsed(s->heartbeat, now) > HUNG_AFTER_NS) {
        out->life = CTL_HUNG;
        (void)snprintf(out->note, sizeof(out->note), "no heartbeat for %" PRIu64 " ms",
                       out->heartbeat_ms);
        return;
    }
    for (size_t i = 0; i < s->column_count; i++) {
        const uint64_t since = s->columns[i].busy_since;

        if (since == 0 || pqb_elapsed(since, now) <= HUNG_AFTER_NS)
            continue;
        out->life = CTL_HUNG;
        (void)snprintf(out->note, sizeof(out->note), "%s is in one turn for %" PRIu64 " ms",
                       s->columns[i].name, pqb_elapsed(since, now) / PQB_NS_PER_MS);
        return;
    }
}

void ctl_health_of(const struct pqb_stats_snapshot *s, struct ctl_health *out)
{
    const pqb_tstamp now = cli_now();
    const uint64_t wall_s = (uint64_t)time(NULL);

    memset(out, 0, sizeof(*out));
    out->heartbeat_ms = pqb_elapsed(s->heartbeat, now) / PQB_NS_PER_MS;
    if (s->stopped_at != 0) {
        out->life = CTL_STOPPED;
        return;
    }
    if (kill((pid_t)s->pid, 0) != 0 && errno == ESRCH) {
        out->life = CTL_DEAD;
        return;
    }
    out->life = CTL_RUNNING;
    out->uptime_s = wall_s > s->started_at / 1000 ? wall_s - s->started_at / 1000 : 0;
    look_for_hung_threads(s, now, out);
}
