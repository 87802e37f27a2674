#include "kt/features.h"

#include "kt/numerics.h"

/* Of one channel of a window. */
typedef struct {
    const int16_t *samples;
    int32_t step; /* from one sample to the next */
    int32_t count;
    int32_t sum;
    int32_t magnitudes;
    uint64_t squares;
    int32_t least;
    int32_t most;
} window_sums;

static window_sums sums_of(const int16_t *samples, int32_t step, int32_t count)
{
    window_sums w = {samples, step, count, 0, 0, 0, INT16_MAX, INT16_MIN};
    for (int32_t i = 0; i < count; i++) {
        const int32_t x = samples[i * step];
        w.sum += x;
        w.magnitudes += x < 0 ? -x : x;
        w.squares += (uint64_t)(x * (int64_t)x);
        w.least = kt_minimum(w.least, x);
        w.most = kt_maximum(w.most, x);
    }
    return w;
}

/* How often neighbours lie on different sides of level / count. */
static int32_t crossings(const window_sums *w, int32_t level)
{
    int32_t found = 0, before = w->samples[0] * w->count < level;
    for (int32_t i = 1; i < w->count; i++) {
        const int32_t below = w->samples[i * w->step] * w->count < level;
        found += below != before;
        before = below;
    }
    return found;
}

/* A statistic as an integer of its unit: codegen/kiloc/features/statistics_plan.py names them. */
static int64_t value_of(const window_sums *w, int32_t which)
{
    const uint64_t n = (uint64_t)w->count;
    switch (which) {
    case KT_STATISTIC_MEAN: return w->sum;
    case KT_STATISTIC_STD: return kt_integer_root((n * w->squares - (uint64_t)((int64_t)w->sum * w->sum)) << 8);
    case KT_STATISTIC_MIN: return w->least;
    case KT_STATISTIC_MAX: return w->most;
    case KT_STATISTIC_RANGE: return w->most - w->least;
    case KT_STATISTIC_RMS: return kt_integer_root((n * w->squares) << 8);
    case KT_STATISTIC_MEAN_ABSOLUTE: return w->magnitudes;
    case KT_STATISTIC_ZERO_CROSSINGS: return crossings(w, 0);
    default: return crossings(w, w->sum);
    }
}

/* Magnitudes of the samples without their mean. Returns the shift that the samples had, down. */
static int32_t transformed(const kt_statistics_features *f, const window_sums *w, int32_t *scratch)
{
    int16_t *without = (int16_t *)(void *)(scratch + f->spectrum.points);
    const int32_t twice = 2 * w->count, above = 2 * w->sum + w->count;
    const int32_t mean = above / twice - (above % twice < 0); /* rounded down, as a half was added */
    const int32_t half = w->most - mean > INT16_MAX || w->least - mean < INT16_MIN;
    for (int32_t i = 0; i < w->count; i++) {
        without[i] = (int16_t)((w->samples[i * w->step] - mean) >> half);
    }
    return f->magnitudes(&f->spectrum, without, scratch) - half;
}

/* The root of a band's power. up: may be -1. */
static int64_t band_of(const kt_statistics_features *f, const int32_t *z, int32_t band, int32_t up)
{
    uint64_t sum = 0;
    for (int32_t k = f->band_ends[band]; k < f->band_ends[band + 1]; k++) {
        const int32_t last = k == f->spectrum.points / 2; /* half the sample rate has no twin */
        const uint64_t magnitude = (uint64_t)(uint32_t)z[last ? 1 : 2 * k];
        sum += (magnitude * magnitude) >> last;
    }
    const int64_t root = kt_integer_root(sum);
    return up < 0 ? root * 2 : root >> up;
}

void kt_features_statistics_frame(const kt_statistics_features *f, const int16_t *samples, int32_t *scratch, int8_t *row)
{
    int32_t at = 0;
    for (int32_t channel = 0; channel < f->channels; channel++) {
        const window_sums w = sums_of(samples + channel, f->channels, f->window_samples);
        for (int32_t i = 0; i < f->value_count; i++) {
            const int32_t which = f->values[i], bands = which == KT_STATISTIC_BANDS ? f->bands : 0;
            const int32_t up = bands ? transformed(f, &w, scratch) : 0;
            for (int32_t band = 0; band < kt_maximum(bands, 1); band++, at++) {
                const int64_t v = bands ? band_of(f, scratch, band, up) : value_of(&w, which);
                const int32_t steps = kt_saturate32((v * f->multiplier[at] + f->offset[at]) >> f->shift[at]);
                row[at] = (int8_t)kt_clamp(kt_add_saturated(steps, f->zero_point), -128, 127);
            }
        }
    }
}

void kt_features_statistics(const kt_statistics_features *f, const int16_t *samples, int32_t *scratch, int8_t *rows)
{
    int32_t width = f->value_count;
    for (int32_t i = 0; i < f->value_count; i++) {
        width += f->values[i] == KT_STATISTIC_BANDS ? f->bands - 1 : 0;
    }
    for (int32_t i = 0; i < f->frames; i++) {
        kt_features_statistics_frame(f, samples + (int64_t)i * f->hop * f->channels, scratch, rows + (int64_t)i * width * f->channels);
    }
}
