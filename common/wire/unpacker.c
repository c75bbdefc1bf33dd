#include "common/wire/unpacker.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/wire/frame.h"
#include "common/wire/structure.h"

// The zone's first chunk holds the objects of anything that passes the structure check, so that
// parsing never allocates.
#define ZONE_BYTES (32 * 1024)
static_assert(PQB_STRUCTURE_VALUES_MAX * sizeof(msgpack_object) + 1024 <= ZONE_BYTES,
              "a sound structure fits into the first chunk");

struct pqb_unpacker {
    msgpack_zone zone;
};

int pqb_unpacker_create(struct pqb_unpacker **out)
{
    struct pqb_unpacker *u = malloc(sizeof(*u));

    if (!u)
        return PQB_ERR_NOMEM;
    if (!msgpack_zone_init(&u->zone, ZONE_BYTES)) {
        free(u);
        return PQB_ERR_NOMEM;
    }
    *out = u;
    return PQB_OK;
}

void pqb_unpacker_destroy(struct pqb_unpacker *u)
{
    if (!u)
        return;
    msgpack_zone_destroy(&u->zone);
    free(u);
}

enum pqb_verdict pqb_unpacker_parse(struct pqb_unpacker *u, const void *data, size_t len,
                                    msgpack_object_array *out)
{
    msgpack_object object;
    size_t offset = 0;

    PQB_ASSERT(u);
    if (!pqb_structure_is_sound(data, len))
        return PQB_VERDICT_STRUCTURE;
    msgpack_zone_clear(&u->zone);
    if (msgpack_unpack(data, len, &offset, &u->zone, &object) != MSGPACK_UNPACK_SUCCESS)
        return PQB_VERDICT_STRUCTURE;
    if (object.type != MSGPACK_OBJECT_ARRAY)
        return PQB_VERDICT_STRUCTURE;
    *out = object.via.array;
    return PQB_VERDICT_OK;
}
