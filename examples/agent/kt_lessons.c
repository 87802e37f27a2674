/* kt_lessons.c: commands 40 to 42 of README.md: a replay buffer, and classes that are added. */
#include "kt_lessons.h"

#include "kt_fields.h"
#include "kt_steps.h"

#define STATUS_REQUEST 66

uint8_t kt_lessons_remember(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)end;
    if (length != 4)
        return STATUS_REQUEST;
    if (kt_agent.interface->remember == NULL)
        return KT_ERROR_UNSUPPORTED;
    const kt_target wanted = {(int32_t)get32(data), kt_steps.values};
    return (uint8_t)kt_agent.interface->remember(kt_agent.storage, kt_steps.input, &wanted);
}

uint8_t kt_lessons_replay(const uint8_t *data, size_t length, uint8_t **end)
{
    float loss = 0.0f;

    (void)data, (void)length;
    if (kt_agent.interface->replay_step == NULL)
        return KT_ERROR_UNSUPPORTED;
    const kt_status status = kt_agent.interface->replay_step(kt_agent.storage, &loss);
    *end = put_float(*end, loss);
    return (uint8_t)status;
}

uint8_t kt_lessons_add_class(const uint8_t *data, size_t length, uint8_t **end)
{
    int32_t label = -1;

    (void)data, (void)length;
    if (kt_agent.interface->add_class == NULL)
        return KT_ERROR_UNSUPPORTED;
    const kt_status status = kt_agent.interface->add_class(kt_agent.storage, kt_steps.input, &label);
    *end = put32(*end, (uint32_t)label);
    return (uint8_t)status;
}
