/* Weights with a merged delta in the layer's own order. */
#include "merge_rows.h"

void kt_merge_weights(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *weights)
{
    kt_merge_rows(params, delta, exponent, weights, NULL);
}
