/* conv2d_short.h: convolutions on cores with Helium whose windows hold few values: first layers, and 1x1 over few channels.
 *
 * The values of two positions (four, where a vector holds a window) stay in registers while the weights of all channels pass by, so
 * that nothing but a load, a product and a store of sums is left. What the sums start from is added while they are requantised. */
#ifndef KT_CONV2D_SHORT_H
#define KT_CONV2D_SHORT_H

#include "conv2d_lanes.h"

enum {
    KT_SHORT_VALUES = 3 * KT_LANES,            /* of a window */
    KT_MOST_AT_ONCE = 8
};

/* Windows of several positions and their results. */
typedef struct {
    const int8_t *x[KT_MOST_AT_ONCE];
    int8_t *y[KT_MOST_AT_ONCE];
} kt_short_positions;

/* Sums of `count` channels of two positions. */
typedef int32_t kt_paired_sums[KT_CHUNK][2];

#define KT_PRODUCT_OF(sum, values, weights) "vmladava.s8 %[" sum "], " values ", " weights "\n\t"
#define KT_FIRST_PRODUCT_OF(sum, values, weights) "vmladav.s8 %[" sum "], " values ", " weights "\n\t"
#define KT_LAST_WEIGHTS(vector, offset) "vpst\n\t" "vldrbt.8 " vector ", [%[w], #" offset "]\n\t" "add %[w], %[w], %[size]\n\t"

/* Windows of up to 16 values, four positions; the sums of the last two stand behind those of the first. */
static inline void kt_dot_one_vector(const int8_t *const *x, const int8_t *w, int32_t size, int32_t count, int32_t *to)
{
    int32_t a, b, c, d;
    __asm__ volatile("vctp.8 %[size]\n\t"
            "ldrd %[a], %[b], [%[x]]\n\t"             /* pointers, in what will hold sums */
            "ldrd %[c], %[d], [%[x], #8]\n\t"
            "vpstttt\n\t"
            "vldrbt.8 q0, [%[a]]\n\t"
            "vldrbt.8 q1, [%[b]]\n\t"
            "vldrbt.8 q2, [%[c]]\n\t"
            "vldrbt.8 q3, [%[d]]\n\t"
            "wls lr, %[count], 2f\n"
            "1:\n\t"
            KT_LAST_WEIGHTS("q4", "0")
            KT_FIRST_PRODUCT_OF("a", "q0", "q4")
            KT_FIRST_PRODUCT_OF("b", "q1", "q4")
            KT_FIRST_PRODUCT_OF("c", "q2", "q4")
            KT_FIRST_PRODUCT_OF("d", "q3", "q4")
            "strd %[a], %[b], [%[to]], #8\n\t"
            "strd %[c], %[d], [%[to], #504]\n\t"      /* 8 * KT_CHUNK - 8 */
            "le lr, 1b\n"
            "2:\n"
            : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [w] "+r"(w), [to] "+r"(to)
            : [x] "r"(x), [size] "r"(size), [count] "r"(count)
            : "lr", "q0", "q1", "q2", "q3", "q4", "memory");
}

/* Of up to 32 values, two positions; x: that of the first. */
static inline void kt_dot_two_vectors(const int8_t *const *x, const int8_t *w, int32_t size, int32_t count, int32_t *to)
{
    int32_t a, b;
    __asm__ volatile("vctp.8 %[rest]\n\t"
            "ldrd %[a], %[b], [%[x]]\n\t"
            "vldrb.8 q0, [%[a]]\n\t"
            "vldrb.8 q2, [%[b]]\n\t"
            "vpstt\n\t"
            "vldrbt.8 q1, [%[a], #16]\n\t"
            "vldrbt.8 q3, [%[b], #16]\n\t"
            "wls lr, %[count], 2f\n"
            "1:\n\t"
            "vldrb.8 q4, [%[w]]\n\t"
            KT_LAST_WEIGHTS("q5", "16")
            KT_FIRST_PRODUCT_OF("a", "q0", "q4")
            KT_FIRST_PRODUCT_OF("b", "q2", "q4")
            KT_PRODUCT_OF("a", "q1", "q5")
            KT_PRODUCT_OF("b", "q3", "q5")
            "strd %[a], %[b], [%[to]], #8\n\t"
            "le lr, 1b\n"
            "2:\n"
            : [a] "=&Te"(a), [b] "=&Te"(b), [w] "+r"(w), [to] "+r"(to)
            : [x] "r"(x), [size] "r"(size), [rest] "r"(size - KT_LANES), [count] "r"(count)
            : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "memory");
}

