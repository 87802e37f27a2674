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

/* Words of three positions, 4 apart. */
KT_INLINE void kt_fill_three(uint32_t *word, const int8_t *a, const int8_t *b, const int8_t *c, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++, word += KT_PANEL_WORDS) {
        const uint32_t middle = (uint32_t)b[i];
        word[0] = (uint32_t)a[i] + (middle << 10);
        word[1] = (uint32_t)c[i] + (middle << 21);
    }
}

KT_INLINE void kt_fill_six(uint32_t *word, const int8_t *const at[KT_POSITIONS], int32_t count)
{
    kt_fill_three(word, at[0], at[1], at[2], count);
    kt_fill_three(word + 2, at[3], at[4], at[5], count);
}

/* `count` values of each of up to six pixels, `step` bytes apart, zeros up to `length`, and the start words. */
void kt_fill_pixels(uint32_t *panel, const int8_t *x, int32_t step, int32_t positions, int32_t count, int32_t length);

/* The next `count` values of the windows, zeros behind the last, and the start words. panel: {4 start words, [count][4]}. */
void kt_fill_triple(kt_triple_windows *windows, uint32_t *panel, int32_t count);

#endif
