/* kt_steps.c: commands 32 to 34 and 43 of README.md: training steps in slices, and checksums of what it leaves in memory.
 *
 * AGENT_SLICED is the table of a build with slices (kt/sliced_step.h); without it command 32 is unsupported. */
#include "kt_steps.h"

#include <string.h>

#include "kt_fields.h"
#include "kt_link.h"
#ifdef AGENT_SLICED
#include "kt/sliced_step.h"
extern const kt_sliced_step AGENT_SLICED;
#endif

#define STATUS_REQUEST 66

uint8_t kt_steps_train(const uint8_t *data, size_t length, uint8_t **end)
{
    if (length != 8)
        return STATUS_REQUEST;
#ifdef AGENT_SLICED
    const kt_target target = {(int32_t)get32(data), kt_steps.values};
    float loss = 0.0f;
    int done = 0;
    const kt_status status = AGENT_SLICED.train_slice(kt_agent.storage, kt_steps.input, &target, get32(data + 4), &loss, &done);
    uint32_t bits;
    memcpy(&bits, &loss, sizeof bits);
    *(*end)++ = (uint8_t)done;
    *end = put32(*end, bits);
    return (uint8_t)status;
#else
    (void)data, (void)end;
    return KT_ERROR_UNSUPPORTED;
#endif
}

uint8_t kt_steps_replay(const uint8_t *data, size_t length, uint8_t **end)
{
    if (length != 4)
        return STATUS_REQUEST;
#ifdef AGENT_SLICED
    float loss = 0.0f;
    int done = 0;
    if (AGENT_SLICED.replay_slice == NULL)
        return KT_ERROR_UNSUPPORTED;
    const kt_status status = AGENT_SLICED.replay_slice(kt_agent.storage, get32(data), &loss, &done);
    *(*end)++ = (uint8_t)done;
    *end = put_float(*end, loss);
    return (uint8_t)status;
#else
    (void)data, (void)end;
    return KT_ERROR_UNSUPPORTED;
#endif
}

static int inside(const kt_steps_area *area, uint32_t offset, uint32_t bytes)
{
    return offset <= area->bytes && bytes <= area->bytes - offset;
}

uint8_t kt_steps_checksum(const uint8_t *data, size_t length, uint8_t **end)
{
    if (length % KT_STEPS_RANGE != 0)
        return STATUS_REQUEST;
    for (size_t at = 0; at < length; at += KT_STEPS_RANGE) {
        const uint32_t offset = get32(data + at + 1), bytes = get32(data + at + 5);
        const uint8_t area = data[at];
        if (area > 1 || !inside(&kt_steps.areas[area], offset, bytes))
            return STATUS_REQUEST;
        *end = put32(*end, kt_link_crc32(kt_steps.areas[area].base + offset, bytes));
    }
    return KT_OK;
}

uint8_t kt_steps_read_arena(const uint8_t *data, size_t length, uint8_t **end)
{
    if (length != 8 || get32(data + 4) > KT_LINK_CHUNK || !inside(&kt_steps.areas[0], get32(data), get32(data + 4)))
        return STATUS_REQUEST;
    memcpy(*end, kt_steps.areas[0].base + get32(data), get32(data + 4));
    *end += get32(data + 4);
    return KT_OK;
}
