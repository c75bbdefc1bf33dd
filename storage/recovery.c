// From what is on disk to a store that can go on: meta, replay of the journal, and what damage,
// restored copies and unclean ends ask for. All of it in one transaction, synced before serving.
#include <errno.h>
#include <string.h>

#include <sys/random.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/mutant.h"
#include "common/wire/cursor.h"
#include "storage/store_internal.h"

// What a lost or forgotten stretch of history may have handed out, and then some.
#define EPOCH_JUMP (UINT32_C(1) << 20)
#define UID_JUMP   (UINT64_C(1) << 20)
// Generations that a lost stretch may have begun beyond one a minute: unclean stops of an async
// store in a loop.
#define GENERATION_JUMP (UINT32_C(1) << 12)

const char pqb_meta_format_key[] = "format";
const char pqb_meta_secret_key[] = "secret";
const char pqb_meta_state_key[] = "state";
const char pqb_meta_restored_key[] = "restored";

static const char epoch_floor_key[] = "epoch_floor";

struct replay {
    struct pqb_store *s;
    uint64_t expected; // next gseq when nothing is missing
    uint64_t bad_new;  // records that do not check and were not known before
    uint64_t bad_last; // highest of them
    pqb_wall_ms at_max;
};

// ---------------------------------------------------------------------------------- meta

int pqb_meta_get(MDB_txn *txn, MDB_dbi dbi, const char *key, struct pqb_bytes *out)
{
    MDB_val k = pqb_val(key, strlen(key));
    MDB_val value;
    const int err = pqb_err_from_mdb(mdb_get(txn, dbi, &k, &value));

    return err != PQB_OK ? err : pqb_blob_decode(key, k.mv_size, value.mv_data, value.mv_size, out);
}

void pqb_meta_put(struct pqb_txn *txn, const char *key, const void *data, size_t len)
{
    uint8_t value[PQB_VALUE_HEADER_LEN + PQB_BLOB_MAX];
    const size_t value_len = pqb_blob_encode(key, strlen(key), data, len, value);

    pqb_txn_put(txn, txn->env->meta, key, strlen(key), value, value_len, 0);
}

void pqb_store_put_state(struct pqb_store *s, struct pqb_txn *txn, enum pqb_open_mode mode)
{
    const struct pqb_ledger_counters *c = &s->ledger->counters;
    uint8_t value[PQB_STATE_ROW_LEN];

    s->state.journal_first = s->journal_first;
    s->state.next_gseq = c->next_gseq;
    s->state.next_uid = c->next_uid;
    s->state.next_epoch = c->next_epoch;
    s->state.generation_max = c->generation_max;
    s->state.generation_floor = c->generation_floor;
    s->state.clock = pqb_store_clock(s);
    s->state.open_mode = (uint8_t)mode;
    pqb_state_row_encode(&s->state, value);
    pqb_txn_put(txn, s->env.meta, pqb_meta_state_key, strlen(pqb_meta_state_key), value,
                sizeof(value), 0);
}

static int make_new(struct pqb_store *s)
{
    const uint8_t version = PQB_FORMAT_VERSION;

    if (s->config.secret != NULL)
        memcpy(s->secret, s->config.secret, sizeof(s->secret));
    else if (getrandom(s->secret, sizeof(s->secret), 0) != (ssize_t)sizeof(s->secret))
        return pqb_err_from_errno(errno);
    pqb_store_failpoint_txn(s, PQB_FAIL_RECOVERY_MAKE);
    s->state = (struct pqb_state_row){
        .journal_first = 1, .next_gseq = 1, .next_uid = 1, .next_epoch = 1, .clock = s->wall};
    pqb_meta_put(&s->txn, pqb_meta_format_key, &version, sizeof(version));
    pqb_meta_put(&s->txn, pqb_meta_secret_key, s->secret, sizeof(s->secret));
    return s->txn.err;
}

static int read_meta(struct pqb_store *s, bool may_make)
{
    MDB_val key = pqb_val(pqb_meta_state_key, strlen(pqb_meta_state_key));
    struct pqb_bytes bytes;
    MDB_val value;
    int err = pqb_meta_get(s->txn.txn, s->env.meta, pqb_meta_format_key, &bytes);

    if (err == PQB_ERR_NOT_FOUND && may_make)
        return make_new(s);
    if (err == PQB_OK && (bytes.len != 1 || bytes.data[0] != PQB_FORMAT_VERSION))
        return PQB_ERR_VERSION;
    if (err == PQB_OK)
        err = pqb_meta_get(s->txn.txn, s->env.meta, pqb_meta_secret_key, &bytes);
    if (err == PQB_OK && bytes.len != sizeof(s->secret))
        err = PQB_ERR_CORRUPT;
    if (err == PQB_OK) {
        memcpy(s->secret, bytes.data, sizeof(s->secret));
        err = pqb_err_from_mdb(mdb_get(s->txn.txn, s->env.meta, &key, &value));
    }
    if (err == PQB_OK)
        err = pqb_state_row_decode(&s->state, value.mv_data, value.mv_size);
    return err == PQB_ERR_NOT_FOUND ? PQB_ERR_CORRUPT : err;
}

