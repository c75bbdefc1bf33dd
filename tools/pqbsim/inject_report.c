// What an attack sent, got and did: for people, or one JSON object.
#include <inttypes.h>
#include <stdio.h>

#include "common/base/json.h"
#include "tools/pqbsim/inject.h"

#define JSON_MAX (64 * 1024)

static double ratio(const struct inject_count *c)
{
    return c->sent_bytes > 0 ? (double)c->answer_bytes / (double)c->sent_bytes : 0;
}

static void json_hist(struct pqb_json *j, const char *key, const struct pqb_hist *h)
{
    pqb_json_object_begin(j, key);
    pqb_json_uint(j, "count", h->count);
    pqb_json_uint(j, "p50", pqb_hist_quantile(h, 0.5));
    pqb_json_uint(j, "p99", pqb_hist_quantile(h, 0.99));
    pqb_json_uint(j, "max", h->max);
    pqb_json_object_end(j);
}

static void json_fare(struct pqb_json *j, const char *key, const struct inject_fare *f)
{
    pqb_json_object_begin(j, key);
    json_hist(j, "accepted_us", &f->accepted_us);
    json_hist(j, "delivered_us", &f->delivered_us);
    json_hist(j, "login_us", &f->login_us);
    pqb_json_uint(j, "logins_failed", f->logins_failed);
    pqb_json_object_end(j);
}

static void json_kinds(struct pqb_json *j, const struct inject *in)
{
    pqb_json_array_begin(j, "kinds");
    for (size_t i = 0; i < in->scenario->kind_count; i++) {
        const struct inject_count *c = &in->counts[i];

        pqb_json_object_begin(j, NULL);
        pqb_json_string(j, "kind", in->scenario->kinds[i].name);
        pqb_json_uint(j, "sent", c->sent);
        pqb_json_uint(j, "sent_bytes", c->sent_bytes);
        pqb_json_uint(j, "not_sent", c->failed);
        pqb_json_uint(j, "answers", c->answers);
        pqb_json_uint(j, "answer_bytes", c->answer_bytes);
        pqb_json_real(j, "ratio", ratio(c), 4);
        pqb_json_object_end(j);
    }
    pqb_json_array_end(j);
}

static void json_checks(struct pqb_json *j, const struct inject *in)
{
    pqb_json_array_begin(j, "checks");
    for (size_t i = 0; i < in->check_count; i++) {
        const struct inject_check *c = &in->checks[i];

        pqb_json_object_begin(j, NULL);
        pqb_json_string(j, "name", c->name);
        pqb_json_real(j, "value", c->value, 4);
        pqb_json_real(j, "limit", c->limit, 4);
        pqb_json_bool(j, "kept", c->value <= c->limit);
        pqb_json_object_end(j);
    }
    pqb_json_array_end(j);
}

static void json_notes(struct pqb_json *j, const struct inject *in)
{
    pqb_json_object_begin(j, "figures");
    for (size_t i = 0; i < in->note_count; i++)
        pqb_json_real(j, in->notes[i].name, in->notes[i].value, 0);
    pqb_json_object_end(j);
}

static void print_json(const struct inject *in)
{
    const struct account *a = &in->account;
    struct pqb_json j;
    const char *text;

    pqb_json_init(&j, JSON_MAX);
    pqb_json_object_begin(&j, NULL);
    pqb_json_string(&j, "scenario", in->scenario->name);
    pqb_json_real(&j, "seconds", in->attack_seconds, 3);
    pqb_json_uint(&j, "seed", in->seed);
    json_kinds(&j, in);
    pqb_json_object_begin(&j, "legitimate");
    pqb_json_uint(&j, "sent", a->count);
    pqb_json_uint(&j, "accepted", a->accepted);
    pqb_json_uint(&j, "delivered", a->delivered);
    json_fare(&j, "before", &in->before);
    if (in->scenario->is_ramped != NULL)
        json_fare(&j, "ramp", &in->ramp);
    json_fare(&j, "during", &in->during);
    pqb_json_object_end(&j);
    json_notes(&j, in);
    json_checks(&j, in);
    pqb_json_bool(&j, "kept", inject_is_kept(in));
    pqb_json_object_end(&j);
    text = pqb_json_text(&j);
    printf("%s\n", text != NULL ? text : "{}");
    pqb_json_fini(&j);
}

static void print_fare(const char *name, const struct pqb_hist *before,
                       const struct pqb_hist *during)
{
    printf("  %-10s %8.1f %8.1f %8.1f   %8.1f %8.1f %8.1f\n", name,
           (double)pqb_hist_quantile(before, 0.5) / 1e3,
           (double)pqb_hist_quantile(before, 0.99) / 1e3, (double)before->max / 1e3,
           (double)pqb_hist_quantile(during, 0.5) / 1e3,
           (double)pqb_hist_quantile(during, 0.99) / 1e3, (double)during->max / 1e3);
}

static void print_text(const struct inject *in)
{
    const struct account *a = &in->account;

    printf("%s: %s\n%.1f s, seed %" PRIu64 "\n\n", in->scenario->name, in->scenario->help,
           in->attack_seconds, in->seed);
    printf("sent                      datagrams        bytes    answers        bytes  out/in\n");
    for (size_t i = 0; i < in->scenario->kind_count; i++) {
        const struct inject_count *c = &in->counts[i];

        printf("  %-22s %10" PRIu64 " %12" PRIu64 " %10" PRIu64 " %12" PRIu64 " %7.3f\n",
               in->scenario->kinds[i].name, c->sent, c->sent_bytes, c->answers, c->answer_bytes,
               ratio(c));
    }
    printf("\nlegitimate users: %" PRIu64 " messages sent, %" PRIu64 " accepted, %" PRIu64
           " delivered; %" PRIu64 " logins before, %" PRIu64 " since\n",
           a->count, a->accepted, a->delivered, in->before.logins, in->during.logins);
    printf("  ms          before: p50      p99      max   since: p50      p99      max\n");
    print_fare("accepted", &in->before.accepted_us, &in->during.accepted_us);
    print_fare("delivered", &in->before.delivered_us, &in->during.delivered_us);
    print_fare("login", &in->before.login_us, &in->during.login_us);
    if (in->note_count > 0)
        printf("\nfigures\n");
    for (size_t i = 0; i < in->note_count; i++)
        printf("  %-48s %12.0f\n", in->notes[i].name, in->notes[i].value);
    printf("\nlimits\n");
    for (size_t i = 0; i < in->check_count; i++) {
        const struct inject_check *c = &in->checks[i];

        printf("  %-7s %-40s %12.3f of %.3f\n", c->value <= c->limit ? "kept" : "BROKEN", c->name,
               c->value, c->limit);
    }
    printf("\n%s\n", inject_is_kept(in) ? "every limit was kept" : "a limit was BROKEN");
}

void inject_report(const struct inject *in)
{
    if (in->is_json)
        print_json(in);
    else
        print_text(in);
}
