/* program.c: trains a model on a few samples and says what each marked stretch of a step took, in ticks of the board's counter.
 *
 * A line a step: "count", what a mark itself takes, and the ticks of every stretch in their order. The last line is "done", or "status" with
 * what a call answered. Macros: COUNT_MODEL_HEADER, COUNT_MODEL and COUNT_INTERFACE name the model, COUNT_ARENA_BYTES and COUNT_STATE_BYTES its
 * memory, COUNT_STRETCHES how many stretches a step has, COUNT_WHOLE whether they are the training step and the update instead. */
#include "count.h"
#include "kt_board.h"

#include COUNT_MODEL_HEADER

static union {
    COUNT_MODEL model;
    uint64_t alignment;
} storage;
static uint64_t arena[(COUNT_ARENA_BYTES + 7) / 8], state[(COUNT_STATE_BYTES + 7) / 8];
static uint64_t taken[COUNT_STRETCHES + 1], start;
static unsigned stretches;

void kt_count_begin(void)
{
    start = kt_board_ticks();
}

void kt_count_end(void)
{
    const uint64_t now = kt_board_ticks();
    if (stretches <= COUNT_STRETCHES) {
        taken[stretches] = now - start;
    }
    stretches++;
}

static void say(const char *text)
{
    for (; *text != '\0'; text++) {
        kt_board_write((const uint8_t *)text, 1);
    }
}

static void say_number(uint64_t value)
{
    char text[21];
    int i = 20;

    text[i] = '\0';
    do {
        text[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    say(" ");
    say(text + i);
}

/* Semihosting: the emulator leaves. */
static void leave(void)
{
    const uint32_t argument[2] = {0x20026, 0};
#ifdef __riscv
    register uint32_t a0 __asm__("a0") = 0x20;
    register const void *a1 __asm__("a1") = argument;
    /* These three, uncompressed and in one page, are the call. */
    __asm__ volatile(".balign 16\n.option push\n.option norvc\nslli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n.option pop"
                     : "+r"(a0) : "r"(a1) : "memory");
#else
    register uint32_t r0 __asm__("r0") = 0x20;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
#endif
}

#ifdef COUNT_WHOLE
#define WHOLE(call) (kt_count_begin(), status = (call), kt_count_end())
#else
#define WHOLE(call) (status = (call))
#endif

static kt_status step(unsigned number)
{
    kt_status status;
    float loss;

    WHOLE(COUNT_INTERFACE.train_step(&storage.model, kt_count_inputs[number], &kt_count_targets[number], &loss));
    if (status == KT_OK) {
        WHOLE(COUNT_INTERFACE.apply(&storage.model));
    }
    return status;
}

static kt_status train(void)
{
    kt_status status = COUNT_INTERFACE.init(&storage.model, arena, sizeof arena, state, sizeof state);

    for (unsigned number = 0; number < kt_count_samples && status == KT_OK; number++) {
        stretches = 0;
        kt_count_begin(); /* what the marks take */
        kt_count_end();
        status = step(number);
        say("count");
        for (unsigned i = 0; i < stretches && i <= COUNT_STRETCHES; i++) {
            say_number(taken[i]);
        }
        say("\n");
    }
    return status;
}

int main(void)
{
    kt_status status;

    kt_board_init();
    status = train();
    if (status != KT_OK) {
        say("status");
        say_number((uint64_t)status);
    } else {
        say("done");
    }
    say("\n");
    leave();
    return 0;
}
