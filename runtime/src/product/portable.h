/* portable.h: the products of product.h in portable C. exact: of exact words. */
#ifndef KT_PRODUCT_PORTABLE_H
#define KT_PRODUCT_PORTABLE_H

#include "arguments.h"

/* Adds the products of one word of a stream, two channels, with one pair of values. */
KT_INLINE void kt_add_word(int32_t word, int32_t pair, int exact, int32_t *low, int32_t *high)
{
    const int32_t first = exact ? (word & 0xFF) - 128 : (int8_t)(uint8_t)kt_low(word);
    const int32_t second = exact ? (kt_high(word) & 0xFF) - 128 : (int8_t)(uint8_t)kt_high(word);
    const int32_t x = kt_low(pair), z = kt_high(pair);
    *low += first * x + second * z;
    *high += ((kt_low(word) - first) >> 8) * x + ((kt_high(word) - second) >> 8) * z;
}

/* The sums of one position and four channels; step: words of the panel from pair to pair. */
KT_INLINE void kt_quad_sums(const int32_t *stream, const int32_t *panel, int32_t step, int32_t pairs, int exact,
                                int32_t sums[4])
{
    int32_t i;
    for (i = 0; i < pairs; i++) {
        const int32_t pair = panel[i * step];
        kt_add_word(stream[2 * i], pair, exact, &sums[0], &sums[1]);
        kt_add_word(stream[2 * i + 1], pair, exact, &sums[2], &sums[3]);
    }
}

/* One result from its sum; negative: what a negative sum takes from the addend. */
KT_INLINE int8_t kt_scaled_result(int32_t sum, const int32_t *epilogue, int32_t negative)
{
    return kt_short_requantize(sum, epilogue[0], epilogue[1] - (sum < 0 ? negative : 0), epilogue[2]);
}

/* int8 results of two positions. */
KT_INLINE void kt_results_of(kt_product p, int exact, int32_t negative, kt_bias_kind kind)
{
    const int32_t *const panel = p.panel;
    int8_t *result = p.result;
    int32_t position, i;
    for (; result != (const int8_t *)p.end; result += 4, p.bias += kt_bias_words(kind)) {
        const int32_t *const epilogue = kind == KT_BIAS_SCALED ? p.bias + 4 : p.stream + 2 * p.pairs;
        for (position = p.stride == 0 ? 0 : 1; position >= 0; position--) {
            const int32_t *const start = p.bias + (kind == KT_BIAS_OF_EACH ? 4 * position : 0);
            int32_t sums[4] = {start[0], start[1], start[2], start[3]};
            kt_quad_sums(p.stream, panel + position, 2, p.pairs, exact, sums);
            for (i = 0; i < 4; i++) {
                result[position * p.stride + i] = kt_scaled_result(sums[i], epilogue + 3 * i, negative);
            }
        }
        p.stream += 2 * p.pairs + KT_EPILOGUE_WORDS;
    }
}

/* int32 sums of two positions. */
KT_INLINE void kt_totals_of(kt_product p, int exact)
{
    const int32_t *const panel = p.panel;
    int32_t *result = p.result;
    const int32_t stride = p.stride / (int32_t)sizeof *result;
    int32_t position, i;
    for (; result != (const int32_t *)p.end; result += 4, p.bias += 4, p.stream += 2 * p.pairs) {
        for (position = p.stride == 0 ? 0 : 1; position >= 0; position--) {
            int32_t sums[4] = {p.bias[0], p.bias[1], p.bias[2], p.bias[3]};
            kt_quad_sums(p.stream, panel + position, 2, p.pairs, exact, sums);
            for (i = 0; i < 4; i++) {
                result[position * stride + i] = sums[i];
            }
        }
    }
}

/* The sums of one position whose values are int8, and four channels. */
KT_INLINE void kt_row_quad(const int32_t *stream, const int8_t *x, int32_t pairs, int exact, int32_t sums[4])
{
    int32_t i;
    for (i = 0; i < pairs; i++) {
        const int8_t *const first = x + i / 2 * 4 + i % 2;
        const int32_t pair = kt_pair_of(first[0], first[2]);
        kt_add_word(stream[2 * i], pair, exact, &sums[0], &sums[1]);
        kt_add_word(stream[2 * i + 1], pair, exact, &sums[2], &sums[3]);
    }
}

/* int8 results of one such position, which has no bias of each. */
KT_INLINE void kt_row_of(kt_product p, int exact, int32_t negative, kt_bias_kind kind)
{
    int8_t *result = p.result;
    int32_t i;
    for (; result != (const int8_t *)p.end; result += 4, p.bias += kt_bias_words(kind)) {
        const int32_t *const epilogue = kind == KT_BIAS_SCALED ? p.bias + 4 : p.stream + 2 * p.pairs;
        int32_t sums[4] = {p.bias[0], p.bias[1], p.bias[2], p.bias[3]};
        kt_row_quad(p.stream, p.panel, p.pairs, exact, sums);
        for (i = 0; i < 4; i++) {
            result[i] = kt_scaled_result(sums[i], epilogue + 3 * i, negative);
        }
        p.stream += 2 * p.pairs + KT_EPILOGUE_WORDS;
    }
}

/* int32 sums of one such position. */
KT_INLINE void kt_row_totals_of(kt_product p, int exact)
{
    int32_t *result = p.result;
    for (; result != (const int32_t *)p.end; result += 4, p.bias += 4, p.stream += 2 * p.pairs) {
        int32_t sums[4] = {p.bias[0], p.bias[1], p.bias[2], p.bias[3]};
        kt_row_quad(p.stream, p.panel, p.pairs, exact, sums);
        memcpy(result, sums, sizeof sums);
    }
}

#endif
