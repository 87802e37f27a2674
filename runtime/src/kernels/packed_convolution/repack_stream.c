/* The weights of a packed layer, from the stream that it reads, as the product of its gradient reads them (product.h): four output channels of
 * four input channels are four words of either, of which one has the bytes of the other in columns. */
#include "kt/kernels/packed_convolution.h"
#include "../../product/halves.h"

enum { KT_FOUR = 4 };

#define KT_EVEN_BYTES UINT32_C(0x00FF00FF)
#define KT_TURNED UINT32_C(0x00800080) /* the first of each pair of exact bytes has 128 more */

/* `count` times four output channels of four input channels of a tap, so many words of either stream apart. */
typedef struct {
    int32_t from, to;
} kt_next_four;

#if KT_DSP
/* By the flags that the first addition leaves, SEL takes the second and fourth byte of one word and the first and third of another. 128 more in
 * both halves, which saturate nothing, make their high bytes exact. 16 weights in 22 instructions. */
static __attribute__((noinline)) void kt_repack_fours(const int32_t *from, int32_t *to, int32_t count, kt_next_four next)
{
    const int32_t *const end = from + count * next.from;
    __asm__ volatile(
        "mov r4, #0xFF00FF00\n\t"
        "uadd8 r4, r4, r4\n"
        "1:\n\t"
        "ldm %[from], {r4-r6, r8}\n\t" /* of the first pair of values the channels a, b and c, d, and of the second */
        "lsl r9, r6, #8\n\t"
        "lsl r12, r8, #8\n\t"
        "qadd16 r4, r4, %[turned]\n\t"
        "qadd16 r5, r5, %[turned]\n\t"
        "qadd16 r6, r6, %[turned]\n\t"
        "qadd16 r8, r8, %[turned]\n\t"
        "sel r9, r9, r4\n\t" /* a */
        "sel r12, r12, r5\n\t" /* c */
        "eor r4, %[turned], r4, lsr #8\n\t"
        "eor r5, %[turned], r5, lsr #8\n\t"
        "sel r4, r6, r4\n\t" /* b */
        "sel r5, r8, r5\n\t" /* d */
        "pkhbt r6, r9, r12, lsl #16\n\t"
        "pkhtb r8, r12, r9, asr #16\n\t"
        "pkhbt r9, r4, r5, lsl #16\n\t"
        "pkhtb r12, r5, r4, asr #16\n\t"
        "stm %[to], {r6, r8, r9, r12}\n\t"
        "add %[from], %[from_next]\n\t"
        "add %[to], %[to_next]\n\t"
        "cmp %[from], %[end]\n\t"
        "bne 1b\n"
        : [from] "+r"(from), [to] "+r"(to)
        : [end] "r"(end), [from_next] "r"(4 * next.from), [to_next] "r"(4 * next.to), [turned] "r"(KT_TURNED)
        : "r4", "r5", "r6", "r8", "r9", "r12", "cc", "memory");
}
#else
/* 128 more in both halves, so that a half is 256 b + (a + 128): b is its high byte. */
KT_INLINE uint32_t kt_exact_halves(uint32_t halves)
{
    return ((halves & UINT32_C(0x7FFF7FFF)) + KT_TURNED) ^ (halves & UINT32_C(0x80008000));
}

/* The bytes of one output channel, of four input channels: from the words of the first and third one, and of the second and fourth. */
KT_INLINE int32_t kt_first_of_pair(uint32_t first, uint32_t second)
{
    return (int32_t)(((first & KT_EVEN_BYTES) | (second & KT_EVEN_BYTES) << 8) ^ KT_TURNED);
}

KT_INLINE int32_t kt_second_of_pair(uint32_t first, uint32_t second)
{
    return (int32_t)(((kt_exact_halves(first) >> 8 & KT_EVEN_BYTES) | (kt_exact_halves(second) & ~KT_EVEN_BYTES)) ^ KT_TURNED);
}

