/* Both columns of a panel of scaled gradients. */
#include "scaled_panel.h"

#if KT_DSP
#include "dsp/text.h"

enum { KT_USUAL_SHIFT = 7 }; /* of nearly all layers */

/* kt_scale_four of two positions, four neighbouring words of a panel, up to `end`: eight values in 27 instructions. */
static KT_NAKED __attribute__((noinline)) void kt_fill_fours_of_columns(const int8_t *g, const int8_t *other, const int16_t *prescale,
                                                                        int32_t *panel, const int32_t *end)
{
    __asm__ volatile(
#define KT_SCALED(even, odd) \
    "sxtb16 " odd ", " even ", ror #8\n\t" \
    "sxtb16 " even ", " even "\n\t" \
    "smlabb r10, " even ", r8, r11\n\t" /* the first and the third value */ \
    "smlatb " even ", " even ", r9, r11\n\t" \
    "asr r10, #7\n\t" \
    "pkhbt " even ", r10, " even ", lsl #9\n\t" \
    "smlabt r10, " odd ", r8, r11\n\t" \
    "smlatt " odd ", " odd ", r9, r11\n\t" \
    "asr r10, #7\n\t" \
    "pkhbt " odd ", r10, " odd ", lsl #9\n\t"
        "ldr r12, [sp]\n\t"
        "push {r4-r6, r8-r11, lr}\n\t"
        "mov r11, #64\n"
        "1:\n\t"
        "ldr r8, [r2], #4\n\t"
        "ldr r9, [r2], #4\n\t"
        "ldr r4, [r0], #4\n\t"
        "ldr r5, [r1], #4\n\t" KT_SCALED("r4", "r6") KT_SCALED("r5", "lr")
        "stm r3!, {r4-r6, lr}\n\t"
        "cmp r3, r12\n\t"
        "bne 1b\n\t"
        "pop {r4-r6, r8-r11, pc}\n"
#undef KT_SCALED
    );
}
#endif

/* One column, four channels at a time. */
static __attribute__((noinline)) void kt_fill_column(const int8_t *g, const int16_t *prescale, int32_t channels, int32_t shift, int32_t *word)
{
    const int32_t half = (int32_t)(UINT32_C(1) << (shift - 1));
    int32_t left = channels;
#if KT_COLUMN_LANES
    for (; left >= 8; left -= 8, g += 8, prescale += 8, word += 8) {
        kt_fill_eight_scaled(word, g, prescale, half, shift);
    }
#endif
    for (; left >= 4; left -= 4, g += 4, prescale += 4, word += 4) {
        kt_scale_four(g, prescale, half, shift, word, word + 2);
    }
    kt_fill_last_scaled(g, prescale, left, half, shift, word);
}

void kt_fill_scaled_columns(const int8_t *g, const int8_t *other, const int16_t *prescale, int32_t channels, int32_t shift, int32_t *panel)
{
#if KT_DSP
    if (shift == KT_USUAL_SHIFT && channels % 4 == 0) {
        kt_fill_fours_of_columns(g, other, prescale, panel, panel + channels);
        return;
    }
#endif
    kt_fill_column(g, prescale, channels, shift, panel);
    kt_fill_column(other, prescale, channels, shift, panel + 1);
}
