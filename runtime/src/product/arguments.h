/* arguments.h: the arguments of a product of product.h as one value, for products in C. */
#ifndef KT_PRODUCT_ARGUMENTS_H
#define KT_PRODUCT_ARGUMENTS_H

#include "halves.h"
#include "product.h"

enum { KT_EPILOGUE_WORDS = 12 }; /* of four channels */

typedef struct {
    void *result;
    int32_t stride;
    const void *end;
    const int32_t *bias;
    const void *panel;
    int32_t pairs;
    const int32_t *stream;
} kt_product;
#define KT_PRODUCT_OF_ARGUMENTS {result, stride, end, bias, panel, pairs, stream}

/* What stands behind four words of bias: nothing, the epilogue, or the bias of the second position. */
typedef enum { KT_BIAS_ALONE, KT_BIAS_SCALED, KT_BIAS_OF_EACH } kt_bias_kind;

KT_INLINE int32_t kt_bias_words(kt_bias_kind kind)
{
    return kind == KT_BIAS_SCALED ? 4 + KT_EPILOGUE_WORDS : kind == KT_BIAS_OF_EACH ? 8 : 4;
}

#endif
