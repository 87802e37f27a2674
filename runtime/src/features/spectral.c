#include "kt/features.h"

#include "kt/numerics.h"

#define TWIDDLE_BITS 30
#define LOGARITHM_BITS 16
#define FULL_SCALE 32768

/* Scratch: complex numbers as pairs of int32, later magnitudes in their places, and the bands behind them. */

/* (re + i im) * exp(-2 pi i angle / points) for angles from 0 to points / 2. */
static void turn(const kt_spectral_features *f, int32_t angle, int32_t *re, int32_t *im)
{
    const int32_t quarter = f->points / 4;
    const int64_t s = f->sine[angle <= quarter ? angle : 2 * quarter - angle];
    const int64_t c = angle <= quarter ? f->sine[quarter - angle] : -f->sine[angle - quarter];
    const int64_t half = INT64_C(1) << (TWIDDLE_BITS - 1);
    const int32_t turned = (int32_t)((*re * c + *im * s + half) >> TWIDDLE_BITS);
    *im = (int32_t)((*im * c - *re * s + half) >> TWIDDLE_BITS);
    *re = turned;
}

/* How far samples can be shifted up: the largest keeps at most 2^15. */
static int32_t room(const int16_t *samples, int32_t count)
{
    int32_t largest = 0, up = 15;
    for (int32_t i = 0; i < count; i++) {
        largest = kt_maximum(largest, samples[i] < 0 ? -(int32_t)samples[i] : samples[i]);
    }
    while (up > 0 && largest > (FULL_SCALE >> up)) {
        up--;
    }
    return up;
}

/* The windowed samples as complex numbers, where the FFT reads them: at their bit-reversed places. */
static void load(const kt_spectral_features *f, const int16_t *samples, int32_t up, int32_t *z)
{
    const int32_t n = f->points / 2, down = 15 - f->fraction, factor = INT32_C(1) << up, half = (INT32_C(1) << down) >> 1;
    int32_t reversed = 0;
    for (int32_t i = 0; i < n; i++) {
        for (int32_t part = 0; part < 2; part++) {
            const int32_t at = 2 * i + part;
            z[2 * reversed + part] = at < f->window_samples ? (samples[at] * factor * f->window[at] + half) >> down : 0;
        }
        int32_t bit = n >> 1;
        for (; reversed & bit; bit >>= 1) {
            reversed -= bit;
        }
        reversed += bit;
    }
}

static void transform(const kt_spectral_features *f, int32_t *z)
{
    const int32_t n = f->points / 2;
    for (int32_t half = 1; half < n; half *= 2) {
        for (int32_t j = 0; j < half; j++) {
            for (int32_t at = j; at < n; at += 2 * half) {
                int32_t *a = z + 2 * at, *b = a + 2 * half;
                int32_t re = b[0], im = b[1];
                if (j) { /* a turn by nothing is exact */
                    turn(f, j * (n / half), &re, &im);
                }
                b[0] = a[0] - re;
                b[1] = a[1] - im;
                a[0] += re;
                a[1] += im;
            }
        }
    }
}

