// What a signed token says: who may log in with which device key, and until when. JSON (RFC 8259)
// with the registered names of PASETO; PROTOCOL.md section 5. Pure: times come in as numbers.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/defs.h"
#include "common/base/time.h"
#include "common/wire/limits.h"

#define PQB_CLAIMS_MAX    408 // bytes of JSON: what a token of PQB_TOKEN_MAX has room for
#define PQB_DATE_TEXT_LEN 20  // "2026-01-31T23:59:59Z"

struct pqb_json;

struct pqb_claims {
    uint8_t user_len, device_len;
    char user[PQB_USER_MAX], device[PQB_DEVICE_MAX];
    uint8_t key[PQB_KEY_LEN];  // the device's public one (X25519)
    pqb_wall_ms expires_ms;    // not valid from here on
    pqb_wall_ms not_before_ms; // not valid before; 0: told none
    pqb_wall_ms issued_ms;     // for people; 0: told none
};

// false: not an object of strict JSON, a claim that is needed is missing, one is told twice, or its
// value is not acceptable. Claims of other names are passed over. Allocates nothing.
PQB_MUST_USE bool pqb_claims_parse(struct pqb_claims *out, const char *text, size_t len);

// Writes the claims, which have to be acceptable, as JSON with a NUL. Returns its length; 0: no
// memory.
size_t pqb_claims_format(const struct pqb_claims *c, char text[PQB_CLAIMS_MAX + 1]);

// Whether `text` is exactly YYYY-MM-DDTHH:MM:SS and Z or +00:00, a date of the years 1970 to 9999.
PQB_MUST_USE bool pqb_date_parse(const char *text, size_t len, pqb_wall_ms *out);

// Milliseconds are cut off. Years above 9999 become its last second.
void pqb_date_format(pqb_wall_ms at, char text[PQB_DATE_TEXT_LEN + 1]);

// A member with the date; none when it is 0.
void pqb_date_json(struct pqb_json *j, const char *name, pqb_wall_ms at);
