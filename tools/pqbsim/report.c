#include "tools/pqbsim/report.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/client/paquebot.h"

static const struct {
    const char *name;
    double q;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

bool report_is_clean(const struct report *r)
{
    return r->lost == 0 && r->account->duplicated == 0 && r->account->out_of_order == 0 &&
           r->account->lost_promise == 0;
}

static void print_json_latency(const char *name, const struct pqb_hist *h, const char *end)
{
    printf("\"%s\":{", name);
    for (size_t i = 0; i < PQB_ARRAY_LEN(quantiles); i++)
        printf("\"%s\":%" PRIu64 ",", quantiles[i].name, pqb_hist_quantile(h, quantiles[i].q));
    printf("\"max\":%" PRIu64 "}%s", h->max, end);
}

static void print_json_reasons(const struct account *a)
{
    const char *comma = "";

    printf("\"nacked_by\":{");
    for (unsigned i = 0; i < ACCOUNT_REASONS_MAX; i++) {
        if (a->nacked_by[i] > 0) {
            printf("%s\"%s\":%" PRIu64, comma, pqb_client_refusal_name(i), a->nacked_by[i]);
            comma = ",";
        }
    }
    printf("},");
}

static void print_json_series(const struct report *r)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {{"up", offsetof(struct traffic_slot, up)},
                  {"down", offsetof(struct traffic_slot, down)},
                  {"inits", offsetof(struct traffic_slot, inits)},
                  {"online", offsetof(struct traffic_slot, online)}};
    const struct traffic *t = r->traffic;

    // Times of CLOCK_MONOTONIC, so that a script can find its own doings in it.
    printf("\"series\":{\"start\":%.3f,\"sending_from\":%.3f,\"slot\":%.3f,",
           (double)t->start / 1e9, (double)r->sending_from / 1e9, (double)TRAFFIC_SLOT_NS / 1e9);
    for (size_t i = 0; i < PQB_ARRAY_LEN(fields); i++) {
        printf("\"%s\":[", fields[i].name);
        for (size_t k = 0; k < t->count; k++) {
            uint32_t value;

            memcpy(&value, (const char *)&t->slots[k] + fields[i].offset, sizeof(value));
            printf("%s%" PRIu32, k > 0 ? "," : "", value);
        }
        printf("],");
    }
    printf("\"bytes\":[");
    for (size_t k = 0; k < t->count; k++)
        printf("%s%" PRIu64, k > 0 ? "," : "", t->slots[k].up_bytes + t->slots[k].down_bytes);
    printf("]},");
}

static void print_json(const struct report *r)
{
    const struct account *a = r->account;

    printf("{\"sent\":%" PRIu64 ",\"accepted\":%" PRIu64 ",\"stored\":%" PRIu64
           ",\"delivered\":%" PRIu64 ",\"nacked\":%" PRIu64 ",",
           a->count, a->accepted, a->stored, a->delivered, a->nacked);
    print_json_reasons(a);
    printf("\"lost\":%" PRIu64 ",\"duplicated\":%" PRIu64 ",\"out_of_order\":%" PRIu64
           ",\"unresolved\":%" PRIu64 ",\"uncertain\":%" PRIu64
           ",\"refused_but_delivered\":%" PRIu64 ",\"throttled\":%" PRIu64 ",",
           r->lost, a->duplicated, a->out_of_order, r->unresolved, r->uncertain, a->lost_promise,
           r->throttled);
    printf("\"retransmitted\":%" PRIu64 ",\"datagrams_out\":%" PRIu64 ",\"datagrams_in\":%" PRIu64
           ",\"logins\":%" PRIu64 ",\"inits_max\":%" PRIu64 ",\"rebinds\":%" PRIu64
           ",\"seconds\":%.3f,\"settle_seconds\":%.3f,\"seed\":%" PRIu64 ",",
           r->totals.retransmitted, r->totals.datagrams_out, r->totals.datagrams_in,
           r->totals.logins, r->totals.inits_max, r->totals.rebinds, r->seconds, r->settle_seconds,
           r->seed);
    if (r->traffic != NULL)
        print_json_series(r);
    printf("\"latency_us\":{");
    print_json_latency("accepted", &a->accepted_us, ",");
    print_json_latency("resumed", &a->resumed_us, ",");
    print_json_latency("rebind_gap", r->rebind_gap_us, ",");
    print_json_latency("delivered", &a->delivered_us, "}}\n");
}

static void print_time(uint64_t us)
{
    if (us < 10000)
        printf(" %7" PRIu64 " us", us);
    else if (us < 10000000)
        printf(" %7.1f ms", (double)us / 1e3);
    else
        printf(" %7.1f s ", (double)us / 1e6);
}

static void print_latency(const char *name, const struct pqb_hist *h)
{
    printf("  %-10s", name);
    for (size_t i = 0; i < PQB_ARRAY_LEN(quantiles); i++)
        print_time(pqb_hist_quantile(h, quantiles[i].q));
    print_time(h->max);
    printf("\n");
}

static void print_count(const char *name, uint64_t value, const char *remark)
{
    printf("  %-14s %12" PRIu64 "  %s\n", name, value, remark);
}

static void print_text(const struct report *r)
{
    const struct account *a = r->account;

    printf("\nmessages\n");
    print_count("sent", a->count, "");
    print_count("accepted", a->accepted, "durable when the sender was told");
    print_count("stored", a->stored, "of those, nobody was there to take them");
    print_count("delivered", a->delivered, "handed to the recipient's application");
    print_count("nacked", a->nacked, "");
    for (unsigned i = 0; i < ACCOUNT_REASONS_MAX; i++) {
        if (a->nacked_by[i] > 0)
            print_count("", a->nacked_by[i], pqb_client_refusal_name(i));
    }
    if (r->unresolved > 0)
        print_count("unresolved", r->unresolved, "neither accepted nor refused by the end");
    if (r->uncertain > 0)
        print_count("uncertain", r->uncertain, "state was restored from an older copy");
    if (r->throttled > 0)
        print_count("throttled", r->throttled, "not sent: the sender's queue was full");
    printf("\nnetwork\n");
    print_count("datagrams out", r->totals.datagrams_out, "");
    print_count("datagrams in", r->totals.datagrams_in, "");
    print_count("retransmitted", r->totals.retransmitted, "by the clients");
    print_count("logins", r->totals.logins, "");
    print_count("logins tried", r->totals.inits_max, "the most times that one client asked");
    print_count("rebinds", r->totals.rebinds, "address changes");
    printf("\nlatency           p50        p90        p99       p999        max\n");
    print_latency("accepted", &a->accepted_us);
    print_latency("delivered", &a->delivered_us);
    if (a->resumed_us.count > 0)
        print_latency("resumed", &a->resumed_us);
    if (r->rebind_gap_us->count > 0)
        print_latency("rebind gap", r->rebind_gap_us);
    printf("\n%.1f s of sending, %.1f s to settle, seed %" PRIu64 "\n", r->seconds,
           r->settle_seconds, r->seed);
    printf("%" PRIu64 " lost, %" PRIu64 " duplicated, %" PRIu64 " out of order\n", r->lost,
           a->duplicated, a->out_of_order);
    if (a->lost_promise > 0)
        printf("%" PRIu64 " refused and yet delivered\n", a->lost_promise);
}

void report_print(const struct report *r, bool is_json)
{
    if (is_json)
        print_json(r);
    else
        print_text(r);
}