// ---------------------------------------------------------------------------------- replay

// first..last do not check or are not there.
static void note_bad(struct replay *p, uint64_t first, uint64_t last)
{
    const uint64_t known_upto = p->s->state.quarantined_upto;

    p->s->counters.records_bad += last - first + 1;
    if (last <= known_upto)
        return;
    p->bad_new += last - PQB_MAX(first - 1, known_upto);
    p->bad_last = last;
}

// A record that a damaged row keeps from being applied is as lost as a damaged record.
static int replay_one(struct replay *p, const MDB_val *key, const MDB_val *value)
{
    struct pqb_store *s = p->s;
    struct pqb_journal_record r;
    const uint64_t gseq = pqb_key_u64(key->mv_data);
    int err;

    if (p->expected < gseq)
        note_bad(p, p->expected, gseq - 1);
    p->expected = gseq + 1;
    s->counters.journal_records++;
    s->counters.journal_bytes += value->mv_size + PQB_RECORD_OVERHEAD;
    if (pqb_record_decode(&r, gseq, value->mv_data, value->mv_size) != PQB_OK) {
        note_bad(p, gseq, gseq);
        return PQB_OK;
    }
    p->at_max = PQB_MAX(p->at_max, r.at);
    err = pqb_store_failpoint(s, PQB_FAIL_RECOVERY_RECORD);
    if (err == PQB_OK)
        err = pqb_ledger_replay(s->ledger, &r, gseq);
    if (err == PQB_ERR_CORRUPT) {
        note_bad(p, gseq, gseq);
        return PQB_OK;
    }
    return err;
}

