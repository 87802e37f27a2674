/* taps.h: the taps of one position as a rectangle of four_channels.h, of layers with one result a channel. */
#ifndef KT_DSP_TAPS_H
#define KT_DSP_TAPS_H

#include "../depthwise_conv2d.h"
#include "../../dsp/four_channels.h"

static inline kt_rectangle kt_taps_of(const kt_window *window, const kt_depthwise_patch *patch)
{
    const int32_t channels = window->input[KT_CHANNELS];
    kt_rectangle taps = {patch->rows, patch->columns, channels, window->dilation[KT_X] * channels, 0, 0};
    taps.skip_a = (window->kernel[KT_X] - patch->columns) * channels;
    taps.skip_x = window->dilation[KT_Y] * window->input[KT_X] * channels - patch->columns * taps.column_x;
    return taps;
}

#endif
