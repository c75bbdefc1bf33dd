// paquebotd_failpoints: the daemon's own objects, linked so that it can be made to die, to meet an
// error or to wait at a named step (storage/failpoints.def, and the few below):
//
//   PQB_FAILPOINT=STEP:NTH:ACTION[,STEP:NTH:ACTION]...
//
//   NTH     which time the step is come to, from 1; "3+" is the third and each after it
//   ACTION  kill (SIGKILL to itself) | sleep:MS | the name of an errno, e.g. EIO, ENOSPC
//   list    instead of all that: prints "STEP KIND where it stands", one a line, and ends
//
// PQB_DEVICE_IDLE_MS sets device-idle, for the steps of forgetting a device.
//
// Nothing of this is in the daemon that is shipped: the linker puts the functions named __wrap_X
// where the objects call X.
#include "storage/failpoints.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <unistd.h>

#include "common/base/defs.h"
#include "gateway/admin/settings.h"
#include "gateway/io/shard.h"

#define ORDERS_MAX 8
#define EXIT_USAGE 2

enum action {
    ACTION_KILL,
    ACTION_SLEEP,
    ACTION_ERRNO,
};

struct order {
    char step[32];
    unsigned long nth;
    bool has_more; // each after the nth as well
    enum action action;
    int errnum;
    unsigned long sleep_ms;
    atomic_ulong count; // how often the step has been come to; any thread
};

static struct order orders[ORDERS_MAX];
static size_t order_count;

// Steps of the daemon itself.
static const struct {
    const char *step, *where;
} daemon_steps[] = {
    {"start.recovered", "the store is open, no thread runs yet"},
    {"drain.begun", "sessions are about to be ended"},
    {"drain.finished", "sessions have ended, shards are about to stop"},
};

static const struct {
    const char *name;
    int errnum;
} errnos[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT},
              {"ENOMEM", ENOMEM}, {"EROFS", EROFS},   {"EACCES", EACCES}};

// -------------------------------------------------------------------------------------- reading

static _Noreturn void refuse(const char *format, ...) PQB_PRINTF(1, 2);

static _Noreturn void refuse(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fprintf(stderr, "paquebotd_failpoints: PQB_FAILPOINT: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    exit(EXIT_USAGE);
}

static _Noreturn void list(void)
{
#define PQB_FAILPOINT(name, step, kind, where) printf("%s %s %s\n", step, #kind, where);
#include "storage/failpoints.def"
#undef PQB_FAILPOINT
    for (size_t i = 0; i < PQB_ARRAY_LEN(daemon_steps); i++)
        printf("%s DEATH %s\n", daemon_steps[i].step, daemon_steps[i].where);
    exit(0);
}

static bool is_step(const char *step)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(daemon_steps); i++) {
        if (strcmp(daemon_steps[i].step, step) == 0)
            return true;
    }
    return pqb_failpoint_find(step) != NULL;
}

static void read_action(struct order *o, const char *text)
{
    char *end;

    if (strcmp(text, "kill") == 0) {
        o->action = ACTION_KILL;
        return;
    }
    if (strncmp(text, "sleep:", 6) == 0) {
        o->action = ACTION_SLEEP;
        o->sleep_ms = strtoul(text + 6, &end, 10);
        if (text[6] == '\0' || *end != '\0' || o->sleep_ms > 600000)
            refuse("'%s': milliseconds up to 600000 are wanted after 'sleep:'", text);
        return;
    }
    o->action = ACTION_ERRNO;
    for (size_t i = 0; i < PQB_ARRAY_LEN(errnos); i++) {
        if (strcmp(errnos[i].name, text) == 0)
            o->errnum = errnos[i].errnum;
    }
    if (o->errnum == 0)
        refuse("'%s' is no action; it is kill, sleep:MS, EIO, ENOSPC, EDQUOT, ENOMEM, EROFS or "
               "EACCES",
               text);
}

