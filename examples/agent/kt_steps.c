/* kt_steps.c: commands 32 and 33 of README.md: a training step in slices, and checksums of what it leaves in memory.
 *
 * AGENT_SLICED is the table of a build with slices (kt/sliced_step.h); without it command 32 is unsupported. */
#include "kt_steps.h"

#include <string.h>

#include "kt_link.h"
#ifdef AGENT_SLICED
#include "kt/sliced_step.h"
extern const kt_sliced_step AGENT_SLICED;
#endif

#define STATUS_REQUEST 66

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

uint8_t kt_steps_train(const uint8_t *data, size_t length, uint8_t **end, const int8_t *input, const float *values)
{
    if (length != 8)
        return STATUS_REQUEST;
#ifdef AGENT_SLICED
    const kt_target target = {(int32_t)get32(data), values};
    float loss = 0.0f;
    int done = 0;
    const kt_status status = AGENT_SLICED.train_slice(kt_agent.storage, input, &target, get32(data + 4), &loss, &done);
    uint32_t bits;
    memcpy(&bits, &loss, sizeof bits);
    *(*end)++ = (uint8_t)done;
    *end = put32(*end, bits);
    return (uint8_t)status;
#else
    (void)data, (void)end, (void)input, (void)values;
    return KT_ERROR_UNSUPPORTED;
#endif
}

uint8_t kt_steps_checksum(const uint8_t *data, size_t length, uint8_t **end, const kt_steps_area areas[2])
{
    if (length % KT_STEPS_RANGE != 0)
        return STATUS_REQUEST;
    for (size_t at = 0; at < length; at += KT_STEPS_RANGE) {
        const uint32_t offset = get32(data + at + 1), bytes = get32(data + at + 5);
        const uint8_t area = data[at];
        if (area > 1 || offset > areas[area].bytes || bytes > areas[area].bytes - offset)
            return STATUS_REQUEST;
        *end = put32(*end, kt_link_crc32(areas[area].base + offset, bytes));
    }
    return KT_OK;
}
