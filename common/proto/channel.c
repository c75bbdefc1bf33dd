#include "common/proto/channel.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/mutant.h"

#define OLD_KEY_TIMEOUTS 3 // the last generation's key is kept for so many

void pqb_channel_init(struct pqb_channel *c, uint64_t cid, pqb_tstamp now)
{
    *c = (struct pqb_channel){.cid = cid, .pn_next = 1, .received_at = now};
    pqb_rtt_init(&c->rtt);
    pqb_cc_init(&c->cc);
    pqb_replay_window_init(&c->replay);
}

void pqb_channel_protect(struct pqb_channel *c, enum pqb_cipher cipher,
                         const uint8_t send[PQB_KEY_LEN], const uint8_t recv[PQB_KEY_LEN],
                         pqb_tstamp now)
{
    PQB_ASSERT(cipher != PQB_CIPHER_NONE && c->pn_next == 1 && c->replay.largest == 0);
    c->cipher = cipher;
    pqb_packet_keys_init(&c->keys, send, recv, now);
}

void pqb_channel_fini(struct pqb_channel *c)
{
    if (c->cipher != PQB_CIPHER_NONE)
        pqb_packet_keys_fini(&c->keys);
    c->cipher = PQB_CIPHER_NONE;
}

// a < b for packet numbers cut to 32 bits (RFC 1982).
static bool is_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static uint32_t microseconds(pqb_tstamp at)
{
    return (uint32_t)(at / PQB_NS_PER_US);
}

static void forget_sent_before(struct pqb_channel *c, uint32_t index)
{
    PQB_ASSERT(index <= c->sent_count);
    c->sent_count -= index;
    memmove(&c->sent[0], &c->sent[index], c->sent_count * sizeof(c->sent[0]));
}

static void thin_out_sent(struct pqb_channel *c)
{
    c->sent_count /= 2;
    for (uint32_t i = 0; i < c->sent_count; i++)
        c->sent[i] = c->sent[2 * i];
}

// Packets of one turn, or close together in a long flight, share a place.
static bool may_share_place(const struct pqb_channel *c, uint32_t pn, uint32_t at_us)
{
    const uint32_t flight = pn - c->echo_seen; // what no echo has covered yet

    if (c->sent_count == 0)
        return false;
    return c->sent[c->sent_count - 1].at_us == at_us ||
           pn - c->sent[c->sent_count - 1].pn < flight / (PQB_CHANNEL_SENT_TIMES / 2);
}

static void note_sent(struct pqb_channel *c, uint32_t pn, pqb_tstamp now)
{
    if (may_share_place(c, pn, microseconds(now)))
        return;
    if (c->sent_count == PQB_CHANNEL_SENT_TIMES)
        thin_out_sent(c);
    c->sent[c->sent_count].pn = pn;
    c->sent[c->sent_count].at_us = microseconds(now);
    c->sent_count++;
}

// Place that tells when packet `pn` was sent, or -1.
static int find_sent(const struct pqb_channel *c, uint32_t pn)
{
    if (!is_before(pn, (uint32_t)c->pn_next))
        return -1;
    for (uint32_t i = c->sent_count; i > 0; i--) {
        if (!is_before(pn, c->sent[i - 1].pn))
            return (int)(i - 1);
    }
    return -1;
}

static bool take_sample(struct pqb_channel *c, uint32_t echo_pn, uint16_t echo_delay,
                        pqb_tstamp now)
{
    // The echo names the highest number the peer has; only its first mention is fresh.
    if (echo_delay == PQB_ECHO_TOO_LONG || !is_before(c->echo_seen, echo_pn))
        return false;
    const int index = find_sent(c, echo_pn);
    if (index < 0)
        return false;

    const uint32_t elapsed_us = microseconds(now) - c->sent[index].at_us;
    const pqb_duration elapsed = elapsed_us * PQB_NS_PER_US;
    const pqb_duration delay = (pqb_duration)echo_delay * PQB_ECHO_UNIT_NS;

    c->echo_seen = echo_pn;
    forget_sent_before(c, (uint32_t)index);
    if (delay > elapsed + PQB_NS_PER_US)
        return false; // longer than the whole way: nonsense or worse
    pqb_rtt_sample(&c->rtt, elapsed > delay ? elapsed - delay : 1);
    return true;
}

static enum pqb_channel_verdict decode(const uint8_t *data, size_t len, struct pqb_data *d,
                                       enum pqb_verdict *verdict)
{
    *verdict = pqb_data_decode(data, len, d);
    return *verdict == PQB_VERDICT_OK ? PQB_CHANNEL_GENUINE : PQB_CHANNEL_BAD;
}

static enum pqb_channel_verdict reject(struct pqb_channel *c, const struct pqb_data *d)
{
    if (PQB_MUTANT(REPLAY_BEFORE_OPENING) &&
        pqb_replay_window_record(&c->replay, d->pn & PQB_PN_COUNTER_MASK) != PQB_REPLAY_NEW)
        return PQB_CHANNEL_DUPLICATE;
    return PQB_CHANNEL_FORGED;
}

