/* agent.c: a model on a board, driven over its serial port. See README.md for the commands.
 *
 * All memory is static. How much the model needs comes from the build as macros, as does what names the build:
 *   AGENT_INPUT_BYTES  AGENT_OUTPUT_BYTES  AGENT_TARGET_VALUES  AGENT_ARENA_BYTES  AGENT_STATE_BYTES  AGENT_ADAPTER_BYTES
 *   AGENT_SUMS_AT  AGENT_SUMS_BYTES  AGENT_BUILD  AGENT_BOARD
 *
 * A request is [sequence][command][data], its response [sequence][command | 0x80][status][data]. A sequence number that
 * repeats the last one is answered with the last response, so that a request is never carried out twice. */
#include <string.h>

#include "kt/adapter.h"
#include "kt_adapters.h"
#include "kt_board.h"
#include "kt_agent.h"
#include "kt_fields.h"
#include "kt_link.h"
#include "kt_lessons.h"
#include "kt_measure.h"
#include "kt_private.h"
#include "kt_steps.h"

#define AGENT_PROTOCOL 2
#define RESPONSE 0x80u

/* Beyond kt_status. */
enum {
    STATUS_DAMAGED = 64, /* the frame cannot be read; sequence and command are 0 */
    STATUS_COMMAND = 65, /* no such command */
    STATUS_REQUEST = 66, /* wrong length, or a range outside the buffer */
    STATUS_SESSION = 67, /* no HELLO since the board started */
    STATUS_STATE = 68,   /* the state is being rewritten: resume or reset first */
    STATUS_MEMORY = 69   /* the agent was built for a smaller model */
};

/* C has no arrays of no size, and a model without training has no state. */
#define AT_LEAST_1(n) ((n) > 0 ? (n) : 1)
#define WORDS(bytes) AT_LEAST_1(((bytes) + 7) / 8)

static uint64_t arena[WORDS(AGENT_ARENA_BYTES)];
static uint64_t state[WORDS(AGENT_STATE_BYTES)];
static uint64_t input[WORDS(AGENT_INPUT_BYTES)];
static uint64_t output[WORDS(AGENT_OUTPUT_BYTES)];
static uint64_t adapter[WORDS(AGENT_ADAPTER_BYTES)];
static float target[AT_LEAST_1(AGENT_TARGET_VALUES)];
static uint8_t received[KT_LINK_BUFFER];
static uint8_t response[KT_LINK_CONTENT + KT_LINK_CRC];

static struct {
    int open;         /* a HELLO was answered */
    int ready;        /* the model is initialised and its state is whole */
    uint8_t sequence; /* of the cached response */
    size_t length;    /* of the cached response */
} session;

/* ---- Commands: each reads data[0 .. length), writes its own data at *end, moves it and returns a status ---- */

/* For kt_steps.c and kt_lessons.c. */
const kt_steps_memory kt_steps = {
    (const int8_t *)input, target, {{(const uint8_t *)arena, AGENT_ARENA_BYTES}, {(const uint8_t *)state, AGENT_STATE_BYTES}},
};

typedef struct {
    uint8_t *bytes;
    uint32_t size;
} area;

static int in_area(area a, uint32_t offset, size_t length)
{
    return offset <= a.size && length <= a.size - offset;
}

static uint8_t write_area(area a, const uint8_t *data, size_t length)
{
    if (length < 4 || !in_area(a, get32(data), length - 4))
        return STATUS_REQUEST;
    memcpy(a.bytes + get32(data), data + 4, length - 4);
    return KT_OK;
}

static uint8_t read_area(area a, const uint8_t *data, size_t length, uint8_t **end)
{
    if (length != 8 || get32(data + 4) > KT_LINK_CHUNK || !in_area(a, get32(data), get32(data + 4)))
        return STATUS_REQUEST;
    memcpy(*end, a.bytes + get32(data), get32(data + 4));
    *end += get32(data + 4);
    return KT_OK;
}

static area input_area(void)
{
    return (area){(uint8_t *)input, kt_agent.interface->input_bytes};
}

static area output_area(void)
{
    return (area){(uint8_t *)output, kt_agent.interface->output_bytes};
}

static area target_area(void)
{
    return (area){(uint8_t *)target, kt_agent.interface->target_values * 4};
}

static area state_area(void)
{
    return (area){(uint8_t *)state, kt_agent.interface->state_bytes};
}

