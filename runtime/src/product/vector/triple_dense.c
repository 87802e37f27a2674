/* Sums of one row with four channels in vectors: neighbouring values in the lanes. */
#include "../triple_dense.h"

#if KT_VECTOR
#include "channels.h"

/* Values of two channels as bytes w + 128 side by side; whatever a byte means that lies behind the last value meets a value of 0. */
KT_INLINE void add_two(kt_lanes bytes, kt_lanes values, kt_lanes *first, kt_lanes *second)
{
    *first = kt_add_pair_products(*first, kt_first_exact(bytes), values);
    *second = kt_add_pair_products(*second, (kt_lanes)((kt_short_lanes)((kt_unsigned_short_lanes)bytes ^ 0x8000) >> 8), values);
}

void kt_dense_sums(const int8_t *x, const uint8_t *first, const uint8_t *second, int32_t length, uint32_t offset, uint32_t sums[4])
{
    const kt_lanes none = kt_no_lanes();
    kt_lanes a = none, b = none, c = none, d = none;
    kt_four_lanes found;
    int32_t i;
    (void)offset; /* what bytes without a sign would have too much */
    for (i = 0; i + KT_CHANNEL_LANES <= length; i += KT_CHANNEL_LANES) {
        const kt_lanes values = kt_widen_channels(x + i);
        add_two(kt_load_lanes(first + 2 * i), values, &a, &b);
        add_two(kt_load_lanes(second + 2 * i), values, &c, &d);
    }
    if (i < length) {
        const kt_lanes values = kt_widen_some(x + i, length - i);
        uint8_t rest[2][2 * KT_CHANNEL_LANES] = {{0}, {0}};
        memcpy(rest[0], first + 2 * i, 2 * (size_t)(length - i));
        memcpy(rest[1], second + 2 * i, 2 * (size_t)(length - i));
        add_two(kt_load_lanes(rest[0]), values, &a, &b);
        add_two(kt_load_lanes(rest[1]), values, &c, &d);
    }
    found = kt_added_up(a, b, c, d);
    memcpy(sums, &found, sizeof found);
}

#endif