static void kt_repack_fours(const int32_t *from, int32_t *to, int32_t count, kt_next_four next)
{
    for (; count > 0; count--, from += next.from, to += next.to) {
        const uint32_t first = (uint32_t)from[0], third = (uint32_t)from[1], first_odd = (uint32_t)from[2], third_odd = (uint32_t)from[3];
        const int32_t a = kt_first_of_pair(first, first_odd), b = kt_second_of_pair(first, first_odd);
        const int32_t c = kt_first_of_pair(third, third_odd), d = kt_second_of_pair(third, third_odd);
        to[0] = kt_pair_of(a, c);
        to[1] = kt_pair_of_high(a, c);
        to[2] = kt_pair_of(b, d);
        to[3] = kt_pair_of_high(b, d);
    }
}
#endif

/* The same of the last channels that are no four, `count` times: pairs of one or three have the order of four, those of two are neighbours. */
static void kt_repack_left(const int32_t *from, int32_t *to, int32_t count, kt_next_four next, int32_t left)
{
    const kt_next_four one = {KT_FOUR, KT_FOUR};
    int32_t words[4];
    for (; count > 0; count--, from += next.from, to += next.to) {
        kt_repack_fours(from, words, 1, one);
        to[0] = left == 2 ? kt_pair_of(words[0], words[2]) : words[0];
        to[1] = left == 2 ? kt_pair_of(words[1], words[3]) : words[1];
        if (left > 2) {
            to[2] = words[2];
            to[3] = words[3];
        }
    }
}

/* A tap of all channels, four input channels after the other. next: words from these to the next four. */
static void kt_repack_tap(const kt_repacking_params *params, const int32_t *from, int32_t *to, int32_t next)
{
    const int32_t outputs = params->channels / KT_FOUR, inputs = params->depth / KT_FOUR;
    const kt_next_four along_outputs = {params->step, KT_FOUR}, along_inputs = {KT_FOUR, next};
    int32_t i;
    for (i = 0; i < inputs && outputs > 0; i++) {
        kt_repack_fours(from + i * KT_FOUR, to + i * next, outputs, along_outputs);
    }
    if (params->channels % KT_FOUR > 0) {
        kt_repack_left(from + outputs * params->step, to + KT_FOUR * outputs, inputs, along_inputs, params->channels % KT_FOUR);
    }
}

/* Pairs of output channels of a tap. */
static inline int32_t kt_output_pairs(const kt_repacking_params *params)
{
    return params->channels / KT_FOUR * 2 + (params->channels % KT_FOUR + 1) / 2;
}

void kt_repack_pointwise(const kt_repacking_params *params, int32_t *stream)
{
    kt_repack_tap(params, params->stream, stream, 2 * kt_output_pairs(params));
}

static inline int32_t kt_taps_of(int32_t kernel, int32_t stride, int32_t phase)
{
    return phase < kernel ? (kernel - phase + stride - 1) / stride : 0;
}

void kt_repack_stream(const kt_repacking_params *params, int32_t *stream)
{
    const int32_t pairs = kt_output_pairs(params);
    int32_t fy, fx, y, x;
    for (fy = 0; fy < params->stride[0]; fy++) {
        const int32_t rows = kt_taps_of(params->kernel[0], params->stride[0], fy);
        for (fx = 0; fx < params->stride[1]; fx++) {
            const int32_t columns = kt_taps_of(params->kernel[1], params->stride[1], fx);
            const int32_t next = 2 * rows * columns * pairs;
            int32_t *to = stream;
            for (y = rows - 1; y >= 0; y--) {
                for (x = columns - 1; x >= 0; x--, to += 2 * pairs) {
                    const int32_t tap = (fy + y * params->stride[0]) * params->kernel[1] + fx + x * params->stride[1];
                    kt_repack_tap(params, params->stream + tap * params->depth, to, next);
                }
            }
            stream += params->depth / KT_FOUR * next;
        }
    }
}
