/* registers.h: a memory-mapped register by its address, and a wait for one. */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stdint.h>

static inline volatile uint32_t *reg32(uint32_t address)
{
    return (volatile uint32_t *)address;
}

static inline volatile uint8_t *reg8(uint32_t address)
{
    return (volatile uint8_t *)address;
}

/* Replaces the bits of mask. */
static inline void reg_set(volatile uint32_t *reg, uint32_t mask, uint32_t bits)
{
    *reg = (*reg & ~mask) | bits;
}

/* Waits until (*reg & mask) == bits. */
static inline void reg_wait(const volatile uint32_t *reg, uint32_t mask, uint32_t bits)
{
    while ((*reg & mask) != bits) {
    }
}

#endif
