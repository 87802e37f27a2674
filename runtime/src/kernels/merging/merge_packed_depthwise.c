/* Depthwise weights with a merged delta, four channels at a time: for each tap those of the first and third one, and of the second and fourth;
 * then their requantisation. Where they are no multiple of four the last four come at the end, some of them again. */
#include "merging.h"

#if KT_DSP
#include "dsp/merged_quad.h"
#endif

#if KT_DSP
/* The taps of four channels, and the sums of them. */
static inline int32_t *quad_taps(const kt_merged_quad *quad, int32_t size, int32_t *stream, int32_t *sums)
{
    uint32_t even = 0, odd = 0;
    int32_t tap;
    for (tap = 0; tap < size; tap++) {
        const uint32_t w = kt_merged_taps(quad, tap);
        const uint32_t of_even = kt_even(w), of_odd = kt_odd(w);
        *stream++ = (int32_t)of_even;
        *stream++ = (int32_t)of_odd;
        even = kt_add_halves(even, of_even);
        odd = kt_add_halves(odd, of_odd);
    }
    kt_merged_quad_sums(even, odd, sums);
    return stream;
}
#endif

static inline int32_t *taps_one_by_one(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t first, int32_t *stream,
                                       int32_t *sums)
{
    const int32_t size = kt_merging_size(params);
    kt_merged_channel channel[4];
    int32_t i, tap;
    for (i = 0; i < 4; i++) {
        channel[i] = kt_merged_channel_of(params, delta, exponent, first + i);
        sums[i] = 0;
    }
    for (tap = 0; tap < size; tap++) {
        int32_t w[4];
        for (i = 0; i < 4; i++) {
            w[i] = kt_merged_tap(params, channel[i], tap);
            sums[i] += w[i];
        }
        *stream++ = kt_merged_halves(w[0], w[2]);
        *stream++ = kt_merged_halves(w[1], w[3]);
    }
    return stream;
}

void kt_merge_packed_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    int32_t c, i;
    for (c = 0; c < params->channels; c += 4) {
        const int32_t first = c + 4 <= params->channels ? c : params->channels - 4;
        int32_t sums[4];
#if KT_DSP
        kt_merged_quad quad;
        if (kt_merging_size(params) <= KT_TAPS_AT_ONCE && kt_merged_quad_of(params, delta, exponent, first, &quad)) {
            stream = quad_taps(&quad, kt_merging_size(params), stream, sums);
        } else
#endif
        {
            stream = taps_one_by_one(params, delta, exponent, first, stream, sums);
        }
        for (i = 0; i < 4; i++) {
            if (fold != NULL) {
                fold[first + i] = params->offset * sums[i];
            }
            stream = kt_merged_epilogue(params, first + i, stream);
        }
    }
}