static void read_order(struct order *o, char *text)
{
    char *nth = strchr(text, ':');
    char *action = nth != NULL ? strchr(nth + 1, ':') : NULL;
    char *end;

    if (action == NULL)
        refuse("'%s' is not STEP:NTH:ACTION", text);
    *nth++ = '\0';
    *action++ = '\0';
    if (!is_step(text))
        refuse("there is no step '%s'; PQB_FAILPOINT=list names them", text);
    (void)snprintf(o->step, sizeof(o->step), "%s", text);
    errno = 0;
    o->nth = strtoul(nth, &end, 10);
    o->has_more = *end == '+';
    if (*nth < '0' || *nth > '9' || end[o->has_more] != '\0' || o->nth == 0 || errno != 0)
        refuse("'%s': a number from 1 is wanted, or one with '+' behind it", nth);
    read_action(o, action);
}

// Before main, so that nothing has been touched when the value is refused.
__attribute__((constructor)) static void read_orders(void)
{
    const char *value = getenv("PQB_FAILPOINT");
    char *text, *item, *save;

    if (value == NULL)
        return;
    if (strcmp(value, "list") == 0)
        list();
    text = strdup(value);
    if (text == NULL || *text == '\0')
        refuse("empty");
    for (item = strtok_r(text, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save)) {
        if (order_count == ORDERS_MAX)
            refuse("more than %d steps", ORDERS_MAX);
        read_order(&orders[order_count++], item);
    }
    if (order_count == 0)
        refuse("empty");
    free(text);
}

// ------------------------------------------------------------------------------------ obeying

static void say(const struct order *o, unsigned long count)
{
    char line[96];
    const int len = snprintf(line, sizeof(line), "failpoint %s %lu\n", o->step, count);

    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        return; // nobody reads
}

static int obey(struct order *o)
{
    const unsigned long count = atomic_fetch_add(&o->count, 1) + 1;
    const struct timespec ts = {.tv_sec = (time_t)(o->sleep_ms / 1000),
                                .tv_nsec = (long)(o->sleep_ms % 1000) * 1000000};

    if (count < o->nth || (count > o->nth && !o->has_more))
        return 0;
    say(o, count);
    switch (o->action) {
    case ACTION_KILL:
        (void)kill(getpid(), SIGKILL);
        (void)pause(); // the signal may find another thread first
        return 0;
    case ACTION_SLEEP:
        (void)nanosleep(&ts, NULL);
        return 0;
    case ACTION_ERRNO:
        return o->errnum;
    }
    return 0;
}

// The store's hook.
static int come_to(void *ctx, const char *step)
{
    int errnum = 0;

    (void)ctx;
    for (size_t i = 0; i < order_count; i++) {
        if (strcmp(orders[i].step, step) == 0)
            errnum = obey(&orders[i]);
    }
    return errnum;
}

// ------------------------------------------------------------------------------------- wrapping

void __real_pqb_settings_store(struct pqb_store_config *out, const struct pqb_config *config);
void __wrap_pqb_settings_store(struct pqb_store_config *out, const struct pqb_config *config);
int __real_pqb_store_start(struct pqb_store *s);
int __wrap_pqb_store_start(struct pqb_store *s);
void __real_pqb_engine_drain(struct pqb_engine *e, pqb_tstamp now);
void __wrap_pqb_engine_drain(struct pqb_engine *e, pqb_tstamp now);
void __real_pqb_shard_stop(struct pqb_shard *s);
void __wrap_pqb_shard_stop(struct pqb_shard *s);

void __wrap_pqb_settings_store(struct pqb_store_config *out, const struct pqb_config *config)
{
    __real_pqb_settings_store(out, config);
    out->failpoint = come_to;
    if (getenv("PQB_DEVICE_IDLE_MS") != NULL) // shorter than the option may be
        out->device_idle_ms = strtoul(getenv("PQB_DEVICE_IDLE_MS"), NULL, 10);
}

int __wrap_pqb_store_start(struct pqb_store *s)
{
    (void)come_to(NULL, "start.recovered");
    return __real_pqb_store_start(s);
}

void __wrap_pqb_engine_drain(struct pqb_engine *e, pqb_tstamp now)
{
    (void)come_to(NULL, "drain.begun");
    __real_pqb_engine_drain(e, now);
}

void __wrap_pqb_shard_stop(struct pqb_shard *s)
{
    (void)come_to(NULL, "drain.finished");
    __real_pqb_shard_stop(s);
}
