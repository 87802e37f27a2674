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

/* Shares with their start, KT_START_UNIT times as large, at six or four positions. u [positions][KT_FOUR_RANKS], as much larger. */
#if KT_ARMV7M && defined(__OPTIMIZE__)
#define KT_SHARES_TEXT(positions, sign) \
    "push {r4-r11, lr}\n\t" \
    "ldm r1, {r3-r10}\n\t" \
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
        __asm__ volatile(KT_SHARES_TEXT(positions, sign)); \
    }
KT_SHARES_FUNCTION(kt_six_right, "6", KT_SIGN_OF_SHARE)
KT_SHARES_FUNCTION(kt_six_left, "6", "")
KT_SHARES_FUNCTION(kt_four_right, "4", KT_SIGN_OF_SHARE)
KT_SHARES_FUNCTION(kt_four_left, "4", "")

KT_INLINE void kt_six_shares(const int32_t *u, const kt_shares *shares, int32_t *result)
{
    if (shares->negative != 0) {
        kt_six_right(u, shares, result);
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
        const int32_t product = (b0 * u[0] + b1 * u[1] + b2 * u[2] + b3 * u[3]) >> KT_START_BITS;
        *result++ = start + KT_START_UNIT * ((kt_high_product(product, multiplier) + addend + ((product >> 31) & negative)) >> shift);
    }
}

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
