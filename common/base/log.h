// Leveled log lines: fixed text, then key=value pairs, one line an event. The sink is process-wide
// and set before threads start. `common/` and `storage/` do not log; they return errors.
#pragma once

#include <stdbool.h>

#include "common/base/defs.h"

enum pqb_log_level {
    PQB_LOG_ERROR = 0,
    PQB_LOG_WARN = 1,
    PQB_LOG_INFO = 2,
    PQB_LOG_DEBUG = 3,
};

typedef void (*pqb_log_fn)(void *ctx, enum pqb_log_level level, const char *line);

// The default sink writes "<level> <line>\n" to stderr at PQB_LOG_INFO.
void pqb_log_set_sink(pqb_log_fn fn, void *ctx);
void pqb_log_set_level(enum pqb_log_level level);
bool pqb_log_is_enabled(enum pqb_log_level level);

// Formats one line of at most 1023 bytes; control characters are replaced by '?'. Any thread.
void pqb_log(enum pqb_log_level level, const char *format, ...) PQB_PRINTF(2, 3);

const char *pqb_log_level_name(enum pqb_log_level level);
bool pqb_log_level_parse(const char *name, enum pqb_log_level *out);
