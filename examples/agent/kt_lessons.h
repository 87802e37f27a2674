/* kt_lessons.h: the agent's commands about a replay buffer and about new classes. */
#ifndef KT_LESSONS_H
#define KT_LESSONS_H

#include <stddef.h>
#include <stdint.h>

/* Commands 40 to 42: offer the sample of WRITE_INPUT to the buffer; a step on one of the buffer; open a class by that sample. */
uint8_t kt_lessons_remember(const uint8_t *data, size_t length, uint8_t **end);
uint8_t kt_lessons_replay(const uint8_t *data, size_t length, uint8_t **end);
uint8_t kt_lessons_add_class(const uint8_t *data, size_t length, uint8_t **end);

#endif
