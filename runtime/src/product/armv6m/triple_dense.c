/* Sums of one row with four channels, in assembly for Cortex-M0, M0+ and M23.
 *
 *     r0         4 in front of the end of the values      r1, r2   weights        r3    4 less those that are left
 *     r8..r11    sums                   r4       a value        r5    a weight, then a product */
#include "../triple_dense.h"

#if KT_ARMV6M

#include "four_sums.h"

#define KT_TERM(pointer, place, sum) "ldrb r5, [" pointer ", #" place "]\n\t" "muls r5, r4\n\t" "add " sum ", r5\n\t"
#define KT_ONE(a, b) \
    "ldrsb r4, [r0, r3]\n\t" \
    KT_TERM("r1", a, "r8") KT_TERM("r1", b, "r9") KT_TERM("r2", a, "r10") KT_TERM("r2", b, "r11") \
    "adds r3, #1\n\t"

__attribute__((naked)) void kt_dense_sums(const int8_t *x __attribute__((unused)), const uint8_t *first __attribute__((unused)),
                                          const uint8_t *second __attribute__((unused)), int32_t length __attribute__((unused)),
                                          uint32_t offset __attribute__((unused)), uint32_t sums[4] __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     KT_SAVE_HIGH
                     "ldr r4, " KT_FIFTH "\n\t"
                     "mov r8, r4\n\t" "mov r9, r4\n\t" "mov r10, r4\n\t" "mov r11, r4\n\t"
                     "adds r0, r0, r3\n\t" "subs r0, #4\n\t"
                     "rsbs r3, r3, #0\n\t"
                     "subs r1, #8\n\t" "subs r2, #8\n\t"
                     "adds r3, #4\n\t"
                     "bgt 2f\n\t"
                     "1:\n\t"
                     "adds r1, #8\n\t" "adds r2, #8\n\t"
                     KT_ONE("0", "1") KT_ONE("2", "3") KT_ONE("4", "5") KT_ONE("6", "7")
                     "ble 1b\n\t"
                     "2:\n\t"
                     "adds r1, #8\n\t" "adds r2, #8\n\t"
                     "cmp r3, #4\n\t"
                     "beq 4f\n\t"
                     "3:\n\t"
                     KT_ONE("0", "1")
                     "adds r1, #2\n\t" "adds r2, #2\n\t"
                     "cmp r3, #4\n\t"
                     "bne 3b\n\t"
                     "4:\n\t"
                     KT_STORE_SUMS(KT_SIXTH));
}

#endif
