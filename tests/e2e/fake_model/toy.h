/* toy.h: a model small enough to write by hand, with the files and the interface of a generated one.
 * It counts its calls in its state, so that a test can see whether one was made twice. */
#ifndef TOY_H
#define TOY_H

#include "kt/model.h"

#if KT_ABI != 3
#error "toy.h was written for KT_ABI 3"
#endif

#define TOY_INPUTS 4
#define TOY_CLASSES 3
#define TOY_ARENA_BYTES_INFER 16
#define TOY_ARENA_BYTES_TRAIN 32
#define TOY_STATE_BYTES 48
#define TOY_ADAPTER_BYTES 304

typedef struct toy_state toy_state;
typedef struct {
    float *arena;
    toy_state *state;
} toy_model;

kt_status toy_init(toy_model *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes);
kt_status toy_resume(toy_model *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes);
kt_status toy_infer(toy_model *m, const int8_t *input, int8_t *output);
kt_status toy_train_step(toy_model *m, const int8_t *input, const kt_target *target, float *loss);
kt_status toy_apply(toy_model *m);
kt_status toy_set_learning_rate(toy_model *m, float learning_rate);
size_t toy_adapter_export(const toy_model *m, void *buffer, size_t capacity);
kt_status toy_adapter_load(toy_model *m, const void *buffer, size_t length);
void toy_adapter_select(toy_model *m, const void *values);

extern const uint8_t toy_base_hash[8];
extern const kt_adapter_layout toy_adapter_layout;
extern const kt_model_interface toy_interface;

#endif
