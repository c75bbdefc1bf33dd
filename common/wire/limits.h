// The protocol's numbers: sizes, windows and counts that both sides must agree on. PROTOCOL.md
// section "Limits" is checked against them.
#pragma once

#include <stdint.h>

#define PQB_WIRE_VERSION 1

#define PQB_DATAGRAM_MAX      1200 // UDP payload; never relies on IP fragmentation (RFC 8085 3.2)
#define PQB_INIT_LEN          1200 // INIT is padded to this, so no answer is longer
#define PQB_DATA_HEADER_LEN   23
#define PQB_TAG_LEN           16 // room kept for the AEAD tag, used or not
#define PQB_FRAMES_MAX        (PQB_DATAGRAM_MAX - PQB_DATA_HEADER_LEN - PQB_TAG_LEN) // frames area
#define PQB_FRAME_HEADER_LEN  3
#define PQB_FRAME_CONTENT_MAX (PQB_FRAMES_MAX - PQB_FRAME_HEADER_LEN)

#define PQB_USER_MAX   64 // bytes of UTF-8, at least 1
#define PQB_DEVICE_MAX 32 // bytes of UTF-8, at least 1
#define PQB_TOKEN_MAX  640
#define PQB_KEY_LEN    32 // of X25519 and Ed25519 keys
#define PQB_BODY_MAX   65536

#define PQB_CID_LEN     8
#define PQB_COOKIE_LEN  24
#define PQB_RESET_LEN   16 // reset token
#define PQB_RECEIPT_LEN 16
#define PQB_NONCE_LEN   16 // epoch:R
#define PQB_PATH_LEN    8
#define PQB_MAC1_LEN    16
#define PQB_CIPHER_MAX  2   // highest number of a cipher
#define PQB_TICKET_LEN  203 // opaque to the client

#define PQB_SEQ_WINDOW       256 // a client may send low <= seq < low + 256
#define PQB_PUSH_WINDOW      256 // the gateway sends cursor < iseq <= cursor + 256 within a generation
#define PQB_PAGE_MAX         256 // messages in one page
#define PQB_PAGE_BYTES_MAX   (256 * 1024)
#define PQB_FRAME_RANGES_MAX 32 // ranges in one frame
#define PQB_SKIP_MAX         32 // seqs answered in one skip:A

#define PQB_FRAG_LEN       1024 // bytes in each fragment but the last
#define PQB_FRAG_TOTAL_MAX (PQB_BODY_MAX + 512)
#define PQB_FRAG_COUNT_MAX ((PQB_FRAG_TOTAL_MAX + PQB_FRAG_LEN - 1) / PQB_FRAG_LEN)

// iseq: generation in the high 24 bits, counter (from 1) in the low 40.
#define PQB_ISEQ_COUNTER_BITS 40
#define PQB_ISEQ_COUNTER_MASK ((UINT64_C(1) << PQB_ISEQ_COUNTER_BITS) - 1)
#define PQB_ISEQ_MAKE(generation, counter) \
    (((uint64_t)(generation) << PQB_ISEQ_COUNTER_BITS) | (uint64_t)(counter))
#define PQB_ISEQ_GENERATION(iseq) ((uint32_t)((iseq) >> PQB_ISEQ_COUNTER_BITS))
