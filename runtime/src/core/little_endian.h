/* little_endian.h: numbers of 16 and 32 bits in bytes, the least first, at any address: as files and flash have them. */
#ifndef KT_LITTLE_ENDIAN_H
#define KT_LITTLE_ENDIAN_H

#include <stdint.h>

static inline void kt_put16(uint8_t *to, uint32_t number)
{
    to[0] = (uint8_t)number;
    to[1] = (uint8_t)(number >> 8);
}

static inline void kt_put32(uint8_t *to, uint32_t number)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(number >> (8 * i));
    }
}

static inline uint32_t kt_get16(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8;
}

static inline uint32_t kt_get32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

#endif
