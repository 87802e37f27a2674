/* scaled_gradients.h: input gradients of 3x3 depthwise convolutions of stride 1 with Helium, a tile of positions at a time.
 *
 * What the windows of a tile hold of eight channels is scaled once, with zeros where no window is, and serves every tap. Results of all channels
 * wait until the last is computed, so that they may lie where gradients lay. Tiles are two whole rows, or neighbours in a row. Where channels are
 * no multiple of eight, the last eight are computed, some of them again.
 *
 * Two results stand one below the other in a tile of two rows, and side by side in a row. In either case values are laid so that the two need
 * four vectors behind one another, in three places; the loop that adds them up knows the distances alone. */
#ifndef KT_SCALED_GRADIENTS_H
#define KT_SCALED_GRADIENTS_H

#include "kt/kernels/depthwise.h"

#include "../../mve/gradient_lanes.h"

#ifdef __OPTIMIZE__ /* without, registers are too few for the assembly below */

enum {
    KT_SCALED_VECTORS = 56,  /* of eight channels: those that the windows of a tile hold */
    KT_SCALED_RESULTS = 640, /* bytes of results that wait */
    KT_EIGHT = 8,            /* channels of a vector */
    KT_BESIDE = 16,          /* bytes from a vector to the next of a row, in a tile of one row */
    KT_BELOW = 64            /* the same in a tile of two rows, where four rows of a column are neighbours */
};

/* rows is 1 or 2. */
typedef struct {
    int32_t y, x, rows, columns;
} kt_gradient_tile;

/* Distances in bytes: from one of three places to the next, and from the third to the first of the next two results; of weights from tap to tap,
 * from a place's third tap to the next place, and back to the first; of results from the first of two to the second, and on to the next. right: the
 * shift, negative. */
typedef struct {
    int32_t place, next, tap, taps, again, second, first, right;
} kt_pair_steps;

/* (g * 2^left * m + 2^14) >> 15 of n positions, `channels` bytes apart; step: from result to result. */
#define KT_SCALE_ROW(step) \
    __asm__ volatile("dls lr, %[n]\n" \
                     "1:\n\t" \
                     "vldrb.s16 q0, [%[g]]\n\t" \
                     "add %[g], %[g], %[channels]\n\t" \
                     "vshl.s16 q0, %[left]\n\t" \
                     "vqrdmulh.s16 q0, q0, %q[m]\n\t" \
                     "vstrh.16 q0, [%[to]], %[bytes]\n\t" \
                     "le lr, 1b\n" \
                     : [g] "+l"(g), [to] "+l"(to) \
                     : [n] "r"(n), [channels] "r"(channels), [left] "r"(left), [m] "w"(m), [bytes] "n"(step) \
                     : "lr", "q0", "memory")

static inline void kt_scale_row(const int8_t *g, int32_t n, int32_t channels, int32_t left, int16x8_t m, int rows, int16_t *to)
{
    if (rows == 2) {
        KT_SCALE_ROW(KT_BELOW);
    } else {
        KT_SCALE_ROW(KT_BESIDE);
    }
}

#define KT_ADD_TAP(even, odd) \
    "vmullb.s16 q6, q5, q4\n\t" "vmullt.s16 q7, q5, q4\n\t" "vadd.i32 " even ", " even ", q6\n\t" "vadd.i32 " odd ", " odd ", q7\n\t"
#define KT_FIRST_TAP(even, odd) "vmullb.s16 " even ", q5, q4\n\t" "vmullt.s16 " odd ", q5, q4\n\t"
#define KT_PLACE(FIRST, taps) \
    "vldrb.s16 q4, [%[w]]\n\t" "add %[w], %[w], %[tap]\n\t" \
    "vldrh.u16 q5, [%[x]]\n\t" FIRST("q0", "q1") \
    "vldrh.u16 q5, [%[x], #16]\n\t" FIRST("q2", "q3") \
    "vldrb.s16 q4, [%[w]]\n\t" "add %[w], %[w], %[tap]\n\t" \
    KT_ADD_TAP("q0", "q1") \
    "vldrh.u16 q5, [%[x], #32]\n\t" KT_ADD_TAP("q2", "q3") \
    "vldrb.s16 q4, [%[w]]\n\t" "add %[w], %[w], %[" taps "]\n\t" \
    KT_ADD_TAP("q0", "q1") \
    "vldrh.u16 q5, [%[x], #48]\n\t" KT_ADD_TAP("q2", "q3")

/* Eight channels of `pairs` times two results. x: the first of their scaled gradients; w: the last weight; y: results of these channels. Not
 * inline: it takes all registers but one. */
