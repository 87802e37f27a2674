#include "kt/features.h"

#include "kt/numerics.h"

#define TWIDDLE_BITS 30
#define LOGARITHM_BITS 16
#define FULL_SCALE 32768

/* Scratch: complex numbers as pairs of int32, later magnitudes in their places, and the bands behind them. */

#if defined(__ARM_FEATURE_CLZ) && defined(__GNUC__)
static inline int32_t bit_length(uint32_t x)
{
    return x ? 32 - __builtin_clz(x) : 0;
}
#else
#define bit_length kt_bit_length
#endif

#if defined(__ARM_ARCH_ISA_THUMB) && defined(__OPTIMIZE__) && !defined(KT_PORTABLE)
#define THUMB_2 (__ARM_ARCH_ISA_THUMB == 2)
#else
#define THUMB_2 0
#endif

/* (a * p + b * q) / 2^30, rounded to nearest, ties up. */
static inline int32_t turned(int32_t a, int32_t p, int32_t b, int32_t q)
{
#if THUMB_2
    uint32_t low;
    int32_t high;
    __asm__("smull %[low], %[high], %[a], %[p]\n\t"
            "smlal %[low], %[high], %[b], %[q]\n\t"
            "lsrs %[low], %[low], #30\n\t" /* bit 29, which rounds up, is the carry */
            "adc %[low], %[low], %[high], lsl #2"
            : [low] "=&r"(low), [high] "=&r"(high)
            : [a] "r"(a), [p] "r"(p), [b] "r"(b), [q] "r"(q)
            : "cc");
    return (int32_t)low;
#else
    return (int32_t)(((int64_t)a * p + (int64_t)b * q + (INT64_C(1) << (TWIDDLE_BITS - 1))) >> TWIDDLE_BITS);
#endif
}

/* How far samples can be shifted up: the largest keeps at most 2^15. A magnitude of m needs as many bits as m - 1 has. */
static int32_t room(const int16_t *samples, int32_t count)
{
    const int16_t *const end = samples + count;
    int32_t bits = 0;
    while (samples != end) {
        const int32_t sample = *samples++, less = sample + (-sample >> 31); /* 1 less above 0 */
        bits |= less ^ (less >> 31);
    }
    return 15 - bit_length((uint32_t)bits);
}

/* The windowed samples as complex numbers, where the FFT reads them: at their bit-reversed places. */
static void load(const kt_spectral_features *f, const int16_t *samples, int32_t up, int32_t *z)
{
    const int32_t n = f->points / 2, down = 15 - f->fraction, factor = INT32_C(1) << up, half = (INT32_C(1) << down) >> 1;
    const uint16_t *const window = f->window;
    const int32_t count = f->window_samples;
    int32_t reversed = 0;
    for (int32_t at = 0; at < 2 * n; at += 2) {
        int32_t *const to = z + 2 * reversed;
        int32_t bit = n >> 1;
        to[0] = at < count ? (samples[at] * factor * window[at] + half) >> down : 0;
        to[1] = at + 1 < count ? (samples[at + 1] * factor * window[at + 1] + half) >> down : 0;
        for (; reversed & bit; bit >>= 1) {
            reversed -= bit;
        }
        reversed += bit;
    }
}

/* a + w and a - w, where w is b turned. */
static inline void butterfly(int32_t *a, int32_t *b, int32_t re, int32_t im)
{
    const int32_t a_re = a[0], a_im = a[1];
    a[0] = a_re + re;
    a[1] = a_im + im;
    b[0] = a_re - re;
    b[1] = a_im - im;
}

/* Butterflies from a on to the end, all with the turn (cosine - i sine). Assembly, because gcc keeps more in memory than in registers. */
static __attribute__((noinline)) void turned_butterflies(int32_t *a, const int32_t *end, int32_t half, int32_t sine, int32_t cosine)
{
    const int32_t down = -sine;
    int32_t *b = a + 2 * half;
#if THUMB_2
    int32_t re, im, high, turned_re, turned_im;
    __asm__ volatile("1:\n\t"
                     "ldrd %[re], %[im], [%[b]]\n\t"
                     "smull %[turned_re], %[high], %[re], %[cosine]\n\t"
                     "smlal %[turned_re], %[high], %[im], %[sine]\n\t"
                     "lsrs %[turned_re], %[turned_re], #30\n\t" /* as in `turned` */
                     "adc %[turned_re], %[turned_re], %[high], lsl #2\n\t"
                     "smull %[turned_im], %[high], %[im], %[cosine]\n\t"
                     "smlal %[turned_im], %[high], %[re], %[down]\n\t"
                     "ldrd %[re], %[im], [%[a]]\n\t"
                     "lsrs %[turned_im], %[turned_im], #30\n\t"
                     "adc %[turned_im], %[turned_im], %[high], lsl #2\n\t"
                     "sub %[high], %[re], %[turned_re]\n\t"
                     "add %[re], %[re], %[turned_re]\n\t"
                     "sub %[turned_re], %[im], %[turned_im]\n\t"
                     "add %[im], %[im], %[turned_im]\n\t"
                     "strd %[high], %[turned_re], [%[b]]\n\t"
                     "strd %[re], %[im], [%[a]]\n\t"
                     "add %[b], %[b], %[step]\n\t"
                     "add %[a], %[a], %[step]\n\t"
                     "cmp %[a], %[end]\n\t"
                     "blo 1b"
                     : [a] "+r"(a), [b] "+r"(b), [re] "=&r"(re), [im] "=&r"(im), [high] "=&r"(high), [turned_re] "=&r"(turned_re),
                       [turned_im] "=&r"(turned_im)
                     : [sine] "r"(sine), [cosine] "r"(cosine), [down] "r"(down), [step] "r"(16 * half), [end] "r"(end)
                     : "cc", "memory");
#else
    for (; a < end; a += 4 * half, b += 4 * half) {
        const int32_t re = b[0], im = b[1];
        butterfly(a, b, turned(re, cosine, im, sine), turned(im, cosine, re, down));
    }
#endif
}

