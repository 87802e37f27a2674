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

/* Assembly for the Cortex-M3, where additions before the high word is taken are free: (2 x * m + 2^31 >> 32) + 2^(n-1) - (x < 0), all >> n. */
#if KT_ARMV7M && defined(__OPTIMIZE__)
#define KT_SHARES_ARMV7M 1
#else
#define KT_SHARES_ARMV7M 0
#endif

/* Codes of u are so much larger, so that the high word of a product of 64 bits is what the form takes. KT_SHARE_BITS: of it below the point. */
enum { KT_CODE_UNIT = KT_ARMV6M ? 1 : KT_SHARES_ARMV7M ? 2 : 256, KT_SHARE_BITS = KT_SHARES_ARMV7M ? 0 : 7 };

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
    shares->addend = (1 << KT_SHARE_BITS) >> 1;
    shares->shift = KT_SHARE_BITS;
    if ((uint32_t)(right - 1) < KT_MOST_RIGHT) {
        shares->negative = 1 << KT_SHARE_BITS;
        shares->addend += INT32_C(1) << (right - 1 + KT_SHARE_BITS);
        shares->shift += right;
    } else if (right > 0) {
        shares->multiplier = 0;
        shares->addend = 0;
    }
}

/* Channels of rank 4 at six positions. addend [channels][2]: multiplier, and what is subtracted from `right` for the shift to the right; start: what
 * shares are added to; b [channels][4]; left: shifts to the left that are less have a short form. */
typedef struct {
    const int32_t *u, *addend, *start;
    const int8_t *b;
    int32_t *result;
    const int32_t *end;
    int32_t right, left;
} kt_share_run;

/* Shares with their start, KT_START_UNIT times as large, at six or four positions. u [positions][KT_FOUR_RANKS], KT_CODE_UNIT times as large; b: a
 * row of the second factor. */
#if KT_SHARES_ARMV7M
/* r3-r6: b; r7-r10: the other words of kt_shares; r0, r2: u, results. */
#define KT_SHARES(positions, finish) \
    ".rept " positions "\n\t" \
    "ldm r0!, {r1, r11, r12, lr}\n\t" \
    "mul r1, r1, r3\n\t" "mla r1, r11, r4, r1\n\t" "mla r1, r12, r5, r1\n\t" "mla r1, lr, r6, r1\n\t" \
    "mov r11, #0x80000000\n\t" \
    finish \
    "add r12, r10, r12, lsl #8\n\t" \
    "str r12, [r2], #4\n\t" \
    ".endr\n\t"
#define KT_SHARES_TEXT(positions, finish) \
    "push {r4-r11, lr}\n\t" \
    "ldm r1, {r3-r10}\n\t" \
    KT_SHARES(positions, finish) \
    "pop {r4-r11, pc}\n\t"
#define KT_SHARE_RIGHT "add r12, r8, r1, asr #31\n\t" "smlal r11, r12, r1, r7\n\t" "asr r12, r9\n\t"
#define KT_SHARE_LEFT "mov r12, #0\n\t" "smlal r11, r12, r1, r7\n\t"
#define KT_SHARES_FUNCTION(name, positions, finish) \
    static __attribute__((naked, noinline, unused)) void name(const int32_t *u __attribute__((unused)), \
                                                              const kt_shares *shares __attribute__((unused)), \
                                                              int32_t *result __attribute__((unused))) \
    { \
        __asm__ volatile(KT_SHARES_TEXT(positions, finish)); \
    }
KT_SHARES_FUNCTION(kt_six_any, "6", KT_SHARE_RIGHT)
KT_SHARES_FUNCTION(kt_six_left, "6", KT_SHARE_LEFT)
KT_SHARES_FUNCTION(kt_four_right, "4", KT_SHARE_RIGHT)
KT_SHARES_FUNCTION(kt_four_left, "4", KT_SHARE_LEFT)

/* The results of a run up to a channel without a short form; returns where its own belong. From sp on: the run. */
#define KT_RUN_CODES \
    "ldrd r1, r11, [sp, #8]\n\t" \
    "ldr r10, [r1], #4\n\t" \
    "lsl r10, r10, #8\n\t" \
    "ldrsb r3, [r11], #1\n\t" "ldrsb r4, [r11], #1\n\t" "ldrsb r5, [r11], #1\n\t" "ldrsb r6, [r11], #1\n\t" \
    "strd r1, r11, [sp, #8]\n\t"
