#include "common/proto/grant.h"

#include <string.h>

#include <sodium.h>

void pqb_grant_write(struct pqb_writer_cursor *w, const struct pqb_grant *g)
{
    pqb_wcur_u64(w, g->expires_ms);
    pqb_wcur_bytes(w, g->source, sizeof(g->source));
    pqb_wcur_bytes(w, g->key_id, sizeof(g->key_id));
}

void pqb_grant_read(struct pqb_reader_cursor *c, struct pqb_grant *g)
{
    g->expires_ms = pqb_rcur_u64(c);
    pqb_rcur_copy(c, g->source, sizeof(g->source));
    pqb_rcur_copy(c, g->key_id, sizeof(g->key_id));
}

void pqb_id_make(const void *data, size_t len, uint8_t out[PQB_ID_LEN])
{
    uint8_t hash[crypto_generichash_BYTES];

    (void)crypto_generichash(hash, sizeof(hash), data, len, NULL, 0);
    memcpy(out, hash, PQB_ID_LEN);
}
