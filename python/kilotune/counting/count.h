/* count.h: what the generated C is marked with, and the samples that a program counts on. */
#ifndef KT_COUNT_H
#define KT_COUNT_H

#include "kt/model.h"

/* Around a stretch of code; stretches do not nest. */
void kt_count_begin(void);
void kt_count_end(void);

/* Inputs as the model's interface takes them, one behind the other, and what each should give. */
extern const unsigned kt_count_samples;
extern const int8_t *const kt_count_inputs[];
extern const kt_target kt_count_targets[];

#endif
