#include "kt/adapter.h"

#include <string.h>

static const char magic[8] = {'K', 'T', 'A', 'D', 'A', 'P', 'T', '1'};

uint32_t kt_crc32(uint32_t crc, const void *data, size_t length)
{
    /* One table entry a half byte: 64 bytes of flash instead of 1 KB. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *bytes = data;
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

size_t kt_adapter_seal(uint8_t *buffer, const uint8_t base_hash[8], uint32_t payload_length)
{
    const size_t covered = KT_ADAPTER_HEADER + (size_t)payload_length;
    memcpy(buffer, magic, 8);
    memcpy(buffer + 8, base_hash, 8);
    put32(buffer + 16, payload_length);
    put32(buffer + covered, kt_crc32(0, buffer, covered));
    return covered + 4;
}

const uint8_t *kt_adapter_open(const void *buffer, size_t length, const uint8_t base_hash[8], uint32_t payload_length)
{
    const uint8_t *bytes = buffer;
    const size_t covered = KT_ADAPTER_HEADER + (size_t)payload_length;
    if (bytes == NULL || length != covered + 4 || memcmp(bytes, magic, 8) != 0 || memcmp(bytes + 8, base_hash, 8) != 0) {
        return NULL;
    }
    if (get32(bytes + 16) != payload_length || get32(bytes + covered) != kt_crc32(0, bytes, covered)) {
        return NULL;
    }
    return bytes + KT_ADAPTER_HEADER;
}
