/* kt_conv2d_lora_s8 on cores with Helium: the walk of kt_conv2d_s8, and LoRA's products four channels at a time. The formula and its
 * rounding are those of ../conv2d_lora.c.
 *
 * A frozen sum below 2^30 and an addend of at most 2^30 do not leave int32, so that only the bias can saturate the total. Larger
 * windows take the portable loop. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_MVE
#include "../conv2d_lora.h"
#include "conv2d_lanes.h"

enum {
    LAID_OUT = 256, /* channels whose weights of rank 4 stay as the loop reads them; of more those of a chunk are laid out anew */
    MOST_LEFT = 14
};

/* Rank 4, four channels: weights [j][channel], and shifts with the exponent. */
typedef struct {
    int8_t weights[LAID_OUT / 4][16];
    int8_t shift[LAID_OUT / 4][4];
} laid_out;

/* u [positions][rank], b [channels][rank] and the exponent of their product.
 *
 * most     the largest shift of an addend, to the left
 * tables   of rank 4, if no shift is too large for its loops; else NULL */
typedef struct {
    const int8_t *u, *b;
    int32_t exponent, most;
    laid_out *tables;
} lora;

/* The operands of add_rank_four, which knows their places: from a chunk's first channel on. */
typedef struct {
    const int8_t *b; /* as it lies, or laid out */
    const int32_t *multiplier;
    const int8_t *shift; /* with the exponent, where b is laid out */
    int32_t *sums; /* of one position, and KT_CHUNK further on of the other */
    const int8_t *u0, *u1;
    int32_t exponent, count;
} block;

typedef char block_has_its_places[offsetof(block, u0) == 16 && offsetof(block, count) == 28 && KT_CHUNK == 64 ? 1 : -1];

/* What kt_addend_of does where a shift goes to the left, and its ties: q3, q4 products, q0 shifts. A product of rank 4 is at most 2^16, so that it is
 * at most KT_ADDEND_LIMIT after a shift by up to MOST_LEFT, and needs no limit. */
#define SHIFT_LEFT \
    "vmov.i32 q2, #0\n\t" \
    "vmax.s32 q1, q0, q2\n\t" \
    "vmin.s32 q0, q0, q2\n\t" \
    "vshl.s32 q3, q3, q1\n\t" \
    "vshl.s32 q4, q4, q1\n\t"
#define SHIFTED \
    "vand q1, q3, q0\n\t" \
    "vand q2, q4, q0\n\t" \
    "vshr.s32 q1, q1, #31\n\t" \
    "vshr.s32 q2, q2, #31\n\t"
/* Where all go right, by one or more. */
#define RIGHT_ONLY \
    "vshr.s32 q1, q3, #31\n\t" \
    "vshr.s32 q2, q4, #31\n\t"
#define NOTHING

/* Adds the products of rank 4 of `count` channels, four at a time. Assembly, because gcc reads u again for each channel. */
#define ADD_RANK_FOUR(LEFT, TIES) \
    "push {r4-r11, lr}\n\t" \
    "vpush {d8-d9}\n\t" \
    "ldrd r8, r9, [r0, #16]\n\t" \
    "ldrsb r4, [r8]\n\t"            /* r4..r7: u of one position */ \
    "ldrsb r5, [r8, #1]\n\t" \
    "ldrsb r6, [r8, #2]\n\t" \
    "ldrsb r7, [r8, #3]\n\t" \
    "mov r1, r9\n\t" \
    "ldrsb r8, [r1]\n\t"            /* r8..r11: of the other */ \
    "ldrsb r9, [r1, #1]\n\t" \
    "ldrsb r10, [r1, #2]\n\t" \
    "ldrsb r11, [r1, #3]\n\t" \
    "ldr r12, [r0, #12]\n\t" \
    "ldr r3, [r0, #28]\n\t" \
    "dlstp.32 lr, r3\n\t" \
    "ldr r1, [r0]\n\t" \
    "ldrd r2, r3, [r0, #4]\n" \
    "1:\n\t" \
    "vldrb.s32 q0, [r1], #4\n\t" \
    "vmul.i32 q3, q0, r4\n\t" \
    "vldrb.s32 q1, [r1], #4\n\t" \
    "vmul.i32 q4, q0, r8\n\t" \
    "vldrb.s32 q2, [r1], #4\n\t" \
    "vmla.s32 q3, q1, r5\n\t" \
    "vmla.s32 q4, q1, r9\n\t" \
    "vldrb.s32 q1, [r1], #4\n\t" \
    "vmla.s32 q3, q2, r6\n\t" \
    "vmla.s32 q4, q2, r10\n\t" \
    "vldrb.s32 q0, [r3], #4\n\t" \
    "vmla.s32 q3, q1, r7\n\t" \
    "vmla.s32 q4, q1, r11\n\t" \
    LEFT \
    "vldrw.32 q1, [r2], #16\n\t" \
    "vqrdmulh.s32 q3, q3, q1\n\t" \
    "vqrdmulh.s32 q4, q4, q1\n\t" \
    TIES                            /* as in kt_requantize_lanes */ \
    "vqadd.s32 q3, q3, q1\n\t" \
    "vqadd.s32 q4, q4, q2\n\t" \
    "vrshl.s32 q3, q3, q0\n\t" \
    "vrshl.s32 q4, q4, q0\n\t" \
    "vldrw.32 q1, [r12]\n\t" \
    "vldrw.32 q2, [r12, #256]\n\t" \
    "vadd.i32 q1, q1, q3\n\t" \
    "vadd.i32 q2, q2, q4\n\t" \
    "vstrw.32 q2, [r12, #256]\n\t" \
    "vstrw.32 q1, [r12], #16\n\t" \
    "letp lr, 1b\n\t" \
    "vpop {d8-d9}\n\t" \
    "pop {r4-r11, pc}\n"

