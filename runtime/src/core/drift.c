/* CUSUM of distance and margin. Divisions round toward zero; python/kilotune/drift.py says the same in Python. */
#include "kt/drift.h"

#include <string.h>

enum { LARGEST_Z = 127, /* of a sum, in 1/16 standard deviation */
       LARGEST_V = 4 * KT_DRIFT_UNIT,
       LARGEST_SUM = 1 << 30 };

void kt_drift_init(kt_drift *drift, const kt_drift_reference *reference)
{
    memset(drift, 0, sizeof *drift);
    drift->usual[0] = reference->distance;
    drift->usual[1] = reference->margin;
}

void kt_drift_learn(kt_drift *drift, uint32_t samples)
{
    drift->sum = 0;
    drift->squares = 0;
    memset(drift->cusum, 0, sizeof drift->cusum);
    drift->flags = 0;
    drift->learned = 0;
    drift->of = samples < 8 ? 8 : samples;
}

/* Mean over the groups of the square of their standardised sums. */
static int32_t distance(const kt_drift_reference *reference, const int8_t *input)
{
    uint32_t total = 0;
    for (uint32_t g = 0; g < reference->groups; g++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < reference->group_values; i++) {
            sum += *input++;
        }
        const int32_t away = sum - reference->means[g];
        const uint64_t z = ((uint64_t)(uint32_t)(away < 0 ? -away : away) * reference->inverse[g]) >> 16;
        const uint32_t clipped = z < LARGEST_Z ? (uint32_t)z : LARGEST_Z;
        total += clipped * clipped;
    }
    return (int32_t)(total / reference->groups);
}

/* By how much the largest value exceeds the second. */
static int32_t margin(const int8_t *output, uint32_t classes)
{
    int32_t first = -129, second = -129;
    for (uint32_t i = 0; i < classes; i++) {
        if (output[i] > first) {
            second = first;
            first = output[i];
        } else if (output[i] > second) {
            second = output[i];
        }
    }
    return first - second;
}

static uint32_t root(uint64_t square)
{
    uint64_t found = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit != 0; bit >>= 1) {
        if ((found + bit) * (found + bit) <= square) {
            found += bit;
        }
    }
    return (uint32_t)found;
}

/* What distance was usual among the learned samples. Its deviation is not taken as less than a quarter of that at the desk. */
static void settle(kt_drift *drift, const kt_drift_reference *reference)
{
    const int64_t mean = drift->sum / drift->of;
    const int64_t square = drift->squares / drift->of - mean * mean;
    const int32_t least = reference->distance.deviation / 4 < 1 ? 1 : reference->distance.deviation / 4;
    const int32_t deviation = (int32_t)root(square > 0 ? (uint64_t)square : 0);
    drift->usual[0].mean = (int32_t)mean;
    drift->usual[0].deviation = deviation > least ? deviation : least;
    drift->of = 0;
}

static int32_t standard(const kt_drift_usual *usual, int32_t value)
{
    const int64_t v = (int64_t)(value - usual->mean) * KT_DRIFT_UNIT / usual->deviation;
    return v > LARGEST_V ? LARGEST_V : v < -LARGEST_V ? -LARGEST_V : (int32_t)v;
}

uint32_t kt_drift_update(kt_drift *drift, const kt_drift_reference *reference, const int8_t *input, const int8_t *output)
{
    const int watched = output != NULL && reference->classes > 1 ? 2 : 1;
    drift->last[0] = distance(reference, input);
    drift->last[1] = watched == 2 ? margin(output, reference->classes) : drift->usual[1].mean;
    if (drift->of != 0) {
        drift->sum += drift->last[0];
        drift->squares += (int64_t)drift->last[0] * drift->last[0];
        if (++drift->learned >= drift->of) {
            settle(drift, reference);
        }
        return 0;
    }
    for (int i = 0; i < watched; i++) {
        const int32_t v = standard(&drift->usual[i], drift->last[i]);
        const int32_t sum = drift->cusum[i] + (i == 0 ? v : -v) - reference->slack;
        drift->cusum[i] = sum < 0 ? 0 : sum > LARGEST_SUM ? LARGEST_SUM : sum;
        if (drift->cusum[i] > reference->threshold) {
            drift->flags |= i == 0 ? KT_DRIFT_INPUT : KT_DRIFT_CONFIDENCE;
        }
    }
    return drift->flags;
}
