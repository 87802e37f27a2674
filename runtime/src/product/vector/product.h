/* product.h: the products of ../product.h in vectors: four channels and two positions at a time. exact: of exact words. */
#ifndef KT_VECTOR_PRODUCT_H
#define KT_VECTOR_PRODUCT_H

#include "../arguments.h"
#include "bytes.h"
#include "lanes.h"
#include "requantize.h"

/* Of one position: {a, c} of even and odd pairs, {b, d}. */
typedef struct {
    kt_pair_sums ac, bd;
} kt_position_sums;

KT_INLINE kt_position_sums kt_no_position_sums(void)
{
    return (kt_position_sums){kt_no_pair_sums(), kt_no_pair_sums()};
}

KT_INLINE kt_four_lanes kt_quad_of_sums(const kt_position_sums *sums)
{
    return kt_quad_of(kt_total_of_pairs(sums->ac), kt_total_of_pairs(sums->bd));
}

KT_INLINE void kt_add_pairs_of(kt_position_sums *sums, kt_lanes values, kt_lanes first, kt_lanes second)
{
    sums->ac = kt_add_to_pair_sums(sums->ac, first, values);
    sums->bd = kt_add_to_pair_sums(sums->bd, second, values);
}

/* Words of a stream with those of a panel of two positions. */
KT_INLINE void kt_add_words_of(kt_position_sums sums[2], kt_lanes words, kt_lanes panel, int exact)
{
    const kt_lanes first = exact ? kt_first_exact(words) : kt_first_weights(words);
    const kt_lanes second = exact ? kt_second_exact(words) : kt_second_weights(words, first);
    kt_add_pairs_of(&sums[0], kt_even_twice(panel), first, second);
    kt_add_pairs_of(&sums[1], kt_odd_twice(panel), first, second);
}

/* Sums of products of shorts, of two positions and four channels. */
KT_INLINE void kt_sums_of_shorts(const int32_t *stream, const int32_t *panel, int32_t words, int exact, kt_four_lanes result[2])
{
    kt_position_sums sums[2] = {kt_no_position_sums(), kt_no_position_sums()};
    const int32_t whole = words & -KT_LANES;
    int32_t i;
    for (i = 0; i < whole; i += KT_LANES) {
        kt_add_words_of(sums, kt_load_lanes(stream + i), kt_load_lanes(panel + i), exact);
    }
    if (whole < words) { /* values of 0 meet whatever an exact word of 0 means */
        kt_add_words_of(sums, kt_load_some(stream + i, words - whole), kt_load_some(panel + i, words - whole), exact);
    }
    for (i = 0; i < 2; i++) {
        result[i] = kt_quad_of_sums(&sums[i]);
    }
}

/* The sums of two positions and four channels; start [4], of the second position `next` words further. bytes: the panel narrowed, or NULL. */
KT_INLINE void kt_two_sums(const int32_t *start, int32_t next, const int32_t *stream, const int32_t *panel, const kt_panel_bytes *bytes,
                           int32_t pairs, int exact, kt_four_lanes result[2])
{
    int32_t i;
    if (bytes != NULL) {
        kt_sums_of_bytes(stream, 2 * pairs, bytes, 1, exact, result);
    } else {
        kt_sums_of_shorts(stream, panel, 2 * pairs, exact, result);
    }
    for (i = 0; i < 2; i++) {
        result[i] = kt_add_four(kt_load_four(start + i * next), result[i]);
    }
}

/* int8 results of two positions. */
KT_INLINE void kt_results_of(kt_product p, int exact, int32_t negative, kt_bias_kind kind)
{
    kt_panel_bytes narrow;
    const kt_panel_bytes *bytes = kt_narrow_panel(&narrow, p.panel, p.pairs);
    int8_t *result = p.result;
    for (; result != (const int8_t *)p.end; result += 4, p.bias += kt_bias_words(kind)) {
        const kt_epilogues epilogues = kt_epilogues_of(kind == KT_BIAS_SCALED ? p.bias + 4 : p.stream + 2 * p.pairs);
        kt_four_lanes sums[2];
        kt_two_sums(p.bias, kind == KT_BIAS_OF_EACH ? 4 : 0, p.stream, p.panel, bytes, p.pairs, exact, sums);
        if (p.stride != 0) {
            kt_store_bytes(result + p.stride, kt_four_results(sums[1], &epilogues, negative));
        }
        kt_store_bytes(result, kt_four_results(sums[0], &epilogues, negative));
        p.stream += 2 * p.pairs + KT_EPILOGUE_WORDS;
    }
}