static int replay_journal(struct replay *p)
{
    struct pqb_store *s = p->s;
    MDB_cursor *cursor = pqb_txn_cursor(&s->txn, s->env.journal);
    MDB_val key, value;
    int err = PQB_OK;
    int rc;

    if (cursor == NULL)
        return s->txn.err;
    p->expected = s->state.journal_first;
    while (err == PQB_OK && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        err = key.mv_size == PQB_JOURNAL_KEY_LEN ? replay_one(p, &key, &value) : PQB_ERR_CORRUPT;
    mdb_cursor_close(cursor);
    if (err == PQB_OK && rc != MDB_NOTFOUND)
        err = pqb_err_from_mdb(rc);
    s->ledger->counters.next_gseq = PQB_MAX(p->expected, s->state.next_gseq);
    if (PQB_MUTANT(GSEQ_RESTARTS) && p->expected == s->state.journal_first)
        s->ledger->counters.next_gseq = 1;
    return err;
}

// ---------------------------------------------------------------------------------- consequences

static void begin_generation(struct pqb_store *s, uint32_t jump)
{
    struct pqb_ledger_counters *c = &s->ledger->counters;

    pqb_store_failpoint_txn(s, PQB_FAIL_RECOVERY_GENERATION);
    c->generation_floor = PQB_MAX(c->generation_max + 1, pqb_store_minutes(s));
    c->generation_floor = PQB_MIN(c->generation_floor + jump, PQB_GENERATION_MAX);
    c->generation_max = c->generation_floor;
    s->counters.generations++;
}

// A message in flight may have been accepted, and shown, after the copy was taken: taken once more
// it would stand at a second position. Only its sender can decide, so its epoch ends.
static void end_epochs(struct pqb_store *s)
{
    struct pqb_ledger_counters *c = &s->ledger->counters;
    uint8_t value[4];
    struct pqb_writer_cursor out;

    c->epoch_floor = c->next_epoch;
    pqb_wcur_init(&out, value, sizeof(value));
    pqb_wcur_u32(&out, c->epoch_floor);
    pqb_meta_put(&s->txn, epoch_floor_key, value, sizeof(value));
}

static int read_epoch_floor(struct pqb_store *s)
{
    struct pqb_reader_cursor in;
    struct pqb_bytes bytes;
    const int err = pqb_meta_get(s->txn.txn, s->env.meta, epoch_floor_key, &bytes);

    if (err != PQB_OK)
        return err == PQB_ERR_NOT_FOUND ? PQB_OK : err;
    pqb_rcur_init(&in, bytes.data, bytes.len);
    s->ledger->counters.epoch_floor = pqb_rcur_u32(&in);
    return bytes.len == 4 ? PQB_OK : PQB_ERR_CORRUPT;
}

// What came back from a copy, or lost its end, or has holes may have shown positions that it no
// longer knows: it must never hand them out again.
static int draw_consequences(struct replay *p)
{
    struct pqb_store *s = p->s;
    struct pqb_ledger_counters *c = &s->ledger->counters;
    struct pqb_bytes bytes;
    const int err = pqb_meta_get(s->txn.txn, s->env.meta, pqb_meta_restored_key, &bytes);
    const bool is_restored = err == PQB_OK || err == PQB_ERR_CORRUPT;

    if (!is_restored && err != PQB_ERR_NOT_FOUND)
        return err;
    if (is_restored) {
        c->next_epoch += EPOCH_JUMP;
        c->next_uid += UID_JUMP;
        if (!PQB_MUTANT(EPOCHS_SURVIVE))
            end_epochs(s);
        pqb_txn_del(&s->txn, s->env.meta, pqb_meta_restored_key, strlen(pqb_meta_restored_key));
    }
    if (p->bad_new > 0) { // each may have given out one of each
        c->next_epoch += (uint32_t)PQB_MIN(p->bad_new, (uint64_t)EPOCH_JUMP);
        c->next_uid += PQB_MIN(p->bad_new, UID_JUMP);
        s->state.quarantined_upto = p->bad_last;
    }
    if ((is_restored && !PQB_MUTANT(GENERATION_STAYS)) || p->bad_new > 0 ||
        s->state.open_mode == PQB_OPEN_ASYNC)
        begin_generation(s, is_restored ? GENERATION_JUMP : 0);
    return PQB_OK;
}

// The store's clock goes on from where it was; a wall clock more than a day ahead is not believed
// until an operator says so.
static void set_clock(struct pqb_store *s, pqb_wall_ms at_max)
{
    const pqb_wall_ms last = PQB_MAX(s->state.clock, at_max);

    s->clock_base = s->now;
    s->clock_origin = last;
    if (s->wall > last && (s->wall - last <= PQB_CLOCK_JUMP_MS || PQB_MUTANT(CLOCK_IS_BELIEVED)))
        s->clock_origin = s->wall;
    s->counters.is_clock_doubted = s->wall > last && s->wall - last > PQB_CLOCK_JUMP_MS;
}

static void derive_name_key(struct pqb_store *s)
{
    static const char label[] = "paquebot user name";
    uint8_t input[PQB_STORE_SECRET_LEN + sizeof(label)];

    memcpy(input, s->secret, PQB_STORE_SECRET_LEN);
    memcpy(input + PQB_STORE_SECRET_LEN, label, sizeof(label));
    pqb_siphash24_128(s->secret, input, sizeof(input), s->name_key);
}

static int make_ledger(struct pqb_store *s)
{
    const struct pqb_store_config *config = &s->config;
    const struct pqb_ledger_limits limits = {
        .inbox_messages_max = config->inbox_messages_max,
        .inbox_bytes_max = config->inbox_bytes_max,
        .users_max = config->users_max,
        .users_per_sender_max = config->users_per_sender_max,
        .devices_per_user_max = config->devices_per_user_max,
        .seen_granularity_ms = PQB_MIN(config->device_idle_ms / 8, UINT64_C(3600000)),
    };
    const struct pqb_ledger_io io = pqb_store_ledger_io(s);
    MDB_stat stat;
    int err = pqb_ledger_create(&s->ledger, &limits, &io, s->name_key);

    if (err == PQB_OK)
        err = pqb_err_from_mdb(mdb_stat(s->txn.txn, s->env.user, &stat));
    if (err != PQB_OK)
        return err;
    s->ledger->counters = (struct pqb_ledger_counters){
        .next_gseq = s->state.next_gseq,
        .next_uid = s->state.next_uid,
        .user_count = stat.ms_entries, // replay adds those that have no row yet
        .next_epoch = s->state.next_epoch,
        .generation_max = s->state.generation_max,
        .generation_floor = s->state.generation_floor,
    };
    s->journal_first = s->state.journal_first;
    return PQB_OK;
}

static int begin(struct pqb_store *s, bool may_make)
{
    int err = read_meta(s, may_make);

    if (err != PQB_OK)
        return err;
    derive_name_key(s);
    err = make_ledger(s);
    return err != PQB_OK ? err : read_epoch_floor(s);
}

int pqb_store_read_meta(struct pqb_store *s)
{
    return begin(s, false);
}

int pqb_store_recover(struct pqb_store *s)
{
    struct replay p = {.s = s};
    int err;

    pqb_store_txn(s);
    err = s->txn.err != PQB_OK ? s->txn.err : begin(s, true);
    if (err == PQB_OK)
        err = pqb_store_failpoint(s, PQB_FAIL_RECOVERY_SCAN);
    if (err == PQB_OK)
        err = replay_journal(&p);
    if (err != PQB_OK)
        return err;
    set_clock(s, p.at_max);
    err = draw_consequences(&p);
    if (err != PQB_OK)
        return err;
    pqb_store_put_state(s, &s->txn,
                        s->config.durability == PQB_DURABILITY_ASYNC ? PQB_OPEN_ASYNC
                                                                     : PQB_OPEN_COMMIT);
    err = pqb_store_commit_txn(s, PQB_FAIL_RECOVERY_COMMIT);
    return err == PQB_OK ? pqb_store_failpoint(s, PQB_FAIL_RECOVERY_COMMITTED) : err;
}
