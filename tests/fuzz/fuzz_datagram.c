// A whole datagram from a stranger: first look, decoding by type, every frame of a DATA. What
// decodes must encode to something that decodes the same.
#include <string.h>

#include "common/base/check.h"
#include "common/wire/datagram.h"
#include "tests/fuzz/fuzz.h"

static uint8_t first[PQB_DATAGRAM_MAX], second[PQB_DATAGRAM_MAX];

static void check_same(size_t len, size_t again)
{
    PQB_ASSERT(len == again && memcmp(first, second, len) == 0);
}

static void check_init(const uint8_t *data, size_t size)
{
    struct pqb_init in, again;

    if (pqb_init_decode(fuzz_unpacker(), data, size, &in) != PQB_VERDICT_OK)
        return;
    const size_t len = pqb_init_encode(&in, first);
    PQB_ASSERT(pqb_init_decode(fuzz_unpacker(), first, len, &again) == PQB_VERDICT_OK);
    check_same(len, pqb_init_encode(&again, second));
}

static void check_resp(const uint8_t *data, size_t size)
{
    struct pqb_resp in, again;

    if (pqb_resp_decode(fuzz_unpacker(), data, size, &in) != PQB_VERDICT_OK)
        return;
    const size_t len = pqb_resp_encode(&in, first);
    PQB_ASSERT(len <= PQB_INIT_LEN);
    PQB_ASSERT(pqb_resp_decode(fuzz_unpacker(), first, len, &again) == PQB_VERDICT_OK);
    check_same(len, pqb_resp_encode(&again, second));
}

static void check_data(const uint8_t *data, size_t size)
{
    struct pqb_bytes content;
    enum pqb_verdict verdict;
    struct pqb_data in;
    uint8_t code;

    if (pqb_data_decode(data, size, &in) != PQB_VERDICT_OK)
        return;
    PQB_ASSERT(pqb_datagram_cid(data, size) == in.cid);
    pqb_data_header_encode(&in, first);
    PQB_ASSERT(memcmp(first, data, PQB_DATA_HEADER_LEN) == 0);
    const uint8_t *at = in.frames, *end = in.frames + in.frames_len;
    while (pqb_frame_next(&at, end, &code, &content, &verdict)) {
        PQB_ASSERT(content.data + content.len == at && at <= end);
        fuzz_check_frame(code, content);
    }
}

// RETRY, BUSY and RESET are the datagram's own bytes; what follows them is ignored.
static void check_fixed(const uint8_t *data, size_t size)
{
    struct pqb_retry retry;
    struct pqb_busy busy;
    struct pqb_reset reset;
    size_t len = 0;

    if (pqb_retry_decode(data, size, &retry) == PQB_VERDICT_OK)
        len = pqb_retry_encode(&retry, first);
    else if (pqb_busy_decode(data, size, &busy) == PQB_VERDICT_OK)
        len = pqb_busy_encode(&busy, first);
    else if (pqb_reset_decode(data, size, &reset) == PQB_VERDICT_OK)
        len = pqb_reset_encode(&reset, first);
    PQB_ASSERT(len <= size && (len == 0 || memcmp(first, data, len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum pqb_datagram_type type;

    (void)pqb_datagram_cid(data, size);
    if (pqb_datagram_peek(data, size, &type) != PQB_VERDICT_OK)
        return 0;
    check_init(data, size);
    check_resp(data, size);
    check_data(data, size);
    check_fixed(data, size);
    return 0;
}
