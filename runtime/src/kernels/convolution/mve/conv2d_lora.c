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

/* u [positions][rank], b [channels][rank] and the exponent of their product. right: no shift of an addend goes to the left. */
typedef struct {
    const int8_t *u, *b;
    int32_t exponent;
    int right;
} lora;

/* The operands of add_rank_four, which knows their places: from a chunk's first channel on. */
typedef struct {
    const int8_t *b;
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t *sums; /* of one position, and KT_CHUNK further on of the other */
    const int8_t *u0, *u1;
    int32_t exponent, count;
} block;

typedef char block_has_its_places[offsetof(block, u0) == 16 && offsetof(block, exponent) == 24 && KT_CHUNK == 64 ? 1 : -1];

/* What kt_addend_of does beside this where a shift goes to the left: q3, q4 products, q0 shifts. */
#define SHIFT_LEFT \
    "vmov.i32 q2, #0\n\t" \
    "vmax.s32 q1, q0, q2\n\t" \
    "vmin.s32 q0, q0, q2\n\t" \
    "vmov.i32 q2, #31\n\t" \
    "vmin.s32 q1, q1, q2\n\t" \
    "vqshl.s32 q3, q3, q1\n\t" \
    "vqshl.s32 q4, q4, q1\n\t"
#define LIMIT \
    "vmov.i32 q0, #0x40000000\n\t" \
    "vmin.s32 q3, q3, q0\n\t" \
    "vmin.s32 q4, q4, q0\n\t" \
    "vmov.i32 q0, #0xC0000000\n\t" \
    "vmax.s32 q3, q3, q0\n\t" \
    "vmax.s32 q4, q4, q0\n\t"
#define NOTHING

/* Adds the products of rank 4 of `count` channels, four at a time. The four weights of a channel are one word of a lane. Assembly, because gcc
 * reads u again for each channel. Where all shifts go right products need no limit. */
#define ADD_RANK_FOUR(LEFT, LIMITED) \
    "push {r4-r11, lr}\n\t" \
    "vpush {d8-d13}\n\t" \
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
    "ldrd r2, r3, [r0, #24]\n\t" \
    "vdup.32 q5, r2\n\t" \
    "vmov.i32 q6, #31\n\t" \
    "vneg.s32 q6, q6\n\t" \
    "dlstp.32 lr, r3\n\t" \
    "ldr r1, [r0]\n\t" \
    "ldrd r2, r3, [r0, #4]\n" \
    "1:\n\t" \
    "vldrw.32 q0, [r1], #16\n\t" \
    "vmovlb.s8 q1, q0\n\t" \
    "vmovlt.s8 q0, q0\n\t" \
    "vmovlb.s16 q2, q1\n\t"         /* the first weight of each channel */ \
    "vmul.i32 q3, q2, r4\n\t" \
    "vmul.i32 q4, q2, r8\n\t" \
    "vmovlt.s16 q2, q1\n\t"         /* the third */ \
    "vmla.s32 q3, q2, r6\n\t" \
    "vmla.s32 q4, q2, r10\n\t" \
    "vmovlb.s16 q2, q0\n\t"         /* the second */ \
    "vmla.s32 q3, q2, r5\n\t" \
    "vmla.s32 q4, q2, r9\n\t" \
    "vmovlt.s16 q2, q0\n\t"         /* the fourth */ \
    "vmla.s32 q3, q2, r7\n\t" \
    "vmla.s32 q4, q2, r11\n\t" \
    "vldrb.s32 q0, [r3], #4\n\t" \
    "vadd.i32 q0, q0, q5\n\t" \
    LEFT \
    "vmax.s32 q0, q0, q6\n\t" \
    "vldrw.32 q1, [r2], #16\n\t" \
    "vqrdmulh.s32 q3, q3, q1\n\t" \
    "vqrdmulh.s32 q4, q4, q1\n\t" \
    "vand q1, q3, q0\n\t"           /* ties as in kt_requantize_lanes */ \
    "vand q2, q4, q0\n\t" \
    "vshr.s32 q1, q1, #31\n\t" \
    "vshr.s32 q2, q2, #31\n\t" \
    "vqadd.s32 q3, q3, q1\n\t" \
    "vqadd.s32 q4, q4, q2\n\t" \
    "vrshl.s32 q3, q3, q0\n\t" \
    "vrshl.s32 q4, q4, q0\n\t" \
    LIMITED \
    "vldrw.32 q1, [r12]\n\t" \
    "vldrw.32 q2, [r12, #256]\n\t" \
    "vadd.i32 q1, q1, q3\n\t" \
    "vadd.i32 q2, q2, q4\n\t" \
    "vstrw.32 q2, [r12, #256]\n\t" \
    "vstrw.32 q1, [r12], #16\n\t" \
    "letp lr, 1b\n\t" \
    "vpop {d8-d13}\n\t" \
    "pop {r4-r11, pc}\n"

__attribute__((naked, noinline)) static void add_rank_four_right(const block *at)
{
    (void)at;
    __asm__(ADD_RANK_FOUR(NOTHING, NOTHING));
}

__attribute__((naked, noinline)) static void add_rank_four(const block *at)
{
    (void)at;
    __asm__(ADD_RANK_FOUR(SHIFT_LEFT, LIMIT));
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

/* To the sums of one position alone the addends of its neighbour do no harm: nobody reads them. */
static void add_products(const kt_conv2d_layer *layer, const kt_conv2d_positions *positions, int32_t first, int32_t count,
                         int32_t (*sums)[KT_CHUNK])
{
    const kt_conv2d_params *const params = layer->params;
    const lora *const trained = layer->trained;
    const int32_t rank = params->rank;
    const block at = {
        trained->b + first * rank, params->addend_multiplier + first, params->addend_shift + first, sums[0],
        trained->u + positions->number[0] * rank, trained->u + positions->number[positions->count - 1] * rank, trained->exponent, count,
    };
    if (rank != 4) {
        add_any(params, &at);
    } else if (trained->right) {
        add_rank_four_right(&at);
    } else {
        add_rank_four(&at);
    }
}

static int all_right(const kt_conv2d_params *params, int32_t exponent)
{
    int32_t c;
    for (c = 0; c < params->window.output[KT_CHANNELS]; c++) {
        if (params->addend_shift[c] + exponent > 0) {
            return 0;
        }
    }
    return 1;
}

void kt_conv2d_lora_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                       const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    lora trained;
    kt_conv2d_layer layer;
    trained.u = u;
    trained.b = b;
    trained.exponent = *u_range + *b_exponent;
    trained.right = all_right(params, trained.exponent);
    layer = kt_conv2d_layer_of(params, bias, &trained);
    if (layer.size > KT_SMALL || !kt_conv2d_by_lanes(layer, x, y, add_products)) {
        kt_conv2d_lora_walk(params, x, bias, u, b, u_range, b_exponent, y);
    }
}
#endif
