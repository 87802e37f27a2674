/* Origin of an adapter: Monocypher's EdDSA with BLAKE2b. Part of a build only where a public key is. */
#include "kt/adapter.h"

#include <string.h>

#include "monocypher.h"

int kt_adapter_verify(const uint8_t *file, size_t signed_bytes, const uint8_t public_key[32])
{
    const uint8_t *const key = file + signed_bytes;
    return memcmp(key, public_key, 32) == 0 && crypto_eddsa_check(key + 32, public_key, file, signed_bytes) == 0;
}