__attribute__((naked, noinline)) static void add_rank_four_right(const block *at)
{
    (void)at;
    __asm__(ADD_RANK_FOUR(NOTHING, RIGHT_ONLY));
}

__attribute__((naked, noinline)) static void add_rank_four(const block *at)
{
    (void)at;
    __asm__(ADD_RANK_FOUR(SHIFT_LEFT, SHIFTED));
}

/* The same for any rank and shift. */
static void add_any(const kt_conv2d_params *params, const block *at)
{
    const int32_t rank = params->rank;
    const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)rank);
    int32_t c, j;
    for (c = 0; c < at->count; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(at->count - c));
        const int32x4_t multiplier = vldrwq_z_s32(at->multiplier + c, lanes);
        const int32x4_t shift = vaddq_n_s32(vldrbq_z_s32(at->shift + c, lanes), at->exponent);
        int32_t *const first = at->sums + c, *const second = first + KT_CHUNK;
        int32x4_t product0 = vdupq_n_s32(0), product1 = vdupq_n_s32(0);
        for (j = 0; j < rank; j++) {
            const int32x4_t column = vldrbq_gather_offset_z_s32(at->b + c * rank + j, offsets, lanes);
            product0 = vmlaq_n_s32(product0, column, at->u0[j]);
            product1 = vmlaq_n_s32(product1, column, at->u1[j]);
        }
        vstrwq_p_s32(first, vaddq_s32(vldrwq_z_s32(first, lanes), kt_addend_of(product0, multiplier, shift)), lanes);
        vstrwq_p_s32(second, vaddq_s32(vldrwq_z_s32(second, lanes), kt_addend_of(product1, multiplier, shift)), lanes);
    }
}

/* Channels [first, first + count) of rank 4, as the loop reads them, from the quad `to` of the tables on. */
static void lay_out(const kt_conv2d_params *params, const lora *trained, int32_t first, int32_t count, int32_t to)
{
    const uint32x4_t offsets = vidupq_n_u32(0, 4);
    int32_t c, j;
    for (c = first; c < first + count; c += 4, to++) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(first + count - c));
        const int32x4_t shift = vaddq_n_s32(vldrbq_z_s32(params->addend_shift + c, lanes), trained->exponent);
        for (j = 0; j < 4; j++) {
            vstrbq_s32(trained->tables->weights[to] + 4 * j, vldrbq_gather_offset_z_s32(trained->b + 4 * c + j, offsets, lanes));
        }
        vstrbq_s32(trained->tables->shift[to], vmaxq_s32(shift, vdupq_n_s32(-31)));
    }
}

/* To the sums of one position alone the addends of its neighbour do no harm: nobody reads them. */
static void add_products(const kt_conv2d_layer *layer, const kt_conv2d_positions *positions, int32_t first, int32_t count,
                         int32_t (*sums)[KT_CHUNK])
{
    const kt_conv2d_params *const params = layer->params;
    const lora *const trained = layer->trained;
    const int32_t rank = params->rank;
    const int all = params->window.output[KT_CHANNELS] <= LAID_OUT;
    block at = {
        trained->b + first * rank, params->addend_multiplier + first, params->addend_shift + first, sums[0],
        trained->u + positions->number[0] * rank, trained->u + positions->number[positions->count - 1] * rank, trained->exponent, count,
    };
    if (trained->tables == NULL) {
        add_any(params, &at);
        return;
    }
    if (!all) {
        lay_out(params, trained, first, count, 0);
    }
    at.b = trained->tables->weights[all ? first / 4 : 0];
    at.shift = trained->tables->shift[all ? first / 4 : 0];
    if (trained->most < 0) {
        add_rank_four_right(&at);
    } else {
        add_rank_four(&at);
    }
}

/* The largest shift of an addend to the left. */
static int32_t most_left(const kt_conv2d_params *params, int32_t exponent)
{
    int32_t c, most = INT32_MIN;
    for (c = 0; c < params->window.output[KT_CHANNELS]; c++) {
        most = kt_maximum(most, params->addend_shift[c] + exponent);
    }
    return most;
}

void kt_conv2d_lora_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                       const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    const int32_t exponent = *u_range + *b_exponent, most = most_left(params, exponent);
    laid_out tables;
    lora trained = {u, b, exponent, most, params->rank == 4 && most <= MOST_LEFT ? &tables : NULL};
    kt_conv2d_layer layer = kt_conv2d_layer_of(params, bias, &trained);
    if (trained.tables != NULL && params->window.output[KT_CHANNELS] <= LAID_OUT) {
        lay_out(params, &trained, 0, params->window.output[KT_CHANNELS], 0);
    }
    if (layer.size > KT_SAFE_SUM || !kt_conv2d_by_lanes(layer, x, y, add_products)) {
        kt_conv2d_lora_walk(params, x, bias, u, b, u_range, b_exponent, y);
    }
}
#endif
