#include "toy.h"

#include <string.h>

#include "kt/adapter.h"
#include "kt/toy_kernels.h"
#include "toy_weights.h"

#define VERSION 0x31594F54u /* "TOY1" */

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

/* The bits of three floats, as int32. */
static const uint8_t table[20] = {0, 0, 1, 2, 1, 0, 0, 0, 3, 0, 0, 0, 'd', 'e', 'n', 's', 'e', 0, 0, 0};

const kt_adapter_layout toy_adapter_layout = {
    .base_hash = toy_base_hash,
    .table = table,
    .methods = "bias",
    .table_bytes = sizeof table,
    .payload_bytes = 12,
    .entries = 1,
    .layers = 1,
};

size_t toy_adapter_export(const toy_model *m, void *buffer, size_t capacity)
{
    if (capacity < kt_adapter_bytes(&toy_adapter_layout))
        return 0;
    memcpy((uint8_t *)buffer + KT_ADAPTER_PAYLOAD(sizeof table), m->state->bias, sizeof m->state->bias);
    return kt_adapter_seal(buffer, &toy_adapter_layout);
}

kt_status toy_adapter_load(toy_model *m, const void *buffer, size_t length)
{
    kt_adapter adapter;
    const kt_status status = kt_adapter_open(&adapter, buffer, length, &toy_adapter_layout);

    if (status == KT_OK)
        kt_adapter_copy(&adapter, &toy_adapter_layout, m->state->bias);
    return status;
}

void toy_adapter_select(toy_model *m, const void *values)
{
    memset(m->state->bias, 0, sizeof m->state->bias);
    if (values != NULL)
        memcpy(m->state->bias, values, sizeof m->state->bias);
}
