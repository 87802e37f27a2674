/* kt_lora_inner_gradient_s8 on cores with Helium: four columns of B at once, sixteen channels an instruction. Columns of many channels, for which
 * the stack has no room, are read one by one. */
#include "../lora_inner_gradient.h"
#include "kt/architecture.h"

#if KT_MVE

#include "../../mve/dot.h"

enum { MOST_CHANNELS = 256 };

static const int32_t zeros[KT_COLUMNS] = {0, 0, 0, 0};

/* The columns one after the other. */
static void pack(const int8_t *b, int32_t channels, int32_t rank, int32_t count, void *packed)
{
    int8_t *values = packed;
    int32_t c, j;
    for (j = 0; j < KT_COLUMNS; j++) {
        for (c = 0; c < channels; c++) {
            *values++ = (int8_t)(j < count ? b[c * rank + j] : 0);
        }
    }
}

static inline void sum_columns(const int8_t *g, int32_t channels, const void *packed, int32_t sums[KT_COLUMNS])
{
    kt_dot_block block = {g, NULL, packed, channels, zeros, sums, NULL, sums + KT_COLUMNS, channels};
    kt_dot_four(&block);
}

static __attribute__((noinline)) void packed_gradient(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                                                      const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    int8_t values[KT_COLUMNS * MOST_CHANNELS];
    const kt_column_products products = {pack, sum_columns, values};
    kt_inner_gradient(params, &products, g, b, b_exponent, du, du_exponent);
}

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    if (params->channels <= MOST_CHANNELS) {
        packed_gradient(params, g, b, b_exponent, du, du_exponent);
    } else {
        kt_inner_gradient_in_place(params, g, b, b_exponent, du, du_exponent);
    }
}

#endif
