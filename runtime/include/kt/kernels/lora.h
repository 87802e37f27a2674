/* kt/kernels/lora.h: LoRA and bottleneck adapters. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_LORA_H
#define KT_KERNELS_LORA_H

#include "kt/kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* window: the layer's, its output channels are the rank; low: -127, or 0 for a rectifier. */
typedef struct {
    kt_window window;
    int32_t input_offset;
    int32_t low;
} kt_down_projection_params;

/* u[p, j] = clamp(shift_round(sum_k a[j, k] * (x[p, k] + input_offset), range - a_exponent), low, 127).
 * a [rank][kernel rows][kernel columns][input channels], u [positions][rank].
 * saturated: one value, set to 1 when an element exceeded 127 or fell below a low of -127, else kept; NULL: not
 * wanted. */
void kt_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a,
                           const int8_t *a_exponent, const int8_t *range, int8_t *saturated, int8_t *u);

/* The same for cores without the DSP extension, of rank 16 at most. scratch: with K the size of a kernel rounded up to 4, 16 bytes for each of 60
 * values at most of it and 16 more, K bytes for each row of A rounded up to 2, and an input pixel rounded up to 4. */
void kt_triple_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a, const int8_t *a_exponent,
                                  const int8_t *range, int8_t *saturated, int8_t *u, void *scratch);

/* The same for short rows of A. scratch: 12 K bytes for each four rows of A, and where values are not those of at least four whole pixels of a
 * multiple of 4 values, 4 K bytes. */
void kt_triple_down_projection_rows_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a, const int8_t *a_exponent,
                                       const int8_t *range, int8_t *saturated, int8_t *u, void *scratch);

typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t rank;
} kt_lora_inner_gradient_params;

/* du[p, j] = saturate8(shift_round(sum_c b[c, j] * g[p, c], k)), k >= 0 the smallest for which the largest magnitude
 * has at most 7 bits (found by a first pass, so no buffer is needed).
 * du_exponent: one value, min(b_exponent + k, 127). b [channels][rank]. */
void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent);

/* The same for stripes of positions: peak = max(before, the largest magnitude of the sums), before NULL: 0; in place on before. */
void kt_lora_inner_peak(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b, const int32_t *before, int32_t *peak);

/* du of some positions, with the k of the largest magnitude. */
void kt_lora_inner_rows_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b, const int32_t *peak, int8_t *du);

/* du_exponent: one value, min(b_exponent + k, 127). */
void kt_lora_inner_exponent(const int32_t *peak, const int8_t *b_exponent, int8_t *du_exponent);

/* clamp: the range of y. */
typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t width;
    int32_t clamp[2];
} kt_bottleneck_up_params;

/* result[p, c] = clamp(y[p, c] + shift_round(sum_j up[c, j] * h[p, j], -(range + up_exponent))). h [positions][width]
 * of kt_down_projection_s8, up [channels][width]; up = 0 leaves y as it was. In place on y. */
void kt_bottleneck_up_s8(const kt_bottleneck_up_params *params, const int8_t *y, const int8_t *h, const int8_t *up,
                         const int8_t *up_exponent, const int8_t *range, int8_t *result);

/* fraction: bits of the sum below one step of g. */
typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t width;
    int32_t fraction;
    int32_t shift;
} kt_bottleneck_input_gradient_params;

/* dy[p, c] = saturate8(shift_round(g[p, c] * 2^fraction + path, shift)), path = shift_round(sum_j down[j, c] *
 * dh[p, j], -(fraction + dh_exponent + down_exponent)), saturated at +-2^30. down [width][channels]. In place on g. */
void kt_bottleneck_input_gradient_s8(const kt_bottleneck_input_gradient_params *params, const int8_t *g,
                                     const int8_t *dh, const int8_t *dh_exponent, const int8_t *down,
                                     const int8_t *down_exponent, int8_t *dy);

#ifdef __cplusplus
}
#endif

#endif
