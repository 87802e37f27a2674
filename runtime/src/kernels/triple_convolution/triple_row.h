/* triple_row.h: FULLY_CONNECTED of one row from the weights of three sums in two words. The row is read where it lies. */
#ifndef KT_TRIPLE_ROW_H
#define KT_TRIPLE_ROW_H

#include "../../product/triple_dense.h"
#include "triple_conv2d.h"

enum { KT_ROW_CHANNELS = 4 }; /* at once */

/* What the sums of channels [first, first + count) start from, in `start`. usual: the first channel's epilogue in the stream. Returns theirs, which
 * may be made in `epilogue`. */
typedef const int32_t *kt_row_starts(const void *layer, int32_t first, int32_t count, const int32_t *usual, int32_t *start, int32_t *epilogue);

/* What takes the 128 of weights away again: -128 times the sum of x. */
KT_INLINE uint32_t kt_row_offset(const int8_t *x, int32_t depth)
{
    uint32_t offset = 0;
    int32_t i;
    for (i = 0; i < depth; i++) {
        offset -= (uint32_t)x[i] << 7;
    }
    return offset;
}

/* negative: what a negative sum takes from the addend. */
KT_INLINE void kt_triple_row(const kt_window *window, const int32_t *stream, int32_t length, const int8_t *x, int8_t *y, int32_t negative,
                             kt_row_starts *starts, const void *layer)
{
    const int32_t channels = window->output[KT_CHANNELS], depth = window->input[KT_CHANNELS];
    const int32_t *const usual = kt_triple_epilogue(stream, channels, length);
    const uint8_t *weights = (const uint8_t *)stream;
    const uint32_t offset = kt_row_offset(x, depth);
    int32_t c, i;
    for (c = 0; c < channels; c += KT_ROW_CHANNELS, weights += KT_ROW_CHANNELS * length) {
        const int32_t count = kt_minimum(channels - c, KT_ROW_CHANNELS);
        int32_t start[KT_ROW_CHANNELS], made[3 * KT_ROW_CHANNELS];
        const int32_t *epilogue = starts(layer, c, count, usual, start, made);
        uint32_t sums[KT_ROW_CHANNELS];
        kt_dense_sums(x, weights, count > 2 ? weights + 2 * length : weights, depth, offset, sums);
        for (i = 0; i < count; i++, epilogue += 3) {
            const int32_t sum = (int32_t)sums[i] + start[i];
            y[c + i] = kt_short_requantize(sum, epilogue[0], epilogue[1] - (sum < 0 ? negative : 0), epilogue[2]);
        }
    }
}

#endif