static area adapter_area(void)
{
    return (area){(uint8_t *)adapter, kt_agent.interface->adapter_bytes};
}

static uint8_t start_model(kt_status (*start)(void *, void *, size_t, void *, size_t))
{
    session.ready = 0;
    if (kt_agent.interface->model_bytes > kt_agent.bytes || kt_agent.interface->input_bytes > sizeof input ||
        kt_agent.interface->output_bytes > sizeof output || kt_agent.interface->target_values * 4 > sizeof target ||
        kt_agent.interface->arena_bytes_infer > sizeof arena || kt_agent.interface->arena_bytes_train > sizeof arena ||
        kt_agent.interface->state_bytes > sizeof state || kt_agent.interface->adapter_bytes > sizeof adapter)
        return STATUS_MEMORY;
    if (start == NULL)
        return KT_ERROR_UNSUPPORTED;
    const kt_status status = start(kt_agent.storage, arena, AGENT_ARENA_BYTES, state, AGENT_STATE_BYTES);
    session.ready = status == KT_OK;
    kt_adapters_forget_active();
    return (uint8_t)status;
}

static uint8_t *put_bytes(uint8_t *to, const void *bytes, size_t length)
{
    memcpy(to, bytes, length);
    return to + length;
}

static uint8_t hello(const uint8_t *data, size_t length, uint8_t **end)
{
    const kt_model_interface *const m = kt_agent.interface;
    const size_t name = strlen(m->name);
    uint8_t *to = *end;

    if (length != 4)
        return STATUS_REQUEST;
    to = put32(to, get32(data)); /* the host's own number: this answer is to this question */
    *to++ = AGENT_PROTOCOL;
    *to++ = KT_ABI;
    *to++ = m->train_step != NULL;
    *to++ = (uint8_t)name; /* the compiler permits 40 */
    to = put_bytes(to, m->base_hash, 8);
    to = put32(to, (uint32_t)AGENT_BUILD);
    to = put32(to, (uint32_t)(AGENT_BUILD >> 32));
    to = put32(to, m->model_bytes);
    to = put32(to, m->input_bytes);
    to = put32(to, m->output_bytes);
    to = put32(to, m->target_values);
    to = put32(to, m->arena_bytes_infer);
    to = put32(to, m->arena_bytes_train);
    to = put32(to, m->state_bytes);
    to = put32(to, m->adapter_bytes);
    to = put32(to, KT_LINK_CHUNK);
    to = put_bytes(to, m->name, name);
    *end = put_bytes(to, AGENT_BOARD, sizeof AGENT_BOARD - 1);
    session.open = 1;
    return KT_OK;
}

static uint8_t reset(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)data, (void)length, (void)end;
    return start_model(kt_agent.interface->init);
}

/* A state carries no signature: a build with a public key takes none over the link. */
static int takes_state(void)
{
    const kt_adapter_layout *const layout = kt_agent.interface->adapter_layout;
    return layout == NULL || layout->public_key == NULL;
}

static uint8_t resume(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)data, (void)length, (void)end;
    if (!takes_state())
        return KT_ERROR_UNSIGNED;
    return start_model(kt_agent.interface->resume);
}

static uint8_t write_input(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)end;
    return write_area(input_area(), data, length);
}

static uint8_t write_target(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)end;
    return write_area(target_area(), data, length);
}

/* From the first byte on the state is neither the old nor the new one. */
static uint8_t write_state(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)end;
    if (!takes_state())
        return KT_ERROR_UNSIGNED;
    const uint8_t status = write_area(state_area(), data, length);
    if (status == KT_OK)
        session.ready = 0;
    return status;
}

/* Of a device that trains with others: what is summed over all of them, and then the steps that come of it. */
static uint8_t write_sums(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)end;
    return write_area((area){(uint8_t *)state + AGENT_SUMS_AT, AGENT_SUMS_BYTES}, data, length);
}

static uint8_t write_adapter(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)end;
    return write_area(adapter_area(), data, length);
}

static uint8_t read_output(const uint8_t *data, size_t length, uint8_t **end)
{
    return read_area(output_area(), data, length, end);
}

static uint8_t read_state(const uint8_t *data, size_t length, uint8_t **end)
{
    return read_area(state_area(), data, length, end);
}

