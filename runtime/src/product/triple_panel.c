/* The panel of a triple product. */
#include "triple_panel.h"

#if KT_VECTOR
#include "vector/triple_panel.h"
#else
/* `count` values of six positions from a word of a panel of `length` on; adds their words to sums. */
static void kt_fill_six(uint32_t *panel, int32_t length, uint32_t *word, const int8_t *const at[KT_POSITIONS], int32_t count,
                        uint32_t sums[KT_PANEL_WORDS])
{
    (void)panel;
    (void)length;
    kt_fill_three(word, at[0], at[1], at[2], count, sums);
    kt_fill_three(word + 2, at[3], at[4], at[5], count, sums + 2);
}

/* The start words of a panel: -128 times the sums of its words. */
static void kt_start_triple(uint32_t *panel, const uint32_t sums[KT_PANEL_WORDS])
{
    int32_t i;
    for (i = 0; i < KT_PANEL_WORDS; i++) {
        panel[i] = 0U - (sums[i] << 7);
    }
}

/* Zeros behind the last value, `count` of them from a word on. */
static void kt_end_triple(uint32_t *panel, int32_t length, uint32_t *word, int32_t count)
{
    (void)panel;
    (void)length;
    for (count *= KT_PANEL_WORDS; count > 0; count--) {
        *word++ = 0;
    }
}
#endif

void kt_fill_pixels(uint32_t *panel, const int8_t *x, int32_t step, int32_t positions, int32_t count, int32_t length)
{
    const int8_t *at[KT_POSITIONS];
    uint32_t sums[KT_PANEL_WORDS] = {0};
    int32_t i;
    for (i = 0; i < KT_POSITIONS; i++) {
        at[i] = i < positions ? x + i * step : x;
    }
    kt_fill_six(panel, length, panel + KT_PANEL_WORDS, at, count, sums);
    kt_end_triple(panel, length, panel + KT_PANEL_WORDS * (count + 1), length - count);
    kt_start_triple(panel, sums);
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

enum { KT_SHORT_ROW = 32 };

/* Where the kernel row of a position lies that comes next, KT_SHORT_ROW values at most; what of it is outside is put together in `part`. */
static const int8_t *kt_row_of(const kt_triple_windows *windows, int32_t position, int8_t *part)
{
    const kt_window *const window = windows->window;
    const int32_t channels = window->input[2], width = window->input[1];
    const int32_t y = windows->top[position] + windows->row * window->dilation[0], x = windows->left[position];
    const int32_t within = y >= 0 && y < window->input[0];
    const int8_t *const row = windows->x + (y * width + x) * channels;
    const int32_t length = window->kernel[1] * channels;
    int32_t first = 0, end = 0, i;
    if (within && x >= 0 && x + window->kernel[1] <= width) {
        return row;
    }
    if (within) {
        first = kt_clamp(-x * channels, 0, length);
        end = kt_clamp((width - x) * channels, first, length);
    }
    for (i = 0; i < length; i++) {
        part[i] = i >= first && i < end ? row[i] : *windows->border;
    }
    return part;
}

void kt_fill_triple(kt_triple_windows *windows, uint32_t *panel, int32_t count)
{
    const kt_window *const window = windows->window;
    const int32_t row = window->kernel[1] * window->input[2];
    const int32_t short_row = !windows->inside && window->dilation[1] == 1 && row <= KT_SHORT_ROW;
    const int32_t neighbours = windows->inside || short_row;
    const int32_t taps = neighbours ? 1 : window->kernel[1], length = neighbours ? row : window->input[2];
    uint32_t *word = panel + KT_PANEL_WORDS;
    uint32_t sums[KT_PANEL_WORDS] = {0};
    int32_t left = count;
    while (left > 0 && windows->row < window->kernel[0]) {
        const int32_t run = kt_minimum(length - windows->value, left);
        const int8_t *at[KT_POSITIONS];
        int8_t parts[KT_POSITIONS][KT_SHORT_ROW];
        int32_t i;
        for (i = 0; i < KT_POSITIONS; i++) {
            at[i] = short_row ? kt_row_of(windows, i, parts[i]) + windows->value : kt_run_of(windows, i);
        }
        kt_fill_six(panel, count, word, at, run, sums);
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
    kt_end_triple(panel, count, word, left);
    kt_start_triple(panel, sums);
}
