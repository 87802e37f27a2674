/* row_sums.h: sums over the taps of depthwise windows, a channel and a row of results at a time.
 *
 * The rows that a band of results reads stand unzipped in scratch as int16, channel by channel, with what lies outside the image as zeros:
 * [channel][row][column]. Two columns meet two taps in one multiplication. A row of the image is read once: what the next band needs of a
 * band's rows is moved to its place. */
#ifndef KT_DSP_ROW_SUMS_H
#define KT_DSP_ROW_SUMS_H

#include "kt/kernels/depthwise.h"
#include "../../dsp/prescale.h"
#include "../../convolution/input_gradient.h"
#include "../../window.h"

enum {
    KT_ROW_TAPS = 10,                            /* longest side of a kernel */
    KT_ROW_PAIRS = KT_ROW_TAPS * KT_ROW_TAPS / 2,
    KT_ROW_RESULTS = 64                          /* at once, of one row or of several */
};

/* A window over the unzipped rows, without dilation. rows, pairs: of the kernel, two columns a pair; stride: from result to result. */
typedef struct {
    int32_t kernel[2];
    int32_t pairs;
    int32_t stride;
    int32_t width;  /* columns of the buffer */
    int32_t height; /* rows of the buffer */
} kt_row_window;

/* Where the rows come from: image [height][width][channels]. A value at (y, x) stands at row y * step - top and column x * step + left of the
 * buffer. skip: first columns of the image that do not count. */
typedef struct {
    const int8_t *image;
    int32_t size[2];
    int32_t channels;
    int32_t step;
    int32_t left, skip;
    uint32_t added;          /* to each value, in both halves */
    const int16_t *prescale; /* of a gradient, otherwise NULL */
    int32_t prescale_shift;
} kt_row_source;

/* results: columns; reach: the last column of the image in the buffer, plus one. As scratch in kt/kernels/depthwise.h. */
static inline kt_row_window kt_row_window_of(const int32_t kernel[2], int32_t stride, int32_t results, int32_t rows, int32_t reach)
{
    kt_row_window w = {{kernel[0], kernel[1]}, (kernel[1] + 1) / 2, stride, 0, (rows - 1) * stride + kernel[0]};
    w.width = (kt_maximum((results - 1) * stride + kernel[1] + 2, reach) + 1) & ~1;
    return w;
}

/* -- rows ---------------------------------------------------------------------------------------------------- */

/* Four channels of a row, two columns at a time; word, next: of the first column, and halves from channel to channel. */
static __attribute__((noinline)) void kt_unzip_four(const kt_row_source *from, const int8_t *x, int32_t count, int16_t *half, int32_t next)
{
    const int32_t channels = from->channels, step = from->step;
    const uint32_t added = from->added;
    for (; count >= 2 && step == 1; count -= 2, x += 2 * channels, half += 2) {
        const uint32_t left = kt_load_word(x), right = kt_load_word(x + channels);
        const uint32_t low = kt_low_halves(left, right), high = kt_high_halves(left, right);
        kt_store_word(half, kt_add_even(added, low));
        kt_store_word(half + next, kt_add_odd(added, low));
        kt_store_word(half + 2 * next, kt_add_even(added, high));
        kt_store_word(half + 3 * next, kt_add_odd(added, high));
    }
    for (; count > 0; count--, x += channels, half += step) {
        const uint32_t word = kt_load_word(x);
        const uint32_t even = kt_add_even(added, word), odd = kt_add_odd(added, word);
        half[0] = (int16_t)even;
        half[next] = (int16_t)odd;
        half[2 * next] = (int16_t)(even >> 16);
        half[3 * next] = (int16_t)(odd >> 16);
    }
}

/* The same of gradients, scaled; m: of the first channel. */
static __attribute__((noinline)) void kt_unzip_scaled_four(const kt_row_source *from, const int8_t *x, const int16_t *m, int32_t count, int16_t *half,
                                                           int32_t next)
{
    const int32_t channels = from->channels, p = from->prescale_shift, step = from->step;
    const int32_t factor0 = kt_prescale_factor(m[0], p), factor1 = kt_prescale_factor(m[1], p);
    const int32_t factor2 = kt_prescale_factor(m[2], p), factor3 = kt_prescale_factor(m[3], p);
    for (; count > 0; count--, x += channels, half += step) {
        const uint32_t word = kt_load_word(x), even = kt_even(word), odd = kt_odd(word);
        half[0] = (int16_t)(kt_doubled_low(factor0, even) >> 1);
        half[next] = (int16_t)(kt_doubled_low(factor1, odd) >> 1);
        half[2 * next] = (int16_t)(kt_doubled_high(factor2, even) >> 1);
        half[3 * next] = (int16_t)(kt_doubled_high(factor3, odd) >> 1);
    }
}

/* One channel of a row. */
static __attribute__((noinline)) void kt_unzip_one(const kt_row_source *from, const int8_t *x, int32_t channel, int32_t count, int16_t *half)
{
    const int32_t offset = kt_low((int32_t)from->added), step = from->step;
    for (; count > 0; count--, x += from->channels, half += step) {
        *half = (int16_t)(from->prescale == NULL ? *x + offset : kt_prescaled(*x, from->prescale[channel], from->prescale_shift));
    }
}

