/* band_rows.h: a band of ../banded_depthwise.h in vectors of channels: included there, in place of four channels at a time.
 *
 * The band's rows of the channels at hand stand on the stack, as pairs of neighbouring columns: words [row][column] of all channels; with
 * KT_SINGLE_PLACES as single columns. What lies outside of the image is put in between. The order in which input is read and results are written is that of the portable walk. */
#ifndef KT_VECTOR_BAND_ROWS_H
#define KT_VECTOR_BAND_ROWS_H

#include "../../../product/vector/channels.h"

enum {
    KT_BAND_ROWS = 9,    /* input rows of four result rows, at stride 2 */
    KT_BAND_WORDS = 2048 /* pairs of columns: 128 KB of stack with AVX2 */
};

/* What stands in a column. */
#if KT_SINGLE_PLACES
typedef kt_lanes kt_band_column;
#else
typedef kt_channel_words kt_band_column;
#endif

/* The weights of the channels at hand: of a kernel row the pairs (w0, w1) and (w2, 0), or each alone; of a gradient with taps turned round. */
typedef struct {
#if KT_SINGLE_PLACES
    kt_lanes taps[3][3];
#else
    kt_channel_words first[3], last[3];
#endif
    kt_channel_words start;
    kt_channel_epilogues epilogue;
} kt_band_weights;

#if KT_SINGLE_PLACES
/* kt_read_band_weights of all channels: a row's three taps are the upper bytes of a word's halves, and the lower byte of the upper one. */
KT_INLINE void kt_read_all_band_weights(kt_band_weights *w, const int32_t *stream, const int32_t *start, int gradient)
{
    const kt_channel_words same = {kt_splat(start[0]), kt_splat(start[0])};
    kt_channel_words words[KT_BAND_STREAM];
    int32_t row;
    kt_load_six(stream, words);
    for (row = 0; row < 3; row++) {
        const kt_short_lanes lower = (kt_short_lanes)kt_first_place(words[row]), upper = (kt_short_lanes)kt_second_place(words[row]);
        kt_lanes *const taps = w->taps[gradient ? 2 - row : row];
        taps[gradient ? 2 : 0] = (kt_lanes)(lower >> 8);
        taps[1] = (kt_lanes)(upper >> 8);
        taps[gradient ? 0 : 2] = (kt_lanes)((kt_short_lanes)((kt_unsigned_short_lanes)upper << 8) >> 8);
    }
    w->epilogue.multiplier = words[3];
    w->epilogue.addend = words[4];
    w->epilogue.shift = words[5];
    w->start = gradient ? same : kt_load_channels(start);
}
#endif

/* kt_read_band_weights of any number of channels. */
KT_INLINE void kt_read_some_band_weights(kt_band_weights *w, const int32_t *stream, const int32_t *start, int32_t count, int gradient)
{
    int32_t pairs[6][KT_CHANNEL_LANES] = {{0}}, epilogue[4][KT_CHANNEL_LANES] = {{0}};
    int32_t c, row;
    for (c = 0; c < count; c++, stream += KT_BAND_STREAM) {
        for (row = 0; row < 3; row++) {
            if (gradient) {
                const int32_t bytes = stream[2 - row];
                pairs[2 * row][c] = kt_pair_of((int8_t)(uint8_t)kt_high(bytes), kt_high(bytes) >> 8);
                pairs[2 * row + 1][c] = kt_pair_of(kt_low(bytes) >> 8, 0);
            } else {
                const int32_t bytes = stream[row];
                pairs[2 * row][c] = kt_pair_of(kt_low(bytes) >> 8, kt_high(bytes) >> 8);
                pairs[2 * row + 1][c] = kt_pair_of((int8_t)(uint8_t)kt_high(bytes), 0);
            }
        }
        if (!gradient) {
            epilogue[0][c] = stream[3], epilogue[1][c] = stream[4], epilogue[2][c] = stream[5];
        }
        epilogue[3][c] = gradient ? start[0] : start[c];
    }
    for (row = 0; row < 3; row++) {
        const kt_channel_words first = kt_load_channels(pairs[2 * row]), last = kt_load_channels(pairs[2 * row + 1]);
#if KT_SINGLE_PLACES
        w->taps[row][0] = kt_first_place(first);
        w->taps[row][1] = kt_second_place(first);
        w->taps[row][2] = kt_first_place(last);
#else
        w->first[row] = first;
        w->last[row] = last;
#endif
    }
    w->epilogue.multiplier = kt_load_channels(epilogue[0]);
    w->epilogue.addend = kt_load_channels(epilogue[1]);
    w->epilogue.shift = kt_load_channels(epilogue[2]);
    w->start = kt_load_channels(epilogue[3]);
}

