/* kt/sliced_step.h: a training step in slices, behind a table that lets one program drive any model built with slices. */
#ifndef KT_SLICED_STEP_H
#define KT_SLICED_STEP_H

#include "kt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* steps: calls of kernels in a training step, between any two of which it may be left. instructions: of each, as estimated on a Cortex-M4.
 * train_slice, replay_slice: those of the generated header, with all inputs behind each other as kt/model.h has them; NULL where the model has
 * no replay buffer. */
typedef struct {
    uint32_t steps;
    const uint32_t *instructions;
    kt_status (*train_slice)(void *model, const int8_t *input, const kt_target *target, uint32_t instructions,
                             float *loss, int *done);
    kt_status (*replay_slice)(void *model, uint32_t instructions, float *loss, int *done);
} kt_sliced_step;

#ifdef __cplusplus
}
#endif
#endif
