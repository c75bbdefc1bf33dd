// Encrypted logins, before and behind the cipher: INIT, RESUME and RESP as any stranger sends them,
// and the arrays inside as somebody with the right keys may. What decodes lies inside the datagram
// and encodes to something that decodes the same.
#include <string.h>

#include "common/base/check.h"
#include "common/wire/datagram.h"
#include "tests/fuzz/fuzz.h"

static uint8_t first[PQB_DATAGRAM_MAX], second[PQB_DATAGRAM_MAX];

static void check_hello(const uint8_t *data, size_t size)
{
    struct pqb_hello in, again;

    if (pqb_hello_decode(data, size, &in) != PQB_VERDICT_OK)
        return;
    PQB_ASSERT(size == PQB_INIT_LEN && pqb_datagram_suite(data, size) == PQB_SUITE_NOISE);
    PQB_ASSERT(in.message + in.message_len == in.mac1 && in.mac1 == data + PQB_HELLO_MAC1_AT);
    PQB_ASSERT((in.ticket != NULL) == (in.type == PQB_DATAGRAM_RESUME));
    again = in;
    uint8_t *message = pqb_hello_begin(&again, first);
    PQB_ASSERT(again.message_len == in.message_len && message - first == in.message - data);
    if (in.cookie_len > 0)
        pqb_hello_put_cookie(first, in.cookie);
    PQB_ASSERT(pqb_hello_decode(first, PQB_INIT_LEN, &again) == PQB_VERDICT_OK);
    PQB_ASSERT(again.type == in.type && again.init_id == in.init_id &&
               again.ciphers == in.ciphers && again.cookie_len == in.cookie_len);
    PQB_ASSERT(in.ticket == NULL || memcmp(again.ticket, in.ticket, PQB_TICKET_LEN) == 0);
}

static void check_answer(const uint8_t *data, size_t size)
{
    const uint8_t *message;
    uint64_t init_id;
    size_t len;

    if (pqb_answer_decode(data, size, &init_id, &message, &len) != PQB_VERDICT_OK)
        return;
    PQB_ASSERT(message == data + PQB_LOGIN_HEADER_LEN && message + len == data + size);
    PQB_ASSERT(pqb_answer_begin(init_id, first) == PQB_LOGIN_HEADER_LEN);
    PQB_ASSERT(memcmp(first + 4, data + 4, 8) == 0);
}

static void check_payload(enum pqb_datagram_type type, const uint8_t *data, size_t size)
{
    struct pqb_init in, again;

    if (pqb_hello_payload_decode(fuzz_unpacker(), type, data, size, &in) != PQB_VERDICT_OK)
        return;
    pqb_hello_payload_encode(type, &in, first, sizeof(first));
    PQB_ASSERT(pqb_hello_payload_decode(fuzz_unpacker(), type, first, sizeof(first), &again) ==
               PQB_VERDICT_OK);
    pqb_hello_payload_encode(type, &again, second, sizeof(second));
    PQB_ASSERT(memcmp(first, second, sizeof(first)) == 0);
}

static void check_answer_payload(const uint8_t *data, size_t size)
{
    struct pqb_resp in, again;

    if (pqb_answer_payload_decode(fuzz_unpacker(), data, size, &in) != PQB_VERDICT_OK)
        return;
    const size_t len = pqb_answer_payload_encode(&in, first);
    PQB_ASSERT(pqb_answer_payload_decode(fuzz_unpacker(), first, len, &again) == PQB_VERDICT_OK);
    PQB_ASSERT(pqb_answer_payload_encode(&again, second) == len);
    PQB_ASSERT(memcmp(first, second, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_hello(data, size);
    check_answer(data, size);
    check_payload(PQB_DATAGRAM_INIT, data, size);
    check_payload(PQB_DATAGRAM_RESUME, data, size);
    check_answer_payload(data, size);
    return 0;
}
