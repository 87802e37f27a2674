/* sleep.h: wait asleep for a flag that comes with an interrupt, without a handler. A waiting board then costs an
 * emulator nothing. */
#ifndef SLEEP_H
#define SLEEP_H

#include <stdint.h>

/* Arrays of 32 interrupts a word. */
#define NVIC_ENABLE ((volatile uint32_t *)0xE000E100u)
#define NVIC_DISABLE ((volatile uint32_t *)0xE000E180u)
#define NVIC_CLEAR ((volatile uint32_t *)0xE000E280u)

/* Returns at once if *flag has a bit of mask; else when the interrupt, or another one, is pending. The interrupt is
 * enabled only while all are masked, so that it wakes the core and is not taken. Others are taken on return. */
static inline void sleep_unless(const volatile uint32_t *flag, uint32_t mask, uint32_t interrupt)
{
    const uint32_t word = interrupt / 32, bit = 1u << interrupt % 32;

    __asm volatile("cpsid i" ::: "memory");
    NVIC_CLEAR[word] = bit;
    NVIC_ENABLE[word] = bit;
    if ((*flag & mask) == 0) /* looked at after clearing: what came in between is not slept over */
        __asm volatile("dsb\n wfi" ::: "memory");
    NVIC_DISABLE[word] = bit;
    __asm volatile("dsb\n isb\n cpsie i\n isb" ::: "memory");
}

#endif
