/* kt/features.h: from the samples of a recording to the input of a model, in integers that are the same on every core.
 *
 * Generated code has the tables (<model>_features of the model's header calls these); the plans of codegen/kiloc/features are
 * their exact meaning. */
#ifndef KT_FEATURES_H
#define KT_FEATURES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Logarithms of mel bands, or their cepstral coefficients. */
typedef struct {
    const uint16_t *window;     /* [window_samples], 15 bits of fraction */
    const int32_t *sine;        /* [points / 4 + 1], a quarter of a period, 30 bits of fraction */
    const uint16_t *band_start; /* [bands], the first frequency of each */
    const uint16_t *band_count; /* [bands], how many it has */
    const uint16_t *weights;    /* those of all bands behind each other, 15 bits of fraction */
    const uint16_t *logarithm;  /* [128], log2(1 + i / 128), 16 bits of fraction */
    const int16_t *matrix;      /* [coefficients][bands]; where coefficients is 0, a multiplier */
    uint64_t floor;             /* what a level of 1 adds to a band, with 20 bits more of fraction than the band has */
    int32_t zero_point;
    uint16_t window_samples;
    uint16_t hop;
    uint16_t frames;
    uint16_t points; /* of the FFT: a power of two, at least 16 and window_samples */
    uint16_t bands;
    uint16_t coefficients; /* 0: the bands themselves */
    uint16_t first_bin;    /* the frequencies that bands read */
    uint16_t last_bin;
    uint8_t fraction; /* bits behind the point that samples have in the FFT, beside their shift */
    uint8_t shift;    /* bits of fraction of a product with the matrix */
    uint8_t peak;     /* 1: the level is the recording's largest sample, 0: 32768 */
} kt_spectral_features;

/* Bytes of scratch that a frame needs, aligned to 4. */
#define KT_SPECTRAL_SCRATCH_BYTES(points, bands) (4u * ((uint32_t)(points) + (uint32_t)(bands)))

/* The largest of `count` samples, at least 1: the level of a recording. */
int32_t kt_features_peak(const int16_t *samples, int32_t count);

/* The FFT of one frame alone, of the members window, sine, window_samples, points, first_bin, last_bin and fraction. Scratch gets twice the
 * magnitude of each frequency k from first_bin to last_bin, at 2 k, that of half the sample rate at 1, with `fraction` bits and the shift
 * that is returned. */
int32_t kt_features_magnitudes(const kt_spectral_features *f, const int16_t *samples, int32_t *scratch);

/* One frame: window_samples samples to a row of coefficients, or bands. level: 1 to 32768, what samples are divided by. */
void kt_features_spectral_frame(const kt_spectral_features *f, const int16_t *samples, int32_t level, int32_t *scratch, int8_t *row);

/* A recording of (frames - 1) * hop + window_samples samples or more, of which `count` decide its level, to all rows. */
void kt_features_spectral(const kt_spectral_features *f, const int16_t *samples, int32_t count, int32_t *scratch, int8_t *rows);

/* The audio front end of TensorFlow Lite Micro: bands of the mel scale with their noise taken off. */
typedef struct {
    const uint16_t *window;     /* [window_samples], 12 bits of fraction */
    const int16_t *sine;        /* [points / 4 + 1], a quarter of a period, 32767 at its end */
    const uint16_t *band_count; /* [bands + 1], frequencies from one band's peak to the next */
    const uint16_t *weights;    /* of these, on the falling side of a band, 12 bits of fraction */
    const uint16_t *logarithm;  /* [129], log2(1 + i / 128) - i / 128, 16 bits of fraction */
    const int16_t *gain;        /* [95]: at a noise of 0, of 1, then value, slope and bend for each octave */
    uint64_t rounding;          /* added to a product with the multiplier */
    uint32_t multiplier;        /* from what comes out to steps of the input */
    int32_t zero_point;
    uint16_t even_smoothing; /* of the noise of bands 0, 2, ..., 14 bits of fraction */
    uint16_t odd_smoothing;
    uint16_t remaining; /* share of a band that is always left, 14 bits of fraction */
    uint16_t window_samples;
    uint16_t hop;
    uint16_t frames;
    uint16_t points; /* of the FFT: a power of two, at least 64 and window_samples */
    uint16_t bands;
    uint16_t first_bin; /* the first frequency that has a weight */
    uint8_t gain_shift;
    uint8_t correction; /* bits that the logarithm's argument is shifted up */
    uint8_t shift;      /* bits of fraction of the multiplier */
    uint8_t pcan;       /* 1: bands are divided by their gain */
} kt_micro_features;

/* Bytes of scratch that a frame needs, aligned to 4. */
#define KT_MICRO_SCRATCH_BYTES(points) (2u * (uint32_t)(points))

/* One frame: window_samples samples to a row of bands. noise: [bands], zeros in front of the first frame, which goes on from frame to frame. */
void kt_features_micro_frame(const kt_micro_features *f, const int16_t *samples, uint32_t *noise, int32_t *scratch, int8_t *row);

/* (frames - 1) * hop + window_samples samples to all rows. */
void kt_features_micro(const kt_micro_features *f, const int16_t *samples, uint32_t *noise, int32_t *scratch, int8_t *rows);

/* Statistics of windows of a sensor's channels. */
enum {
    KT_STATISTIC_MEAN,
    KT_STATISTIC_STD,
    KT_STATISTIC_MIN,
    KT_STATISTIC_MAX,
    KT_STATISTIC_RANGE,
    KT_STATISTIC_RMS,
    KT_STATISTIC_MEAN_ABSOLUTE,
    KT_STATISTIC_ZERO_CROSSINGS,
    KT_STATISTIC_MEAN_CROSSINGS,
    KT_STATISTIC_BANDS
};

typedef struct {
    int32_t (*magnitudes)(const kt_spectral_features *f, const int16_t *samples, int32_t *scratch); /* kt_features_magnitudes; NULL without bands */
    kt_spectral_features spectrum; /* what it reads */
    const uint8_t *values;         /* [value_count] of KT_STATISTIC_... */
    const uint16_t *band_ends;     /* [bands + 1], the first frequency of each band, and the one behind the last */
    const int32_t *multiplier;     /* of each value of a row: it becomes (v * multiplier + offset) >> shift */
    const int64_t *offset;
    const uint8_t *shift;
    int32_t zero_point;
    uint16_t window_samples;
    uint16_t hop;
    uint16_t frames;
    uint8_t channels; /* of the samples, in turn */
    uint8_t value_count;
    uint8_t bands; /* a value for each is what KT_STATISTIC_BANDS gives */
} kt_statistics_features;

/* Bytes of scratch that a frame with bands needs, aligned to 4; one without needs none. */
#define KT_STATISTICS_SCRATCH_BYTES(points, window_samples) (4u * ((uint32_t)(points) + ((uint32_t)(window_samples) + 1u) / 2u))

/* One frame: window_samples samples of each channel to a row, all values of the first channel in front of those of the second. */
void kt_features_statistics_frame(const kt_statistics_features *f, const int16_t *samples, int32_t *scratch, int8_t *row);

/* (frames - 1) * hop + window_samples samples of each channel to all rows. */
void kt_features_statistics(const kt_statistics_features *f, const int16_t *samples, int32_t *scratch, int8_t *rows);

#ifdef __cplusplus
}
#endif
#endif
