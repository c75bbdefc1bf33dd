#include "common/base/siphash.h"

#include "common/base/check.h"

struct sip_state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

// SipHash reads and writes little-endian words whatever the machine.
static uint64_t load_le64(const uint8_t *p)
{
    uint64_t x = 0;

    for (unsigned i = 0; i < 8; i++)
        x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static void store_le64(uint8_t *p, uint64_t x)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(x >> (8 * i));
}

static void sip_rounds(struct sip_state *s, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v1 = rotl(s->v1, 13) ^ s->v0;
        s->v0 = rotl(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotl(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotl(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotl(s->v1, 17) ^ s->v2;
        s->v2 = rotl(s->v2, 32);
    }
}

static void compress(struct sip_state *s, uint64_t word)
{
    s->v3 ^= word;
    sip_rounds(s, 2);
    s->v0 ^= word;
}

static struct sip_state keyed(const uint8_t key[PQB_SIPHASH_KEY_LEN])
{
    const uint64_t k0 = load_le64(key);
    const uint64_t k1 = load_le64(key + 8);

    return (struct sip_state){
        .v0 = k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = k1 ^ UINT64_C(0x646f72616e646f6d),
        .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = k1 ^ UINT64_C(0x7465646279746573),
    };
}

// Takes in the message and the last word, which carries the length in its top byte.
static void absorb(struct sip_state *s, const uint8_t *data, size_t len)
{
    const size_t tail = len % 8;
    uint64_t last = (uint64_t)len << 56;

    PQB_ASSERT(data != NULL || len == 0);
    for (size_t at = 0; at + 8 <= len; at += 8)
        compress(s, load_le64(data + at));
    for (size_t i = 0; i < tail; i++)
        last |= (uint64_t)data[len - tail + i] << (8 * i);
    compress(s, last);
}

static uint64_t squeeze(const struct sip_state *s)
{
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t pqb_siphash24(const uint8_t key[PQB_SIPHASH_KEY_LEN], const void *data, size_t len)
{
    struct sip_state s = keyed(key);

    absorb(&s, data, len);
    s.v2 ^= 0xff;
    sip_rounds(&s, 4);
    return squeeze(&s);
}

void pqb_siphash24_128(const uint8_t key[PQB_SIPHASH_KEY_LEN], const void *data, size_t len,
                       uint8_t out[16])
{
    struct sip_state s = keyed(key);

    s.v1 ^= 0xee;
    absorb(&s, data, len);
    s.v2 ^= 0xee;
    sip_rounds(&s, 4);
    store_le64(out, squeeze(&s));
    s.v1 ^= 0xdd;
    sip_rounds(&s, 4);
    store_le64(out + 8, squeeze(&s));
}
