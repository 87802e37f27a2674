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

/* u [positions][rank], b [channels][rank] and the exponent of their product. */
typedef struct {
    const int8_t *u, *b;
    int32_t exponent;
} lora;

/* Requantised products of the channels in `lanes`; b: of the first, offsets: of the others. */
static int32x4_t products(const kt_conv2d_params *params, const lora *trained, const int8_t *u, int32_t channel,
                          mve_pred16_t lanes)
{
    const int8_t *b = trained->b + channel * params->rank;
    const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)params->rank);
    const int32x4_t multiplier = vldrwq_z_s32(params->addend_multiplier + channel, lanes);
    const int32x4_t shift = vaddq_n_s32(vldrbq_z_s32(params->addend_shift + channel, lanes), trained->exponent);
    int32x4_t sum = vdupq_n_s32(0);
    int32_t j;
    for (j = 0; j < params->rank; j++) {
        sum = vmlaq_n_s32(sum, vldrbq_gather_offset_z_s32(b + j, offsets, lanes), u[j]);
    }
    return kt_addend_of(sum, multiplier, shift);
}

static void add_products(const kt_conv2d_layer *layer, const kt_conv2d_positions *positions, int32_t first, int32_t count,
                         int32_t (*sums)[KT_CHUNK])
{
    const lora *trained = (const lora *)layer->trained;
    int32_t i, c;
    for (i = 0; i < positions->count; i++) {
        const int8_t *u = trained->u + positions->number[i] * layer->params->rank;
        for (c = 0; c < count; c += 4) {
            const mve_pred16_t lanes = vctp32q((uint32_t)(count - c));
            const int32x4_t addend = products(layer->params, trained, u, first + c, lanes);
            vstrwq_s32(sums[i] + c, vaddq_s32(vldrwq_s32(sums[i] + c), addend));
        }
    }
}

void kt_conv2d_lora_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                       const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, int8_t *y)
{
    lora trained;
    kt_conv2d_layer layer;
    trained.u = u;
    trained.b = b;
    trained.exponent = *u_range + *b_exponent;
    layer = kt_conv2d_layer_of(params, bias, &trained);
    if (layer.size > KT_SMALL || !kt_conv2d_by_lanes(layer, x, y, add_products)) {
        kt_conv2d_lora_walk(params, x, bias, u, b, u_range, b_exponent, y);
    }
}
#endif
