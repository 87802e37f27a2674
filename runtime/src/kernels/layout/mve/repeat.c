/* Values one behind the other several times, and the gradient of that, on cores with Helium: 16 at once. Of two, loads and stores of two vectors
 * interleave them; of more, each of them is gathered and scattered. */
#include "../repeat.h"
#include "../../window.h"
#include "kt/architecture.h"

#if KT_MVE
#include <arm_mve.h>

enum { KT_MOST_SCATTERED = 16 }; /* times: offsets are bytes, and sums halves of words */

/* Whole vectors, or where there are too many repetitions none. */
static inline int32_t kt_vectors(int32_t size, int32_t times)
{
    return times <= KT_MOST_SCATTERED ? (size + KT_REPEATED_AT_ONCE - 1) / KT_REPEATED_AT_ONCE : 0;
}

static inline uint8x16_t kt_offsets_of(int32_t times)
{
    return vmulq_n_u8(vidupq_n_u8(0, 1), (uint8_t)times);
}

void kt_repeat_s8(const kt_repeat_params *params, const int8_t *x, int8_t *y)
{
    const kt_repeat_params p = *params;
    const int32_t direction = kt_direction(x, y), vectors = kt_vectors(p.size, p.times), singles = vectors == 0 ? p.size : 0;
    const uint8x16_t offsets = kt_offsets_of(p.times);
    int32_t i, k;
    for (i = kt_first(direction, vectors); kt_within(i, vectors); i += direction) {
        const int32_t left = p.size - i * KT_REPEATED_AT_ONCE;
        const mve_pred16_t lanes = vctp8q((uint32_t)left);
        const int8x16_t values = vldrbq_z_s8(x + i * KT_REPEATED_AT_ONCE, lanes);
        int8_t *const to = y + i * KT_REPEATED_AT_ONCE * p.times;
        if (p.times == 2 && left >= KT_REPEATED_AT_ONCE) {
            const int8x16x2_t twice = {{values, values}};
            vst2q_s8(to, twice);
            continue;
        }
        for (k = 0; k < p.times; k++) {
            vstrbq_scatter_offset_p_s8(to + k, offsets, values, lanes);
        }
    }
    for (i = kt_first(direction, singles); kt_within(i, singles); i += direction) {
        kt_repeat_one(&p, i, x, y);
    }
}

void kt_repeat_gradient_s8(const kt_repeat_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_repeat_gradient_params p = *params;
    const int32_t direction = kt_direction(g, dx), vectors = kt_vectors(p.size, p.times), singles = vectors == 0 ? p.size : 0;
    const int16x8_t shift = vdupq_n_s16((int16_t)-kt_clamp(p.shift, -15, 15));
    const uint8x16_t offsets = kt_offsets_of(p.times);
    int32_t i, k;
    for (i = kt_first(direction, vectors); kt_within(i, vectors); i += direction) {
        const mve_pred16_t lanes = vctp8q((uint32_t)(p.size - i * KT_REPEATED_AT_ONCE));
        const int8_t *const from = g + i * KT_REPEATED_AT_ONCE * p.times;
        int16x8_t even = vdupq_n_s16(0), odd = even;
        int8x16_t sums;
        for (k = 0; k < p.times; k++) {
            const int8x16_t values = vldrbq_gather_offset_z_s8(from + k, offsets, lanes);
            even = vaddq_s16(even, vmovlbq_s8(values));
            odd = vaddq_s16(odd, vmovltq_s8(values));
        }
        sums = vqmovnbq_s16(vdupq_n_s8(0), vqrshlq_s16(even, shift));
        sums = vqmovntq_s16(sums, vqrshlq_s16(odd, shift));
        vstrbq_p_s8(dx + i * KT_REPEATED_AT_ONCE, vmaxq_s8(sums, vdupq_n_s8(-INT8_MAX)), lanes); /* as kt_saturate8 */
    }
    for (i = kt_first(direction, singles); kt_within(i, singles); i += direction) {
        kt_sum_repeated(&p, i, g, dx);
    }
}

#endif
