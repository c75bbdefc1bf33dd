// Both ends of the control socket: a line as the gateway splits it into words, and an answer as
// pqbctl reads it. What the JSON writer writes, the JSON reader reads.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/json.h"
#include "gateway/admin/control.h"
#include "tests/fuzz/fuzz.h"
#include "tools/pqbctl/json_read.h"

#define TEXT_MAX ((size_t)1 << 20)

static char *text_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    PQB_ASSERT(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static void check_words(const uint8_t *data, size_t size)
{
    char *words[PQB_CONTROL_WORDS_MAX];
    char *line = text_of(data, size);
    const size_t len = strlen(line);
    const size_t count = pqb_control_split(line, words, PQB_CONTROL_WORDS_MAX);

    PQB_ASSERT(count <= PQB_CONTROL_WORDS_MAX);
    for (size_t i = 0; i < count; i++)
        PQB_ASSERT(words[i] >= line && words[i] + strlen(words[i]) <= line + len);
    free(line);
}

// NOLINTBEGIN(misc-no-recursion): the reader bounds the depth.
static void write_value(struct pqb_json *j, const struct ctl_json *v)
{
    switch (v->type) {
    case CTL_JSON_OTHER:
    case CTL_JSON_STRING:
        pqb_json_string(j, v->key, v->text);
        return;
    case CTL_JSON_ARRAY:
        pqb_json_array_begin(j, v->key);
        break;
    case CTL_JSON_OBJECT:
        pqb_json_object_begin(j, v->key);
        break;
    }
    for (const struct ctl_json *it = v->first; it != NULL; it = it->next)
        write_value(j, it);
    if (v->type == CTL_JSON_ARRAY)
        pqb_json_array_end(j);
    else
        pqb_json_object_end(j);
}
// NOLINTEND(misc-no-recursion)

// Parses `text` and writes what it says; NULL when it is not JSON.
static char *rewrite(const uint8_t *data, size_t size)
{
    char *text = text_of(data, size);
    struct ctl_json *tree = ctl_json_parse(text);
    char *result = NULL;

    if (tree != NULL) {
        struct pqb_json j;

        pqb_json_init(&j, TEXT_MAX);
        write_value(&j, tree);
        const char *written = pqb_json_text(&j);
        PQB_ASSERT(written != NULL);
        result = text_of((const uint8_t *)written, strlen(written));
        pqb_json_fini(&j);
    }
    ctl_json_destroy(tree);
    free(text);
    return result;
}

// The first writing may spell a replaced byte in another way; from then on nothing changes.
static void check_json(const uint8_t *data, size_t size)
{
    char *once = rewrite(data, size);

    if (once == NULL)
        return;
    char *twice = rewrite((const uint8_t *)once, strlen(once));
    PQB_ASSERT(twice != NULL);
    char *thrice = rewrite((const uint8_t *)twice, strlen(twice));
    PQB_ASSERT(thrice != NULL && strcmp(twice, thrice) == 0);
    free(once);
    free(twice);
    free(thrice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > TEXT_MAX / 16)
        return 0;
    check_words(data, size);
    check_json(data, size);
    return 0;
}
