#include "kt/features.h"

#include "kt/numerics.h"

#define SHARE_BITS 14
#define NOISE_BITS 10
#define SNR_BITS 12
#define OUTPUT_BITS 6
#define WEIGHT_ONE 4096u
#define LN2 45426

/* Scratch: a complex number of int16 in each word, the real part in its low half; later energies in their places. */

static int32_t low_half(uint32_t word)
{
    return (int16_t)(uint16_t)word;
}

static int32_t high_half(uint32_t word)
{
    return (int16_t)(uint16_t)(word >> 16);
}

static uint32_t word_of(int32_t re, int32_t im)
{
    return (uint32_t)(uint16_t)re | (uint32_t)(uint16_t)im << 16;
}

/* A product with 15 bits of fraction to int16. */
static int32_t rounded(int32_t product)
{
    return (int16_t)(uint16_t)((product + (1 << 14)) >> 15);
}

/* (re + i im) * exp(-2 pi i angle / points) for angles below three quarters of points. */
static void turn(const kt_micro_features *f, int32_t angle, int32_t *re, int32_t *im)
{
    const int32_t quarter = f->points / 4;
    int32_t quarters = 0;
    for (; angle >= quarter; angle -= quarter) {
        quarters++;
    }
    int32_t s = f->sine[angle], c = f->sine[quarter - angle];
    for (; quarters > 0; quarters--) {
        const int32_t before = s;
        s = c;
        c = -before;
    }
    const int32_t turned = rounded(*re * c + *im * s);
    *im = rounded(*im * c - *re * s);
    *re = turned;
}

static int32_t weighted(const kt_micro_features *f, const int16_t *samples, int32_t at)
{
    return at < f->window_samples ? (samples[at] * (int32_t)f->window[at]) >> 12 : 0;
}

/* How far the windowed samples are shifted up: the largest has 15 bits then. -32768 counts as nothing. */
static int32_t room(const kt_micro_features *f, const int16_t *samples)
{
    int32_t largest = 0;
    for (int32_t i = 0; i < f->window_samples; i++) {
        const int32_t v = weighted(f, samples, i);
        if (v > -32768) {
            largest = kt_maximum(largest, v < 0 ? -v : v);
        }
    }
    return 15 - kt_bit_length((uint32_t)largest);
}

/* Pairs of samples where the FFT reads them: at the places of their reversed digits. */
static void load(const kt_micro_features *f, const int16_t *samples, int32_t up, uint32_t *z)
{
    const int32_t n = f->points / 2, factor = INT32_C(1) << up;
    for (int32_t i = 0; i < n; i++) {
        int32_t place = 0, rest = i;
        for (int32_t size = n; size > 1;) {
            if (size % 4 == 0) {
                size /= 4;
                place += (rest & 3) * size;
                rest >>= 2;
            } else {
                size /= 2;
                place += (rest & 1) * size;
                rest >>= 1;
            }
        }
        z[place] = word_of(weighted(f, samples, 2 * i) * factor, weighted(f, samples, 2 * i + 1) * factor);
    }
}

/* Pairs of transforms of one point. */
static void join_two(uint32_t *z, int32_t n)
{
    for (int32_t i = 0; i < n; i += 2) {
        const int32_t a = rounded(low_half(z[i]) * 16383), b = rounded(high_half(z[i]) * 16383);
        const int32_t c = rounded(low_half(z[i + 1]) * 16383), d = rounded(high_half(z[i + 1]) * 16383);
        z[i] = word_of(a + c, b + d);
        z[i + 1] = word_of(a - c, b - d);
    }
}

/* Four transforms of `size` points, behind each other, to one. */
static void join_four(const kt_micro_features *f, uint32_t *z, int32_t size)
{
    const int32_t step = f->points / (4 * size);
    for (int32_t j = 0; j < size; j++) {
        int32_t re[4], im[4];
        for (int32_t q = 0; q < 4; q++) {
            re[q] = rounded(low_half(z[j + q * size]) * 8191);
            im[q] = rounded(high_half(z[j + q * size]) * 8191);
            if (q) {
                turn(f, q * j * step, &re[q], &im[q]);
            }
        }
        const int32_t even_re = re[0] + re[2], even_im = im[0] + im[2], odd_re = re[0] - re[2], odd_im = im[0] - im[2];
        const int32_t sum_re = re[1] + re[3], sum_im = im[1] + im[3], difference_re = re[1] - re[3], difference_im = im[1] - im[3];
        z[j] = word_of(even_re + sum_re, even_im + sum_im);
        z[j + size] = word_of(odd_re + difference_im, odd_im - difference_re);
        z[j + 2 * size] = word_of(even_re - sum_re, even_im - sum_im);
        z[j + 3 * size] = word_of(odd_re - difference_im, odd_im + difference_re);
    }
}

static void transform(const kt_micro_features *f, uint32_t *z)
{
    const int32_t n = f->points / 2;
    int32_t size = 1;
    for (int32_t left = n; left > 1; left /= 4) {
        if (left == 2) { /* no power of four: the stage of two comes first */
            join_two(z, n);
            size = 2;
        }
    }
    for (; size < n; size *= 4) {
        for (int32_t at = 0; at < n; at += 4 * size) {
            join_four(f, z + at, size);
        }
    }
}

static uint32_t squared(int32_t re, int32_t im)
{
    return (uint32_t)(re * re) + (uint32_t)(im * im);
}

