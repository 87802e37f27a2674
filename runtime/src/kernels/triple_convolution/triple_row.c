/* FULLY_CONNECTED of one row from the weights of three sums in two words. */
#include "kt/kernels/triple_convolution.h"
#include "triple_row.h"

typedef struct {
    const int32_t *bias, *fold;
    int32_t limit;
} row_layer;

static inline const int32_t *starts_of(const void *given, int32_t first, int32_t count, const int32_t *usual, int32_t *start, int32_t *epilogue)
{
    const row_layer *const layer = given;
    int32_t i;
    (void)epilogue;
    for (i = 0; i < count; i++) {
        const int32_t bias = layer->bias[first + i];
        start[i] = layer->fold == NULL ? bias : layer->fold[first + i] + kt_clamp(bias, -layer->limit, layer->limit);
    }
    return usual + 3 * first;
}

KT_INLINE void run(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, int32_t negative)
{
    const row_layer layer = {bias, params->fold, params->bias_limit};
    kt_triple_row(&params->window, params->stream, params->length, x, y, negative, starts_of, &layer);
}

/* Results of any sign. */
void kt_triple_row_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    run(params, x, bias, y, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_row_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    run(params, x, bias, y, 0);
}
