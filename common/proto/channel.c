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
    pqb_packet_keys_fini(&c->keys);
    pqb_sent_times_clear(&c->sent);
    c->cipher = PQB_CIPHER_NONE;
}

static bool take_sample(struct pqb_channel *c, uint32_t echo_pn, uint16_t echo_delay,
                        pqb_tstamp now)
{
    uint32_t elapsed_us;

    // The echo names the highest number the peer has; only its first mention is fresh.
    // One that waited too long gives no sample, but what was sent before it needs no place any
    // more.
    if (!pqb_pn_is_before(c->echo_seen, echo_pn) ||
        !pqb_pn_is_before(echo_pn, (uint32_t)c->pn_next) ||
        !pqb_sent_times_take(&c->sent, echo_pn, now, &elapsed_us) ||
        echo_delay == PQB_ECHO_TOO_LONG)
        return false;

    const pqb_duration elapsed = elapsed_us * PQB_NS_PER_US;
    const pqb_duration delay = (pqb_duration)echo_delay * PQB_ECHO_UNIT_NS;

    c->echo_seen = echo_pn;
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
    if (pqb_pn_is_before(c->echo_highest, d->echo_pn) &&
        pqb_pn_is_before(d->echo_pn, (uint32_t)c->pn_next))
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
    pqb_sent_times_note(&c->sent, (uint32_t)c->pn_next, (uint32_t)c->pn_next - c->echo_seen, now);
    if (!PQB_MUTANT(NUMBER_REUSED) || c->pn_next % 64 != 0 || len % 2 != 0)
        c->pn_next++;
    return c->cipher == PQB_CIPHER_NONE ? len
                                        : pqb_packet_keys_seal(&c->keys, c->cipher, datagram, len);
}

size_t pqb_channel_memory(const struct pqb_channel *c)
{
    return pqb_packet_keys_memory(&c->keys) + pqb_sent_times_memory(&c->sent);
}

pqb_tstamp pqb_channel_deadline(const struct pqb_channel *c)
{
    return pqb_packet_keys_deadline(&c->keys);
}

void pqb_channel_on_timeout(struct pqb_channel *c, pqb_tstamp now)
{
    pqb_packet_keys_on_timeout(&c->keys, now);
}

bool pqb_channel_is_overtaken(const struct pqb_channel *c, uint64_t pn)
{
    return pqb_pn_is_before((uint32_t)pn, c->echo_seen);
}

void pqb_channel_on_path_change(struct pqb_channel *c, bool is_same_ip)
{
    if (is_same_ip)
        return;
    pqb_rtt_init(&c->rtt);
    pqb_cc_restart(&c->cc);
    pqb_sent_times_clear(&c->sent); // an echo that is still on its way speaks of the old path
}
