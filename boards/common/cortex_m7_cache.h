/* cortex_m7_cache.h: both caches of a Cortex-M7. Nothing here uses DMA, so memory and cache never disagree. */
#ifndef CORTEX_M7_CACHE_H
#define CORTEX_M7_CACHE_H

#include "registers.h"

#define CACHE_LINE 32u

static inline void cortex_m7_caches_enable(void)
{
    volatile uint32_t *const ccr = reg32(0xE000ED14u);

    __asm volatile("dsb\n isb" ::: "memory");
    *reg32(0xE000EF50u) = 0; /* ICIALLU: forget all instructions */
    *reg32(0xE000ED84u) = 0; /* CSSELR: the data cache of level 1 */
    __asm volatile("dsb" ::: "memory");
    const uint32_t size = *reg32(0xE000ED80u); /* CCSIDR */
    const uint32_t sets = (size >> 13 & 0x7FFFu) + 1, ways = (size >> 3 & 0x3FFu) + 1;
    for (uint32_t set = 0; set < sets; set++)
        for (uint32_t way = 0; way < ways; way++)
            *reg32(0xE000EF60u) = way << 30 | set * CACHE_LINE; /* DCISW: four ways, so the way is in the top two bits */
    __asm volatile("dsb" ::: "memory");
    *ccr |= 1u << 17 | 1u << 16;
    __asm volatile("dsb\n isb" ::: "memory");
}

#endif