/* stream: of a layer; start [count]. */
KT_INLINE void kt_read_band_weights(kt_band_weights *w, const int32_t *stream, const int32_t *start, int32_t count, int gradient)
{
#if KT_SINGLE_PLACES
    if (count == KT_CHANNEL_LANES) {
        kt_read_all_band_weights(w, stream, start, gradient);
        return;
    }
#endif
    kt_read_some_band_weights(w, stream, start, count, gradient);
}

/* A row of the image, of the channels at hand; x: NULL outside of it. */
typedef struct {
    const int8_t *x;
    int32_t width, channels, count;
    kt_lanes outside;
    const kt_channel_words *factor; /* of a gradient, or NULL */
} kt_band_row;

KT_INLINE kt_lanes kt_band_value(const kt_band_row *row, int32_t column)
{
    kt_lanes value = row->outside;
    if (row->x != NULL && column >= 0 && column < row->width) {
        value = kt_widen_some(row->x + column * row->channels, row->count);
        value = row->factor == NULL ? value : kt_scale_channels(value, row->factor, KT_HALF);
    }
    return value;
}

/* One row of the buffer: `columns` of them, from column `left` of the image on. */
KT_INLINE void kt_fill_band_row(kt_band_column *words, const kt_band_row *row, int32_t left, int32_t columns)
{
    int32_t i;
#if KT_SINGLE_PLACES
    for (i = 0; i < columns; i++) {
        words[i] = kt_band_value(row, left + i);
    }
#else
    kt_lanes before = kt_band_value(row, left);
    for (i = 0; i < columns; i++) {
        const kt_lanes value = kt_band_value(row, left + i + 1);
        words[i] = kt_interleave(before, value);
        before = value;
    }
#endif
}

KT_INLINE kt_channel_words kt_band_sums(const kt_band_weights *w, const kt_band_column *at, int32_t columns)
{
    kt_channel_words sums = w->start;
    int32_t row;
    for (row = 0; row < 3; row++, at += columns) {
#if KT_SINGLE_PLACES
        int32_t tap;
        for (tap = 0; tap < 3; tap++) {
            kt_add_single_products(&sums, at[tap], w->taps[row][tap]);
        }
#else
        kt_add_products_of(&sums, &w->first[row], at);
        kt_add_products_of(&sums, &w->last[row], at + 2);
#endif
    }
    return sums;
}

/* What a band of all channels has in common. */
typedef struct {
    const kt_bands *b;
    int32_t oy, rows, read, low, high, kept, columns, negative;
} kt_band_place;

