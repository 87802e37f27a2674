/* kt_fields.h: numbers in requests and responses, little-endian. */
#ifndef KT_FIELDS_H
#define KT_FIELDS_H

#include <stdint.h>
#include <string.h>

static inline uint8_t *put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

static inline uint32_t get32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static inline uint8_t *put_float(uint8_t *to, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put32(to, bits);
}

static inline float get_float(const uint8_t *from)
{
    const uint32_t bits = get32(from);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
