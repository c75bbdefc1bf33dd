// paquebotd: the gateway.
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "gateway/admin/daemon.h"
#include "gateway/config/config.h"

#define EXIT_DONE  0
#define EXIT_USAGE 2

// One line an event on stderr, with the time in UTC.
static void log_to_stderr(void *ctx, enum pqb_log_level level, const char *line)
{
    struct timespec ts;
    struct tm tm;
    char text[32];

    (void)ctx;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)fprintf(stderr, "%s.%03ldZ %s %s\n", text, ts.tv_nsec / 1000000,
                  pqb_log_level_name(level), line);
}

int main(int argc, char **argv)
{
    struct pqb_config config;
    struct pqb_config_error error;
    enum pqb_config_action action;

    if (pqb_config_load(&config, argc, argv, &action, &error) != PQB_OK) {
        (void)fprintf(stderr, "paquebotd: %s\n", error.text);
        return EXIT_USAGE;
    }
    switch (action) {
    case PQB_CONFIG_HELP:
        pqb_config_help(stdout);
        return EXIT_DONE;
    case PQB_CONFIG_VERSION:
        (void)printf("paquebotd %s\n", PQB_VERSION);
        return EXIT_DONE;
    case PQB_CONFIG_CHECK:
        (void)printf("the configuration is right\n");
        return EXIT_DONE;
    case PQB_CONFIG_PRINT:
        pqb_config_print(&config, stdout);
        return EXIT_DONE;
    case PQB_CONFIG_SERVE:
        break;
    }
    pqb_log_set_sink(log_to_stderr, NULL);
    pqb_log_set_level((enum pqb_log_level)config.log_level);
    return (int)pqb_daemon_run(&config, argc, argv);
}
