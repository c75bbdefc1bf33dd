// The configuration parser and the token file's: any bytes end in a verdict with a message, and
// what a configuration prints parses back to the same.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "gateway/config/config.h"
#include "gateway/config/tokens.h"
#include "tests/fuzz/fuzz.h"

static void check_print(const struct pqb_config *config)
{
    struct pqb_config again;
    struct pqb_config_error error;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    PQB_ASSERT(out != NULL);
    pqb_config_print(config, out);
    PQB_ASSERT(fclose(out) == 0);
    pqb_config_default(&again);
    PQB_ASSERT(pqb_config_parse(&again, "printed", text, len, &error) == PQB_OK);
    PQB_ASSERT(pqb_config_diff(config, &again, NULL, NULL) == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pqb_config config;
    struct pqb_config_error error = {""};
    struct pqb_tokens *tokens = NULL;

    pqb_config_default(&config);
    if (pqb_config_parse(&config, "fuzz", (const char *)data, size, &error) == PQB_OK)
        check_print(&config);
    else
        PQB_ASSERT(error.text[0] != '\0');
    if (pqb_tokens_parse(&tokens, "fuzz", (const char *)data, size, &error) == PQB_OK)
        PQB_ASSERT(!pqb_tokens_match(tokens, "nobody", 6, "nowhere", 7, "", 0));
    pqb_tokens_destroy(tokens);
    return 0;
}
