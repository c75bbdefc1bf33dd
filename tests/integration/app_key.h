// Keys for the applications of the integration tests: the gateway's from PQB_SERVER_KEY, the
// device's from its file in `folder` (NULL: a new one). Without the variable: plaintext.
#pragma once

#include <stdbool.h>

#include "common/client/paquebot.h"

// The keys are kept here; false: a wrong one.
bool app_key_use(struct pqb_client_config *config, const char *folder);
