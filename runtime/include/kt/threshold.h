/* kt/threshold.h: a threshold on anomaly scores that is kept calibrated where it is used.
 *
 * Of normal scores, such as the loss of an autoencoder that kt_model_interface's train_step gives, the mean and the variance of the logarithm run
 * along; an alarm is a score `width` standard deviations above the mean. So the threshold follows a machine, another speed, and a model that
 * has adapted: learn from the losses of the samples that it is trained on, and from normal samples behind it. Logarithms, because scores are
 * positive and their spread grows with them.
 *
 * Integers alone, 12 bytes a threshold, which firmware may keep in any memory. Nothing here learns by itself: what is not known to be normal
 * should not be learned from, or a fault that grows slowly raises the threshold with it. */
#ifndef KT_THRESHOLD_H
#define KT_THRESHOLD_H

#include <stdint.h>

#include "kt/strict_float.h"

#ifdef __cplusplus
extern "C" {
#endif

/* level: mean of the scores' logarithms to base 2, times 2^16; spread: their variance, times 2^16; samples: learned from. All 0 at first. */
typedef struct {
    int32_t level;
    int32_t spread;
    uint32_t samples;
} kt_threshold;

/* The logarithm to base 2 of a score, times 2^16, straight between powers of two: at most 0.09 too small, and greater for a greater score.
 * Of 0, negative scores and what is below 2^-126 it is at most -126 * 2^16; of infinity and NaN 2^23. */
int32_t kt_threshold_logarithm(float score);

/* Take in a normal score. memory: scores that the moments go back, at least 1; fewer weigh alike. With n the lesser of samples + 1 and memory,
 * d = log - level: level += d / n, spread += (d (log - level) - spread) / n; divisions round towards zero. */
void kt_threshold_learn(kt_threshold *threshold, float score, uint32_t memory);

/* Where the alarm begins, as a logarithm times 2^16; width: standard deviations above the mean, times 256, from 0 to 2^15. */
int32_t kt_threshold_limit(const kt_threshold *threshold, int32_t width);

/* Whether a score is above the limit; never before two scores have been learned. */
int kt_threshold_alarm(const kt_threshold *threshold, float score, int32_t width);

#ifdef __cplusplus
}
#endif
#endif