static uint8_t read_adapter(const uint8_t *data, size_t length, uint8_t **end)
{
    return read_area(adapter_area(), data, length, end);
}

static uint8_t infer(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)data, (void)length, (void)end;
    return (uint8_t)kt_agent.interface->infer(kt_agent.storage, (const int8_t *)input, (int8_t *)output);
}

static uint8_t train(const uint8_t *data, size_t length, uint8_t **end)
{
    float loss = 0.0f;

    if (length != 4)
        return STATUS_REQUEST;
    if (kt_agent.interface->train_step == NULL)
        return KT_ERROR_UNSUPPORTED;
    const kt_target wanted = {(int32_t)get32(data), target};
    const kt_status status = kt_agent.interface->train_step(kt_agent.storage, (const int8_t *)input, &wanted, &loss);
    *end = put_float(*end, loss);
    return (uint8_t)status;
}

static uint8_t apply(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)data, (void)length, (void)end;
    if (kt_agent.interface->apply == NULL)
        return KT_ERROR_UNSUPPORTED;
    return (uint8_t)kt_agent.interface->apply(kt_agent.storage);
}

static uint8_t set_learning_rate(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)end;
    if (length != 4)
        return STATUS_REQUEST;
    if (kt_agent.interface->set_learning_rate == NULL)
        return KT_ERROR_UNSUPPORTED;
    return (uint8_t)kt_agent.interface->set_learning_rate(kt_agent.storage, get_float(data));
}

static uint8_t export_adapter(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)data, (void)length;
    if (kt_agent.interface->adapter_export == NULL)
        return KT_ERROR_UNSUPPORTED;
    const uint32_t capacity = kt_agent.interface->adapter_bytes;
    *end = put32(*end, (uint32_t)kt_agent.interface->adapter_export(kt_agent.storage, adapter, capacity));
    return KT_OK;
}

static uint8_t load_adapter(const uint8_t *data, size_t length, uint8_t **end)
{
    (void)end;
    if (length != 4 || !in_area(adapter_area(), 0, get32(data)))
        return STATUS_REQUEST;
    if (kt_agent.interface->adapter_load == NULL)
        return KT_ERROR_UNSUPPORTED;
    const kt_status status = kt_agent.interface->adapter_load(kt_agent.storage, adapter, get32(data));
    if (status == KT_OK)
        kt_adapters_forget_active();
    return (uint8_t)status;
}

static uint8_t stats(const uint8_t *data, size_t length, uint8_t **end)
{
    const kt_board_stack stack = kt_board_stack_limits();
    uint8_t *to = *end;

    (void)data, (void)length;
    to = put32(to, measured.command);
    to = put32(to, (uint32_t)measured.ticks);
    to = put32(to, (uint32_t)(measured.ticks >> 32));
    to = put32(to, measured.stack_bytes);
    to = put32(to, (uint32_t)((uintptr_t)stack.highest - (uintptr_t)stack.lowest));
    to = put32(to, AGENT_ARENA_BYTES);
    *end = put32(to, AGENT_STATE_BYTES);
    return KT_OK;
}

static uint8_t seed_noise(const uint8_t *data, size_t length, uint8_t **end)
{
    return kt_private_command(48, data, length, end, (const uint8_t *)adapter, AGENT_ADAPTER_BYTES);
}

static uint8_t private_update(const uint8_t *data, size_t length, uint8_t **end)
{
    return kt_private_command(49, data, length, end, (const uint8_t *)adapter, AGENT_ADAPTER_BYTES);
}

static uint8_t read_update(const uint8_t *data, size_t length, uint8_t **end)
{
    return kt_private_command(50, data, length, end, (const uint8_t *)adapter, AGENT_ADAPTER_BYTES);
}

/* ---- The command loop ---- */

enum { ANY_TIME = 0, WITH_MODEL = 1, MEASURED = 2 };

typedef struct {
    uint8_t (*call)(const uint8_t *data, size_t length, uint8_t **end);
    int flags;
} command;

#define HELLO 1

/* Those of kt_adapters.c. */
enum { FIRST_ADAPTER_COMMAND = 18, REBOOT = 26, LAST_ADAPTER_COMMAND = 27 };

#define WRITE_SUMS 28

