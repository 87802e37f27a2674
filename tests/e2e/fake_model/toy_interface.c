#include "toy.h"

static kt_status init(void *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes)
{
    return toy_init(m, arena, arena_bytes, state, state_bytes);
}

static kt_status resume(void *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes)
{
    return toy_resume(m, arena, arena_bytes, state, state_bytes);
}

static kt_status infer(void *m, const int8_t *input, int8_t *output)
{
    return toy_infer(m, input, output);
}

static kt_status train_step(void *m, const int8_t *input, const kt_target *target, float *loss)
{
    return toy_train_step(m, input, target, loss);
}

static kt_status apply(void *m)
{
    return toy_apply(m);
}

static kt_status set_learning_rate(void *m, float learning_rate)
{
    return toy_set_learning_rate(m, learning_rate);
}

static size_t adapter_export(const void *m, void *buffer, size_t capacity)
{
    return toy_adapter_export(m, buffer, capacity);
}

static kt_status adapter_load(void *m, const void *buffer, size_t length)
{
    return toy_adapter_load(m, buffer, length);
}

static void adapter_select(void *m, const void *values)
{
    toy_adapter_select(m, values);
}

const kt_model_interface toy_interface = {
    .name = "toy",
    .base_hash = toy_base_hash,
    .model_bytes = sizeof(toy_model),
    .input_bytes = TOY_INPUTS,
    .output_bytes = TOY_CLASSES,
    .target_values = 0,
    .arena_bytes_infer = TOY_ARENA_BYTES_INFER,
    .arena_bytes_train = TOY_ARENA_BYTES_TRAIN,
    .state_bytes = TOY_STATE_BYTES,
    .adapter_bytes = TOY_ADAPTER_BYTES,
    .init = init,
    .resume = resume,
    .infer = infer,
    .train_step = train_step,
    .apply = apply,
    .set_learning_rate = set_learning_rate,
    .adapter_export = adapter_export,
    .adapter_load = adapter_load,
    .adapter_layout = &toy_adapter_layout,
    .adapter_select = adapter_select,
};
