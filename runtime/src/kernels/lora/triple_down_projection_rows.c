/* kt_down_projection_s8 with four rows of A in three words a value (product/projection.h), for cores without the DSP extension: short rows, whose
 * words take no more scratch than a panel does. Pixels are read where they lie; what is under a window is put together first. */
#include "kt/kernels/lora.h"
#include "../../product/projection.h"
#include "triple_projection.h"

/* Words of A [fours of rows][length][KT_PROJECTION_WORDS]. Shortens chunks where 64 values of a row are all -128, whose sums do not hold. */
static void lay_out(kt_projection *p, const int8_t *a, uint32_t *word)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], size = kt_kernel_size(&p->params->window);
    int32_t j, i, k;
    for (j = 0; j < rank; j += KT_FOUR_ROWS, a += KT_FOUR_ROWS * size) {
        const int32_t rows = kt_minimum(rank - j, KT_FOUR_ROWS);
        int32_t sums[KT_FOUR_ROWS] = {0}, last[KT_FOUR_ROWS] = {0};
        for (i = 0; i < p->length; i++, word += KT_PROJECTION_WORDS) {
            uint32_t values[KT_FOUR_ROWS] = {0};
            for (k = 0; k < rows && i < size; k++) {
                const int32_t value = a[k * size + i];
                values[k] = (uint32_t)value;
                sums[k] += value;
            }
            word[0] = values[0] + (values[1] << 10);
            word[1] = values[2] + (values[1] << 21);
            word[2] = values[3];
            for (k = 0; k < rows && (i + 1) % KT_PROJECTED_CHUNK == 0; k++) {
                p->chunk = sums[k] - last[k] == -128 * KT_PROJECTED_CHUNK ? KT_ANY_CHUNK : p->chunk;
                last[k] = sums[k];
            }
        }
        for (k = 0; k < rows; k++) {
            p->offset[j + k] = kt_projection_offset(p, sums[k]);
        }
    }
}

/* What is under a window, zeros behind it. */
static void gather(const kt_window *window, const int8_t *x, int32_t outside, int32_t oy, int32_t ox, int8_t *row, int32_t length)
{
    const kt_patch patch = kt_patch_of(window, kt_taps_at(window, KT_Y, oy), kt_taps_at(window, KT_X, ox));
    const int32_t size = kt_kernel_size(window);
    int32_t y, span, i;
    memset(row, outside, (size_t)size);
    for (i = size; i < length; i++) {
        row[i] = 0;
    }
    x += patch.x;
    row += patch.w;
    for (y = 0; y < patch.rows; y++, x += patch.row_x, row += patch.row_w) {
        for (span = 0; span < patch.spans; span++) {
            const int8_t *const from = x + span * patch.span_x;
            int8_t *const to = row + span * patch.span_w;
            for (i = 0; i < patch.length; i++) {
                to[i] = from[i];
            }
        }
    }
}

/* Four rows of u, or fewer, at some positions; returns a negative number where an element saturated. */
static int32_t project(const kt_projection *p, const int8_t *x, int32_t step, const uint32_t *weights, int32_t first, int32_t positions, int8_t *u)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], rows = kt_minimum(rank - first, KT_FOUR_ROWS);
    const int32_t low = p->params->low, shift = p->shift, usual = p->usual;
    const int32_t *const offset = p->offset + first;
    int32_t totals[KT_PROJECTED_AT_ONCE * KT_FOUR_ROWS];
    uint32_t words[KT_PROJECTED_AT_ONCE * KT_PROJECTION_WORDS];
    int32_t done, hit = 0, i, k;
    for (done = 0; done < p->length; done += p->chunk) {
        kt_projection_words(words, x + done, step, weights + KT_PROJECTION_WORDS * done, kt_minimum(p->length - done, p->chunk));
        for (i = 0; i < KT_PROJECTED_AT_ONCE; i++) {
            int32_t *const total = totals + KT_FOUR_ROWS * i;
            int32_t sums[KT_FOUR_ROWS];
            kt_three_sums(words + KT_PROJECTION_WORDS * i, sums);
            sums[3] = (int32_t)words[KT_PROJECTION_WORDS * i + 2];
            for (k = 0; k < KT_FOUR_ROWS && done > 0; k++) {
                sums[k] += total[k];
            }
            total[0] = sums[0];
            total[1] = sums[1];
            total[2] = sums[2];
            total[3] = sums[3];
        }
    }
    u += first;
    for (i = 0; i < positions; i++, u += rank) {
        const int32_t *const total = totals + KT_FOUR_ROWS * i;
        for (k = 0; k < rows; k++) {
            u[k] = kt_projected(total[k] + offset[k], shift, usual, low, &hit);
        }
    }
    return hit;
}

void kt_triple_down_projection_rows_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a, const int8_t *a_exponent,
                                       const int8_t *range, int8_t *saturated, int8_t *u, void *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t rank = window->output[KT_CHANNELS], depth = window->input[KT_CHANNELS];
    const int32_t total = window->output[KT_Y] * window->output[KT_X], pointwise = kt_is_pointwise(window);
    int32_t position = 0, oy = 0, ox = 0, hit = 0, j, i;
    kt_projection p;
    kt_projection_of(&p, params, *range - *a_exponent);
    if (pointwise && total == 1) {
        hit = kt_project_pixel(&p, x, a, u);
    } else {
        const int32_t words = KT_PROJECTION_WORDS * p.length, in_place = pointwise && p.length == depth && total >= KT_PROJECTED_AT_ONCE;
        uint32_t *const weights = scratch;
        int8_t *const gathered = (int8_t *)(weights + (rank + KT_FOUR_ROWS - 1) / KT_FOUR_ROWS * words);
        lay_out(&p, a, weights);
        for (; position < total; position += KT_PROJECTED_AT_ONCE) {
            const int32_t positions = kt_minimum(total - position, KT_PROJECTED_AT_ONCE);
            /* the last are those in front of them again, where there are too few */
            const int32_t first = in_place ? kt_minimum(position, total - KT_PROJECTED_AT_ONCE) : position;
            const int8_t *const values = in_place ? x + first * depth : gathered;
            for (i = 0; i < positions && !in_place; i++) {
                gather(window, x, -params->input_offset, oy, ox, gathered + i * p.length, p.length);
                ox++;
                if (ox == window->output[KT_X]) {
                    ox = 0;
                    oy++;
                }
            }
            for (j = 0; j < rank; j += KT_FOUR_ROWS) {
                hit |= project(&p, values, p.length, weights + j / KT_FOUR_ROWS * words, j, in_place ? KT_PROJECTED_AT_ONCE : positions, u + first * rank);
            }
        }
    }
    if (saturated != NULL && hit < 0) {
        *saturated = 1;
    }
}
