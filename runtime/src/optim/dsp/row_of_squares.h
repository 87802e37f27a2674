/* row_of_squares.h: the squares of a streamed gradient's row with the DSP extension and a unit for float32, four elements a turn. Zeros are added like
 * all others: that takes less than passing over them, and changes nothing. */
#ifndef KT_OPTIM_DSP_ROW_OF_SQUARES_H
#define KT_OPTIM_DSP_ROW_OF_SQUARES_H

/* VMLA rounds the product and then the sum, as VMUL and VADD do. */
#define KT_FOUR_SQUARES(FACTOR) \
    __asm__("1:\n\t" \
            "ldr %[a], [%[x]], #4\n\t" \
            "sxtab16 %[b], %[offsets], %[a], ror #8\n\t"  /* inputs 1 and 3 */ \
            "sxtab16 %[a], %[offsets], %[a]\n\t"          /* 0 and 2 */ \
            "smulbb %[c], %[g], %[a]\n\t" \
            "smulbb %[d], %[g], %[b]\n\t" \
            "smulbt %[a], %[g], %[a]\n\t" \
            "smulbt %[b], %[g], %[b]\n\t" \
            "vmov s0, s1, %[c], %[d]\n\t" \
            "vmov s2, s3, %[a], %[b]\n\t" \
            "vcvt.f32.s32 s0, s0\n\t" \
            "vcvt.f32.s32 s1, s1\n\t" \
            "vcvt.f32.s32 s2, s2\n\t" \
            "vcvt.f32.s32 s3, s3\n\t" \
            "vmul.f32 s0, s0, %[scale]\n\t" \
            "vmul.f32 s1, s1, %[scale]\n\t" \
            "vmul.f32 s2, s2, %[scale]\n\t" \
            "vmul.f32 s3, s3, %[scale]\n\t" \
            FACTOR \
            "vmla.f32 %[total], s0, s0\n\t" \
            "vmla.f32 %[total], s1, s1\n\t" \
            "vmla.f32 %[total], s2, s2\n\t" \
            "subs %[fours], #1\n\t" \
            "vmla.f32 %[total], s3, s3\n\t" \
            "bne 1b" \
            : [x] "+r"(x), [fours] "+r"(fours), [total] "+t"(total), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d) \
            : [g] "r"(g), [offsets] "r"(offsets), [scale] "t"(scale), [factor] "t"(factor) \
            : "cc", "memory", "s0", "s1", "s2", "s3")

#define KT_TIMES_FACTOR \
            "vmul.f32 s0, s0, %[factor]\n\t" \
            "vmul.f32 s1, s1, %[factor]\n\t" \
            "vmul.f32 s2, s2, %[factor]\n\t" \
            "vmul.f32 s3, s3, %[factor]\n\t"

/* total + the squares of a row's elements, in order. */
static inline float kt_add_row_of_squares(const kt_streamed_params *params, const kt_streamed *s, int32_t row, float total)
{
    const float scale = s->scale.value, factor = s->factor.value;
    const int8_t *x = s->x;
    const int32_t g = s->g[row], offsets = (int32_t)((uint32_t)(uint16_t)s->offset * 0x10001u);
    int32_t fours = params->columns >> 2, a, b, c, d;
    if (fours > 0 && factor == 1.0f) {
        KT_FOUR_SQUARES("");
    } else if (fours > 0) {
        KT_FOUR_SQUARES(KT_TIMES_FACTOR);
    }
    return kt_add_squares_one_by_one(params, s, row, params->columns & ~3, total);
}

#endif
