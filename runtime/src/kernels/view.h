/* view.h: the part of an image, and of the results over it, that a kernel computes by itself.
 *
 * A window with a dilation of d along an axis never mixes values of two neighbours: every d-th result, from one of the first d on, is that of a window
 * without dilation over every d-th row or column. These d phases are images of their own, whose rows and columns lie further apart. */
#ifndef KT_VIEW_H
#define KT_VIEW_H

#include "window.h"

/* Windows over x, of which y are the results. x_line, x_next: bytes from one row of x to the next, and from one column; line, next: of results. */
typedef struct {
    kt_window window;
    const int8_t *x;
    int8_t *y;
    int32_t x_line, x_next, line, next;
} kt_view;

/* All of an image. */
static inline kt_view kt_view_of(const kt_window *window, const int8_t *x, int8_t *y)
{
    const int32_t inputs = window->input[KT_CHANNELS], outputs = window->output[KT_CHANNELS];
    const kt_view view = {*window, x, y, window->input[KT_X] * inputs, inputs, window->output[KT_X] * outputs, outputs};
    return view;
}

/* Phases along an axis: d of a window of several taps without a stride. */
static inline int32_t kt_phases_of(const kt_window *window, int axis)
{
    return window->kernel[axis] > 1 && window->stride[axis] == 1 ? window->dilation[axis] : 1;
}

/* Makes the view that of a phase along an axis. Returns whether it has results. */
static inline int kt_take_phase(kt_view *view, int axis, int32_t phase)
{
    kt_window *const window = &view->window;
    const int32_t d = kt_phases_of(window, axis), reach = phase - window->pad[axis], first = d > 1 ? (reach % d + d) % d : 0;
    int32_t *const from = axis == KT_Y ? &view->x_line : &view->x_next, *const to = axis == KT_Y ? &view->line : &view->next;
    if (d > 1) {
        view->x += first * *from;
        view->y += phase * *to;
        *from *= d;
        *to *= d;
        window->input[axis] = (window->input[axis] - first + d - 1) / d;
        window->output[axis] = (window->output[axis] - phase + d - 1) / d;
        window->pad[axis] = (first - reach) / d;
        window->dilation[axis] = 1;
    }
    return window->output[axis] > 0;
}

/* Makes one phase of a single line along an axis several that lie side by side: those behind it whose windows are as its own is. whole: the view that
 * it is of. Returns how many. */
static inline int32_t kt_join_phases(kt_view *view, const kt_view *whole, int axis, int32_t phase)
{
    const int32_t phases = kt_phases_of(&whole->window, axis), across = KT_X - axis;
    kt_window *const window = &view->window;
    int32_t more = 0;
    while (window->kernel[across] == 1 && window->output[across] == 1 && phase + more + 1 < phases) {
        kt_view other = *whole;
        (void)kt_take_phase(&other, axis, phase + more + 1);
        if (other.window.input[axis] != window->input[axis] || other.window.output[axis] != window->output[axis] ||
            other.window.pad[axis] != window->pad[axis]) {
            break;
        }
        more++;
    }
    if (more > 0) {
        window->input[across] = window->output[across] = 1 + more;
        window->stride[across] = 1;
        *(axis == KT_Y ? &view->x_next : &view->x_line) = axis == KT_Y ? whole->x_line : whole->x_next;
        *(axis == KT_Y ? &view->next : &view->line) = axis == KT_Y ? whole->line : whole->next;
    }
    return more;
}

/* The phases of an image, one after the other. */
typedef struct {
    int32_t row, column;
} kt_phase;

/* Makes `view` the next phase of `whole`, from {0, 0} on, or several of them; returns 0 where none is left. */
static inline int kt_next_phase(kt_view *view, const kt_view *whole, kt_phase *phase)
{
    const int32_t rows = kt_phases_of(&whole->window, KT_Y), columns = kt_phases_of(&whole->window, KT_X);
    while (phase->row < rows) {
        int found;
        *view = *whole;
        found = kt_take_phase(view, KT_Y, phase->row);
        found = kt_take_phase(view, KT_X, phase->column) && found;
        if (found && columns == 1) {
            phase->row += kt_join_phases(view, whole, KT_Y, phase->row);
        } else if (found && rows == 1) {
            phase->column += kt_join_phases(view, whole, KT_X, phase->column);
        }
        phase->column++;
        if (phase->column == columns) {
            phase->column = 0;
            phase->row++;
        }
        if (found) {
            return 1;
        }
    }
    return 0;
}

#endif