static const command commands[] = {
    [HELLO] = {hello, ANY_TIME},
    [2] = {reset, ANY_TIME},
    [3] = {write_input, ANY_TIME},
    [4] = {infer, WITH_MODEL | MEASURED},
    [5] = {read_output, ANY_TIME},
    [6] = {write_target, ANY_TIME},
    [7] = {train, WITH_MODEL | MEASURED},
    [8] = {apply, WITH_MODEL | MEASURED},
    [9] = {set_learning_rate, WITH_MODEL},
    [10] = {read_state, WITH_MODEL},
    [11] = {write_state, ANY_TIME},
    [12] = {resume, MEASURED},
    [13] = {export_adapter, WITH_MODEL | MEASURED},
    [14] = {read_adapter, ANY_TIME},
    [15] = {write_adapter, ANY_TIME},
    [16] = {load_adapter, WITH_MODEL | MEASURED},
    [17] = {stats, ANY_TIME},
    [WRITE_SUMS] = {write_sums, WITH_MODEL},
    [32] = {kt_steps_train, WITH_MODEL | MEASURED},
    [33] = {kt_steps_checksum, WITH_MODEL},
    [34] = {kt_steps_read_arena, WITH_MODEL},
    [40] = {kt_lessons_remember, WITH_MODEL | MEASURED},
    [41] = {kt_lessons_replay, WITH_MODEL | MEASURED},
    [42] = {kt_lessons_add_class, WITH_MODEL | MEASURED},
    [43] = {kt_steps_replay, WITH_MODEL | MEASURED},
    [48] = {seed_noise, ANY_TIME},
    [49] = {private_update, WITH_MODEL | MEASURED},
    [50] = {read_update, ANY_TIME},
};

/* As after a reset of the board: what is in flash is left, and nothing that was in memory. */
static uint8_t reboot(void)
{
    memset(input, 0, sizeof input);
    memset(output, 0, sizeof output);
    memset(target, 0, sizeof target);
    memset(adapter, 0, sizeof adapter);
    memset(&measured, 0, sizeof measured);
    const uint8_t status = start_model(kt_agent.interface->init);
    if (status == KT_OK)
        kt_adapters_boot();
    kt_private_boot();
    return status;
}

static uint8_t adapter_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end)
{
    if (!session.open)
        return STATUS_SESSION;
    if (code == REBOOT)
        return reboot();
    return session.ready ? kt_adapters_command(code, data, length, end, (const uint8_t *)adapter, AGENT_ADAPTER_BYTES, (int8_t *)output) : STATUS_STATE;
}

static uint8_t carry_out(uint8_t code, const uint8_t *data, size_t length, uint8_t **end)
{
    if (code >= FIRST_ADAPTER_COMMAND && code <= LAST_ADAPTER_COMMAND)
        return adapter_command(code, data, length, end);
    if (code >= sizeof commands / sizeof commands[0] || commands[code].call == NULL)
        return STATUS_COMMAND;
    const command *const c = &commands[code];
    if (!session.open && code != HELLO)
        return STATUS_SESSION;
    if ((c->flags & WITH_MODEL) != 0 && !session.ready)
        return STATUS_STATE;
    if ((c->flags & MEASURED) == 0)
        return c->call(data, length, end);

    volatile uint32_t frame = 0;
    measure_start(&frame);
    const uint8_t status = c->call(data, length, end);
    measure_stop(code);
    return status;
}

static void answer(size_t length)
{
    const uint8_t sequence = received[0], code = received[1];

    /* HELLO starts a session, whatever number an earlier host stopped at; carrying it out twice does no harm. */
    if (code == HELLO || !session.open || sequence != session.sequence) {
        uint8_t *end = response + 3;
        response[0] = sequence;
        response[1] = (uint8_t)(code | RESPONSE);
        response[2] = carry_out(code, received + 2, length - 2, &end);
        session.sequence = sequence;
        session.length = (size_t)(end - response);
    }
    kt_link_send(response, session.length);
}

int main(void)
{
    kt_board_init();
    (void)reboot();
    for (;;) {
        size_t length;
        switch (kt_link_receive(received, &length)) {
        case KT_LINK_FRAME:
            answer(length);
            break;
        case KT_LINK_DAMAGED: {
            uint8_t complaint[3 + KT_LINK_CRC] = {0, RESPONSE, STATUS_DAMAGED};
            kt_link_send(complaint, 3);
            break;
        }
        case KT_LINK_CLOSED:
            kt_board_exit(0);
        }
    }
}
