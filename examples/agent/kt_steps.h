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

/* Memory of the command loop: what WRITE_INPUT and WRITE_TARGET wrote, the arena and the state. */
typedef struct {
    const int8_t *input;
    const float *values;
    kt_steps_area areas[2];
} kt_steps_memory;

extern const kt_steps_memory kt_steps;

/* Commands 32 to 34: go on with a training step; the CRC-32 of each of some ranges; bytes of the arena. */
uint8_t kt_steps_train(const uint8_t *data, size_t length, uint8_t **end);
uint8_t kt_steps_replay(const uint8_t *data, size_t length, uint8_t **end);
uint8_t kt_steps_checksum(const uint8_t *data, size_t length, uint8_t **end);
uint8_t kt_steps_read_arena(const uint8_t *data, size_t length, uint8_t **end);

#endif