/* Of up to 48 values. */
static inline void kt_dot_three_vectors(const int8_t *const *x, const int8_t *w, int32_t size, int32_t count, int32_t *to)
{
    int32_t a, b;
    __asm__ volatile(KT_HOLD_THREE_VECTORS
            "wls lr, %[count], 2f\n"
            "1:\n\t"
            "vldrb.8 q6, [%[w]]\n\t"
            "vldrb.8 q7, [%[w], #16]\n\t"
            KT_FIRST_PRODUCT_OF("a", "q0", "q6")
            KT_FIRST_PRODUCT_OF("b", "q2", "q6")
            KT_LAST_WEIGHTS("q6", "32")
            KT_PRODUCT_OF("a", "q1", "q7")
            KT_PRODUCT_OF("b", "q3", "q7")
            KT_PRODUCT_OF("a", "q4", "q6")
            KT_PRODUCT_OF("b", "q5", "q6")
            "strd %[a], %[b], [%[to]], #8\n\t"
            "le lr, 1b\n"
            "2:\n"
            : [a] "=&Te"(a), [b] "=&Te"(b), [w] "+r"(w), [to] "+r"(to)
            : [x] "r"(x), [size] "r"(size), [rest] "r"(size - 2 * KT_LANES), [count] "r"(count)
            : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory");
}

/* Channels [first, first + most) of `count` positions, whose tables are given; kind and vectors of a window are known to the compiler. */
static inline __attribute__((always_inline)) void kt_short_channels(const kt_finish_tables *tables, const kt_short_positions *at, int32_t count,
                                                                    const int8_t *w, int32_t size, int32_t first, int32_t most,
                                                                    kt_shift_kind kind, int32_t vectors)
{
    kt_paired_sums sums[2];
    int32_t i;
    for (i = 0; i < count; i += 2) {
        const int32_t (*pair)[2] = (const int32_t (*)[2])sums[vectors == 1 ? i >> 1 & 1 : 0];
        if (vectors == 1 && (i & 2) == 0) {
            kt_dot_one_vector(at->x + i, w, size, most, sums[0][0]);
        } else if (vectors == 2) {
            kt_dot_two_vectors(at->x + i, w, size, most, sums[0][0]);
        } else if (vectors == 3) {
            kt_dot_three_vectors(at->x + i, w, size, most, sums[0][0]);
        }
        kt_finish_pairs(tables, kind, most, pair, at->y[i] + first, at->y[i + 1] + first);
    }
}

static inline __attribute__((always_inline)) void kt_short_channels_of(const kt_finish_tables *tables, const kt_short_positions *at, int32_t count,
                                                                       const int8_t *w, int32_t size, int32_t first, int32_t most,
                                                                       kt_shift_kind kind)
{
    if (size <= KT_LANES) {
        kt_short_channels(tables, at, count, w, size, first, most, kind, 1);
    } else if (size <= 2 * KT_LANES) {
        kt_short_channels(tables, at, count, w, size, first, most, kind, 2);
    } else {
        kt_short_channels(tables, at, count, w, size, first, most, kind, 3);
    }
}

/* All channels of `count` positions. */
static inline void kt_short_compute(const kt_conv2d_layer *layer, kt_short_positions *at, int32_t count)
{
    const int32_t channels = layer->params->window.output[KT_CHANNELS], size = layer->size;
    int32_t own[KT_CHUNK];
    int32_t first, i;
    for (i = count; (i & 3) != 0; i++) { /* the last one again */
        at->x[i] = at->x[count - 1];
        at->y[i] = at->y[count - 1];
    }
    for (first = 0; first < channels; first += KT_CHUNK) {
        const int32_t most = kt_minimum(channels - first, KT_CHUNK);
        const int8_t *w = layer->params->weights + first * size;
        const int32_t *initial = layer->initial + first;
        kt_finish_tables tables;
        if (layer->initial == NULL) {
            kt_initial_sums(w, size, most, layer->params->input_offset, own);
            initial = own;
        }
        tables = kt_finish_tables_of(&layer->finish, first, initial);
        if (layer->finish.kind == KT_RECTIFIED) {
            kt_short_channels_of(&tables, at, count, w, size, first, most, KT_RECTIFIED);
        } else {
            kt_short_channels_of(&tables, at, count, w, size, first, most, layer->finish.kind);
        }
    }
}

/* copied: windows are copied to panels. */
static inline void kt_conv2d_walk_short(const kt_conv2d_layer *layer, const int8_t *x, int8_t *y, int copied)
{
    const kt_conv2d_params *params = layer->params;
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int8_t panel[KT_MOST_AT_ONCE * KT_SHORT_VALUES];
    kt_short_positions at;
    int32_t oy, ox, count = 0;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_panel_row row = kt_panel_row_at(window, x, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            at.y[count] = y + (oy * width + ox) * channels;
            if (copied) {
                at.x[count] = panel + count * KT_SHORT_VALUES;
                kt_fill_panel(window, -params->input_offset, &row, ox, x, layer->size, panel + count * KT_SHORT_VALUES);
            } else {
                at.x[count] = row.from + ox * window->stride[KT_X] * window->input[KT_CHANNELS];
            }
            if (++count == KT_MOST_AT_ONCE) {
                kt_short_compute(layer, &at, count);
                count = 0;
            }
        }
    }
    if (count != 0) {
        kt_short_compute(layer, &at, count);
    }
}

/* All of a layer whose window is short; 0 where it is not, and nothing is done. */
static inline int kt_conv2d_by_short_windows(kt_conv2d_layer layer, const int8_t *x, int8_t *y)
{
    const kt_window *window = &layer.params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int read_once = kt_conv2d_apart(window, x, y) || channels <= KT_CHUNK;
    int32_t initial[KT_CHUNK];
    if (layer.size > KT_SHORT_VALUES) {
        return 0;
    }
    if (layer.initial == NULL && channels <= KT_CHUNK) {
        kt_initial_sums(layer.params->weights, layer.size, channels, layer.params->input_offset, initial);
        layer.initial = initial;
    }
    kt_conv2d_walk_short(&layer, x, y, !(kt_windows_are_pieces(window) && read_once));
    return 1;
}

#endif
