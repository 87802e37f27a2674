/* kt_steps.h: the agent's commands about a training step in slices. */
#ifndef KT_STEPS_H
#define KT_STEPS_H

#include "kt_agent.h"

/* Of a range in a request: area, offset, bytes. */
#define KT_STEPS_RANGE 9

typedef struct {
    const uint8_t *base;
    uint32_t bytes;
} kt_steps_area;

/* Command 32: go on with a training step. input, values: where WRITE_INPUT and WRITE_TARGET left them. */
uint8_t kt_steps_train(const uint8_t *data, size_t length, uint8_t **end, const int8_t *input, const float *values);

/* Command 33: the CRC-32 of each of some ranges of the arena (areas[0]) and of the state (areas[1]). */
uint8_t kt_steps_checksum(const uint8_t *data, size_t length, uint8_t **end, const kt_steps_area areas[2]);

#endif
