#include "common/proto/packet_keys.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/proto/rekey.h"
#include "common/wire/cursor.h"

#define PN_AT 9

static_assert(PQB_DATA_CLEAR_LEN == 1 + PQB_CID_LEN + 8, "what stays readable");
static_assert(PQB_DATA_HEADER_LEN > PQB_DATA_CLEAR_LEN, "the echo is sealed");

struct pqb_old_key {
    uint8_t key[PQB_KEY_LEN];
    pqb_tstamp until;
};

void pqb_packet_keys_init(struct pqb_packet_keys *k, const uint8_t send[PQB_KEY_LEN],
                          const uint8_t recv[PQB_KEY_LEN], pqb_tstamp now)
{
    *k = (struct pqb_packet_keys){.send_since = now, .send_first = 1};
    memcpy(k->send, send, sizeof(k->send));
    memcpy(k->recv, recv, sizeof(k->recv));
}

static void erase_old(struct pqb_packet_keys *k)
{
    if (k->old == NULL)
        return;
    sodium_memzero(k->old, sizeof(*k->old));
    free(k->old);
    k->old = NULL;
}

void pqb_packet_keys_fini(struct pqb_packet_keys *k)
{
    erase_old(k);
    sodium_memzero(k, sizeof(*k));
}

void pqb_packet_keys_advance(struct pqb_packet_keys *k, enum pqb_cipher cipher, uint64_t next,
                             uint32_t acked, pqb_tstamp now)
{
    const uint32_t sent = (uint32_t)next - k->send_first;

    if (!pqb_rekey_is_due(sent, pqb_elapsed(k->send_since, now)))
        return;
    // Not before the peer has the present one; and the last generation lasts.
    if ((pqb_pn_is_before(acked, k->send_first) && !PQB_MUTANT(REKEY_UNPROVEN)) ||
        k->send_generation == UINT16_MAX)
        return;
    pqb_aead_rekey(cipher, k->send);
    k->send_generation++;
    k->send_first = (uint32_t)next;
    k->send_since = now;
}

static uint64_t number_of(const uint8_t *datagram)
{
    struct pqb_reader_cursor c;

    pqb_rcur_init(&c, datagram + PN_AT, 8);
    return pqb_rcur_u64(&c);
}

size_t pqb_packet_keys_seal(const struct pqb_packet_keys *k, enum pqb_cipher cipher,
                            uint8_t *datagram, size_t len)
{
    const struct pqb_aead_with with = {
        .number = number_of(datagram), .ad = datagram, .ad_len = PQB_DATA_CLEAR_LEN};
    uint8_t *sealed = datagram + PQB_DATA_CLEAR_LEN;

    PQB_ASSERT(len >= PQB_DATA_HEADER_LEN && len + PQB_TAG_LEN <= PQB_DATAGRAM_MAX);
    PQB_ASSERT(with.number >> PQB_PN_COUNTER_BITS == k->send_generation);
    pqb_aead_seal(cipher, k->send, &with, sealed, len - PQB_DATA_CLEAR_LEN, sealed);
    return len + PQB_TAG_LEN;
}

// The next generation has shown itself: it becomes the present one. Without memory the last one's
// key is just gone early; what was sent under it is sent again.
static void step(struct pqb_packet_keys *k, const uint8_t next[PQB_KEY_LEN], pqb_duration keep,
                 pqb_tstamp now)
{
    erase_old(k);
    k->old = malloc(sizeof(*k->old));
    if (k->old != NULL) {
        memcpy(k->old->key, k->recv, sizeof(k->old->key));
        k->old->until = pqb_tstamp_add(now, keep);
    }
    memcpy(k->recv, next, sizeof(k->recv));
    k->recv_generation++;
}

static bool open_with(const uint8_t key[PQB_KEY_LEN], enum pqb_cipher cipher,
                      const uint8_t *datagram, size_t len, uint8_t *plain)
{
    const struct pqb_aead_with with = {
        .number = number_of(datagram), .ad = datagram, .ad_len = PQB_DATA_CLEAR_LEN};

    memcpy(plain, datagram, PQB_DATA_CLEAR_LEN);
    return pqb_aead_open(cipher, key, &with, datagram + PQB_DATA_CLEAR_LEN,
                         len - PQB_DATA_CLEAR_LEN, plain + PQB_DATA_CLEAR_LEN);
}

static bool open_next(struct pqb_packet_keys *k, enum pqb_cipher cipher, const uint8_t *datagram,
                      size_t len, uint8_t *plain, pqb_duration keep, pqb_tstamp now)
{
    uint8_t next[PQB_KEY_LEN];
    bool is_open;

    memcpy(next, k->recv, sizeof(next));
    pqb_aead_rekey(cipher, next);
    is_open = open_with(next, cipher, datagram, len, plain);
    if (is_open || PQB_MUTANT(REKEY_UNOPENED))
        step(k, next, keep, now);
    sodium_memzero(next, sizeof(next));
    return is_open;
}

bool pqb_packet_keys_open(struct pqb_packet_keys *k, enum pqb_cipher cipher,
                          const uint8_t *datagram, size_t len, uint8_t *plain, pqb_duration keep,
                          pqb_tstamp now)
{
    bool is_open = false;

    pqb_packet_keys_on_timeout(k, now);
    if (len >= PQB_DATA_HEADER_LEN + PQB_TAG_LEN) {
        const unsigned generation = (unsigned)(number_of(datagram) >> PQB_PN_COUNTER_BITS);

        if (generation == k->recv_generation)
            is_open = open_with(k->recv, cipher, datagram, len, plain);
        else if (generation == k->recv_generation + 1u)
            is_open = open_next(k, cipher, datagram, len, plain, keep, now);
        else if (generation + 1 == k->recv_generation && k->old != NULL)
            is_open = open_with(k->old->key, cipher, datagram, len, plain);
    }
    return is_open;
}

size_t pqb_packet_keys_memory(const struct pqb_packet_keys *k)
{
    return k->old != NULL ? sizeof(*k->old) : 0;
}

pqb_tstamp pqb_packet_keys_deadline(const struct pqb_packet_keys *k)
{
    return k->old != NULL ? k->old->until : PQB_NEVER;
}

void pqb_packet_keys_on_timeout(struct pqb_packet_keys *k, pqb_tstamp now)
{
    if (k->old != NULL && now >= k->old->until)
        erase_old(k);
}
