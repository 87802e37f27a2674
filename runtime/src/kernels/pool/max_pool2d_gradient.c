/* Gradient of MAX_POOL_2D, a channel after the other. */
#include "kt/kernels/pool.h"
#include "kt/architecture.h"

#if !KT_MVE
#include "max_pool2d_gradient.h"

/* The first largest element of a channel. */
typedef struct {
    int32_t at; /* bytes from x */
    int32_t tap;
} largest;

static inline largest first_largest(const kt_covered *under, int32_t width, const int8_t *x)
{
    largest found = {under->first, under->tap};
    int32_t value = INT8_MIN - 1, row, column, at;
    for (row = 0; row < under->rows; row++) {
        at = under->first + row * under->row;
        for (column = 0; column < under->columns; column++, at += under->column) {
            if (x[at] > value) {
                value = x[at];
                found.at = at;
                found.tap = under->tap + row * width + column;
            }
        }
    }
    return found;
}

static __attribute__((noinline)) void scatter(const kt_pool2d_gradient_params *params, const kt_covered *under, const int8_t *g, const int8_t *x, int8_t *dx)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    int32_t c;
    for (c = 0; c < channels; c++) {
        if (g[c] != 0) {
            dx[first_largest(under, params->window.kernel[KT_X], x + c).at + c] = kt_saturate8(kt_shift_round(g[c], params->shift));
        }
    }
}

static __attribute__((noinline)) void find_taps(const kt_found_taps *found, const kt_covered *under, uint16_t *taps)
{
    int32_t c;
    for (c = 0; c < found->count; c++) {
        taps[c] = (uint16_t)first_largest(under, found->params->window.kernel[KT_X], found->x + c).tap;
    }
}

void kt_max_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx, void *scratch)
{
    kt_max_gradient(params, g, x, dx, scratch, scatter, find_taps, kt_gather_channels);
}

#endif
