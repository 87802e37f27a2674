/* trained_sums.h: layers whose sums take what training adds, or have a requantisation without a packed form, as the core computes them. */
#ifndef KT_TRAINED_SUMS_H
#define KT_TRAINED_SUMS_H

#include "kt/architecture.h"

#if KT_DSP
#include "dsp/trained_sums.h"
#elif KT_VECTOR
#include "vector/trained_sums.h"
#else
#include "packed_trained_walk.h"

KT_INLINE void kt_run_trained(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                              const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch, kt_product_kernel *product, kt_trained_walk *walk)
{
    const kt_trained_sums trained = kt_trained_sums_of(params, bias, u, b, u_range, b_exponent);
    walk(&trained, x, y, scratch, product, kt_finish_sums);
}
#endif

#endif
