// Captures: any bytes end in datagrams that lie inside what was read, an error that is told, or the
// end; and no record is read twice.
#include <stdlib.h>

#include "common/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "tools/pqbsim/pcap.h"

static void check_datagram(const struct pcap_reader *r, const struct pcap_datagram *d)
{
    PQB_ASSERT(d->from.family == 4 || d->from.family == 6);
    PQB_ASSERT(d->to.family == d->from.family);
    PQB_ASSERT(d->data >= r->record && d->len <= PCAP_RECORD_MAX);
    PQB_ASSERT((size_t)(d->data - r->record) <= PCAP_RECORD_MAX - d->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pcap_reader r;
    static uint8_t copy[1 << 16];
    struct pcap_datagram d;
    uint64_t datagrams = 0;
    FILE *file;

    if (size == 0 || size > sizeof(copy))
        return 0; // fmemopen takes no empty buffer
    for (size_t i = 0; i < size; i++)
        copy[i] = data[i];
    file = fmemopen(copy, size, "rb");
    PQB_ASSERT(file != NULL);
    if (pcap_reader_init(&r, file) == NULL) {
        while (pcap_reader_next(&r, &d) == PCAP_DATAGRAM) {
            check_datagram(&r, &d);
            datagrams++;
        }
        PQB_ASSERT(datagrams + r.skipped == r.records && r.records <= size / 16);
    }
    (void)fclose(file);
    return 0;
}
