/* kt/adapter.h: the envelope of an exported adapter.
 *
 *   0   8  magic "KTADAPT1"
 *   8   8  hash of the base model and of the adapter's layout
 *   16  4  payload length n, little-endian
 *   20  n  payload: the trained values in the order of the generated header
 *   20+n 4 CRC-32 (IEEE 802.3, reflected) of everything before it, little-endian */
#ifndef KT_ADAPTER_H
#define KT_ADAPTER_H

#include <stddef.h>
#include <stdint.h>

#define KT_ADAPTER_HEADER 20u
#define KT_ADAPTER_OVERHEAD 24u

/* CRC-32 of `length` bytes; start with crc = 0, or continue from an earlier call's result. */
uint32_t kt_crc32(uint32_t crc, const void *data, size_t length);

/* Write header and CRC around a payload that already lies at buffer + KT_ADAPTER_HEADER. Returns the bytes in all. */
size_t kt_adapter_seal(uint8_t *buffer, const uint8_t base_hash[8], uint32_t payload_length);

/* The payload of a whole, undamaged adapter of this base and length, or NULL. */
const uint8_t *kt_adapter_open(const void *buffer, size_t length, const uint8_t base_hash[8], uint32_t payload_length);

#endif