static __attribute__((noinline)) void kt_sum_pairs(const int16_t *x, const int8_t *w, int32_t pairs, const kt_pair_steps *steps, int8_t *y)
{
    __asm__ volatile("dls lr, %[pairs]\n"
                     "1:\n\t"
                     KT_PLACE(KT_FIRST_TAP, "taps") "add %[x], %[x], %[place]\n\t"
                     KT_PLACE(KT_ADD_TAP, "taps") "add %[x], %[x], %[place]\n\t"
                     KT_PLACE(KT_ADD_TAP, "again") "add %[x], %[x], %[next]\n\t"
                     "vqrshl.s32 q0, %[right]\n\t" "vqrshl.s32 q1, %[right]\n\t"
                     "vqrshl.s32 q2, %[right]\n\t" "vqrshl.s32 q3, %[right]\n\t"
                     "vqmovnb.s32 q0, q0\n\t" "vqmovnt.s32 q0, q1\n\t"
                     "vqmovnb.s32 q2, q2\n\t" "vqmovnt.s32 q2, q3\n\t"
                     "vmov.i16 q6, #127\n\t" "vmvn.i16 q7, #126\n\t"
                     "vmin.s16 q0, q0, q6\n\t" "vmin.s16 q2, q2, q6\n\t"
                     "vmax.s16 q0, q0, q7\n\t" "vmax.s16 q2, q2, q7\n\t"
                     "vstrb.16 q0, [%[y]]\n\t" "add %[y], %[y], %[second]\n\t"
                     "vstrb.16 q2, [%[y]]\n\t" "add %[y], %[y], %[first]\n\t"
                     "le lr, 1b\n"
                     : [x] "+r"(x), [w] "+l"(w), [y] "+l"(y)
                     : [pairs] "r"(pairs), [place] "r"(steps->place), [next] "r"(steps->next), [tap] "r"(steps->tap), [taps] "r"(steps->taps),
                       [again] "r"(steps->again), [second] "r"(steps->second), [first] "r"(steps->first), [right] "r"(steps->right)
                     : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory");
}

/* Of a tile's pairs: `channels` bytes lie between neighbouring positions. */
static inline kt_pair_steps kt_steps_of(const kt_gradient_tile *tile, int32_t channels, int32_t shift)
{
    const int32_t right = kt_clamp(-shift, -32, 31);
    if (tile->rows == 2) {
        const int32_t below = tile->columns * channels;
        const kt_pair_steps steps = {KT_BELOW, -KT_BELOW, -3 * channels, 5 * channels, 8 * channels, below, channels - below, right};
        return steps;
    } else {
        const int32_t row = KT_BESIDE * (tile->columns + 3);
        const kt_pair_steps steps = {row, 2 * KT_BESIDE - 2 * row, -channels, -channels, 8 * channels, channels, channels, right};
        return steps;
    }
}

/* All channels of a tile. */
static __attribute__((noinline)) void kt_compute_gradient_tile(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                                               const kt_gradient_tile *tile, int8_t *dx)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], width = window->output[KT_X], left = 15 - params->prescale_shift;
    const int32_t top = tile->y + window->pad[KT_Y] - 2, start = tile->x + window->pad[KT_X] - 2;
    const int32_t first = kt_maximum(0, -start), columns = kt_minimum(tile->columns + 2, width - start) - first;
    const int32_t from_row = tile->rows == 2 ? KT_EIGHT : KT_EIGHT * (tile->columns + 3);
    const int32_t across = tile->rows == 2 ? KT_BELOW / 2 : KT_BESIDE / 2;
    const kt_pair_steps steps = kt_steps_of(tile, channels, params->shift);
    const int32_t pairs = tile->rows == 2 ? tile->columns : tile->columns >> 1;
    int16_t scaled[KT_EIGHT * KT_SCALED_VECTORS];
    int8_t results[KT_SCALED_RESULTS + KT_EIGHT];
    int32_t last = 0, c, i;
    memset(scaled, 0, sizeof scaled);
    while (last < channels) {
        int16x8_t m;
        c = kt_minimum(last, channels - KT_EIGHT);
        last = c + KT_EIGHT;
        m = vldrhq_s16(params->prescale + c);
        for (i = 0; i < tile->rows + 2 && columns > 0; i++) {
            if (kt_within(top + i, window->output[KT_Y])) {
                kt_scale_row(g + ((top + i) * width + start + first) * channels + c, columns, channels, left, m, tile->rows,
                             scaled + i * from_row + first * across);
            }
        }
        if (pairs > 0) {
            kt_sum_pairs(scaled, params->weights + 8 * channels + c, pairs, &steps, results + c);
        }
        if (tile->rows == 1 && tile->columns % 2 != 0) { /* what the second of the last two would be goes behind all results */
            const int32_t at = tile->columns - 1;
            kt_pair_steps alone = steps;
            alone.second = KT_SCALED_RESULTS - at * channels - c;
            kt_sum_pairs(scaled + KT_EIGHT * at, params->weights + 8 * channels + c, 1, &alone, results + at * channels + c);
        }
    }
    memcpy(dx + (tile->y * window->input[KT_X] + tile->x) * channels, results, (size_t)(tile->rows * tile->columns * channels));
}

/* Whether a layer has tiles. */
static inline int kt_has_gradient_tiles(const kt_window *window)
{
    const int32_t channels = window->input[KT_CHANNELS];
    return window->kernel[KT_Y] == 3 && window->kernel[KT_X] == 3 && window->stride[KT_Y] == 1 && window->stride[KT_X] == 1 &&
           window->dilation[KT_Y] == 1 && window->dilation[KT_X] == 1 && channels >= KT_EIGHT && channels <= KT_SCALED_RESULTS;
}

static inline void kt_gradient_in_tiles(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_window *const window = &params->window;
    const int32_t direction = kt_direction(g, dx), height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t positions = KT_SCALED_RESULTS / window->input[KT_CHANNELS];
    const int two = 2 * width <= positions && 4 * (width + 2) <= KT_SCALED_VECTORS;
    const int32_t columns = kt_minimum(width, kt_minimum(positions, KT_SCALED_VECTORS / 3 - 3));
    kt_gradient_tile tile;
    int32_t below, beside;
    for (below = height; below > 0; below -= tile.rows) {
        tile.rows = two && below > 1 ? 2 : 1;
        tile.y = direction > 0 ? height - below : below - tile.rows;
        for (beside = width; beside > 0; beside -= tile.columns) {
            tile.columns = kt_minimum(beside, columns);
            tile.x = direction > 0 ? width - beside : beside - tile.columns;
            kt_compute_gradient_tile(params, g, &tile, dx);
        }
    }
}
#else
static inline int kt_has_gradient_tiles(const kt_window *window)
{
    (void)window;
    return 0;
}

static inline void kt_gradient_in_tiles(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx)
{
    (void)params;
    (void)g;
    (void)dx;
}
#endif

#endif
