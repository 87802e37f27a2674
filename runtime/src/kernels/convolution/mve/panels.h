/* panels.h: the values under windows, copied to panels in the order of the weights, with the zero point in the border.
 *
 * The windows of neighbours in a row of results lie side by side, so that one loop copies the same row of all of them. */
#ifndef KT_PANELS_H
#define KT_PANELS_H

#include "../../mve/lanes.h"
#include "../../window.h"

enum { KT_LANES = 16 };

/* The windows of a layer and where its panels lie. */
typedef struct {
    const kt_window *window;
    const int8_t *x;
    int32_t outside;       /* the value of the border */
    int32_t distance;      /* from panel to panel, at least the values under a window */
    int32_t first, end;    /* results of a row whose windows lie inside along the width */
} kt_panels;

static inline kt_panels kt_panels_of(const kt_window *window, const int8_t *x, int32_t outside, int32_t distance)
{
    const int32_t reach = (window->kernel[KT_X] - 1) * window->dilation[KT_X] + 1;
    const int32_t last = window->input[KT_X] - reach + window->pad[KT_X];
    kt_panels panels;
    panels.window = window;
    panels.x = x;
    panels.outside = outside;
    panels.distance = distance;
    panels.first = kt_divide_up(kt_maximum(window->pad[KT_X], 0), window->stride[KT_X]);
    panels.end = last < 0 ? 0 : kt_minimum(last / window->stride[KT_X] + 1, window->output[KT_X]);
    return panels;
}

/* `count` pieces of up to 16 values. */
static inline void kt_copy_short_pieces(int8_t *to, int32_t to_step, const int8_t *from, int32_t from_step, int32_t count, int32_t length)
{
    __asm__ volatile("vctp.8 %[length]\n\t"
                     "wls lr, %[count], 2f\n"
                     "1:\n\t"
                     "vpstt\n\t"
                     "vldrbt.8 q0, [%[from]]\n\t"
                     "vstrbt.8 q0, [%[to]]\n\t"
                     "add %[from], %[from], %[from_step]\n\t"
                     "add %[to], %[to], %[to_step]\n\t"
                     "le lr, 1b\n"
                     "2:\n"
                     : [from] "+r"(from), [to] "+r"(to)
                     : [count] "r"(count), [length] "r"(length), [from_step] "r"(from_step), [to_step] "r"(to_step)
                     : "lr", "q0", "memory");
}

/* Of 16 to 32. */
static inline void kt_copy_two_lanes(int8_t *to, int32_t to_step, const int8_t *from, int32_t from_step, int32_t count, int32_t length)
{
    __asm__ volatile("vctp.8 %[rest]\n\t"
                     "wls lr, %[count], 2f\n"
                     "1:\n\t"
                     "vldrb.8 q0, [%[from]]\n\t"
                     "vpst\n\t"
                     "vldrbt.8 q1, [%[from], #16]\n\t"
                     "vstrb.8 q0, [%[to]]\n\t"
                     "vpst\n\t"
                     "vstrbt.8 q1, [%[to], #16]\n\t"
                     "add %[from], %[from], %[from_step]\n\t"
                     "add %[to], %[to], %[to_step]\n\t"
                     "le lr, 1b\n"
                     "2:\n"
                     : [from] "+r"(from), [to] "+r"(to)
                     : [count] "r"(count), [rest] "r"(length - KT_LANES), [from_step] "r"(from_step), [to_step] "r"(to_step)
                     : "lr", "q0", "q1", "memory");
}

/* `count` pieces of `length` values, from_step apart, to where they lie to_step apart. */
static inline void kt_copy_pieces(int8_t *to, int32_t to_step, const int8_t *from, int32_t from_step, int32_t count, int32_t length)
{
    if (length <= KT_LANES) {
        kt_copy_short_pieces(to, to_step, from, from_step, count, length);
    } else if (length <= 2 * KT_LANES) {
        kt_copy_two_lanes(to, to_step, from, from_step, count, length);
    } else {
        for (; count > 0; count--, from += from_step, to += to_step) {
            kt_copy_lanes(to, from, length);
        }
    }
}

/* The same patch of `count` windows from x on, `along` apart in the image. */
static inline void kt_copy_patches(const kt_panels *panels, const kt_patch *patch, int32_t along, int32_t count, int8_t *panel)
{
    const int8_t *from = panels->x + patch->x;
    int8_t *to = panel + patch->w;
    int32_t row, span;
    if (count < patch->rows && patch->spans == 1) {
        for (; count > 0; count--, from += along, to += panels->distance) {
            kt_copy_pieces(to, patch->row_w, from, patch->row_x, patch->rows, patch->length);
        }
        return;
    }
    for (row = patch->rows; row > 0; row--, from += patch->row_x, to += patch->row_w) {
        for (span = 0; span < patch->spans; span++) {
            kt_copy_pieces(to + span * patch->span_w, panels->distance, from + span * patch->span_x, along, count, patch->length);
        }
    }
}

/* The windows of `count` results of row oy from ox on, in this direction. */
static inline void kt_fill_panels(const kt_panels *panels, int32_t oy, int32_t ox, int32_t direction, int32_t count, int8_t *panel)
{
    const kt_window *window = panels->window;
    const kt_taps rows = kt_taps_at(window, KT_Y, oy);
    const int32_t stride = window->stride[KT_X], kernel = window->kernel[KT_X];
    while (count > 0) {
        const int inside = ox >= panels->first && ox < panels->end;
        const int32_t most = inside ? (direction > 0 ? panels->end - ox : ox - panels->first + 1) : 1;
        const int32_t taken = kt_minimum(count, most);
        kt_taps columns = {0, kernel, ox * stride - window->pad[KT_X]};
        kt_patch patch;
        if (!inside) {
            columns = kt_taps_at(window, KT_X, ox);
        }
        patch = kt_patch_of(window, rows, columns);
        if (rows.count < window->kernel[KT_Y] || columns.count < kernel) {
            kt_fill_lanes(panel, panels->outside, taken * panels->distance);
        }
        kt_copy_patches(panels, &patch, direction * stride * window->input[KT_CHANNELS], taken, panel);
        panel += taken * panels->distance;
        ox += direction * taken;
        count -= taken;
    }
}

#endif
