// For machines whose CRC-32C instruction is not used: the table does the work.
#include "common/base/check.h"
#include "common/base/crc32c_impl.h"

bool pqb_crc32c_has_hardware(void)
{
    return false;
}

uint32_t pqb_crc32c_hardware(uint32_t crc, const void *data, size_t len)
{
    PQB_ASSERT(pqb_crc32c_has_hardware());
    return pqb_crc32c_portable(crc, data, len);
}
