/* triple_panel.h: fills the panel of a triple product (triple.h) with what lies under the windows of six positions. */
#ifndef KT_TRIPLE_PANEL_H
#define KT_TRIPLE_PANEL_H

#include <stddef.h>

#include "kt/kernels/window.h"
#include "triple.h"

/* The windows of six positions; a panel of fewer repeats the first. */
typedef struct {
    const kt_window *window;
    const int8_t *x;
    const int8_t *border;       /* a pixel outside of the image; not used where every window lies inside */
    int32_t top[KT_POSITIONS];  /* of the first tap */
    int32_t left[KT_POSITIONS];
    int32_t inside;             /* all windows are, so that kernel rows are neighbours in memory */
    int32_t row, tap, value;    /* what comes next: kernel row, tap of the row (0 where rows are neighbours), value of a run */
} kt_triple_windows;

/* Words of three positions, 4 apart, of `count` neighbouring values of each; adds them to their sums. */
void kt_fill_three(uint32_t *word, const int8_t *a, const int8_t *b, const int8_t *c, int32_t count, uint32_t sums[2]);

/* `count` values of each of up to six pixels, `step` bytes apart, zeros up to `length`, and the start words. */
void kt_fill_pixels(uint32_t *panel, const int8_t *x, int32_t step, int32_t positions, int32_t count, int32_t length);

/* The next `count` values of the windows, zeros behind the last, and the start words. panel: {4 start words, [count][4]}. */
void kt_fill_triple(kt_triple_windows *windows, uint32_t *panel, int32_t count);

#endif
