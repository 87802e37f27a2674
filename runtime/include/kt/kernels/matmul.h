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

/* Scores of queries and keys, and what a softmax of them reads and gives. scores: a row for each query, a column for each key; their multiplier and
 * shift to int8, and score_offset behind it. table: 256 codes, what the softmax reads of each score. exponentials: of the differences 0, -1, ...
 * -255 to a row's largest, in 1/2^31. before, after: query i sees the keys from i - before to i + after. v: elements from one {batch, key, value}
 * to the next, channels: values of a key. */
typedef struct {
    kt_matmul scores;
    int32_t score_offset;
    int32_t multiplier;
    int32_t shift;
    const int8_t *table;
    const int32_t *exponentials;
    int32_t before;
    int32_t after;
    int32_t channels;
    int32_t v[3];
    int32_t v_offset;
} kt_attention;

/* y: elements from one {batch, query, value} to the next. */
typedef struct {
    kt_attention attention;
    int32_t y[3];
    int32_t output_offset;
    int32_t multiplier;
    int32_t shift;
} kt_attention_params;

/* y = softmax(q k^T) v, a row at a time. scratch: channels int32 and a row of keys int8, each a multiple of 4 bytes. */
void kt_attention_s8(const kt_attention_params *params, const int8_t *q, const int8_t *k, const int8_t *v, int8_t *y, int32_t *scratch);

/* row: of one query, which sees all keys. length: positions that are kept; bytes: of the keys and of the values of one. */
typedef struct {
    kt_attention_params row;
    int32_t length;
    int32_t bytes[2];
} kt_attention_next_params;

/* Attention of a position to itself and to those before it. keys, values: of the last `length` positions, k and v are put among them; count: of positions so
 * far, less `length` where there were twice as many. A new sequence begins with a count of 0. scratch: as of kt_attention_s8. */
void kt_attention_next_s8(const kt_attention_next_params *params, const int8_t *q, const int8_t *k, const int8_t *v, int8_t *keys, int8_t *values,
                          int16_t *count, int8_t *y, int32_t *scratch);

/* rates: g times v, a row for each query, a column for each key; rate_shift: to the gradients of probabilities, softmax_shift: from these to those of
 * what the softmax reads. through: 256 gradients of scores for the codes of those, and 256 masks by the scores' codes. shift: of dq, dk and dv. */
typedef struct {
    kt_attention attention;
    kt_matmul rates;
    const int8_t *through;
    int32_t rate_shift;
    int32_t softmax_shift;
    int32_t shift[3];
} kt_attention_gradient_params;

/* The gradients of q, k and v, each stored as its operand is; NULL for those that nobody asks for. Two passes over the pairs of queries and keys.
 * scratch: as many int32 as the longer of the rows of q and v has values, 8 bytes a query, and three rows of the longer of queries and keys in
 * multiples of 4 bytes. */
void kt_attention_gradient_s8(const kt_attention_gradient_params *params, const int8_t *g, const int8_t *q, const int8_t *k, const int8_t *v,
                              int8_t *dq, int8_t *dk, int8_t *dv, int32_t *scratch);

/* The same in one pass. scratch: int32 for a row of q, and for all dk and all dv of a batch that are asked for, and three rows as above. */
void kt_attention_gradient_one_pass_s8(const kt_attention_gradient_params *params, const int8_t *g, const int8_t *q, const int8_t *k,
                                       const int8_t *v, int8_t *dq, int8_t *dk, int8_t *dv, int32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