/* int32 sums of two positions. */
KT_INLINE void kt_totals_of(kt_product p, int exact)
{
    kt_panel_bytes narrow;
    const kt_panel_bytes *bytes = kt_narrow_panel(&narrow, p.panel, p.pairs);
    int8_t *result = p.result;
    for (; result != (const int8_t *)p.end; result += 16, p.bias += 4, p.stream += 2 * p.pairs) {
        kt_four_lanes sums[2];
        kt_two_sums(p.bias, 0, p.stream, p.panel, bytes, p.pairs, exact, sums);
        if (p.stride != 0) {
            memcpy(result + p.stride, &sums[1], sizeof sums[1]);
        }
        memcpy(result, &sums[0], sizeof sums[0]);
    }
}

/* Words of a stream with the values of one position. */
KT_INLINE void kt_add_row_words(kt_position_sums *sums, kt_lanes words, kt_lanes values, int exact)
{
    const kt_lanes first = exact ? kt_first_exact(words) : kt_first_weights(words);
    kt_add_pairs_of(sums, values, first, exact ? kt_second_exact(words) : kt_second_weights(words, first));
}

/* Sums of products of shorts, of one position whose values are int8, and four channels. */
KT_INLINE kt_four_lanes kt_row_sums_of_shorts(const int32_t *stream, const int8_t *x, int32_t words, int exact)
{
    const int32_t whole = words & -KT_LANES;
    kt_position_sums sums = kt_no_position_sums();
    int32_t i;
    for (i = 0; i < whole; i += KT_LANES) {
        kt_add_row_words(&sums, kt_load_lanes(stream + i), kt_row_twice(x + i), exact);
    }
    if (whole < words) {
        int8_t rest[KT_LANES] = {0};
        memcpy(rest, x + i, (size_t)(words - whole));
        kt_add_row_words(&sums, kt_load_some(stream + i, words - whole), kt_row_twice(rest), exact);
    }
    return kt_quad_of_sums(&sums);
}

/* The sums of one position whose values are int8, and four channels. bytes: the values arranged, or NULL. */
KT_INLINE kt_four_lanes kt_row_quad_lanes(const kt_product *p, const kt_panel_bytes *bytes, int exact)
{
    kt_four_lanes sums;
    if (bytes != NULL) {
        kt_sums_of_bytes(p->stream, 2 * p->pairs, bytes, 0, exact, &sums);
    } else {
        sums = kt_row_sums_of_shorts(p->stream, p->panel, 2 * p->pairs, exact);
    }
    return kt_add_four(kt_load_four(p->bias), sums);
}

/* int8 results of one such position, which has no bias of each. */
KT_INLINE void kt_row_of(kt_product p, int exact, int32_t negative, kt_bias_kind kind)
{
    kt_panel_bytes arranged;
    const kt_panel_bytes *bytes = kt_arrange_row(&arranged, p.panel, p.pairs);
    int8_t *result = p.result;
    for (; result != (const int8_t *)p.end; result += 4, p.bias += kt_bias_words(kind)) {
        const kt_epilogues epilogues = kt_epilogues_of(kind == KT_BIAS_SCALED ? p.bias + 4 : p.stream + 2 * p.pairs);
        kt_store_bytes(result, kt_four_results(kt_row_quad_lanes(&p, bytes, exact), &epilogues, negative));
        p.stream += 2 * p.pairs + KT_EPILOGUE_WORDS;
    }
}

/* int32 sums of one such position. */
KT_INLINE void kt_row_totals_of(kt_product p, int exact)
{
    kt_panel_bytes arranged;
    const kt_panel_bytes *bytes = kt_arrange_row(&arranged, p.panel, p.pairs);
    int8_t *result = p.result;
    for (; result != (const int8_t *)p.end; result += 16, p.bias += 4, p.stream += 2 * p.pairs) {
        const kt_four_lanes sums = kt_row_quad_lanes(&p, bytes, exact);
        memcpy(result, &sums, sizeof sums);
    }
}

#endif
