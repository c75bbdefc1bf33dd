// The revocation file: any bytes end in a verdict with a message, and what is taken answers for
// each of its lines as a search from the front does.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "gateway/config/revoked.h"
#include "gateway/config/words.h"
#include "tests/fuzz/fuzz.h"

struct counts {
    const struct pqb_revoked *r;
    size_t names, keys;
};

static int check_line(void *ctx, const char *at, const char *end, int line)
{
    struct counts *c = ctx;
    struct pqb_word kind, first, second = {"any", 3};

    PQB_ASSERT(line > 0);
    if (!pqb_word_next(&at, end, &kind) || kind.text[0] == '#')
        return PQB_OK;
    PQB_ASSERT(pqb_word_next(&at, end, &first));
    if (pqb_word_is(&kind, "key")) {
        PQB_ASSERT(first.len == 64);
        c->keys++;
        return PQB_OK;
    }
    PQB_ASSERT(pqb_word_is(&kind, "user") || pqb_word_next(&at, end, &second));
    PQB_ASSERT(pqb_revoked_has(c->r, first.text, first.len, second.text, second.len));
    c->names++;
    return PQB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pqb_config_error error = {""};
    struct pqb_revoked *r = NULL;
    struct counts counts = {0};
    const char *text = (const char *)data;

    if (pqb_revoked_parse(&r, "fuzz", text, size, &error) != PQB_OK) {
        PQB_ASSERT(error.text[0] != '\0' && r == NULL);
        return 0;
    }
    counts.r = r;
    PQB_ASSERT(pqb_words_each_line(text, size, check_line, &counts) == PQB_OK);
    PQB_ASSERT(counts.names == pqb_revoked_name_count(r));
    PQB_ASSERT(counts.keys == pqb_revoked_key_count(r));
    PQB_ASSERT(!pqb_revoked_has(r, "\n", 1, "\n", 1));
    pqb_revoked_destroy(r);
    return 0;
}
