#include "gateway/admin/settings.h"

#include <assert.h>

static_assert((int)PQB_CONFIG_COMMIT == (int)PQB_DURABILITY_COMMIT &&
                  (int)PQB_CONFIG_ASYNC == (int)PQB_DURABILITY_ASYNC,
              "the option's choices are the store's");

static uint64_t share(uint64_t whole, uint64_t shards)
{
    return (whole + shards - 1) / shards;
}

void pqb_settings_engine(struct pqb_engine_config *out, const struct pqb_config *config,
                         uint32_t shard)
{
    pqb_engine_config_default(out);
    out->shard = shard;
    out->shards = (uint32_t)config->shards;
    out->sessions_max = (uint32_t)share(config->sessions_max, config->shards);
    out->half_open_max = (uint32_t)share(config->half_open_max, config->shards);
    out->retry = config->retry == 0 ? PQB_RETRY_UNDER_LOAD : PQB_RETRY_ALWAYS;
    out->idle_ns = config->idle_timeout;
    out->body_max = (uint32_t)config->body_max;
    out->push_max = (uint32_t)config->push_max;
    out->rate = (uint32_t)config->rate;
    out->rate_burst = (uint32_t)config->rate_burst;
    out->sessions_per_user_max = (uint32_t)config->sessions_per_user_max;
    out->reassembly_bytes_max = share(config->reassembly_bytes_max, config->shards);
    out->login_rate = (uint32_t)config->login_rate;
    out->session_max_ns = config->session_max;
    out->request_bytes_max = share(config->request_bytes_max, config->shards);
}

void pqb_settings_store(struct pqb_store_config *out, const struct pqb_config *config)
{
    pqb_store_config_default(out);
    out->path = config->data;
    out->map_bytes = (size_t)config->map_size;
    out->shards = (uint32_t)config->shards + 1;
    out->requests_max = (uint32_t)config->requests_max;
    out->durability = (enum pqb_durability)config->durability;
    out->journal_checkpoint_bytes = config->checkpoint_bytes;
    out->journal_checkpoint_ns = config->checkpoint_interval;
    out->journal_max_bytes = config->journal_max;
    out->batch_bytes_max = (uint32_t)config->batch_bytes_max;
    out->disk_soft_percent = (uint32_t)config->disk_soft_percent;
    out->inbox_messages_max = config->inbox_messages_max;
    out->inbox_bytes_max = config->inbox_bytes_max;
    out->users_max = config->users_max;
    out->users_per_sender_max = config->recipients == PQB_CONFIG_RECIPIENTS_KNOWN
                                    ? 0
                                    : (uint32_t)config->users_per_sender_max;
    out->devices_per_user_max = (uint32_t)config->devices_per_user_max;
    out->retention_ms = config->retention / PQB_NS_PER_MS;
    out->retention_messages = config->retention_messages;
    out->retention_bytes = config->retention_bytes;
    out->device_idle_ms = config->device_idle / PQB_NS_PER_MS;
}