/* `count` channels from c on. quads: of all channels of a layer with gains (`kt_gained_starts`), or NULL. */
KT_INLINE void kt_band_of_channels(const kt_band_place *p, int32_t c, int32_t count, const int32_t *stream, const kt_scaling *scaling,
                                   const int32_t *quads, kt_band_column *words)
{
    const kt_bands *const b = p->b;
    const kt_window *const window = b->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X], stride = window->stride[KT_X];
    const int32_t line = width * channels, top = p->oy * window->stride[KT_Y] - window->pad[KT_Y];
    int32_t starts[KT_CHANNEL_LANES], factors[KT_CHANNEL_LANES] = {0};
    kt_channel_words factor;
    kt_band_weights weights;
    kt_lanes outside;
    int16_t zero[KT_CHANNEL_LANES];
    int32_t i, row, x;
    for (i = 0; i < KT_CHANNEL_LANES; i++) {
        zero[i] = (int16_t)b->outside;
    }
    outside = kt_load_lanes(zero);
    for (i = 0; i < count; i += KT_QUAD) {
        int32_t folded[KT_QUAD];
        if (scaling != NULL) {
            kt_scaling own = *scaling;
            kt_set_factors(&own, c + i);
            memcpy(factors + i, own.factor, sizeof own.factor);
        } else {
            memcpy(starts + i, quads == NULL ? kt_band_start(b, c + i, folded) : quads + (c + i) * KT_GAINED_WORDS, sizeof folded);
        }
    }
    factor = kt_load_channels(factors);
    kt_read_band_weights(&weights, stream, scaling == NULL ? starts : b->bias, count, scaling != NULL);
    for (row = 0; row < p->read; row++) {
        const int within = row >= p->low && row < p->high;
        const int8_t *const from = row < p->low + p->kept ? b->halo + c : b->x + (top + row) * line + c;
        const kt_band_row at = {within ? from : NULL, width, channels, count, outside, scaling == NULL ? NULL : &factor};
        kt_fill_band_row(words + row * p->columns, &at, -window->pad[KT_X], p->columns);
    }
    if (b->halo != NULL) {
        const int8_t *const last = b->x + (p->oy + p->rows - 1) * line + c;
        for (x = 0; x < width; x++) {
            memcpy(b->halo + x * channels + c, last + x * channels, (size_t)count);
        }
    }
    for (row = 0; row < p->rows; row++) {
        int8_t *y = b->y + (p->oy + row) * window->output[KT_X] * channels + c;
        const kt_band_column *at = words + row * window->stride[KT_Y] * p->columns;
        for (x = window->output[KT_X]; x > 0; x--, y += channels, at += stride) {
            kt_channel_words sums = kt_band_sums(&weights, at, p->columns);
            if (scaling != NULL) {
                sums.low = kt_shift_gradient(sums.low, b->bias[1]);
                sums.high = kt_shift_gradient(sums.high, b->bias[1]);
            } else {
                sums = kt_scale_sums(sums, &weights.epilogue, p->negative);
            }
            kt_store_channels(y, sums, count);
        }
    }
}

/* Whether the rows of a band have room on the stack. */
KT_INLINE int kt_band_has_room(const kt_window *window)
{
    return ((window->output[KT_X] - 1) * window->stride[KT_X] + 3) * KT_BAND_ROWS <= KT_BAND_WORDS;
}

/* As kt_banded_rows, of bands that have room. */
static __attribute__((noinline)) void kt_vector_rows(const kt_bands *b, int32_t oy, int32_t rows, const kt_scaling *scaling, const int32_t *quads)
{
    const kt_window *const window = b->window;
    const int32_t channels = window->input[KT_CHANNELS];
    kt_band_column words[KT_BAND_WORDS];
    kt_band_place p = {b, oy, rows, (rows - 1) * window->stride[KT_Y] + 3, 0, 0, 0, 0, 0};
    const int32_t top = oy * window->stride[KT_Y] - window->pad[KT_Y];
    int32_t c;
    p.low = kt_clamp(-top, 0, p.read);
    p.high = kt_clamp(window->input[KT_Y] - top, p.low, p.read);
    p.kept = b->halo != NULL && p.low == 0 ? 1 : 0; /* rows that were overwritten */
    p.columns = (window->output[KT_X] - 1) * window->stride[KT_X] + 3;
    p.negative = b->kernel == kt_band_away || b->kernel == kt_band_away_strided ? 128 : 0;
    for (c = 0; c < channels; c += KT_CHANNEL_LANES) {
        const int32_t count = kt_minimum(channels - c, KT_CHANNEL_LANES);
        const int32_t *stream = b->stream + c * KT_BAND_STREAM;
        int32_t gained[KT_CHANNEL_LANES * KT_BAND_STREAM];
        int32_t i;
        for (i = 0; quads != NULL && i < count; i += KT_QUAD) {
            kt_gained_stream(stream + i * KT_BAND_STREAM, quads + (c + i) * KT_GAINED_WORDS + KT_QUAD, gained + i * KT_BAND_STREAM);
        }
        stream = quads == NULL ? stream : gained;
        if (count == KT_CHANNEL_LANES) {
            kt_band_of_channels(&p, c, KT_CHANNEL_LANES, stream, scaling, quads, words);
        } else {
            kt_band_of_channels(&p, c, count, stream, scaling, quads, words);
        }
    }
}

#endif
