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

/* Channels at six positions. addend [channels][2]: multiplier, and what is subtracted from `right` for the shift to the right; start: what shares are
 * added to; b [channels][rank], whose four bytes from each channel's first on can be read, times codes that are 0 where there is no such rank; left:
 * shifts to the left that are less have a short form. */
typedef struct {
    const int32_t *u, *addend, *start;
    const int8_t *b;
    int32_t *result;
    const int32_t *end;
    int32_t right, left, rank;
} kt_share_run;

/* Of codes of six positions: KT_FOUR_RANKS of each, then the words that a run takes on Armv6-M, two of each. */
enum { KT_PAIRED_CODES = KT_FOUR_RANKS * KT_POSITIONS, KT_CODE_WORDS = KT_PAIRED_CODES + (KT_ARMV6M ? 2 * KT_POSITIONS : 0) };

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
    "ldr r12, [sp, #32]\n\t" \
    "ldrsb r3, [r11]\n\t" "ldrsb r4, [r11, #1]\n\t" "ldrsb r5, [r11, #2]\n\t" "ldrsb r6, [r11, #3]\n\t" \
    "add r11, r12\n\t" \
    "strd r1, r11, [sp, #8]\n\t"
static __attribute__((naked, noinline, unused)) int32_t *kt_run_of_shares(const kt_share_run *run __attribute__((unused)))
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "ldm r0, {r1-r9}\n\t"
                     "sub sp, #36\n\t"
                     "stm sp, {r1-r9}\n\t"
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
/* Results of a channel at six positions. Codes of u and b lie two to a word, u0 + 2^16 u1 and b1 + 2^16 b0, whose product modulo 2^32 is
 * b1 u0 + 2^16 (b0 u0 + b1 u1); u is never -128, so that the latter has 16 bits. A sum of four products has less than 17 bits, which two digits of
 * the multiplier hold, the lower from -2^15 to 2^15.
 *
 *     r4, r5   words of b      r6, r7   digits        r11, r12, lr   half a unit, shift, start
 *     r0, r3   u, results      r8       2^14          r1, r2         whatever else */
#define KT_SHARE_OF_CODES \
    "ldmia r0!, {r1, r2}\n\t" \
    "muls r1, r4\n\t" "muls r2, r5\n\t" \
    "asrs r1, r1, #1\n\t" "asrs r2, r2, #1\n\t" "adds r1, r1, r2\n\t" "add r1, r8\n\t" "asrs r1, r1, #15\n\t" \
    "movs r2, r1\n\t" "muls r2, r7\n\t" "asrs r2, r2, #16\n\t" \
    "muls r1, r6\n\t" "adds r1, r1, r2\n\t" "add r1, r8\n\t" "asrs r1, r1, #15\n\t"
#define KT_SHARE_SHIFTED \
    "asrs r2, r1, #31\n\t" "adds r1, r1, r2\n\t" "add r1, r11\n\t" "mov r2, r12\n\t" "asrs r1, r2\n\t"
#define KT_SIX_SHARES(shifted) ".rept 6\n\t" KT_SHARE_OF_CODES shifted "add r1, lr\n\t" "stmia r3!, {r1}\n\t" ".endr\n\t"

/* The results of a run up to a channel that is shifted to the left or too far to the right; returns where its own belong. From sp on: u, addend,
 * start, b, end, right, left, rank. */