/* A stage of radix 2: transforms of `half` points to those of twice as many, with angles in steps of points / (2 half). The second half of the
 * angles is a quarter of a period behind the first, so both read the sine at the same places; turns by nothing and by a quarter are exact. */
static void stage(const kt_spectral_features *f, int32_t half, int32_t *z)
{
    const int32_t n = f->points / 2, step = n / half;
    const int32_t *const end = z + 2 * n, *sine = f->sine, *cosine = f->sine + f->points / 4;
    int32_t *a;
    for (a = z; a != end; a += 4 * half) {
        int32_t *const b = a + 2 * half;
        butterfly(a, b, b[0], b[1]);
    }
    for (a = z + half; a < end; a += 4 * half) {
        int32_t *const b = a + 2 * half;
        butterfly(a, b, b[1], -b[0]);
    }
    for (a = z + 2; a != z + half; a += 2) {
        sine += step;
        cosine -= step;
        turned_butterflies(a, end, half, *sine, *cosine);
        turned_butterflies(a + half, end, half, *cosine, -*sine);
    }
}

static void transform(const kt_spectral_features *f, int32_t *z)
{
    const int32_t n = f->points / 2;
    for (int32_t i = 0; i < 2 * n; i += 4) {
        butterfly(z + i, z + i + 2, z[i + 2], z[i + 3]);
    }
    for (int32_t half = 2; half < n; half *= 2) {
        stage(f, half, z);
    }
}

#if defined(__ARM_FP) && defined(__ARM_ARCH_PROFILE) && !defined(KT_PORTABLE)
#define ROOT_IN_FLOAT ((__ARM_FP & 4) != 0)
#else
#define ROOT_IN_FLOAT 0
#endif

/* The root, rounded down. */
static inline uint32_t root_of(uint32_t v)
{
#if ROOT_IN_FLOAT
    float estimate = (float)v; /* the root of its rounded value is at most 0.01 off */
    uint32_t root;
    int32_t rest;
    __asm__("vsqrt.f32 %0, %0" : "+t"(estimate));
    root = (uint32_t)estimate;
    rest = (int32_t)(v - root * root);
    return rest < 0 ? root - 1 : rest > (int32_t)(2 * root) ? root + 1 : root;
#else
    uint32_t root = 0;
    for (uint32_t bit = UINT32_C(1) << 30; bit; bit >>= 2) {
        if (v >= root + bit) {
            v -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return root;
#endif
}

/* sqrt(re^2 + im^2), rounded down to 16 significant bits. */
static inline int32_t magnitude(int32_t re, int32_t im)
{
    const uint64_t power = (uint64_t)((int64_t)re * re + (int64_t)im * im);
    const uint32_t high = (uint32_t)(power >> 32);
    const int32_t half = (bit_length(high) + 1) >> 1;
    return (int32_t)(root_of((uint32_t)(power >> (2 * half))) << half);
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
        const int32_t re = a[1] + b[1], im = b[0] - a[0], sine = f->sine[k], cosine = f->sine[n / 2 - k];
        const int32_t odd_re = turned(re, cosine, im, sine), odd_im = turned(im, cosine, re, -sine);
        b[k ? 0 : 1] = magnitude(even_re - odd_re, even_im - odd_im);
        a[0] = magnitude(even_re + odd_re, even_im + odd_im);
    }
}

/* log2 of v >= 1. */
static int32_t log2_fixed(const kt_spectral_features *f, uint64_t v)
{
    const uint32_t upper = (uint32_t)(v >> 32);
    const int32_t exponent = upper ? 31 + bit_length(upper) : bit_length((uint32_t)v) - 1;
    v <<= 63 - exponent;
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
        const int32_t start = f->band_start[band], count = f->band_count[band], within = kt_minimum(count, f->points / 2 - start);
        const uint32_t *magnitude_of = (const uint32_t *)z + 2 * start;
        uint64_t sum = least;
        for (const uint16_t *const end = weight + within; weight != end; magnitude_of += 2) {
            sum += (uint64_t)*magnitude_of * *weight++;
        }
        if (within < count) { /* half the sample rate */
            sum += (uint64_t)(uint32_t)z[1] * *weight++;
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
