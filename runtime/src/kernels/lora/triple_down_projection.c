/* kt_down_projection_s8 with three sums in two words (product/triple.h), for cores without the DSP extension. A is laid out once a call as the
 * product reads weights, in chunks whose sums hold whatever the values. */
#include "kt/kernels/lora.h"
#include "../triple_convolution/triple_conv2d.h"
#include "triple_projection.h"

/* Bytes a + 128: for each chunk, and in it each two rows, [values of the chunk][2]. Returns whether sums of all chunks hold: those of 64 values
 * do, if none of the row is all -128. */
static int32_t lay_out(kt_projection *p, const int8_t *a, uint8_t *weights)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], size = kt_kernel_size(&p->params->window);
    int32_t holds = 1, done, j, i;
    for (j = 0; j < rank; j++) {
        p->offset[j] = 0;
    }
    for (done = 0; done < p->length; done += p->chunk) {
        const int32_t end = kt_minimum(p->length, done + p->chunk);
        for (j = 0; j < rank; j++) {
            const int8_t *const row = a + j * size;
            uint8_t *next = weights + j / 2 * 2 * (end - done) + j % 2;
            int32_t sum = 0;
            for (i = done; i < kt_minimum(end, size); i++, next += 2) {
                *next = (uint8_t)(row[i] + 128);
                sum += row[i];
            }
            for (; i < end; i++, next += 2) {
                *next = 128;
            }
            holds &= sum > -128 * KT_PROJECTED_CHUNK;
            p->offset[j] += sum;
        }
        weights += (rank + 1) / 2 * 2 * (end - done);
    }
    for (j = 0; j < rank; j++) {
        p->offset[j] = kt_projection_offset(p, p->offset[j]);
    }
    return holds;
}

/* The products of a chunk of six windows: rounded where it is the only one, else added to totals [rank in whole twos][KT_POSITIONS]. */
static int32_t add_chunk(const kt_projection *p, const uint32_t *panel, const uint8_t *weights, int32_t length, int32_t (*totals)[KT_POSITIONS],
                         int32_t positions, int8_t *u)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS];
    int32_t hit = 0, j, i;
    for (j = 0; j < rank; j += KT_MOST_CHANNELS, weights += KT_MOST_CHANNELS * length) {
        const int32_t count = KT_MOST_CHANNELS > 2 && rank - j > 2 ? KT_MOST_CHANNELS : 2;
        uint32_t words[KT_MOST_CHANNELS * KT_PANEL_WORDS];
        int32_t c;
        kt_triple_words(words, panel, weights, length, count);
        for (c = 0; c < count && j + c < rank; c++) {
            int32_t sums[KT_POSITIONS];
            kt_six_sums(words + KT_PANEL_WORDS * c, sums);
            if (length == p->length) {
                hit |= kt_round_projected(p, sums, j + c, positions, u);
                continue;
            }
            for (i = 0; i < KT_POSITIONS; i++) {
                totals[j + c][i] += sums[i];
            }
        }
    }
    return hit;
}

void kt_triple_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a, const int8_t *a_exponent,
                                  const int8_t *range, int8_t *saturated, int8_t *u, void *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t rank = window->output[KT_CHANNELS], depth = window->input[KT_CHANNELS], length = (kt_kernel_size(window) + 3) & -4;
    const int32_t pointwise = kt_is_pointwise(window), even = (rank + 1) & -2;
    uint32_t *const panel = scratch;
    uint8_t *const laid = (uint8_t *)(panel + KT_PANEL_WORDS * (kt_minimum(length, KT_PROJECTED_CHUNK) + 1));
    int8_t *const border = (int8_t *)(laid + even * length);
    kt_triple_windows windows = {window, x, border, {0}, {0}, 0, 0, 0, 0};
    int32_t left = window->output[KT_Y] * window->output[KT_X], position = 0, oy = 0, ox = 0, hit = 0, j;
    kt_projection p;
    kt_projection_of(&p, params, *range - *a_exponent);
    if (pointwise && left == 1) {
        hit = kt_project_pixel(&p, x, a, u);
        left = 0;
    } else if (!lay_out(&p, a, laid)) {
        p.chunk = KT_ANY_CHUNK;
        lay_out(&p, a, laid);
    }
    if (!pointwise) {
        memset(border, -params->input_offset, (size_t)depth);
    }
    for (; left > 0; left -= KT_POSITIONS, position += KT_POSITIONS, u += KT_POSITIONS * rank) {
        const int32_t positions = kt_minimum(left, KT_POSITIONS);
        const uint8_t *weights = laid;
        int32_t totals[KT_PROJECTED_RANK][KT_POSITIONS];
        int32_t done;
        if (p.length > p.chunk) {
            kt_clear_words(totals, rank * KT_POSITIONS);
        }
        if (!pointwise) {
            kt_place_windows(&windows, &oy, &ox, 1, positions);
        }
        for (done = 0; done < p.length; done += p.chunk) {
            const int32_t length = kt_minimum(p.length - done, p.chunk);
            if (pointwise) {
                kt_fill_pixels(panel, x + position * depth + done, depth, positions, kt_minimum(depth - done, length), length);
            } else {
                kt_fill_triple(&windows, panel, length);
            }
            hit |= add_chunk(&p, panel, weights, length, totals, positions, u);
            weights += even * length;
        }
        for (j = 0; j < rank && p.length > p.chunk; j++) {
            hit |= kt_round_projected(&p, totals[j], j, positions, u);
        }
    }
    if (saturated != NULL && hit < 0) {
        *saturated = 1;
    }
}
