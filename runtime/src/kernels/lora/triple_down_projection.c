/* kt_down_projection_s8 with three sums in two words (product/triple.h), for cores without the DSP extension. A is laid out once a call as the
 * product reads weights, in chunks whose sums hold whatever the values. */
#include "kt/kernels/lora.h"
#include "../triple_convolution/triple_conv2d.h"

enum { KT_PROJECTED_RANK = 16, KT_PROJECTED_CHUNK = 60 };

/* Where A lies laid out, and what its rows add to their sums for the input's zero point. */
typedef struct {
    const kt_down_projection_params *params;
    const uint8_t *weights;
    int32_t length; /* of a row, in whole fours */
    int32_t offset[KT_PROJECTED_RANK];
} projection;

/* Bytes a + 128: for each chunk, and in it each two rows, [values of the chunk][2]. */
static void lay_out(projection *p, const int8_t *a, uint8_t *weights)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], size = kt_kernel_size(&p->params->window);
    int32_t done, j, i;
    p->weights = weights;
    for (j = 0; j < rank; j++) {
        p->offset[j] = 0;
    }
    for (done = 0; done < p->length; done += KT_PROJECTED_CHUNK) {
        const int32_t end = kt_minimum(p->length, done + KT_PROJECTED_CHUNK);
        for (j = 0; j < rank; j += 2) {
            for (i = done; i < end; i++) {
                const int32_t first = i < size ? a[j * size + i] : 0, second = i < size && j + 1 < rank ? a[(j + 1) * size + i] : 0;
                *weights++ = (uint8_t)(first + 128);
                *weights++ = (uint8_t)(second + 128);
                p->offset[j] += first;
                if (j + 1 < rank) {
                    p->offset[j + 1] += second;
                }
            }
        }
    }
    for (j = 0; j < rank; j++) {
        p->offset[j] *= p->params->input_offset;
    }
}

/* Adds the products of a chunk of six windows. totals [rank in whole twos][KT_POSITIONS] */
static void add_chunk(const uint32_t *panel, const uint8_t *weights, int32_t length, int32_t rank, int32_t (*totals)[KT_POSITIONS])
{
    int32_t j, i;
    for (j = 0; j < rank; j += KT_MOST_CHANNELS, weights += KT_MOST_CHANNELS * length) {
        const int32_t count = KT_MOST_CHANNELS > 2 && rank - j > 2 ? KT_MOST_CHANNELS : 2;
        uint32_t words[KT_MOST_CHANNELS * KT_PANEL_WORDS];
        int32_t c;
        kt_triple_words(words, panel, weights, length, count);
        for (c = 0; c < count; c++) {
            int32_t sums[KT_POSITIONS];
            kt_six_sums(words + KT_PANEL_WORDS * c, sums);
            for (i = 0; i < KT_POSITIONS; i++) {
                totals[j + c][i] += sums[i];
            }
        }
    }
}

/* u of some positions from their sums; returns 1 where an element saturated. */
static int32_t round_sums(const projection *p, int32_t (*totals)[KT_POSITIONS], int32_t positions, int32_t shift, int8_t *u)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], low = p->params->low;
    int32_t hit = 0, i, j;
    for (i = 0; i < positions; i++) {
        for (j = 0; j < rank; j++) {
            const int32_t sum = totals[j][i] + p->offset[j];
            const int32_t value = (uint32_t)(shift - 1) < 31 ? ((sum >> (shift - 1)) + 1) >> 1 : kt_shift_round(sum, shift);
            const int32_t limited = kt_clamp(value, low, 127);
            hit |= value > 127 || (low < 0 && value < low);
            *u++ = (int8_t)limited;
        }
    }
    return hit;
}

void kt_triple_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a, const int8_t *a_exponent,
                                  const int8_t *range, int8_t *saturated, int8_t *u, void *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t rank = window->output[KT_CHANNELS], depth = window->input[KT_CHANNELS], shift = *range - *a_exponent;
    const int32_t pointwise = kt_is_pointwise(window), even = (rank + 1) & -2;
    projection p = {params, NULL, (kt_kernel_size(window) + 3) & -4, {0}};
    const int32_t chunk = kt_minimum(p.length, KT_PROJECTED_CHUNK);
    uint32_t *const panel = scratch;
    uint8_t *const laid = (uint8_t *)(panel + KT_PANEL_WORDS * (chunk + 1));
    int8_t *const border = (int8_t *)(laid + even * p.length);
    kt_triple_windows windows = {window, x, border, {0}, {0}, 0, 0, 0, 0};
    int32_t left = window->output[KT_Y] * window->output[KT_X], position = 0, oy = 0, ox = 0, hit = 0;
    lay_out(&p, a, laid);
    if (!pointwise) {
        memset(border, -params->input_offset, (size_t)depth);
    }
    for (; left > 0; left -= KT_POSITIONS, position += KT_POSITIONS) {
        const int32_t positions = kt_minimum(left, KT_POSITIONS);
        const uint8_t *weights = laid;
        int32_t totals[KT_PROJECTED_RANK + 2][KT_POSITIONS];
        int32_t done;
        kt_clear_words(totals, even * KT_POSITIONS);
        if (!pointwise) {
            kt_place_windows(&windows, &oy, &ox, 1, positions);
        }
        for (done = 0; done < p.length; done += KT_PROJECTED_CHUNK) {
            const int32_t length = kt_minimum(p.length - done, KT_PROJECTED_CHUNK);
            if (pointwise) {
                kt_fill_pixels(panel, x + position * depth + done, depth, positions, kt_minimum(depth - done, length), length);
            } else {
                kt_fill_triple(&windows, panel, length);
            }
            add_chunk(panel, weights, length, rank, totals);
            weights += even * length;
        }
        hit |= round_sums(&p, totals, positions, shift, u + position * rank);
    }
    if (saturated != NULL && hit) {
        *saturated = 1;
    }
}
