/* kt/kernels/matmul.h: products of two activations, as in attention. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_MATMUL_H
#define KT_KERNELS_MATMUL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* y[batch][row][column] = the sum over depth[0] x depth[1] values of (x + offset[0]) (other + offset[1]). x: elements of x from one {batch,
 * row, first, second index of the sum} to the next; other: of the other operand from one {batch, column, first, second} to the next. */
typedef struct {
    int32_t batches;
    int32_t rows;
    int32_t columns;
    int32_t depth[2];
    int32_t x[4];
    int32_t other[4];
    int32_t offset[2];
} kt_matmul;

typedef struct {
    kt_matmul product;
    int32_t output_offset;
    int32_t multiplier;
    int32_t shift;
    int32_t clamp[2];
} kt_batch_matmul_params;

/* Rounded twice. */
void kt_batch_matmul_s8(const kt_batch_matmul_params *params, const int8_t *x, const int8_t *other, int8_t *y);

typedef struct {
    kt_matmul product;
    int32_t shift;
} kt_batch_matmul_gradient_params;

/* dx = the product of g and of the operand that is not asked for, in the order that dx needs. */
void kt_batch_matmul_gradient_s8(const kt_batch_matmul_gradient_params *params, const int8_t *x, const int8_t *other, int8_t *dx);

#ifdef __cplusplus
}
#endif

#endif