/* sqrt(re^2 + im^2), rounded down to 16 significant bits. */
static int32_t magnitude(int32_t re, int32_t im)
{
    const uint64_t power = (uint64_t)((int64_t)re * re + (int64_t)im * im);
    uint32_t shift = 0, root = 0;
    for (uint32_t high = (uint32_t)(power >> 32); high; high >>= 2) {
        shift += 2;
    }
    uint32_t rest = (uint32_t)(power >> shift);
    for (uint32_t bit = UINT32_C(1) << 30; bit; bit >>= 2) {
        if (rest >= root + bit) {
            rest -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return (int32_t)(root << (shift >> 1));
}

/* The FFT of pairs of samples to twice the magnitudes of the samples' own spectrum: that of frequency k at z[2 k], the last at z[1]. */
static void magnitudes(const kt_spectral_features *f, int32_t *z)
{
    const int32_t n = f->points / 2;
    for (int32_t k = 0; k <= n / 2; k++) {
        if ((k < f->first_bin || k > f->last_bin) && (n - k < f->first_bin || n - k > f->last_bin)) {
            continue;
        }
        int32_t *a = z + 2 * k, *b = z + 2 * (k ? n - k : 0);
        const int32_t even_re = a[0] + b[0], even_im = a[1] - b[1];
        int32_t odd_re = a[1] + b[1], odd_im = b[0] - a[0];
        turn(f, k, &odd_re, &odd_im);
        b[k ? 0 : 1] = magnitude(even_re - odd_re, even_im - odd_im);
        a[0] = magnitude(even_re + odd_re, even_im + odd_im);
    }
}

/* log2 of v >= 1. */
static int32_t log2_fixed(const kt_spectral_features *f, uint64_t v)
{
    int32_t exponent = 63;
    for (int32_t step = 32; step; step >>= 1) {
        if (!(v >> (64 - step))) {
            v <<= step;
            exponent -= step;
        }
    }
    const int32_t i = (int32_t)(v >> 56) & 127, rest = (int32_t)(v >> 40) & 0xFFFF;
    const int32_t low = f->logarithm[i], high = i < 127 ? f->logarithm[i + 1] : 1 << LOGARITHM_BITS;
    return exponent * (1 << LOGARITHM_BITS) + low + (((high - low) * rest) >> LOGARITHM_BITS);
}

/* The bands' logarithms, of samples divided by the level. */
static void log_bands(const kt_spectral_features *f, const int32_t *z, int32_t up, int32_t level, int32_t *logs)
{
    const int32_t unit = (f->fraction + 16 + up) * (1 << LOGARITHM_BITS) + log2_fixed(f, (uint64_t)level);
    const uint64_t least = ((uint64_t)level * f->floor) >> (20 - up);
    const uint16_t *weight = f->weights;
    for (int32_t band = 0; band < f->bands; band++) {
        uint64_t sum = least;
        for (int32_t i = 0; i < f->band_count[band]; i++) {
            const int32_t k = f->band_start[band] + i;
            sum += (uint64_t)(uint32_t)z[k < f->points / 2 ? 2 * k : 1] * *weight++;
        }
        logs[band] = log2_fixed(f, sum ? sum : 1) - unit;
    }
}

static int8_t quantized(const kt_spectral_features *f, int64_t sum)
{
    const int64_t steps = (sum + (INT64_C(1) << (f->shift - 1))) >> f->shift;
    return (int8_t)kt_clamp(kt_add_saturated(kt_saturate32(steps), f->zero_point), -128, 127);
}

int32_t kt_features_peak(const int16_t *samples, int32_t count)
{
    int32_t peak = 1;
    for (int32_t i = 0; i < count; i++) {
        peak = kt_maximum(peak, samples[i]);
    }
    return peak;
}

int32_t kt_features_magnitudes(const kt_spectral_features *f, const int16_t *samples, int32_t *scratch)
{
    const int32_t up = room(samples, f->window_samples);
    load(f, samples, up, scratch);
    transform(f, scratch);
    magnitudes(f, scratch);
    return up;
}

void kt_features_spectral_frame(const kt_spectral_features *f, const int16_t *samples, int32_t level, int32_t *scratch, int8_t *row)
{
    int32_t *logs = scratch + f->points;
    const int32_t up = kt_features_magnitudes(f, samples, scratch);
    log_bands(f, scratch, up, level, logs);
    for (int32_t band = 0; f->coefficients == 0 && band < f->bands; band++) {
        row[band] = quantized(f, (int64_t)logs[band] * f->matrix[0]);
    }
    for (int32_t i = 0; i < f->coefficients; i++) {
        int64_t sum = 0;
        for (int32_t band = 0; band < f->bands; band++) {
            sum += (int64_t)logs[band] * f->matrix[i * f->bands + band];
        }
        row[i] = quantized(f, sum);
    }
}

void kt_features_spectral(const kt_spectral_features *f, const int16_t *samples, int32_t count, int32_t *scratch, int8_t *rows)
{
    const int32_t width = f->coefficients ? f->coefficients : f->bands, level = f->peak ? kt_features_peak(samples, count) : FULL_SCALE;
    for (int32_t i = 0; i < f->frames; i++) {
        kt_features_spectral_frame(f, samples + (int64_t)i * f->hop, level, scratch, rows + (int64_t)i * width);
    }
}