/* Row y of the buffer whose first row stands for row `top` of the image, which may lie between two rows of it or outside. */
static void kt_unzip_row(const kt_row_source *from, const kt_row_window *w, int32_t top, int32_t y, int16_t *buffer)
{
    const int32_t plane = w->width * w->height, position = top + y, row = position / from->step;
    const int32_t count = from->size[1] - from->skip;
    int16_t *half = buffer + y * w->width;
    int32_t c = 0;
    if (position < 0 || row >= from->size[0] || row * from->step != position) {
        for (; c < from->channels; c++, half += plane) {
            int16_t *const end = half + w->width;
            int16_t *zero;
            for (zero = half; zero != end; zero += 2) {
                kt_store_word(zero, 0);
            }
        }
        return;
    }
    {
        const int8_t *const x = from->image + (row * from->size[1] + from->skip) * from->channels;
        half += from->left;
        if (from->prescale == NULL || kt_has_prescale(from->prescale_shift)) {
            for (; c + 4 <= from->channels; c += 4, half += 4 * plane) {
                if (from->prescale == NULL) {
                    kt_unzip_four(from, x + c, count, half, plane);
                } else {
                    kt_unzip_scaled_four(from, x + c, from->prescale + c, count, half, plane);
                }
            }
        }
        for (; c < from->channels; c++, half += plane) {
            kt_unzip_one(from, x + c, c, count, half);
        }
    }
}

/* The rows under a band of `rows` rows. moved: rows that the buffer moves by, against the band before; 0 for the first band, whose buffer holds
 * nothing. */
static void kt_unzip_band(const kt_row_source *from, const kt_row_window *w, int32_t top, int32_t moved, int32_t rows, int16_t *buffer)
{
    const int32_t kept = kt_maximum(w->height - (moved < 0 ? -moved : moved), 0), plane = w->width * w->height;
    int32_t first = 0, end = (rows - 1) * w->stride + w->kernel[0], y, c;
    if (moved == 0) {
        memset(buffer, 0, (size_t)(plane * from->channels) * sizeof *buffer);
    } else if (kept > 0) {
        int16_t *half = buffer;
        for (c = 0; c < from->channels; c++, half += plane) {
            int16_t *const source = half + (moved > 0 ? moved * w->width : 0), *const target = half + (moved > 0 ? 0 : -moved * w->width);
            memmove(target, source, (size_t)(kept * w->width) * sizeof *half);
        }
        first = moved > 0 ? kept : 0;
        end = moved > 0 ? end : -moved;
    }
    for (y = first; y < end; y++) {
        kt_unzip_row(from, w, top, y, buffer);
    }
}

/* -- sums ---------------------------------------------------------------------------------------------------- */

/* Results of one channel at once: rows of `count`, x: the first value under the first window. Sums of a row have an even number of words. */
typedef struct {
    const int16_t *x;
    int32_t rows, count;
} kt_row_block;

static inline int32_t kt_row_words(int32_t count)
{
    return (count + 1) & ~1;
}

/* As many rows as their sums have room for, of results `count` from column `first` on. */
static inline kt_row_block kt_row_block_of(const kt_row_window *w, const int16_t *x, int32_t rows, int32_t first, int32_t count)
{
    const int32_t some = kt_minimum(count, KT_ROW_RESULTS);
    const kt_row_block block = {x + first * w->stride, kt_minimum(rows, KT_ROW_RESULTS / kt_row_words(some)), some};
    return block;
}

/* Where the results of a block go: bytes to the next one of a row, and from behind a row to the next. */
typedef struct {
    int32_t step, skip;
    int32_t rows, count;
} kt_block_results;

static inline kt_block_results kt_block_results_of(const kt_row_block *block, int32_t width, int32_t channels)
{
    const kt_block_results to = {channels, (width - block->count) * channels, block->rows, block->count};
    return to;
}

/* sums[i] of four results, or of one. */
KT_INLINE void kt_sum_results(const kt_row_window *w, const int16_t *x, const uint32_t *weights, int four, int32_t stride, int32_t *sums)
{
    const int32_t pairs = w->pairs;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, row, i;
    for (row = w->kernel[0]; row > 0; row--, x += w->width) {
        const int16_t *at = x;
        for (i = pairs; i > 0; i--, at += 2) {
            const uint32_t word = *weights++;
            s0 = kt_add_products(kt_load_word(at), word, s0);
            if (four) {
                s1 = kt_add_products(kt_load_word(at + stride), word, s1);
                s2 = kt_add_products(kt_load_word(at + 2 * stride), word, s2);
                s3 = kt_add_products(kt_load_word(at + 3 * stride), word, s3);
            }
        }
    }
    sums[0] = s0;
    if (four) {
        sums[1] = s1;
        sums[2] = s2;
        sums[3] = s3;
    }
}

