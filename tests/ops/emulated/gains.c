/* What layers find of their gains once a call, as kernels that the program beside this one calls. */
#include "../../../runtime/src/kernels/packed_convolution/packed_gain.h"

void find_gained_layer(const int32_t *multiplier, const int8_t *shift, const int32_t *bias, const int8_t *codes, const int8_t *exponent,
                       int32_t channels, int32_t *scratch);
void find_gained_starts(const int32_t *epilogues, const int32_t *bias, const int32_t *fold, int32_t limit, const int8_t *codes,
                        const int8_t *exponent, int32_t channels, int32_t *starts);

void find_gained_layer(const int32_t *multiplier, const int8_t *shift, const int32_t *bias, const int8_t *codes, const int8_t *exponent,
                       int32_t channels, int32_t *scratch)
{
    kt_gained_layer(codes, exponent, channels, &multiplier, &shift, bias, scratch);
}

void find_gained_starts(const int32_t *epilogues, const int32_t *bias, const int32_t *fold, int32_t limit, const int8_t *codes,
                        const int8_t *exponent, int32_t channels, int32_t *starts)
{
    const kt_epilogue_places places = {epilogues, KT_EPILOGUE + 5, 3}; /* behind the weights of a quad, five words */
    kt_gained_starts(&places, bias, fold, limit, codes, exponent, channels, starts);
}
