/* four_sums.h: how functions in assembly that keep four sums in r8..r11 begin and end; the fifth and the sixth argument lie at KT_FIFTH and KT_SIXTH
 * between. */
#ifndef KT_ARMV6M_FOUR_SUMS_H
#define KT_ARMV6M_FOUR_SUMS_H

#define KT_FIFTH "[sp, #36]"
#define KT_SIXTH "[sp, #40]"

#define KT_SAVE_HIGH \
    "push {r4-r7, lr}\n\t" \
    "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t" "mov r7, r11\n\t" \
    "push {r4-r7}\n\t"

/* r4..r7 to the sums. */
#define KT_START_SUMS "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t"

/* Stores the sums where the word at `place` says, and returns. */
#define KT_STORE_SUMS(place) \
    "ldr r4, " place "\n\t" \
    "mov r0, r8\n\t" "mov r1, r9\n\t" "mov r2, r10\n\t" "mov r3, r11\n\t" \
    "stmia r4!, {r0-r3}\n\t" \
    "pop {r4-r7}\n\t" \
    KT_START_SUMS \
    "pop {r4-r7, pc}\n\t"

#endif