static __attribute__((noinline)) void kt_sum_any(const kt_row_window *w, const int16_t *x, const uint32_t *weights, int32_t count, int32_t *sums)
{
    const int32_t stride = w->stride;
    for (; count >= 4; count -= 4, x += 4 * stride, sums += 4) {
        if (stride == 1) {
            kt_sum_results(w, x, weights, 1, 1, sums);
        } else {
            kt_sum_results(w, x, weights, 1, stride, sums);
        }
    }
    for (; count > 0; count--, x += stride, sums++) {
        kt_sum_results(w, x, weights, 0, stride, sums);
    }
}

/* What kt_sum_three_by_three reads: the taps (0, 1) and (1, 2) of each kernel row; bytes from row to row, and from behind a row's results to the
 * next row's; bytes of a row's sums, and their end. */
typedef struct {
    uint32_t weights[6];
    int32_t line, skip, row, end;
} kt_three_by_three;

/* One kernel row of two results beside each other, in r12 and lr: their taps are in the words `first` and `second`, their values at r0. */
#define KT_TWO_RESULTS(begin, first, second) \
    "ldr r10, [r0]\n\t" \
    "ldr r11, [r0, #4]\n\t" \
    begin \
    "smlabt r12, r11, " second ", r12\n\t" \
    "smlad lr, r11, " second ", lr\n\t"
#define KT_ADD_FIRST_TAPS(first) "smlad r12, r10, " first ", r12\n\t" "smlatb lr, r10, " first ", lr\n\t"

/* A 3x3 window of stride 1, whose weights stay in registers; gcc keeps some of them in memory. An odd last result has a neighbour that nothing
 * reads. rows: of results, at least one. */
static __attribute__((naked, noinline)) void kt_sum_three_by_three(const int16_t *x __attribute__((unused)),
                                                                   const kt_three_by_three *of __attribute__((unused)),
                                                                   int32_t *sums __attribute__((unused)))
{
    __asm__ volatile("push {r1, r4-r11, lr}\n\t"
                     "mov r3, r1\n\t"
                     "ldm r3!, {r4-r9}\n\t"
                     "ldr r1, [r3]\n\t"
                     "1:\n\t"
                     "ldr r3, [sp]\n\t"
                     "ldr r3, [r3, #32]\n\t"
                     "add r3, r2\n\t" /* end of the row's sums */
                     "2:\n\t"
                     KT_TWO_RESULTS("smuad r12, r10, r4\n\t" "smultb lr, r10, r4\n\t", "r4", "r5")
                     "add r0, r1\n\t"
                     KT_TWO_RESULTS(KT_ADD_FIRST_TAPS("r6"), "r6", "r7")
                     "add r0, r1\n\t"
                     KT_TWO_RESULTS(KT_ADD_FIRST_TAPS("r8"), "r8", "r9")
                     "sub r0, r0, r1, lsl #1\n\t"
                     "adds r0, #4\n\t"
                     "strd r12, lr, [r2], #8\n\t"
                     "cmp r2, r3\n\t"
                     "bne 2b\n\t"
                     "ldr r3, [sp]\n\t"
                     "ldrd r10, r11, [r3, #28]\n\t"
                     "add r0, r10\n\t"
                     "ldr r3, [r3, #36]\n\t"
                     "cmp r2, r3\n\t"
                     "bne 1b\n\t"
                     "pop {r1, r4-r11, pc}");
}

static inline void kt_sum_rows_of_three(const kt_row_block *block, int32_t width, const uint32_t *weights, int32_t *sums)
{
    const int32_t words = kt_row_words(block->count);
    kt_three_by_three of = {{0, 0, 0, 0, 0, 0}, 2 * width, 2 * (width - words), 4 * words, (int32_t)(uintptr_t)(sums + block->rows * words)};
    int32_t i;
    for (i = 0; i < 6; i += 2) {
        of.weights[i] = weights[i];
        of.weights[i + 1] = kt_high_halves(weights[i], weights[i + 1] << 16);
    }
    kt_sum_three_by_three(block->x, &of, sums);
}

/* The sums of a block. */
static inline void kt_sum_block(const kt_row_window *w, const kt_row_block *block, const uint32_t *weights, int32_t *sums)
{
    const int32_t words = kt_row_words(block->count);
    const int16_t *x = block->x;
    int32_t rows;
    if (w->kernel[0] == 3 && w->kernel[1] == 3 && w->stride == 1) {
        kt_sum_rows_of_three(block, w->width, weights, sums);
        return;
    }
    for (rows = block->rows; rows > 0; rows--, x += w->stride * w->width, sums += words) {
        kt_sum_any(w, x, weights, block->count, sums);
    }
}

/* The weights of a channel in pairs; tap, row: bytes from tap to tap and from row to row, negative where the kernel is turned round. */
static void kt_pair_weights(const int8_t *weights, const int32_t kernel[2], int32_t tap, int32_t row, uint32_t *pairs)
{
    int32_t y, x;
    for (y = kernel[0]; y > 0; y--, weights += row) {
        const int8_t *at = weights;
        for (x = kernel[1]; x > 0; x -= 2, at += 2 * tap) {
            *pairs++ = (uint32_t)kt_pair_of(at[0], x > 1 ? at[tap] : 0);
        }
    }
}

#endif