static __attribute__((naked, noinline, unused)) int32_t *kt_run_of_shares(const kt_share_run *run __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r7, lr}\n\t"
                     "mov r4, r8\n\t" "mov r5, r11\n\t"
                     "push {r4, r5}\n\t"
                     "sub sp, #32\n\t"
                     "ldmia r0!, {r1-r7}\n\t"
                     "str r1, [sp]\n\t" "str r2, [sp, #4]\n\t" "str r3, [sp, #8]\n\t" "str r4, [sp, #12]\n\t"
                     "movs r3, r5\n\t"
                     "str r6, [sp, #16]\n\t" "str r7, [sp, #20]\n\t"
                     "ldmia r0!, {r1, r2}\n\t" "str r1, [sp, #24]\n\t" "str r2, [sp, #28]\n\t"
                     "movs r0, #1\n\t" "lsls r0, r0, #14\n\t" "mov r8, r0\n\t"
                     "b 1f\n\t"
                     "9:\n\t"
                     "movs r0, r3\n\t"
                     "add sp, #32\n\t"
                     "pop {r4, r5}\n\t"
                     "mov r8, r4\n\t" "mov r11, r5\n\t"
                     "pop {r4-r7, pc}\n\t"
                     "1:\n\t"
                     "ldr r1, [sp, #16]\n\t"
                     "cmp r3, r1\n\t"
                     "beq 9b\n\t"
                     "ldr r0, [sp, #4]\n\t"
                     "ldmia r0!, {r6, r7}\n\t"
                     "ldr r1, [sp, #20]\n\t"
                     "subs r1, r1, r7\n\t"
                     "cmp r1, #20\n\t"
                     "bhi 9b\n\t"
                     "str r0, [sp, #4]\n\t"
                     "mov r12, r1\n\t"
                     "ldr r0, [sp, #8]\n\t" "ldmia r0!, {r2}\n\t" "str r0, [sp, #8]\n\t" "mov lr, r2\n\t"
                     "sxth r7, r6\n\t" "subs r6, r6, r7\n\t" "lsrs r6, r6, #16\n\t"
                     "ldr r2, [sp, #12]\n\t"
                     "movs r0, #0\n\t" "ldrsb r4, [r2, r0]\n\t" "lsls r4, r4, #16\n\t"
                     "movs r0, #1\n\t" "ldrsb r0, [r2, r0]\n\t" "adds r4, r4, r0\n\t"
                     "movs r0, #2\n\t" "ldrsb r5, [r2, r0]\n\t" "lsls r5, r5, #16\n\t"
                     "movs r0, #3\n\t" "ldrsb r0, [r2, r0]\n\t" "adds r5, r5, r0\n\t"
                     "ldr r0, [sp, #28]\n\t" "adds r2, r2, r0\n\t" "str r2, [sp, #12]\n\t"
                     "ldr r0, [sp]\n\t"
                     "subs r1, #1\n\t"
                     "bpl 2f\n\t"
                     "ldr r1, [sp, #24]\n\t"
                     "cmp r1, #0\n\t"
                     "beq 9b\n\t"
                     KT_SIX_SHARES("")
                     "b 1b\n\t"
                     "2:\n\t"
                     "movs r2, #1\n\t" "lsls r2, r1\n\t" "mov r11, r2\n\t"
                     KT_SIX_SHARES(KT_SHARE_SHIFTED)
                     "b 1b\n\t");
}
#else
/* The results of a run up to a channel without a short form; returns where its own belong. */
static __attribute__((noinline, unused)) int32_t *kt_run_of_shares(const kt_share_run *run)
{
    const int32_t *addend = run->addend, *start = run->start;
    const int32_t *const u = run->u, *const end = run->end;
    const int32_t far = run->right, left = run->left;
    const int8_t *b = run->b;
    int32_t *result = run->result;
    for (; result != end; addend += 2, start++, b += run->rank, result += KT_POSITIONS) {
        const int32_t right = far - addend[1];
        if ((uint32_t)(right - 1) >= KT_MOST_RIGHT && (uint32_t)-right >= (uint32_t)left) {
            break;
        }
        if (right > 0) {
            const kt_shares six = {{b[0], b[1], b[2], b[3]}, addend[0], 64 + (INT32_C(64) << right), right + 7, KT_START_UNIT * *start, 128};
            kt_shares_of(u, &six, result, result + 6);
            continue;
        }
        {
            const int32_t unit = INT32_C(1) << -right;
            const kt_shares six = {{b[0] * unit, b[1] * unit, b[2] * unit, b[3] * unit}, addend[0], 64, 7, KT_START_UNIT * *start, 0};
            kt_shares_of(u, &six, result, result + 6);
        }
    }
    return result;
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
