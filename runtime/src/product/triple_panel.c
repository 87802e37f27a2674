/* The panel of a triple product. */
#include "triple_panel.h"

/* The start words of a panel. */
static void kt_start_triple(uint32_t *panel, int32_t count)
{
    const uint32_t *word = panel + KT_PANEL_WORDS;
    uint32_t first = 0, second = 0, third = 0, fourth = 0;
    for (; count > 0; count--, word += KT_PANEL_WORDS) {
        first += word[0];
        second += word[1];
        third += word[2];
        fourth += word[3];
    }
    panel[0] = 0U - (first << 7);
    panel[1] = 0U - (second << 7);
    panel[2] = 0U - (third << 7);
    panel[3] = 0U - (fourth << 7);
}

/* Zeros behind the last value. */
static void kt_end_triple(uint32_t *word, int32_t count)
{
    for (count *= KT_PANEL_WORDS; count > 0; count--) {
        *word++ = 0;
    }
}

void kt_fill_pixels(uint32_t *panel, const int8_t *x, int32_t step, int32_t positions, int32_t count, int32_t length)
{
    const int8_t *at[KT_POSITIONS];
    int32_t i;
    for (i = 0; i < KT_POSITIONS; i++) {
        at[i] = i < positions ? x + i * step : x;
    }
    kt_fill_six(panel + KT_PANEL_WORDS, at, count);
    kt_end_triple(panel + KT_PANEL_WORDS * (count + 1), length - count);
    kt_start_triple(panel, length);
}

/* Where the run of a position lies that comes next. */
static const int8_t *kt_run_of(const kt_triple_windows *windows, int32_t position)
{
    const kt_window *const window = windows->window;
    const int32_t y = windows->top[position] + windows->row * window->dilation[0];
    const int32_t x = windows->left[position] + windows->tap * window->dilation[1];
    if (y < 0 || y >= window->input[0] || x < 0 || x >= window->input[1]) {
        return windows->border + windows->value;
    }
    return windows->x + (y * window->input[1] + x) * window->input[2] + windows->value;
}

void kt_fill_triple(kt_triple_windows *windows, uint32_t *panel, int32_t count)
{
    const kt_window *const window = windows->window;
    const int32_t taps = windows->inside ? 1 : window->kernel[1];
    const int32_t length = windows->inside ? window->kernel[1] * window->input[2] : window->input[2];
    uint32_t *word = panel + KT_PANEL_WORDS;
    int32_t left = count;
    while (left > 0 && windows->row < window->kernel[0]) {
        const int32_t run = kt_minimum(length - windows->value, left);
        const int8_t *at[KT_POSITIONS];
        int32_t i;
        for (i = 0; i < KT_POSITIONS; i++) {
            at[i] = kt_run_of(windows, i);
        }
        kt_fill_six(word, at, run);
        word += KT_PANEL_WORDS * run;
        left -= run;
        windows->value += run;
        if (windows->value == length) {
            windows->value = 0;
            windows->tap++;
        }
        if (windows->tap == taps) {
            windows->tap = 0;
            windows->row++;
        }
    }
    kt_end_triple(word, left);
    kt_start_triple(panel, count);
}
