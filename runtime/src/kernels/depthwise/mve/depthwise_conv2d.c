/* kt_depthwise_conv2d_s8 on cores with Helium: one channel at a time, or 16 of them. The formula and its rounding are those of
 * ../depthwise_conv2d.c. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_MVE
#include "../depthwise_conv2d.h"
#include "channel_lanes.h"
#include "columns.h"

void kt_depthwise_conv2d_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    if (!kt_depthwise_by_columns(params, x, bias, y, 1) && !kt_depthwise_by_channels(params, x, bias, y) &&
        !kt_depthwise_by_columns(params, x, bias, y, 0)) {
        kt_depthwise_walk(params, x, bias, y, kt_depthwise_position);
    }
}
#endif
