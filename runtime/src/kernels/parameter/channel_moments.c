/* Running moments of a layer's results, channel by channel: means over the positions of a sample, rounded half up. */
#include "kt/kernels/parameter.h"

enum { MEAN_UNIT = 256, SQUARE_UNIT = 16, MOST_SAMPLES = 1024 };

/* sum * unit / count, rounded half up; the whole part first, so that 32 bits hold every step. */
static int32_t mean(uint32_t sum, uint32_t unit, uint32_t count)
{
    const uint32_t whole = sum / count * unit;
    const uint32_t rest = (sum % count * unit + count / 2U) / count;
    return (int32_t)(whole + rest);
}

void kt_channel_moments(const kt_channel_moments_params *params, const int8_t *y, int32_t *moments)
{
    const int32_t channels = params->channels;
    const uint32_t positions = (uint32_t)params->positions;
    int32_t *const samples = moments + 3 * channels;
    int32_t c, p;
    if (*samples >= MOST_SAMPLES) {
        for (c = 0; c <= 3 * channels; c++) {
            moments[c] /= 2;
        }
    }
    for (c = 0; c < channels; c++) {
        uint32_t sum = 0, squares = 0, above = 0;
        for (p = 0; p < params->positions; p++) {
            const uint32_t u = (uint32_t)(y[p * channels + c] + 128);
            sum += u;
            squares += u * u;
            above += u > (uint32_t)params->floor ? 1U : 0U;
        }
        moments[c] += mean(sum, MEAN_UNIT, positions);
        moments[channels + c] += mean(squares, SQUARE_UNIT, positions);
        moments[2 * channels + c] += mean(above, MEAN_UNIT, positions);
    }
    *samples += 1;
}