static __attribute__((naked, noinline, unused)) int32_t *kt_run_of_shares(const kt_share_run *run __attribute__((unused)))
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "ldm r0, {r1-r8}\n\t"
                     "sub sp, #36\n\t"
                     "stm sp, {r1-r8}\n\t"
                     "mov r2, r5\n\t"
                     "1:\n\t"
                     "ldrd r0, r1, [sp]\n\t"
                     "ldrd r7, r9, [r1], #8\n\t"
                     "ldr r3, [sp, #24]\n\t"
                     "subs r9, r3, r9\n\t"
                     "sub r4, r9, #1\n\t"
                     "cmp r4, #20\n\t"
                     "bhs 3f\n\t"
                     "str r1, [sp, #4]\n\t"
                     "mov r8, #1\n\t"
                     "lsl r8, r8, r4\n\t" KT_RUN_CODES KT_SHARES("6", KT_SHARE_RIGHT)
                     "2:\n\t"
                     "ldr r1, [sp, #20]\n\t"
                     "cmp r2, r1\n\t"
                     "bne.w 1b\n\t"
                     "4:\n\t"
                     "mov r0, r2\n\t"
                     "add sp, #36\n\t"
                     "pop {r4-r11, pc}\n\t"
                     "3:\n\t"
                     "rsbs r9, r9, #0\n\t"
                     "ldr r3, [sp, #28]\n\t"
                     "cmp r9, r3\n\t"
                     "bhs 4b\n\t" /* also shifts to the right beyond the largest */
                     "str r1, [sp, #4]\n\t" KT_RUN_CODES
                     "lsl r3, r3, r9\n\t" "lsl r4, r4, r9\n\t" "lsl r5, r5, r9\n\t" "lsl r6, r6, r9\n\t"
                     KT_SHARES("6", KT_SHARE_LEFT)
                     "b 2b\n\t");
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
    for (; result != end; u += 2 * KT_FOUR_RANKS, result += 2) {
        const int32_t first = kt_high_of_codes(b0 * u[0] + b1 * u[1] + b2 * u[2] + b3 * u[3], multiplier);
        const int32_t second = kt_high_of_codes(b0 * u[4] + b1 * u[5] + b2 * u[6] + b3 * u[7], multiplier);
        result[0] = start + KT_START_UNIT * ((first + addend + ((first >> 31) & negative)) >> shift);
        result[1] = start + KT_START_UNIT * ((second + addend + ((second >> 31) & negative)) >> shift);
    }
}

#if KT_ARMV6M
/* Of a channel: multiplier and the words behind it of kt_shares. */
typedef struct {
    int32_t multiplier, addend, shift, start, negative;
} kt_short_shares;

/* r8-r11: b; r12, lr: shift, start; from sp on: two digits of the multiplier, the lower from -2^15 to 2^15, the addend, what a negative product
 * takes from it. Products of codes are below 2^16, those with a digit below 2^31. */
static __attribute__((naked, noinline, unused)) void kt_six_short(const int32_t *u __attribute__((unused)), const int8_t *b __attribute__((unused)),
                                                                  int32_t *result __attribute__((unused)),
                                                                  const kt_short_shares *shares __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r9\n\t" "mov r6, r10\n\t" "mov r7, r11\n\t"
                     "push {r4-r7}\n\t"
                     "sub sp, #16\n\t"
                     "ldmia r3!, {r4-r7}\n\t"
                     "ldr r3, [r3]\n\t" "str r3, [sp, #12]\n\t"
                     "mov r12, r6\n\t" "mov lr, r7\n\t"
                     "sxth r3, r4\n\t" "str r3, [sp]\n\t"
                     "subs r4, r4, r3\n\t" "lsrs r4, r4, #16\n\t" "str r4, [sp, #4]\n\t"
                     "str r5, [sp, #8]\n\t"
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
                     "ldr r4, [sp]\n\t" "muls r4, r3\n\t" "asrs r4, r4, #16\n\t"
                     "ldr r5, [sp, #4]\n\t" "muls r3, r5\n\t" "adds r3, r3, r4\n\t" "asrs r3, r3, #8\n\t"
                     "asrs r4, r3, #31\n\t" "ldr r5, [sp, #12]\n\t" "ands r4, r5\n\t" "subs r3, r3, r4\n\t"
                     "ldr r4, [sp, #8]\n\t" "adds r3, r3, r4\n\t"
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
#endif

/* The results of a run up to a channel without a short form; returns where its own belong. */
static __attribute__((noinline, unused)) int32_t *kt_run_of_shares(const kt_share_run *run)
{
    const int32_t *addend = run->addend, *start = run->start;
    const int32_t *const u = run->u, *const end = run->end;
    const int32_t far = run->right, left = run->left;
    const int8_t *b = run->b;
    int32_t *result = run->result;
    for (; result != end; addend += 2, start++, b += KT_FOUR_RANKS, result += 6) {
        const int32_t right = far - addend[1];
        if ((uint32_t)(right - 1) >= KT_MOST_RIGHT && (uint32_t)-right >= (uint32_t)left) {
            break;
        }
#if KT_ARMV6M
        if (right >= 0) {
            const kt_short_shares six = {addend[0], right > 0 ? 64 + (INT32_C(64) << right) : 64, right + 7, *start, right > 0 ? 128 : 0};
            kt_six_short(u, b, result, &six);
            continue;
        }
#else
        if (right > 0) {
            const kt_shares six = {{b[0], b[1], b[2], b[3]}, addend[0], 64 + (INT32_C(64) << right), right + 7, KT_START_UNIT * *start, 128};
            kt_shares_of(u, &six, result, result + 6);
            continue;
        }
#endif
        {
            const int32_t unit = INT32_C(1) << -right;
            const kt_shares six = {{b[0] * unit, b[1] * unit, b[2] * unit, b[3] * unit}, addend[0], 64, 7, KT_START_UNIT * *start, 0};
            kt_shares_of(u, &six, result, result + 6);
        }
    }
    return result;
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
