/* kt_conv2d_delta_s8 on cores with Helium: the walk of kt_conv2d_s8, and the same product again with the delta. The formula and its
 * rounding are those of ../conv2d_delta.c.
 *
 * As in conv2d_lora.c only the bias can saturate the total; larger windows take the portable loop. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_MVE
#include "../conv2d_delta.h"
#include "conv2d_lanes.h"

typedef struct {
    const int8_t *weights;
    const int32_t *initial;    /* input_offset * sum of each row, NULL: found for each chunk again */
    int32_t exponent;
} delta;

/* Products of the delta's rows that `count` channels have; 0 where one has none. */
static void products(const kt_conv2d_layer *layer, const delta *trained, const kt_conv2d_positions *at, int32_t first,
                     int32_t count, int32_t (*sums)[KT_CHUNK])
{
    const int16_t *rows = layer->params->rows;
    const int32_t offset = layer->params->input_offset;
    const int32_t size = layer->size;
    int32_t own[KT_CHUNK];
    int32_t c, i;
    if (rows == NULL) {
        const int8_t *w = trained->weights + first * size;
        if (trained->initial == NULL) {
            kt_initial_sums(w, size, count, offset, own);
        }
        kt_sums_at(at, w, size, count, trained->initial == NULL ? own : trained->initial + first, sums);
        return;
    }
    for (c = 0; c < count; c++) {
        const int32_t row = rows[first + c];
        const int8_t *w = trained->weights + row * size;
        const int32_t initial = row < 0 ? 0 : offset * kt_sum_lanes(w, size);
        for (i = 0; i < at->count; i++) {
            sums[i][c] = row < 0 ? 0 : kt_dot_one(at->x[i], w, size, initial);
        }
    }
}

static void add_delta(const kt_conv2d_layer *layer, const kt_conv2d_positions *at, int32_t first, int32_t count,
                      int32_t (*sums)[KT_CHUNK])
{
    const kt_conv2d_params *params = layer->params;
    const delta *trained = (const delta *)layer->trained;
    int32_t product[2][KT_CHUNK];
    int32_t c, i;
    products(layer, trained, at, first, count, product);
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - c));
        const int32x4_t multiplier = vldrwq_z_s32(params->addend_multiplier + first + c, lanes);
        const int32x4_t shift = vaddq_n_s32(vldrbq_z_s32(params->addend_shift + first + c, lanes), trained->exponent);
        for (i = 0; i < at->count; i++) {
            const int32x4_t addend = kt_addend_of(vldrwq_s32(product[i] + c), multiplier, shift);
            vstrwq_s32(sums[i] + c, vaddq_s32(vldrwq_s32(sums[i] + c), addend));
        }
    }
}

void kt_conv2d_delta_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *weights,
                        const int8_t *delta_exponent, int8_t *y)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t initial[KT_CHUNK];
    delta trained;
    kt_conv2d_layer layer;
    trained.weights = weights;
    trained.initial = NULL;
    trained.exponent = *delta_exponent;
    layer = kt_conv2d_layer_of(params, bias, &trained);
    layer.whole = 1;
    if (params->rows == NULL && channels <= KT_CHUNK) {
        kt_initial_sums(weights, layer.size, channels, params->input_offset, initial);
        trained.initial = initial;
    }
    if (layer.size > KT_SAFE_SUM || !kt_conv2d_by_lanes(layer, x, y, add_delta)) {
        kt_conv2d_delta_walk(params, x, bias, weights, delta_exponent, y);
    }
}
#endif
