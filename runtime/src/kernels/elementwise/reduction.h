/* reduction.h: gradients of an operand, summed where it was stretched. */
#ifndef KT_REDUCTION_H
#define KT_REDUCTION_H

#include "broadcast.h"
#include "kt/numerics.h"

#if KT_ROW_PARTS
#include "row_parts.h"
#else
#define KT_PAIR_LANES(element)
#endif

/* One product into its sum, or requantised where it is alone. */
static inline void kt_reduce(int32_t product, int32_t shift, int32_t at, int8_t *result, int32_t *sums)
{
    if (sums != NULL) {
        sums[at] += product;
    } else {
        result[at] = kt_saturate8(kt_shift_round(product, shift));
    }
}

static inline void kt_clear_sums(int32_t *sums, int32_t size)
{
    if (sums != NULL) {
        memset(sums, 0, (size_t)size * sizeof *sums);
    }
}

static inline void kt_finish_sums(const int32_t *sums, int32_t size, int32_t shift, int8_t *result)
{
    int32_t i = 0;
#if KT_MVE
    for (; sums != NULL && i + KT_LANES <= size; i += KT_LANES) {
        kt_store_narrow(result + i, kt_round_lanes(kt_load_lanes(sums + i), shift));
    }
#endif
    for (; sums != NULL && i < size; i++) {
        result[i] = kt_saturate8(kt_shift_round(sums[i], shift));
    }
}

/* The body of a gradient of one of two operands, both of which stretch: element(params, own, other) is the factor of g
 * in the units that shift rounds off. */
#define KT_PAIR_GRADIENT(type, element) \
    const type p = *params; /* the results may be its bytes, as far as the compiler knows */ \
    const kt_pair_loops shape = p.shape; \
    const int32_t n = shape.extent[KT_INNERMOST]; \
    int32_t index[KT_INNERMOST] = {0, 0, 0}; \
    int32_t result_at = 0, own_at = 0, other_at = 0; \
    int32_t rows, i; \
    kt_clear_sums(sums, p.size); \
    for (rows = kt_rows(shape.extent); rows > 0; rows--) { \
        i = 0; \
        KT_PAIR_LANES(element) \
        for (; i < n; i++) { \
            const int32_t own_value = own[own_at + i * shape.own_step[KT_INNERMOST]]; \
            const int32_t other_value = other[other_at + i * shape.other_step[KT_INNERMOST]]; \
            const int32_t at = result_at + i * shape.result_step[KT_INNERMOST]; \
            kt_reduce(g[i] * element(&p, own_value, other_value), p.shift, at, result, sums); \
        } \
        g += n; \
        result_at = kt_moved(shape.extent, shape.result_step, index, result_at); \
        own_at = kt_moved(shape.extent, shape.own_step, index, own_at); \
        other_at = kt_moved(shape.extent, shape.other_step, index, other_at); \
        kt_next_row(shape.extent, index); \
    } \
    kt_finish_sums(sums, p.size, p.shift, result);

#endif
