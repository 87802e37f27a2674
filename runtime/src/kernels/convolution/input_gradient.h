/* input_gradient.h: what the gradients of convolutions to their input share.
 *
 * dX = W^T dY sums over output channels, whose weights have different scales, so g is first scaled per channel into
 * 16 bits. The sums are gathered: for one input position, over the windows that cover it, into one int32 a channel. */
#ifndef KT_INPUT_GRADIENT_H
#define KT_INPUT_GRADIENT_H

#include "../gain/gain.h"
#include "../window.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../product/vector/words.h"
#endif

/* (g * m + 2^(p-1)) >> p, p >= 1. */
static inline int32_t kt_prescaled(int32_t g, int32_t m, int32_t p)
{
    return (g * m + (int32_t)(UINT32_C(1) << (p - 1))) >> p;
}

/* A pre-scale factor with the gain of its channel; m where there is none. */
static inline int32_t kt_gained(int32_t m, const kt_gain *gain, int32_t channel)
{
    if (gain != NULL && gain->codes != NULL) {
        return kt_minimum(kt_shift_round(m * kt_backward_factor(gain, channel), KT_BACKWARD_BITS), INT16_MAX);
    }
    return m;
}

/* Input channels that are summed at once, on the stack: a position with more of them is walked again for each block. */
enum { KT_GATHER_BLOCK = KT_SMALL_DSP ? 64 : 32 };

/* row[k] += factor * w[k]; the factor is an int16 */
static inline void kt_add_row(int32_t *row, const int8_t *w, int32_t factor, int32_t size)
{
    int32_t k = 0;
#if KT_VECTOR
    for (; k + KT_LANES <= size; k += KT_LANES) {
        kt_store_lanes(row + k, kt_add_lanes(kt_load_lanes(row + k), (kt_lanes)((kt_word_lanes)kt_widen_codes(w + k) * factor)));
    }
#elif KT_SMALL_DSP
    if (size >= 4) {
        const int8_t *const end = w + (size & ~3);
        __asm__ volatile("1:\n\t"
                         "ldr r3, [%[w]], #4\n\t"
                         "ldm %[row], {r4, r5, r6, r8}\n\t"
                         "sxtb16 r12, r3\n\t"
                         "sxtb16 r3, r3, ror #8\n\t"
                         "smlabb r4, %[factor], r12, r4\n\t"
                         "smlabb r5, %[factor], r3, r5\n\t"
                         "smlabt r6, %[factor], r12, r6\n\t"
                         "smlabt r8, %[factor], r3, r8\n\t"
                         "stm %[row]!, {r4, r5, r6, r8}\n\t"
                         "cmp %[w], %[end]\n\t"
                         "bne 1b"
                         : [w] "+r"(w), [row] "+r"(row)
                         : [end] "r"(end), [factor] "r"(factor)
                         : "r3", "r4", "r5", "r6", "r8", "r12", "cc", "memory");
        size &= 3;
    }
#endif
    for (; k < size; k++) {
        row[k] += factor * w[k];
    }
}

/* One meeting of an input position with a window: the tap [ky][kx] as ky * KW + kx, the window as oy * OW + ox. */
typedef struct {
    int32_t tap;
    int32_t position;
} kt_meeting;

/* Steps through the meetings of input position (y, x); start from ky = 0, kx = -1. */
typedef struct {
    int32_t y, x;
    int32_t ky, kx;
} kt_meeting_walk;

static inline int kt_next_meeting(const kt_window *window, kt_meeting_walk *walk, kt_meeting *meeting)
{
    while (walk->ky < window->kernel[KT_Y]) {
        const int32_t oy = kt_output_at(window, KT_Y, walk->y, walk->ky);
        while (oy >= 0 && ++walk->kx < window->kernel[KT_X]) {
            const int32_t ox = kt_output_at(window, KT_X, walk->x, walk->kx);
            if (ox >= 0) {
                meeting->tap = walk->ky * window->kernel[KT_X] + walk->kx;
                meeting->position = oy * window->output[KT_X] + ox;
                return 1;
            }
        }
        walk->ky++;
        walk->kx = -1;
    }
    return 0;
}

static inline kt_meeting_walk kt_meetings_of(int32_t y, int32_t x)
{
    kt_meeting_walk walk;
    walk.y = y;
    walk.x = x;
    walk.ky = 0;
    walk.kx = -1;
    return walk;
}

#endif
