/* conv2d_short.h: convolutions on cores with Helium whose windows hold few values: first layers, and 1x1 over few channels.
 *
 * The values of two positions (four, where a vector holds a window) stay in registers while the weights of all channels pass by, so
 * that nothing but a load, a product and a store of sums is left. What the sums start from is added while they are requantised. */
#ifndef KT_CONV2D_SHORT_H
#define KT_CONV2D_SHORT_H

#include "conv2d_lanes.h"

enum {
    KT_SHORT_VALUES = 3 * KT_LANES    /* of a window */
};

/* Sums of `count` channels of two positions. */
typedef int32_t kt_paired_sums[KT_CHUNK][2];

#define KT_PRODUCT_OF(sum, values, weights) "vmladava.s8 %[" sum "], " values ", " weights "\n\t"
#define KT_FIRST_PRODUCT_OF(sum, values, weights) "vmladav.s8 %[" sum "], " values ", " weights "\n\t"
#define KT_LAST_WEIGHTS(vector) "add %[w], %[w], %[size]\n\t" "vldrb.8 " vector ", [%[w], #-16]\n\t"

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
            "vpst\n\t"
            "vldrbt.8 q4, [%[w]]\n\t"
            "add %[w], %[w], %[size]\n\t"
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

/* Of 17 to 32 values, two positions; x: that of the first. The last 16 values, with 0 for those that stand in both vectors, meet the last
 * 16 weights, as in KT_HOLD_THREE_VECTORS. */
static inline void kt_dot_two_vectors(const int8_t *const *x, const int8_t *w, int32_t size, int32_t count, int32_t *to)
{
    int32_t a, b;
    __asm__ volatile("vctp.8 %[twice]\n\t"
            "ldrd %[a], %[b], [%[x]]\n\t"
            "vpnot\n\t"
            "vldrb.8 q0, [%[a]]\n\t"
            "vldrb.8 q2, [%[b]]\n\t"
            "add %[a], %[a], %[last]\n\t"
            "add %[b], %[b], %[last]\n\t"
            "vpstt\n\t"
            "vldrbt.8 q1, [%[a]]\n\t"
            "vldrbt.8 q3, [%[b]]\n\t"
            "wls lr, %[count], 2f\n"
            "1:\n\t"
            "vldrb.8 q4, [%[w]]\n\t"
            KT_LAST_WEIGHTS("q5")
            KT_FIRST_PRODUCT_OF("a", "q0", "q4")
            KT_FIRST_PRODUCT_OF("b", "q2", "q4")
            KT_PRODUCT_OF("a", "q1", "q5")
            KT_PRODUCT_OF("b", "q3", "q5")
            "strd %[a], %[b], [%[to]], #8\n\t"
            "le lr, 1b\n"
            "2:\n"
            : [a] "=&Te"(a), [b] "=&Te"(b), [w] "+r"(w), [to] "+r"(to)
            : [x] "r"(x), [size] "r"(size), [last] "r"(size - KT_LANES), [twice] "r"(2 * KT_LANES - size), [count] "r"(count)
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
            KT_LAST_WEIGHTS("q6")
            KT_PRODUCT_OF("a", "q1", "q7")
            KT_PRODUCT_OF("b", "q3", "q7")
            KT_PRODUCT_OF("a", "q4", "q6")
            KT_PRODUCT_OF("b", "q5", "q6")
            "strd %[a], %[b], [%[to]], #8\n\t"
            "le lr, 1b\n"
            "2:\n"
            : [a] "=&Te"(a), [b] "=&Te"(b), [w] "+r"(w), [to] "+r"(to)
            : [x] "r"(x), [size] "r"(size), [last] "r"(size - KT_LANES), [twice] "r"(3 * KT_LANES - size), [count] "r"(count)
            : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory");
}

/* Channels [first, first + most) of `count` positions, whose tables are given; kind and vectors of a window are known to the compiler. */
static inline __attribute__((always_inline)) void kt_short_channels(const kt_finish_tables *tables, const kt_conv2d_waiting *at, int32_t count,
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

static inline __attribute__((always_inline)) void kt_short_channels_of(const kt_finish_tables *tables, const kt_conv2d_waiting *at, int32_t count,
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

/* All channels. */
static inline void kt_short_compute(const kt_conv2d_layer *layer, kt_conv2d_waiting *at, kt_addend_lanes *addend)
{
    const int32_t channels = layer->params->window.output[KT_CHANNELS], size = layer->size;
    const int32_t count = at->count;
    int32_t own[KT_CHUNK], start[KT_CHUNK];
    int32_t first, i;
    (void)addend;
    for (i = count; (i & 3) != 0; i++) { /* the last one again */
        at->x[i] = at->x[count - 1];
        at->y[i] = at->y[count - 1];
    }
    for (first = 0; first < channels; first += KT_CHUNK) {
        const int32_t most = kt_minimum(channels - first, KT_CHUNK);
        const int8_t *w = layer->params->weights + first * size;
        const int32_t *initial = layer->initial + first;
        kt_finish_tables tables;
        kt_shift_kind kind;
        if (layer->initial == NULL) {
            kt_initial_sums(w, size, most, layer->params->input_offset, own);
            initial = own;
        }
        tables = kt_finish_tables_of(&layer->finish, first, most, initial, start);
        kind = tables.start == NULL ? KT_ANY_SHIFT : layer->finish.kind;
        if (kind == KT_RECTIFIED) {
            kt_short_channels_of(&tables, at, count, w, size, first, most, KT_RECTIFIED);
        } else {
            kt_short_channels_of(&tables, at, count, w, size, first, most, kind);
        }
    }
}

/* All of a layer whose window is short; 0 where it is not, and nothing is done. */
static inline int kt_conv2d_by_short_windows(kt_conv2d_layer layer, const int8_t *x, int8_t *y)
{
    const kt_window *window = &layer.params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int read_once = kt_conv2d_apart(window, x, y) || channels <= KT_CHUNK;
    int32_t initial[KT_CHUNK];
    int8_t panel[KT_MOST_WAITING * KT_SHORT_VALUES];
    kt_conv2d_plan plan = {panel, KT_SHORT_VALUES, KT_MOST_WAITING};
    if (layer.size > KT_SHORT_VALUES) {
        return 0;
    }
    if (layer.initial == NULL && channels <= KT_CHUNK) {
        kt_initial_sums(layer.params->weights, layer.size, channels, layer.params->input_offset, initial);
        layer.initial = initial;
    }
    if (kt_windows_are_pieces(window) && read_once) {
        plan.panel = NULL;
    }
    kt_conv2d_walk_windows(&layer, x, y, plan, kt_short_compute, NULL);
    return 1;
}

#endif
