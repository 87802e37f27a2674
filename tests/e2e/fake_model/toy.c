#include "toy.h"

#include <string.h>

#include "kt/toy_kernels.h"
#include "toy_weights.h"

#define VERSION 0x31594F54u /* "TOY1" */
#define HEADER 20

const uint8_t toy_base_hash[8] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

struct toy_state {
    uint32_t version;
    uint32_t steps;
    uint32_t applies;
    uint32_t accumulated;
    float learning_rate;
    float bias[3];
    float gradient[3];
    uint32_t padding;
};

static int aligned(const void *p)
{
    return p != NULL && (uintptr_t)p % KT_ALIGNMENT == 0;
}

static kt_status bind(toy_model *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes)
{
    if (!aligned(arena) || arena_bytes < TOY_ARENA_BYTES_TRAIN)
        return KT_ERROR_ARENA;
    if (!aligned(state) || state_bytes < TOY_STATE_BYTES)
        return KT_ERROR_STATE;
    m->arena = arena;
    m->state = state;
    return KT_OK;
}

kt_status toy_init(toy_model *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes)
{
    const kt_status status = bind(m, arena, arena_bytes, state, state_bytes);
    if (status == KT_OK) {
        memset(m->state, 0, sizeof *m->state);
        m->state->version = VERSION;
        m->state->learning_rate = 0.5f;
    }
    return status;
}

kt_status toy_resume(toy_model *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes)
{
    const kt_status status = bind(m, arena, arena_bytes, state, state_bytes);
    if (status == KT_OK && m->state->version != VERSION)
        return KT_ERROR_STATE;
    return status;
}

/* Logits in units of 1/16, left in the arena. */
static void forward(toy_model *m, const int8_t *input)
{
    toy_linear(&toy_weights[0][0], input, m->state->bias, m->arena, 3, 4);
}

kt_status toy_infer(toy_model *m, const int8_t *input, int8_t *output)
{
    forward(m, input);
    for (int i = 0; i < 3; i++) {
        const float y = m->arena[i];
        output[i] = y > 127.0f ? 127 : y < -128.0f ? -128 : (int8_t)y;
    }
    return KT_OK;
}

kt_status toy_train_step(toy_model *m, const int8_t *input, const kt_target *target, float *loss)
{
    if (target->label < 0 || target->label >= TOY_CLASSES)
        return KT_ERROR_LABEL;
    forward(m, input);
    float sum = 0.0f;
    for (int i = 0; i < 3; i++) {
        const float wanted = i == target->label ? 64.0f : -64.0f;
        m->arena[4 + i] = m->arena[i] - wanted;
        sum += m->arena[4 + i] * m->arena[4 + i];
    }
    for (int i = 0; i < 3; i++)
        m->state->gradient[i] += m->arena[4 + i];
    m->state->steps++;
    m->state->accumulated++;
    *loss = sum / 4096.0f;
    return KT_OK;
}

kt_status toy_apply(toy_model *m)
{
    toy_state *const s = m->state;
    if (s->accumulated == 0)
        return KT_ERROR_NOT_TRAINED;
    for (int i = 0; i < 3; i++) {
        s->bias[i] -= s->learning_rate * (s->gradient[i] / (float)s->accumulated);
        s->gradient[i] = 0.0f;
    }
    s->accumulated = 0;
    s->applies++;
    return KT_OK;
}

kt_status toy_set_learning_rate(toy_model *m, float learning_rate)
{
    m->state->learning_rate = learning_rate;
    return KT_OK;
}

/* "KTADAPT1", base hash, length, three floats, CRC-32. */
size_t toy_adapter_export(const toy_model *m, void *buffer, size_t capacity)
{
    static const uint32_t length = sizeof m->state->bias;
    uint8_t *const bytes = buffer;

    if (capacity < TOY_ADAPTER_BYTES)
        return 0;
    memcpy(bytes, "KTADAPT1", 8);
    memcpy(bytes + 8, toy_base_hash, 8);
    memcpy(bytes + 16, &length, 4);
    memcpy(bytes + HEADER, m->state->bias, length);
    const uint32_t crc = toy_crc32(bytes, HEADER + length);
    memcpy(bytes + HEADER + length, &crc, 4);
    return TOY_ADAPTER_BYTES;
}

kt_status toy_adapter_load(toy_model *m, const void *buffer, size_t length)
{
    const uint8_t *const bytes = buffer;
    uint32_t crc;

    if (length != TOY_ADAPTER_BYTES || memcmp(bytes + 8, toy_base_hash, 8) != 0)
        return KT_ERROR_ADAPTER;
    memcpy(&crc, bytes + TOY_ADAPTER_BYTES - 4, 4);
    if (crc != toy_crc32(bytes, TOY_ADAPTER_BYTES - 4))
        return KT_ERROR_ADAPTER;
    memcpy(m->state->bias, bytes + HEADER, sizeof m->state->bias);
    return KT_OK;
}
