/* triple_panel.h: the panel of a triple product (../triple.h) for vectors: a row of shorts for each position, [KT_POSITIONS][length].
 *
 * It takes less room than words of three values each. No start words: vectors multiply with weights of any sign. */
#ifndef KT_VECTOR_TRIPLE_PANEL_H
#define KT_VECTOR_TRIPLE_PANEL_H

#include "channels.h"

/* The first position's value that a word of ../triple.h stands for. */
KT_INLINE int16_t *kt_row_at(uint32_t *panel, const uint32_t *word)
{
    return (int16_t *)(void *)panel + ((word - panel) / KT_PANEL_WORDS - 1);
}

/* `count` values of each of six positions from a word of a panel of `length` on. */
static inline void kt_fill_six(uint32_t *panel, int32_t length, const uint32_t *word, const int8_t *const at[KT_POSITIONS], int32_t count,
                               const uint32_t sums[KT_PANEL_WORDS])
{
    int32_t p, i;
    (void)sums;
    for (p = 0; p < KT_POSITIONS; p++) {
        int16_t *const row = kt_row_at(panel, word) + p * length;
        for (i = 0; i + KT_CHANNEL_LANES <= count; i += KT_CHANNEL_LANES) {
            kt_store_lanes(row + i, kt_widen_channels(at[p] + i));
        }
        for (; i < count; i++) {
            row[i] = at[p][i];
        }
    }
}

static inline void kt_start_triple(const uint32_t *panel, const uint32_t sums[KT_PANEL_WORDS])
{
    (void)panel;
    (void)sums;
}

/* Zeros behind the last value, `count` of them from a word on. */
static inline void kt_end_triple(uint32_t *panel, int32_t length, const uint32_t *word, int32_t count)
{
    int32_t p;
    for (p = 0; p < KT_POSITIONS && count > 0; p++) {
        memset(kt_row_at(panel, word) + p * length, 0, (size_t)count * sizeof(int16_t));
    }
}

#endif
