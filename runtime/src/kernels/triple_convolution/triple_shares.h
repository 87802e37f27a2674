/* triple_shares.h: what a low-rank path adds to a sum at several positions, of rank 4 at most.
 *
 * Its requantisation is the short form of product.h, with the multiplier m and the right shift n:
 *
 *     ((256 x * m >> 32) + 64 + 2^(n+6) - (x < 0 ? 128 : 0)) >> (n + 7)
 *
 * A shift to the left goes before it, and rounds half up alone. */
#ifndef KT_TRIPLE_SHARES_H
#define KT_TRIPLE_SHARES_H

#include "../../product/triple.h"

enum { KT_FOUR_RANKS = 4, KT_MOST_RIGHT = 20, KT_MOST_SHORT_LEFT = 5 };

/* Codes of u are so much larger, so that the high word of a product of 64 bits is what the form above takes. */
enum { KT_CODE_UNIT = KT_ARMV6M ? 1 : 256 };

/* 256 x * m >> 32 of a product of codes in this unit. It has the sign of the product; of 0 either will do. */
KT_INLINE int32_t kt_high_of_codes(int32_t product, int32_t multiplier)
{
#if KT_ARMV6M
    return kt_high_product(product, multiplier);
#else
    return (int32_t)(((int64_t)product * multiplier) >> 32);
#endif
}

/* b: a row of the second factor, shifted to the left where the share is; multiplier, addend, shift: as above; start: what the shares are added to,
 * KT_START_UNIT times as large; negative: what a negative product takes from the addend. */
typedef struct {
    int32_t b[KT_FOUR_RANKS];
    int32_t multiplier, addend, shift, start;
    int32_t negative;
} kt_shares;

/* The requantisation by a shift to the right, at most 0 for one to the left. Beyond the largest it leaves 0. */
KT_INLINE void kt_scale_shares(kt_shares *shares, int32_t right)
{
    shares->negative = 0;
    shares->addend = 64;
    shares->shift = 7;
    if ((uint32_t)(right - 1) < KT_MOST_RIGHT) {
        shares->negative = 128;
        shares->addend = 64 + (INT32_C(64) << right);
        shares->shift = right + 7;
    } else if (right > 0) {
        shares->multiplier = 0;
        shares->addend = 0;
    }
}

/* Of a channel whose shares are shifted to the right: multiplier, addend, shift and start of `kt_shares`. */
typedef struct {
    int32_t multiplier, addend, shift, start;
} kt_right_shares;

/* Shares with their start, KT_START_UNIT times as large, at six or four positions. u [positions][KT_FOUR_RANKS], KT_CODE_UNIT times as large; b: a
 * row of the second factor. */
#if KT_ARMV7M && defined(__OPTIMIZE__)
/* scale: leaves b in r3-r6, the others in r7-r10; r0, r2: u, results. */
#define KT_SHARES_TEXT(scale, positions, sign) \
    "push {r4-r11, lr}\n\t" \
    scale \
    ".rept " positions "\n\t" \
    "ldm r0!, {r1, r11, r12, lr}\n\t" \
    "mul r1, r1, r3\n\t" "mla r1, r11, r4, r1\n\t" "mla r1, r12, r5, r1\n\t" "mla r1, lr, r6, r1\n\t" \
    "smull r11, r12, r1, r7\n\t" \
    sign \
    "add r12, r8\n\t" \
    "asr r12, r9\n\t" \
    "add r12, r10, r12, lsl #8\n\t" \
    "str r12, [r2], #4\n\t" \
    ".endr\n\t" \
    "pop {r4-r11, pc}\n\t"
#define KT_SIGN_OF_SHARE "asr r1, r1, #31\n\t" "add r12, r12, r1, lsl #7\n\t"
#define KT_SHARES_FUNCTION(name, positions, sign) \
    static __attribute__((naked, noinline, unused)) void name(const int32_t *u __attribute__((unused)), \
                                                              const kt_shares *shares __attribute__((unused)), \
                                                              int32_t *result __attribute__((unused))) \
    { \
        __asm__ volatile(KT_SHARES_TEXT("ldm r1, {r3-r10}\n\t", positions, sign)); \
    }
KT_SHARES_FUNCTION(kt_six_any, "6", KT_SIGN_OF_SHARE)
KT_SHARES_FUNCTION(kt_six_left, "6", "")
KT_SHARES_FUNCTION(kt_four_right, "4", KT_SIGN_OF_SHARE)
KT_SHARES_FUNCTION(kt_four_left, "4", "")

static __attribute__((naked, noinline, unused)) void kt_six_right(const int32_t *u __attribute__((unused)), const int8_t *b __attribute__((unused)),
                                                                  int32_t *result __attribute__((unused)),
                                                                  const kt_right_shares *shares __attribute__((unused)))
{
    __asm__ volatile(KT_SHARES_TEXT("ldm r3, {r7-r10}\n\t"
                                    "ldrsb r3, [r1]\n\t" "ldrsb r4, [r1, #1]\n\t" "ldrsb r5, [r1, #2]\n\t" "ldrsb r6, [r1, #3]\n\t",
                                    "6", KT_SIGN_OF_SHARE));
}

KT_INLINE void kt_six_shares(const int32_t *u, const kt_shares *shares, int32_t *result)
{
    if (shares->negative != 0) {
        kt_six_any(u, shares, result);
    } else {
        kt_six_left(u, shares, result);
    }
}

