// replay-pcap: what clients once sent, from a capture, sent again in its own timing. The gateway
// has had it all: nothing may be taken twice, whether the captured sessions still live or not.
#include "tools/pqbsim/inject_pcap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/datagram.h"
#include "tools/cli/cli.h"
#include "tools/pqbsim/inject.h"
#include "tools/pqbsim/pcap.h"

#define BYTES_MAX   (UINT64_C(512) << 20) // of datagrams kept in memory
#define CLIENTS_MAX 4096                  // further ones share an address
#define PAUSE_NS    (PQB_NS_PER_SEC / 10) // between two passes

struct recorded {
    uint64_t at_ns; // since the first
    size_t offset, len;
    uint32_t client;
};

struct inject_pcap {
    struct pcap_reader reader;
    struct recorded *list;
    size_t count, capacity, next;
    uint8_t *bytes;
    size_t used, bytes_capacity;
    struct pqb_addr gateway; // in the capture
    struct pqb_addr clients[CLIENTS_MAX];
    uint32_t client_count;
    uint64_t first_ns, others;
    pqb_tstamp pass_at; // when this pass began; 0: not yet
};

// ------------------------------------------------------------------------------------- reading

static uint32_t client_of(struct inject_pcap *p, const struct pqb_addr *from)
{
    for (uint32_t i = 0; i < p->client_count; i++) {
        if (pqb_addr_is_equal(&p->clients[i], from))
            return i;
    }
    if (p->client_count == CLIENTS_MAX)
        return from->port % CLIENTS_MAX;
    p->clients[p->client_count] = *from;
    return p->client_count++;
}

// Doubles *array until it holds `wanted` elements.
static bool reserve(void **array, size_t *capacity, size_t wanted, size_t element)
{
    size_t more = PQB_MAX(*capacity, (size_t)1024);
    void *grown;

    while (more < wanted)
        more *= 2;
    if (more == *capacity)
        return true;
    grown = realloc(*array, more * element);
    if (grown == NULL)
        return false;
    *array = grown;
    *capacity = more;
    return true;
}

static bool keep(struct inject_pcap *p, const struct pcap_datagram *d)
{
    void *list = p->list, *bytes = p->bytes;
    bool is_kept = reserve(&list, &p->capacity, p->count + 1, sizeof(*p->list));

    p->list = list;
    is_kept = is_kept && reserve(&bytes, &p->bytes_capacity, p->used + d->len, 1);
    p->bytes = bytes;
    if (!is_kept)
        return false;
    if (p->count == 0)
        p->first_ns = d->at_ns;
    memcpy(p->bytes + p->used, d->data, d->len);
    p->list[p->count++] = (struct recorded){.at_ns = pqb_elapsed(p->first_ns, d->at_ns),
                                            .offset = p->used,
                                            .len = d->len,
                                            .client = client_of(p, &d->from)};
    p->used += d->len;
    return true;
}

// Unless told, the gateway is who was asked for a session first.
static bool is_to_gateway(struct inject_pcap *p, const struct pcap_datagram *d)
{
    enum pqb_datagram_type type;

    if (p->gateway.family == 0 && pqb_datagram_peek(d->data, d->len, &type) == PQB_VERDICT_OK &&
        type == PQB_DATAGRAM_INIT)
        p->gateway = d->to;
    return p->gateway.family != 0 && pqb_addr_is_equal(&p->gateway, &d->to);
}

static const char *read_all(struct inject_pcap *p, FILE *file)
{
    const char *fault = pcap_reader_init(&p->reader, file);
    struct pcap_datagram d;
    enum pcap_result result = PCAP_END;

    if (fault != NULL)
        return fault;
    while ((result = pcap_reader_next(&p->reader, &d)) == PCAP_DATAGRAM) {
        if (d.len == 0 || d.len > INJECT_LEN_MAX || !is_to_gateway(p, &d)) {
            p->others++;
            continue;
        }
        if (p->used + d.len > BYTES_MAX || !keep(p, &d))
            return "it is too large; cut it with 'editcap -c' or a filter";
    }
    if (result == PCAP_DAMAGED)
        return "it is damaged: it ends inside a packet, or a packet's length is impossible";
    if (p->count == 0)
        return "nothing in it goes to a gateway: no INIT, or not to --captured";
    return NULL;
}

int inject_pcap_load(struct inject *in, const char *path, const struct pqb_addr *captured)
{
    struct inject_pcap *p = calloc(1, sizeof(*p));
    const char *fault = "not enough memory for it";
    FILE *file = fopen(path, "rbe");
    char what[512];

    if (file == NULL)
        fault = strerror(errno);
    if (p != NULL && file != NULL) {
        p->gateway = *captured;
        fault = read_all(p, file);
    }
    if (file != NULL)
        (void)fclose(file);
    in->pcap = p;
    if (fault == NULL)
        return CLI_EXIT_DONE;
    (void)snprintf(what, sizeof(what), "cannot replay %s: %s", path, fault);
    return cli_wrong("pqbsim inject", what, "'pqbsim link --pcap FILE' or tcpdump -w writes one.");
}

void inject_pcap_free(struct inject *in)
{
    if (in->pcap == NULL)
        return;
    free(in->pcap->list);
    free(in->pcap->bytes);
    free(in->pcap);
    in->pcap = NULL;
}

// ------------------------------------------------------------------------------------- sending

static pqb_duration recorded_ns(const struct inject *in, uint64_t at_ns)
{
    return in->speed > 0 ? (pqb_duration)((double)at_ns / in->speed) : 0;
}

pqb_duration inject_pcap_duration(const struct inject *in)
{
    const struct inject_pcap *p = in->pcap;
    const pqb_duration sending = p->count * PQB_NS_PER_SEC / in->rate;

    return PQB_MAX(recorded_ns(in, p->list[p->count - 1].at_ns), sending) + PAUSE_NS;
}

bool inject_pcap_is_through(const struct inject *in)
{
    return in->pcap == NULL || in->pcap->next == in->pcap->count;
}

static const struct inject_kind pcap_kinds[] = {{"recorded", 1.0}};

// One datagram a turn at most, so that the rate bounds what the recording asks for.
static size_t make_pcap(struct inject *in, uint32_t kind, uint8_t *out, pqb_tstamp now)
{
    struct inject_pcap *p = in->pcap;
    const struct recorded *r;

    (void)kind;
    if (p->next == p->count) { // from the beginning, if there is time for that
        if (in->is_once)
            return 0;
        p->next = 0;
        p->pass_at = pqb_tstamp_add(now, PAUSE_NS);
    }
    if (p->pass_at == 0)
        p->pass_at = now;
    r = &p->list[p->next];
    if (now < pqb_tstamp_add(p->pass_at, recorded_ns(in, r->at_ns)))
        return 0;
    p->next++;
    memcpy(out, p->bytes + r->offset, r->len);
    in->source = (int)(r->client % in->scenario->sources);
    inject_replay_note(in, out, r->len);
    return r->len;
}

const struct inject_scenario inject_replay_pcap = {
    .name = "replay-pcap",
    .help = "what clients sent in a capture (replay-pcap FILE), in its timing, from new addresses",
    .limit = "nothing of it is taken again if the gateway had it, each datagram is counted, no "
             "session opens or moves (needs --stats); 1.0 bytes out per byte in",
    .kinds = pcap_kinds,
    .kind_count = PQB_ARRAY_LEN(pcap_kinds),
    .sources = 64,
    .rate = 20000,
    .make = make_pcap,
    .judge = inject_judge_replay,
    .takes_file = true,
    .is_still = true,
    .memory_max = inject_memory_logins,
};
