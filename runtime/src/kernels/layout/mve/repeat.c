/* Values one behind the other twice, and the gradient of that, on cores with Helium: 16 at once, as loads and stores of two vectors interleave them. */
#include "../repeat.h"
#include "../../window.h"
#include "kt/architecture.h"

#if KT_MVE
#include <arm_mve.h>

void kt_repeat_s8(const kt_repeat_params *params, const int8_t *x, int8_t *y)
{
    const kt_repeat_params p = *params;
    const int32_t direction = kt_direction(x, y), whole = p.times == 2 ? p.size / KT_REPEATED_AT_ONCE : 0;
    const int32_t rest = p.size - whole * KT_REPEATED_AT_ONCE;
    int32_t i, left;
    for (i = kt_first(direction, p.size), left = direction < 0 ? rest : 0; left > 0; left--, i--) {
        kt_repeat_one(&p, i, x, y);
    }
    for (i = kt_first(direction, whole); kt_within(i, whole); i += direction) {
        const int8x16_t values = vldrbq_s8(x + i * KT_REPEATED_AT_ONCE);
        const int8x16x2_t twice = {{values, values}};
        vst2q_s8(y + 2 * i * KT_REPEATED_AT_ONCE, twice);
    }
    for (i = whole * KT_REPEATED_AT_ONCE, left = direction > 0 ? rest : 0; left > 0; left--, i++) {
        kt_repeat_one(&p, i, x, y);
    }
}

/* Sums of two in 16 bits, of each second result. */
static inline int8x16_t kt_sums_of_two(int8x16x2_t g, int16x8_t shift)
{
    const int16x8_t even = vaddq_s16(vmovlbq_s8(g.val[0]), vmovlbq_s8(g.val[1]));
    const int16x8_t odd = vaddq_s16(vmovltq_s8(g.val[0]), vmovltq_s8(g.val[1]));
    return vqmovntq_s16(vqmovnbq_s16(vdupq_n_s8(0), vqrshlq_s16(even, shift)), vqrshlq_s16(odd, shift));
}

void kt_repeat_gradient_s8(const kt_repeat_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_repeat_gradient_params p = *params;
    const int32_t direction = kt_direction(g, dx), whole = p.times == 2 ? p.size / KT_REPEATED_AT_ONCE : 0;
    const int32_t rest = p.size - whole * KT_REPEATED_AT_ONCE;
    const int16x8_t shift = vdupq_n_s16((int16_t)-kt_clamp(p.shift, -15, 15));
    int32_t i, left;
    for (i = kt_first(direction, p.size), left = direction < 0 ? rest : 0; left > 0; left--, i--) {
        kt_sum_repeated(&p, i, g, dx);
    }
    for (i = kt_first(direction, whole); kt_within(i, whole); i += direction) {
        vstrbq_s8(dx + i * KT_REPEATED_AT_ONCE, kt_sums_of_two(vld2q_s8(g + 2 * i * KT_REPEATED_AT_ONCE), shift));
    }
    for (i = whole * KT_REPEATED_AT_ONCE, left = direction > 0 ? rest : 0; left > 0; left--, i++) {
        kt_sum_repeated(&p, i, g, dx);
    }
}

#endif
