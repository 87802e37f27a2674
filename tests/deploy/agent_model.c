/* A model and a board for the agent's commands: the model does little and tells what it was given, the board is a process whose ticks and
 * stack are known. The environment says what kind of model it is:
 *   AGENT_TEST=train, infer (slots need it), or bare (all optional functions missing)
 *   AGENT_TEST_LARGE=n: size number n of its interface is larger than the agent was built for */
#include "kt_agent.h"
#include "kt_board.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kt/adapter.h"
#include "kt/adapter_slots.h"

#define TICKS 0x123456789Aull
#define STACK_WORDS 8192

typedef struct {
    uint32_t magic, steps, applied;
    float rate;
    int32_t values[3];
    uint32_t padding;
} state_of_model;

typedef struct {
    uint8_t *arena;
    state_of_model *state;
} model;

static union {
    model model;
    uint64_t alignment;
} storage;

static const uint8_t base_hash[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t table[20] = {0, 0, 1, 2, 1, 0, 0, 0, 3, 0, 0, 0, 'd', 'e', 'n', 's', 'e', 0, 0, 0};
static const kt_adapter_layout layout = {
    .base_hash = base_hash, .table = table, .methods = "bias", .table_bytes = sizeof table, .payload_bytes = 12, .entries = 1, .layers = 1};

static kt_status bound(void *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes)
{
    model *const self = m;
    if (arena_bytes != AGENT_ARENA_BYTES || (uintptr_t)arena % KT_ALIGNMENT != 0)
        return KT_ERROR_ARENA;
    if (state_bytes != AGENT_STATE_BYTES || (uintptr_t)state % KT_ALIGNMENT != 0)
        return KT_ERROR_STATE;
    memset(arena, 0x77, arena_bytes);
    self->arena = arena;
    self->state = state;
    return KT_OK;
}

static kt_status init(void *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes)
{
    const kt_status status = bound(m, arena, arena_bytes, state, state_bytes);
    const state_of_model fresh = {.magic = 0x600D, .rate = 0.5f};
    if (status == KT_OK)
        memcpy(state, &fresh, sizeof fresh);
    return status;
}

static kt_status resume(void *m, void *arena, size_t arena_bytes, void *state, size_t state_bytes)
{
    const kt_status status = bound(m, arena, arena_bytes, state, state_bytes);
    return status == KT_OK && ((state_of_model *)state)->magic != 0x600D ? KT_ERROR_STATE : status;
}

/* Takes as much stack as the first sample says, in units of 16 bytes. */
static void deep(unsigned units)
{
    volatile uint8_t bytes[16];
    bytes[0] = (uint8_t)units, bytes[15] = 1;
    if (units > 0)
        deep(units - 1);
    bytes[1] = bytes[0];
}

static kt_status infer(void *m, const int8_t *input, int8_t *output)
{
    const model *const self = m;
    deep((uint8_t)input[4]);
    memset(output, -128, AGENT_OUTPUT_BYTES);
    for (int i = 0; i < 3; i++)
        output[i] = (int8_t)(input[i] + self->state->values[i]);
    return input[3] == 99 ? KT_ERROR_PAGE : KT_OK;
}

static kt_status train_step(void *m, const int8_t *input, const kt_target *target, float *loss)
{
    model *const self = m;
    if (target->label < 0)
        return KT_ERROR_LABEL;
    self->state->steps++;
    *loss = (float)target->label + target->values[0] + 2.0f * target->values[1] + (float)input[0];
    return KT_OK;
}

static kt_status apply(void *m)
{
    model *const self = m;
    if (self->state->steps == self->state->applied)
        return KT_ERROR_NOT_TRAINED;
    self->state->applied = self->state->steps;
    return KT_OK;
}

static kt_status set_learning_rate(void *m, float rate)
{
    if (rate < 0.0f)
        return KT_ERROR_ARGUMENT;
    ((model *)m)->state->rate = rate;
    return KT_OK;
}

static size_t adapter_export(const void *m, void *buffer, size_t capacity)
{
    if (capacity != AGENT_ADAPTER_BYTES)
        return 0;
    memcpy((uint8_t *)buffer + KT_ADAPTER_PAYLOAD(sizeof table), ((const model *)m)->state->values, 12);
    return kt_adapter_seal(buffer, &layout);
}

static kt_status adapter_load(void *m, const void *buffer, size_t length)
{
    kt_adapter adapter;
    const kt_status status = kt_adapter_open(&adapter, buffer, length, &layout);
    if (status == KT_OK)
        kt_adapter_copy(&adapter, &layout, ((model *)m)->state->values);
    return status;
}

static void adapter_select(void *m, const void *values)
{
    static const int32_t none[3];
    memcpy(((model *)m)->state->values, values == NULL ? none : values, 12);
}

/* The sample 0 0 9 with the label 2: an adapter that adds more than 9 to another value gets it wrong. */
static const int8_t test_input[AGENT_INPUT_BYTES] = {0, 0, 9};
static const int32_t test_label[1] = {2};
static const kt_self_test self_test = {test_input, test_label, 1, 0};

static kt_model_interface interface = {
    .name = "listener", .base_hash = base_hash, .model_bytes = sizeof(model), .input_bytes = AGENT_INPUT_BYTES, .output_bytes = AGENT_OUTPUT_BYTES,
    .target_values = AGENT_TARGET_VALUES, .arena_bytes_infer = AGENT_ARENA_BYTES, .arena_bytes_train = AGENT_ARENA_BYTES,
    .state_bytes = AGENT_STATE_BYTES, .adapter_bytes = AGENT_ADAPTER_BYTES, .init = init, .resume = resume, .infer = infer, .train_step = train_step,
    .apply = apply, .set_learning_rate = set_learning_rate, .adapter_export = adapter_export, .adapter_load = adapter_load,
    .adapter_layout = &layout, .adapter_select = adapter_select,
};

const kt_agent_model kt_agent = {&interface, &storage, sizeof storage};

/* ---- The board ---- */

static uint32_t *top_of_stack;
static uint64_t ticks;

void kt_board_init(void)
{
    uint32_t here = 0;
    const char *const kind = getenv("AGENT_TEST"), *const large = getenv("AGENT_TEST_LARGE");
    uint32_t *const sizes[] = {&interface.model_bytes, &interface.input_bytes, &interface.output_bytes, &interface.target_values,
                               &interface.arena_bytes_infer, &interface.arena_bytes_train, &interface.state_bytes, &interface.adapter_bytes};
    top_of_stack = (uint32_t *)((uintptr_t)&here & ~(uintptr_t)63) + 256;
    if (strcmp(kind, "train") != 0)
        interface.train_step = NULL, interface.apply = NULL, interface.set_learning_rate = NULL, interface.self_test = &self_test;
    if (strcmp(kind, "bare") == 0)
        interface.resume = NULL, interface.adapter_export = NULL, interface.adapter_load = NULL;
    if (large != NULL)
        *sizes[atoi(large)] = 1 + (*sizes[atoi(large)] + 7) / 8 * 8;
}

int kt_board_read(void)
{
    uint8_t byte;
    return read(0, &byte, 1) == 1 ? byte : -1;
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    if (write(1, bytes, length) != (ssize_t)length)
        exit(3);
}

void kt_board_ticks_reset(void)
{
    ticks = TICKS;
}

uint64_t kt_board_ticks(void)
{
    return ticks++;
}

kt_board_stack kt_board_stack_limits(void)
{
    const kt_board_stack found = {top_of_stack - STACK_WORDS, top_of_stack};
    return found;
}

void kt_board_exit(int code)
{
    exit(code == 0 ? 17 : code); /* so that a test sees it */
}
