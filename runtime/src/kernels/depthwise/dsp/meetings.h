/* meetings.h: the windows that an input position meets, as offsets by axis: found once for a row, once for a column. */
#ifndef KT_DSP_MEETINGS_H
#define KT_DSP_MEETINGS_H

#include "../../window.h"

/* Longest side of a kernel. */
enum { KT_TAPS = 10 };

static inline int kt_meetings_fit(const kt_window *window)
{
    return window->kernel[KT_Y] <= KT_TAPS && window->kernel[KT_X] <= KT_TAPS;
}

/* The taps of an axis that meet an input index: offsets of the gradients and weights. */
typedef struct {
    int32_t count;
    int32_t gradient[KT_TAPS];
    int32_t weight[KT_TAPS];
} kt_axis_meetings;

/* step_g, step_w: from result to result of the axis, and from tap to tap. */
static inline void kt_meet(const kt_window *window, int axis, int32_t input, int32_t step_g, int32_t step_w,
                           kt_axis_meetings *found)
{
    int32_t tap;
    found->count = 0;
    for (tap = 0; tap < window->kernel[axis]; tap++) {
        const int32_t output = kt_output_at(window, axis, input, tap);
        if (output >= 0) {
            found->gradient[found->count] = output * step_g;
            found->weight[found->count++] = tap * step_w;
        }
    }
}

#endif
