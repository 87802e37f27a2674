/* SGD from the factors of a gradient, in vectors of a row of it. */
#include "../streamed.h"
#include "../storage_step.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "steps.h"
#include "streamed_exponent.h"

void kt_streamed_bias(const kt_streamed_params *params, const int8_t *g, const int32_t *exponent, int32_t *value,
                      const int32_t *count, const float *learning_rate)
{
    kt_stream_bias(params, g, exponent, value, count, learning_rate);
}

KT_INLINE kt_float_lanes step_of(const kt_streamed *s, const int32_t *products)
{
    const kt_float_lanes sums = kt_streamed_sums(s, (kt_word_lanes)kt_load_lanes(products));
    return kt_splat_float(s->rate.value) * kt_gradient_lanes(sums, kt_splat_float(s->factor.value));
}

/* The old values and how they become new ones. */
typedef struct {
    const kt_streamed *streamed;
    int8_t *value;
    int8_t *remainder;
    int32_t columns;
    int32_t size;
    float unit;
    float kept;
} kt_streamed_block;

static float moved_of(const kt_streamed_block *b, int32_t i)
{
    return kt_block_moved(kt_master(b->value[i], b->remainder[i]), b->unit, b->kept, kt_streamed_step(b->streamed, i / b->columns, i % b->columns));
}

/* The largest magnitude of the moved values. */
static float largest_of(const kt_streamed_block *b)
{
    const kt_block_lanes block = {kt_splat_float(b->unit), kt_splat_float(b->kept)};
    kt_word_lanes largest_bits = (kt_word_lanes)kt_no_lanes();
    kt_streamed_walk walk = {0, 0};
    int32_t products[KT_STREAMED_PIECE];
    float largest = 0.0f;
    int32_t first, i;
    for (first = 0; first < b->size; first += KT_STREAMED_PIECE) {
        const int32_t count = kt_minimum(b->size - first, KT_STREAMED_PIECE);
        kt_streamed_products(b->streamed, b->columns, &walk, count, products);
        for (i = 0; i + KT_LANES <= count; i += KT_LANES) {
            const kt_word_lanes codes = kt_load_masters(b->value + first + i, b->remainder + first + i);
            const kt_float_lanes moved = kt_block_moved_lanes(codes, &block, step_of(b->streamed, products + i));
            largest_bits = kt_larger_words(largest_bits, (kt_word_lanes)moved & INT32_MAX);
        }
        for (; i < count; i++) {
            largest = kt_larger_magnitude(largest, kt_absolute(moved_of(b, first + i)));
        }
    }
    return kt_larger_magnitude(largest, kt_float_of_bits((uint32_t)kt_largest_of(largest_bits)));
}

/* Stores the moved values in units of 1 / factor. */
static void store_moved(const kt_streamed_block *b, float factor)
{
    const kt_block_lanes block = {kt_splat_float(b->unit), kt_splat_float(b->kept)};
    kt_streamed_walk walk = {0, 0};
    int32_t products[KT_STREAMED_PIECE];
    int32_t first, i;
    for (first = 0; first < b->size; first += KT_STREAMED_PIECE) {
        const int32_t count = kt_minimum(b->size - first, KT_STREAMED_PIECE);
        kt_streamed_products(b->streamed, b->columns, &walk, count, products);
        for (i = 0; i + KT_LANES <= count; i += KT_LANES) {
            int8_t *const value = b->value + first + i, *const remainder = b->remainder + first + i;
            const kt_float_lanes moved = kt_block_moved_lanes(kt_load_masters(value, remainder), &block, step_of(b->streamed, products + i));
            kt_store_masters(value, remainder, kt_master_lanes(moved, kt_splat_float(factor)));
        }
        for (; i < count; i++) {
            kt_store_master(&b->value[first + i], &b->remainder[first + i], kt_master_of(moved_of(b, first + i), factor));
        }
    }
}

void kt_streamed_weights(const kt_streamed_params *params, const int8_t *g, const int8_t *x, const int32_t *exponent,
                         const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent, int8_t *remainder,
                         const int32_t *count, const float *learning_rate)
{
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset), size = params->rows * params->columns;
    const kt_streamed s = kt_streamed_weights_of(params, g, x, power, *count, *learning_rate);
    const float kept = 1.0f - kt_decay_lost(params->decay, learning_rate);
    const kt_streamed_block block = {&s, value, remainder, params->columns, size, kt_power_of_two(*value_exponent - 8), kept};
    int32_t chosen;
    float factor;
    if (!kt_streamed_exponent(params, &s, value, remainder, block.unit, kept, &chosen, &factor)) {
        chosen = kt_fitting_exponent(largest_of(&block), (float)KT_MASTER_LIMIT);
        factor = kt_power_of_two(-chosen);
    }
    store_moved(&block, factor);
    *value_exponent = (int8_t)(chosen + 8);
}

#endif
