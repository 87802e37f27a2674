/* kt/drift.h: whether a model's inputs, or how sure it is of them, are no longer what they were: a reason to adapt. Integers alone.
 *
 * Two numbers of each sample are watched: its distance from the inputs of before, and the margin by which its answer wins. Each feeds a one-sided
 * CUSUM, S := max(0, S + v - slack) with v in standard deviations of what was usual, clipped to 4 of them, which raises its flag where S exceeds a
 * threshold: slack is half of the shift that matters, the threshold decides between early and false (E. S. Page, "Continuous Inspection Schemes",
 * Biometrika 41, 1954). What was usual comes from samples at the desk (kt.DriftReference of Python writes the constants); distances may be learned
 * anew on the device.
 *
 * A distance says that inputs changed, not that answers are wrong; a margin may stay large where answers are wrong. Neither replaces labels. */
#ifndef KT_DRIFT_H
#define KT_DRIFT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KT_DRIFT_INPUT 1      /* inputs are further from those of before */
#define KT_DRIFT_CONFIDENCE 2 /* answers win by less */
#define KT_DRIFT_UNIT 256     /* a standard deviation of v, slack, threshold and sums; a mean square of 1 */

/* A number that is watched: what is usual. */
typedef struct {
    int32_t mean;
    int32_t deviation; /* at least 1 */
} kt_drift_usual;

/* Constants. An input of groups * group_values int8 values is seen as sums of group_values neighbours.
 * means: of each sum. inverse: 2^20 / standard deviation of each sum. classes: int8 values of the output, 0: no margin is watched. */
typedef struct {
    uint16_t groups;
    uint16_t group_values;
    uint16_t classes;
    const int32_t *means;
    const uint32_t *inverse;
    kt_drift_usual distance, margin;
    int32_t slack, threshold; /* in KT_DRIFT_UNIT */
} kt_drift_reference;

/* What a device remembers; may be stored beside the model's state. All zero is no valid content: kt_drift_init. */
typedef struct {
    int64_t sum, squares;        /* of distances, while it learns */
    kt_drift_usual usual[2];     /* distance, margin */
    int32_t cusum[2];
    int32_t last[2];  /* of the last sample */
    uint32_t learned; /* samples so far, and of how many: 0 where it does not learn */
    uint32_t of;
    uint32_t flags;
} kt_drift;

void kt_drift_init(kt_drift *drift, const kt_drift_reference *reference);

/* Take the distances of the next `samples` (at least 8) as the usual ones: after an adaptation. Flags and sums are cleared. Margins stay held
 * against those at the desk: a model that is still less sure asks for more. */
void kt_drift_learn(kt_drift *drift, uint32_t samples);

/* A sample, and what the model said of it (NULL: margins are not watched). Returns the flags; they stay until init or learn. */
uint32_t kt_drift_update(kt_drift *drift, const kt_drift_reference *reference, const int8_t *input,
                         const int8_t *output);

#ifdef __cplusplus
}
#endif
#endif