// Cheapest first: what has been seen costs no cipher.
enum pqb_channel_verdict pqb_channel_open(struct pqb_channel *c, const uint8_t *data, size_t len,
                                          uint8_t *plain, struct pqb_data *d,
                                          enum pqb_verdict *verdict, pqb_tstamp now)
{
    enum pqb_channel_verdict opened = decode(data, len, d, verdict);

    if (opened != PQB_CHANNEL_GENUINE || c->cipher == PQB_CIPHER_NONE)
        return opened;
    switch (pqb_replay_window_check(&c->replay, d->pn & PQB_PN_COUNTER_MASK)) {
    case PQB_REPLAY_NEW:
        break;
    case PQB_REPLAY_DUPLICATE:
        return PQB_CHANNEL_DUPLICATE;
    case PQB_REPLAY_STALE:
        return PQB_CHANNEL_STALE;
    }
    if (!pqb_packet_keys_open(&c->keys, c->cipher, data, len, plain,
                              OLD_KEY_TIMEOUTS * pqb_rtt_rto(&c->rtt, 0), now))
        return reject(c, d);
    opened = decode(plain, len - PQB_TAG_LEN, d, verdict);
    d->pn &= PQB_PN_COUNTER_MASK;
    return opened;
}

struct pqb_channel_receipt pqb_channel_on_data(struct pqb_channel *c, const struct pqb_data *d,
                                               pqb_tstamp now)
{
    struct pqb_channel_receipt r = {.verdict = pqb_replay_window_record(&c->replay, d->pn)};

    PQB_ASSERT(d->cid == c->cid);
    if (r.verdict != PQB_REPLAY_NEW)
        return r;
    c->received_at = now;
    r.is_newest = d->pn == c->replay.largest;
    if (r.is_newest)
        c->highest_at = now;
    if (is_before(c->echo_highest, d->echo_pn) && is_before(d->echo_pn, (uint32_t)c->pn_next))
        c->echo_highest = d->echo_pn;
    r.has_sample = take_sample(c, d->echo_pn, d->echo_delay, now);
    return r;
}

static uint16_t echo_delay(const struct pqb_channel *c, pqb_tstamp now)
{
    const pqb_duration units = pqb_elapsed(c->highest_at, now) / PQB_ECHO_UNIT_NS;

    return (uint16_t)PQB_MIN(units, (pqb_duration)PQB_ECHO_TOO_LONG);
}

size_t pqb_channel_seal(struct pqb_channel *c, uint8_t *datagram, size_t frames_len, pqb_tstamp now)
{
    const size_t len = PQB_DATA_HEADER_LEN + frames_len;
    struct pqb_data header = {
        .cid = c->cid,
        .pn = c->pn_next,
        .echo_pn = (uint32_t)c->replay.largest,
        .echo_delay = c->replay.largest == 0 ? 0 : echo_delay(c, now),
    };

    if (c->cipher != PQB_CIPHER_NONE) {
        pqb_packet_keys_advance(&c->keys, c->cipher, c->pn_next, c->echo_highest, now);
        header.pn |= (uint64_t)c->keys.send_generation << PQB_PN_COUNTER_BITS;
    }
    pqb_data_header_encode(&header, datagram);
    note_sent(c, (uint32_t)c->pn_next, now);
    if (!PQB_MUTANT(NUMBER_REUSED) || c->pn_next % 64 != 0 || len % 2 != 0)
        c->pn_next++;
    return c->cipher == PQB_CIPHER_NONE ? len
                                        : pqb_packet_keys_seal(&c->keys, c->cipher, datagram, len);
}

size_t pqb_channel_memory(const struct pqb_channel *c)
{
    return c->cipher == PQB_CIPHER_NONE ? 0 : pqb_packet_keys_memory(&c->keys);
}

pqb_tstamp pqb_channel_deadline(const struct pqb_channel *c)
{
    return c->cipher == PQB_CIPHER_NONE ? PQB_NEVER : pqb_packet_keys_deadline(&c->keys);
}

void pqb_channel_on_timeout(struct pqb_channel *c, pqb_tstamp now)
{
    if (c->cipher != PQB_CIPHER_NONE)
        pqb_packet_keys_on_timeout(&c->keys, now);
}

bool pqb_channel_is_overtaken(const struct pqb_channel *c, uint64_t pn)
{
    return is_before((uint32_t)pn, c->echo_seen);
}

void pqb_channel_on_path_change(struct pqb_channel *c, bool is_same_ip)
{
    if (is_same_ip)
        return;
    pqb_rtt_init(&c->rtt);
    pqb_cc_restart(&c->cc);
    c->sent_count = 0; // an echo that is still on its way speaks of the old path
}
