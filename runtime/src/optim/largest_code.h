/* largest_code.h: the largest of many codes, and the next one of some magnitude, by instructions of a core. */
#ifndef KT_OPTIM_LARGEST_CODE_H
#define KT_OPTIM_LARGEST_CODE_H

#include "kt/architecture.h"
#include "storage_step.h"

#if KT_MVE
#include <arm_mve.h>
#elif KT_DSP
#include "../kernels/dsp/simd.h"
#endif

/* The largest magnitude of codes. */
static __attribute__((noinline, unused)) int32_t kt_largest_code(const int8_t *value, int32_t count)
{
    int32_t largest = 0, i = 0;
#if KT_MVE
    for (; i + 16 <= count; i += 16) {
        largest = vmaxavq_s8((uint8_t)largest, vldrbq_s8(value + i));
    }
#elif KT_DSP
    uint32_t high = 0, low = 0;
    for (; i + 4 <= count; i += 4) {
        const uint32_t word = kt_load_word(value + i);
        (void)__ssub8((int8x4_t)word, (int8x4_t)high);
        high = __sel(word, high);
        (void)__ssub8((int8x4_t)low, (int8x4_t)word);
        low = __sel(word, low);
    }
    for (; high != 0 || low != 0; high >>= 8, low >>= 8) {
        largest = kt_maximum(largest, kt_maximum((int8_t)high, -(int8_t)low));
    }
#endif
    for (; i < count; i++) {
        largest = kt_maximum(largest, value[i] < 0 ? -value[i] : value[i]);
    }
    return largest;
}

static inline int32_t kt_magnitude_of_master(int8_t value, int8_t remainder)
{
    const int32_t master = kt_master(value, remainder);
    return master < 0 ? -master : master;
}

/* Where the next code of at least this magnitude is from i on; count where there is none. */
static inline int32_t kt_next_of_magnitude(const int8_t *value, int32_t i, int32_t count, int32_t magnitude)
{
    const int32_t least = magnitude - 1; /* of the magnitude that is passed over */
    if (least < 0 || least >= 128) {
        return least < 0 ? i : count;
    }
#if KT_MVE
    while (i + 16 <= count && vcmphiq_n_u8(vreinterpretq_u8_s8(vabsq_s8(vldrbq_s8(value + i))), (uint8_t)least) == 0) {
        i += 16;
    }
#elif KT_DSP
    const uint32_t ones = UINT32_C(0x01010101), high = ones * (uint8_t)kt_minimum(magnitude, 127), low = ones * (uint8_t)-magnitude;
    for (; i + 4 <= count; i += 4) {
        const uint32_t word = kt_load_word(value + i);
        uint32_t found;
        (void)__ssub8((int8x4_t)word, (int8x4_t)high);
        found = __sel(ones, 0);
        (void)__ssub8((int8x4_t)low, (int8x4_t)word);
        found = __sel(ones, found);
        if (found != 0) {
            break;
        }
    }
#endif
    while (i < count && (uint32_t)(value[i] + least) <= 2 * (uint32_t)least) {
        i++;
    }
    return i;
}

#endif
