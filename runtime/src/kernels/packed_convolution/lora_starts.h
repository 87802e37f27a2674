/* lora_starts.h: what the sums of a packed layer with LoRA start from: the bias, and what B u adds at a position. */
#ifndef KT_LORA_STARTS_H
#define KT_LORA_STARTS_H

#include "kt/kernels/packed_convolution.h"
#include "packed_bias.h"
#include "packed_trained.h"

/* start: of every channel, without LoRA. far_first, far_end: around all channels that only the exact formula computes. pairs: see
 * vector/lora_starts.h. */
typedef struct {
    const kt_packed_lora_params *params;
    const int32_t *bias, *start;
    const int8_t *u, *b;
    int32_t exponent;
    int32_t far_first, far_end;
    const int32_t *pairs;
} kt_lora_layer;

/* Channels of two positions. */
typedef struct {
    const int8_t *u[2];
    int32_t first, count;
} kt_lora_block;

enum { KT_SCALE_WORDS = 2 }; /* of a channel's addend: multiplier and shift */

static inline int32_t kt_lora_shift(const kt_lora_layer *lora, int32_t c)
{
    return lora->params->addend[KT_SCALE_WORDS * c + 1] + lora->params->least_shift + lora->exponent;
}

/* Products of so many codes at most, shifted left by so much at most, have less than 29 bits. */
enum { KT_SHORT_RANK = 16, KT_MOST_LEFT = 10 };

/* Shifted far to the left, or to the left beside a bias that is limited. */
static inline int kt_is_far(const kt_lora_layer *lora, int32_t c)
{
    const kt_packed_conv2d_params *const layer = &lora->params->layer;
    const int32_t left = kt_lora_shift(lora, c);
    if (left < 0) {
        return 0;
    }
    return left > KT_MOST_LEFT || lora->params->rank > KT_SHORT_RANK ||
           (layer->fold != NULL && kt_clamp(lora->bias[c], -layer->bias_limit, layer->bias_limit) != lora->bias[c]);
}

static inline void kt_find_far(kt_lora_layer *lora)
{
    int32_t c;
    lora->far_first = lora->far_end = 0;
    for (c = lora->params->layer.window.output[KT_CHANNELS] - 1; c >= 0; c--) {
        if (kt_is_far(lora, c)) {
            lora->far_first = c;
            lora->far_end = lora->far_end == 0 ? c + 1 : lora->far_end;
        }
    }
}

/* Of any product of B with u, and any shift. */
static __attribute__((noinline)) int32_t kt_any_start(const kt_lora_layer *lora, const int8_t *u, int32_t c)
{
    const kt_packed_lora_params *const params = lora->params;
    const int32_t *const fold = params->layer.fold;
    const int32_t product = kt_up_product(lora->b + c * params->rank, u, params->rank);
    const int32_t addend = kt_scaled_addend(product, params->addend[KT_SCALE_WORDS * c], kt_lora_shift(lora, c));
    if (fold == NULL) {
        return lora->start[c] + kt_clamp(addend, -params->addend_limit, params->addend_limit);
    }
    return fold[c] + kt_clamp(kt_add_saturated(lora->bias[c], addend), -params->layer.bias_limit, params->layer.bias_limit);
}

/* Where the start of a channel of a block lies: for each four channels those of the first position, then those of the second. */
static inline int32_t kt_start_place(int32_t c)
{
    return c / KT_QUAD * 2 * KT_QUAD + c % KT_QUAD;
}

/* Channels [c, end) of a block one after the other; far: of them the far ones. */
static inline void kt_each_start(const kt_lora_layer *lora, const kt_lora_block *block, int32_t c, int32_t end, int far, int32_t *starts)
{
    for (; c < end; c++) {
        int32_t *const start = starts + kt_start_place(c);
        if (!far || kt_is_far(lora, block->first + c)) {
            start[0] = kt_any_start(lora, block->u[0], block->first + c);
            start[KT_QUAD] = kt_any_start(lora, block->u[1], block->first + c);
        }
    }
}

/* The far channels of a block up to `end`. */
static inline void kt_far_starts(const kt_lora_layer *lora, const kt_lora_block *block, int32_t end, int32_t *starts)
{
    const int32_t first = kt_maximum(lora->far_first - block->first, 0);
    kt_each_start(lora, block, first, kt_minimum(lora->far_end - block->first, end), 1, starts);
}

/* Channels that there are not, in the last quad. */
static inline void kt_no_starts(int32_t c, int32_t *starts)
{
    for (; c % KT_QUAD != 0; c++) {
        starts[kt_start_place(c)] = starts[kt_start_place(c) + KT_QUAD] = 0;
    }
}

#endif
