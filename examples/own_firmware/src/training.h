/* training.h: the application's own use of the model, apart from main() so that the tests can link it. */
#ifndef TRAINING_H
#define TRAINING_H

#include <stdint.h>

/* Starts from the base model. Nonzero if it cannot: memory too small or misaligned. */
int training_start(void);

/* One pass over the samples with an update each; returns the mean loss in thousandths. */
uint32_t training_epoch(void);

/* Samples that the model names correctly, as it is now trained. */
int training_correct(void);

/* CRC-32 of the state: equal numbers mean equal models, on any device. */
uint32_t training_state_crc(void);

#endif
