// From the configuration to what engine and store are told.
#pragma once

#include <stdint.h>

#include "gateway/config/config.h"
#include "gateway/core/engine.h"
#include "storage/store.h"

// Limits of the whole gateway are split evenly over the shards, rounded up.
void pqb_settings_engine(struct pqb_engine_config *out, const struct pqb_config *config,
                         uint32_t shard);

// Everything but the callbacks. One completion queue more than shards: the last is the main
// thread's.
void pqb_settings_store(struct pqb_store_config *out, const struct pqb_config *config);
