// The capture that replay-pcap sends, read before the attack begins.
#pragma once

#include <stdbool.h>

#include "common/base/addr.h"
#include "common/base/time.h"

struct inject;

// Reads the datagrams that went to the gateway, which was at `captured` (family 0: where the first
// INIT went). CLI_EXIT_DONE, or another exit status after telling why not.
int inject_pcap_load(struct inject *in, const char *path, const struct pqb_addr *captured);
void inject_pcap_free(struct inject *in); // nothing loaded: fine

pqb_duration inject_pcap_duration(const struct inject *in); // of one pass
bool inject_pcap_is_through(const struct inject *in);       // a pass, that is; nothing loaded: true