KT_INLINE void kt_four_shares(const int32_t *u, const kt_shares *shares, int32_t *result)
{
    if (shares->negative != 0) {
        kt_four_right(u, shares, result);
    } else {
        kt_four_left(u, shares, result);
    }
}
#else
KT_INLINE void kt_shares_of(const int32_t *u, const kt_shares *shares, int32_t *result, const int32_t *end)
{
    const int32_t b0 = shares->b[0], b1 = shares->b[1], b2 = shares->b[2], b3 = shares->b[3];
    const int32_t multiplier = shares->multiplier, addend = shares->addend, shift = shares->shift, start = shares->start, negative = -shares->negative;
    for (; result != end; u += KT_FOUR_RANKS) {
        const int32_t high = kt_high_of_codes(b0 * u[0] + b1 * u[1] + b2 * u[2] + b3 * u[3], multiplier);
        *result++ = start + KT_START_UNIT * ((high + addend + ((high >> 31) & negative)) >> shift);
    }
}

#if KT_ARMV6M
/* r8-r11: b; r12, lr: shift, start; from sp on: three digits of the multiplier, the addend. Products of codes have 17 bits. */
static __attribute__((naked, noinline, unused)) void kt_six_right(const int32_t *u __attribute__((unused)), const int8_t *b __attribute__((unused)),
                                                                  int32_t *result __attribute__((unused)),
                                                                  const kt_right_shares *shares __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t" "mov r7, r11\n\t"
                     "push {r4-r7}\n\t"
                     "sub sp, #16\n\t"
                     "ldmia r3!, {r4-r7}\n\t"
                     "mov r12, r6\n\t" "mov lr, r7\n\t"
                     "lsls r3, r4, #22\n\t" "lsrs r3, r3, #22\n\t" "str r3, [sp]\n\t"
                     "lsls r3, r4, #12\n\t" "lsrs r3, r3, #22\n\t" "str r3, [sp, #4]\n\t"
                     "lsrs r3, r4, #20\n\t" "str r3, [sp, #8]\n\t"
                     "str r5, [sp, #12]\n\t"
                     "movs r4, #0\n\t" "ldrsb r3, [r1, r4]\n\t" "mov r8, r3\n\t"
                     "movs r4, #1\n\t" "ldrsb r3, [r1, r4]\n\t" "mov r9, r3\n\t"
                     "movs r4, #2\n\t" "ldrsb r3, [r1, r4]\n\t" "mov r10, r3\n\t"
                     "movs r4, #3\n\t" "ldrsb r3, [r1, r4]\n\t" "mov r11, r3\n\t"
                     "movs r1, r2\n\t" "adds r1, #24\n\t"
                     "1:\n\t"
                     "ldmia r0!, {r3-r6}\n\t"
                     "mov r7, r8\n\t" "muls r3, r7\n\t" "mov r7, r9\n\t" "muls r4, r7\n\t"
                     "mov r7, r10\n\t" "muls r5, r7\n\t" "mov r7, r11\n\t" "muls r6, r7\n\t"
                     "adds r3, r3, r4\n\t" "adds r5, r5, r6\n\t" "adds r3, r3, r5\n\t"
                     "ldr r4, [sp]\n\t" "muls r4, r3\n\t" "asrs r4, r4, #10\n\t"
                     "ldr r5, [sp, #4]\n\t" "muls r5, r3\n\t" "adds r4, r4, r5\n\t" "asrs r4, r4, #10\n\t"
                     "ldr r5, [sp, #8]\n\t" "muls r3, r5\n\t" "adds r3, r3, r4\n\t" "asrs r3, r3, #4\n\t"
                     "asrs r4, r3, #31\n\t" "lsls r4, r4, #7\n\t" "adds r3, r3, r4\n\t"
                     "ldr r4, [sp, #12]\n\t" "adds r3, r3, r4\n\t"
                     "mov r4, r12\n\t" "asrs r3, r4\n\t"
                     "add r3, lr\n\t"
                     "stmia r2!, {r3}\n\t"
                     "cmp r2, r1\n\t"
                     "bne 1b\n\t"
                     "add sp, #16\n\t"
                     "pop {r4-r7}\n\t"
                     "mov r8, r4\n\t" "mov r9, r5\n\t" "mov r10, r6\n\t" "mov r11, r7\n\t"
                     "pop {r4-r7, pc}\n\t");
}
#else
KT_INLINE void kt_six_right(const int32_t *u, const int8_t *b, int32_t *result, const kt_right_shares *shares)
{
    const int32_t b0 = b[0], b1 = b[1], b2 = b[2], b3 = b[3];
    const int32_t multiplier = shares->multiplier, addend = shares->addend, shift = shares->shift, start = shares->start;
    const int32_t *const end = result + KT_POSITIONS;
    for (; result != end; u += 2 * KT_FOUR_RANKS, result += 2) {
        const int32_t first = kt_high_of_codes(b0 * u[0] + b1 * u[1] + b2 * u[2] + b3 * u[3], multiplier);
        const int32_t second = kt_high_of_codes(b0 * u[4] + b1 * u[5] + b2 * u[6] + b3 * u[7], multiplier);
        result[0] = start + KT_START_UNIT * ((first + addend + ((first >> 31) & -128)) >> shift);
        result[1] = start + KT_START_UNIT * ((second + addend + ((second >> 31) & -128)) >> shift);
    }
}
#endif

static __attribute__((noinline, unused)) void kt_six_shares(const int32_t *u, const kt_shares *shares, int32_t *result)
{
    kt_shares_of(u, shares, result, result + 6);
}

static __attribute__((noinline, unused)) void kt_four_shares(const int32_t *u, const kt_shares *shares, int32_t *result)
{
    kt_shares_of(u, shares, result, result + 4);
}
#endif

#endif
