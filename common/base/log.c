#include "common/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"

#define LINE_MAX_BYTES 1024 // with the terminating NUL

static const char *const level_names[] = {
    [PQB_LOG_ERROR] = "error",
    [PQB_LOG_WARN] = "warn",
    [PQB_LOG_INFO] = "info",
    [PQB_LOG_DEBUG] = "debug",
};

static void write_to_stderr(void *ctx, enum pqb_log_level level, const char *line)
{
    (void)ctx;
    (void)fprintf(stderr, "%s %s\n", pqb_log_level_name(level), line);
}

static pqb_log_fn sink = write_to_stderr;
static void *sink_ctx;

// A reload moves the level while other threads log; it guards no other data, so relaxed will do.
static _Atomic(int) max_level = PQB_LOG_INFO;

void pqb_log_set_sink(pqb_log_fn fn, void *ctx)
{
    sink = fn != NULL ? fn : write_to_stderr;
    sink_ctx = ctx;
}

void pqb_log_set_level(enum pqb_log_level level)
{
    atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

bool pqb_log_is_enabled(enum pqb_log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

// A peer's bytes may reach a log line; they must not be able to forge a second one.
static void mask_control(char *line)
{
    for (; *line != '\0'; line++) {
        if ((unsigned char)*line < 0x20 || *line == 0x7f)
            *line = '?';
    }
}

void pqb_log(enum pqb_log_level level, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;

    if (!pqb_log_is_enabled(level))
        return;
    va_start(args, format);
    const int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (len < 0)
        return;
    mask_control(line);
    sink(sink_ctx, level, line);
}

const char *pqb_log_level_name(enum pqb_log_level level)
{
    PQB_ASSERT((size_t)level < PQB_ARRAY_LEN(level_names));
    return level_names[level];
}

bool pqb_log_level_parse(const char *name, enum pqb_log_level *out)
{
    for (size_t i = 0; i < PQB_ARRAY_LEN(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum pqb_log_level)i;
            return true;
        }
    }
    return false;
}
