/* kt_down_projection_s8 with three sums in two words (product/triple.h), for cores without the DSP extension. A is laid out once a call as the
 * product reads weights, in chunks whose sums hold whatever the values. */
#include "kt/kernels/lora.h"
#include "../triple_convolution/triple_conv2d.h"

enum { KT_PROJECTED_RANK = 16, KT_PROJECTED_CHUNK = 64, KT_ANY_CHUNK = 60 };

/* Where A lies laid out, in chunks, and what its rows add to their sums for the input's zero point. */
typedef struct {
    const kt_down_projection_params *params;
    int32_t length, chunk; /* of a row, in whole fours */
    int32_t shift, usual;  /* usual: sums with half a unit stay within 32 bits */
    int32_t offset[KT_PROJECTED_RANK];
} projection;

/* Bytes a + 128: for each chunk, and in it each two rows, [values of the chunk][2]. Returns whether sums of all chunks hold: those of 64 values
 * do, if none of the row is all -128. */
static int32_t lay_out(projection *p, const int8_t *a, uint8_t *weights)
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
        p->offset[j] *= p->params->input_offset;
        p->offset[j] += p->usual ? INT32_C(1) << (p->shift - 1) : 0;
    }
    return holds;
}

/* A row of u at some positions from its sums; returns a negative number where an element saturated. */
static int32_t round_sums(const projection *p, const int32_t *sums, int32_t j, int32_t positions, int8_t *u)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], low = p->params->low, shift = p->shift, usual = p->usual, offset = p->offset[j];
    const int32_t *const end = sums + positions;
    int32_t hit = 0;
    for (u += j; sums != end; u += rank) {
        int32_t value = *sums++ + offset;
        if (usual) {
            value >>= shift;
        } else {
            value = kt_clamp(kt_shift_round(value, shift), -256, 256);
        }
        if (((127 - value) | (value - low)) < 0) {
            hit |= (127 - value) | (low < 0 ? value - low : 0);
            value = kt_clamp(value, low, 127);
        }
        *u = (int8_t)value;
    }
    return hit;
}

/* u of the only position of a layer, a pixel; returns a negative number where an element saturated. */
static int32_t project_pixel(projection *p, const int8_t *x, const int8_t *a, int8_t *u)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], depth = p->params->window.input[KT_CHANNELS];
    int32_t hit = 0, j, i;
    for (j = 0; j < rank; j++, a += depth) {
        int32_t sum = 0;
        p->offset[j] = p->usual ? INT32_C(1) << (p->shift - 1) : 0;
        for (i = 0; i < depth; i++) {
            sum += a[i] * (x[i] + p->params->input_offset);
        }
        hit |= round_sums(p, &sum, j, 1, u);
    }
    return hit;
}

/* The products of a chunk of six windows: rounded where it is the only one, else added to totals [rank in whole twos][KT_POSITIONS]. */
static int32_t add_chunk(const projection *p, const uint32_t *panel, const uint8_t *weights, int32_t length, int32_t (*totals)[KT_POSITIONS],
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
                hit |= round_sums(p, sums, j + c, positions, u);
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
    const int32_t rank = window->output[KT_CHANNELS], depth = window->input[KT_CHANNELS], shift = *range - *a_exponent;
    const int32_t pointwise = kt_is_pointwise(window), even = (rank + 1) & -2, size = kt_kernel_size(window);
    projection p = {params, (size + 3) & -4, KT_PROJECTED_CHUNK, shift, shift > 0 && shift <= 24 && size < (1 << 15), {0}};
    uint32_t *const panel = scratch;
    uint8_t *const laid = (uint8_t *)(panel + KT_PANEL_WORDS * (kt_minimum(p.length, KT_PROJECTED_CHUNK) + 1));
    int8_t *const border = (int8_t *)(laid + even * p.length);
    kt_triple_windows windows = {window, x, border, {0}, {0}, 0, 0, 0, 0};
    int32_t left = window->output[KT_Y] * window->output[KT_X], position = 0, oy = 0, ox = 0, hit = 0, j;
    if (pointwise && left == 1) {
        hit = project_pixel(&p, x, a, u);
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
            hit |= round_sums(&p, totals[j], j, positions, u);
        }
    }
    if (saturated != NULL && hit < 0) {
        *saturated = 1;
    }
}