/* The transform of pairs of samples to the energies of the samples' own frequencies, but for half the sample rate. */
static void energies(const kt_micro_features *f, uint32_t *z)
{
    const int32_t n = f->points / 2;
    const int32_t first = low_half(word_of(rounded(low_half(z[0]) * 16383) + rounded(high_half(z[0]) * 16383), 0));
    z[0] = squared(first, 0);
    for (int32_t k = 1; k <= n / 2; k++) {
        const int32_t a = rounded(low_half(z[k]) * 16383), b = rounded(high_half(z[k]) * 16383);
        const int32_t c = rounded(low_half(z[n - k]) * 16383), d = rounded(high_half(z[n - k]) * 16383);
        int32_t re = a - c, im = b + d;
        turn(f, k + n / 2, &re, &im);
        z[n - k] = squared((a + c - re) >> 1, (im - b + d) >> 1);
        z[k] = squared((a + c + re) >> 1, (b - d + im) >> 1);
    }
}

/* The root, rounded to nearest; that of v < 2^32 has 16 bits. */
static uint32_t root_of(uint64_t v)
{
    const uint64_t root = kt_integer_root(v), limit = v >> 32 ? UINT32_MAX : UINT16_MAX;
    return (uint32_t)(v - root * root > root && root != limit ? root + 1 : root);
}

/* The gain that a noise is divided by: a parabola for each octave. */
static int32_t gain_of(const kt_micro_features *f, uint32_t noise)
{
    if (noise < 2) {
        return f->gain[noise];
    }
    const int32_t octave = kt_bit_length(noise);
    const int16_t *curve = f->gain + 3 * octave - 4; /* value, slope, bend */
    const int32_t rest = (int32_t)((octave < 11 ? noise << (11 - octave) : noise >> (octave - 11)) & 0x3FFu);
    const int32_t slope = ((curve[2] * rest) >> 5) + curve[1] * 32;
    return (int16_t)(uint16_t)(curve[0] + ((slope * rest + (1 << 14)) >> 15));
}

/* Small ratios squared, a line from 2 on. */
static uint32_t shrunk(uint32_t snr)
{
    if (snr < UINT32_C(2) << SNR_BITS) {
        return (snr * snr) >> (2 + 2 * SNR_BITS - OUTPUT_BITS);
    }
    return (snr >> (SNR_BITS - OUTPUT_BITS)) - (1u << OUTPUT_BITS);
}

/* ln(v) with 6 bits of fraction; 0 for v of 0 and 1. */
static uint32_t logarithm_of(const kt_micro_features *f, uint32_t v)
{
    if (v < 2) {
        return 0;
    }
    const int32_t whole = kt_bit_length(v) - 1;
    const uint32_t beyond = v - (UINT32_C(1) << whole);
    const int32_t rest = (int32_t)(whole < 16 ? beyond << (16 - whole) : beyond >> (whole - 16));
    const int32_t low = f->logarithm[rest >> 9], high = f->logarithm[(rest >> 9) + 1];
    const uint32_t log2 = (uint32_t)(whole * 65536 + rest + low + (((high - low) * (rest & 511)) >> 16));
    const uint32_t natural = (uint32_t)(((uint64_t)log2 * LN2 + 32768u) >> 16);
    return ((natural << OUTPUT_BITS) + 32768u) >> 16;
}

/* A band without its noise, whose estimate goes on. */
static uint32_t without_noise(const kt_micro_features *f, uint32_t signal, uint32_t smoothing, uint32_t *noise)
{
    const uint32_t up = signal << NOISE_BITS;
    *noise = (uint32_t)(((uint64_t)up * smoothing + (uint64_t)*noise * ((1u << SHARE_BITS) - smoothing)) >> SHARE_BITS);
    const uint32_t least = (uint32_t)(((uint64_t)signal * f->remaining) >> SHARE_BITS);
    const uint32_t left = (up - (*noise < up ? *noise : up)) >> NOISE_BITS;
    return left > least ? left : least;
}

static int8_t quantized(const kt_micro_features *f, uint32_t value)
{
    const int32_t steps = kt_saturate32((int64_t)(((uint64_t)value * f->multiplier + f->rounding) >> f->shift));
    return (int8_t)kt_clamp(kt_add_saturated(steps, f->zero_point), -128, 127);
}

void kt_features_micro_frame(const kt_micro_features *f, const int16_t *samples, uint32_t *noise, int32_t *scratch, int8_t *row)
{
    uint32_t *z = (uint32_t *)scratch;
    const int32_t up = room(f, samples);
    load(f, samples, up, z);
    transform(f, z);
    energies(f, z);
    const uint32_t *energy = z + f->first_bin;
    const uint16_t *weight = f->weights;
    uint64_t rising = 0;
    for (int32_t i = 0; i <= f->bands; i++) {
        uint64_t sum = rising;
        rising = 0;
        for (int32_t count = f->band_count[i]; count > 0; count--, energy++, weight++) {
            sum += (uint64_t)*energy * *weight;
            rising += (uint64_t)*energy * (WEIGHT_ONE - *weight);
        }
        if (i == 0) {
            continue;
        }
        const int32_t band = i - 1;
        uint32_t value = without_noise(f, root_of(sum) >> up, band % 2 ? f->odd_smoothing : f->even_smoothing, &noise[band]);
        if (f->pcan) {
            value = shrunk((uint32_t)(((uint64_t)value * (uint32_t)gain_of(f, noise[band])) >> f->gain_shift));
        }
        value = logarithm_of(f, value << f->correction);
        row[band] = quantized(f, value < UINT16_MAX ? value : UINT16_MAX);
    }
}

void kt_features_micro(const kt_micro_features *f, const int16_t *samples, uint32_t *noise, int32_t *scratch, int8_t *rows)
{
    for (int32_t i = 0; i < f->frames; i++) {
        kt_features_micro_frame(f, samples + (int64_t)i * f->hop, noise, scratch, rows + (int64_t)i * f->bands);
    }
}
