/* Two models under a timer that interrupts at drawn moments. The handler switches the adapter of one model while it infers, runs the other model,
 * and now and then asks for what is under way to be given up. Whatever comes between, every output is that of exactly one adapter. */
#include <string.h>

#include "adapters.h" /* adapter_a, adapter_b: files */
#include "kt/adapter_slots.h"
#include "kt_board.h"
#include "second.h"
#include "served.h"

#define INPUTS 6
#define ROUNDS 200
#define STEPS 30
#define STEPS_A_BATCH 3
#define PAGE 256
#define PAGES 24
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)

void SysTick_Handler(void);
void kt_board_ticks_reset(void) {}
uint64_t kt_board_ticks(void) { return 0; }

static uint64_t served_arena[SERVED_ARENA_BYTES_INFER / 8 + 1], reader_arena[SERVED_ARENA_BYTES_INFER / 8 + 1];
static uint64_t watched_arena[SECOND_ARENA_BYTES_INFER / 8 + 1], learner_arena[SECOND_ARENA_BYTES_TRAIN / 8 + 1];
static uint64_t watched_state[SECOND_STATE_BYTES / 8 + 1], learner_state[SECOND_STATE_BYTES / 8 + 1];
static uint64_t saved_state[SECOND_STATE_BYTES / 8 + 1], whole_state[SECOND_STATE_BYTES / 8 + 1];
static uint64_t flash_memory[PAGES * PAGE / 8];
static served_model served, reader;
static second_model watched, learner;
static const void *values[3]; /* the base model, A, B */
static int8_t served_inputs[INPUTS][SERVED_INPUT_BYTES], second_inputs[INPUTS][SECOND_INPUT_BYTES];
static int8_t served_outputs[3][INPUTS][SERVED_OUTPUT_BYTES], second_outputs[INPUTS][SECOND_OUTPUT_BYTES];

static uint32_t chance = 2, moments = 3; /* what main and the handler draw from */
static volatile uint32_t under_way, landed, wrong, wanted, torn;
static volatile uint32_t longest = 1500; /* ticks from one interrupt to the next */
static volatile int switching, reading, current, next; /* current and next: the adapters that an update goes from and to */

static uint32_t draw(uint32_t *seed)
{
    *seed ^= *seed << 13, *seed ^= *seed >> 17, *seed ^= *seed << 5;
    return *seed;
}

static void print(const char *what, uint32_t value)
{
    char line[48];
    size_t at = strlen(what), digits = 1;
    for (uint32_t v = value; v > 9; v /= 10) digits++;
    memcpy(line, what, at);
    for (size_t i = digits; i > 0; i--, value /= 10) line[at + i - 1] = (char)('0' + value % 10);
    line[at + digits] = '\n';
    kt_board_write((const uint8_t *)line, at + digits + 1);
}

/* Which adapter's output it is; -1: none's. */
static int which(const int8_t *output, uint32_t input)
{
    for (int k = 0; k < 3; k++) {
        if (memcmp(output, served_outputs[k][input], SERVED_OUTPUT_BYTES) == 0) return k;
    }
    return -1;
}

void SysTick_Handler(void)
{
    int8_t y[SECOND_OUTPUT_BYTES], z[SERVED_OUTPUT_BYTES];
    const uint32_t i = draw(&moments) % INPUTS;
    SYST_CSR = 0; /* the next one is counted from the end of this one, or main would never run */
    landed += under_way;
    wrong += second_infer(&watched, second_inputs[i], y) != KT_OK || memcmp(y, second_outputs[i], sizeof y) != 0;
    if (switching) served_adapter_select(&served, values[draw(&moments) % 3]);
    if (reading) {
        served_adapter_select(&reader, (const void *)served.values);
        const int k = served_infer(&reader, served_inputs[i], z) == KT_OK ? which(z, i) : -1;
        torn += k != current && k != next;
    }
    if (draw(&moments) % 4 == 0) wanted = 1;
    SYST_RVR = 10 + draw(&moments) % longest;
    SYST_CVR = 0;
    SYST_CSR = 7;
}

static int erase(void *context, uint32_t page)
{
    (void)context;
    memset((uint8_t *)flash_memory + page * PAGE, 0xFF, PAGE);
    return 0;
}

static int write(void *context, uint32_t at, const uint8_t *word)
{
    (void)context;
    memcpy((uint8_t *)flash_memory + at, word, 8);
    return 0;
}

/* What every output has to be, computed before the first interrupt. Returns how many inputs the three adapters answer differently. */
static uint32_t prepare(void)
{
    static kt_adapter opened[2];
    uint32_t differ = 0;
    served_init(&served, served_arena, sizeof served_arena, NULL, 0);
    served_init(&reader, reader_arena, sizeof reader_arena, NULL, 0);
    second_init(&watched, watched_arena, sizeof watched_arena, watched_state, sizeof watched_state);
    if (kt_adapter_open(&opened[0], adapter_a, sizeof adapter_a, &served_adapter_layout) != KT_OK) return 0;
    if (kt_adapter_open(&opened[1], adapter_b, sizeof adapter_b, &served_adapter_layout) != KT_OK) return 0;
    values[1] = opened[0].payload, values[2] = opened[1].payload;
    for (uint32_t i = 0; i < INPUTS; i++) {
        for (size_t k = 0; k < SERVED_INPUT_BYTES; k++) served_inputs[i][k] = (int8_t)draw(&chance);
        for (size_t k = 0; k < SECOND_INPUT_BYTES; k++) second_inputs[i][k] = (int8_t)draw(&chance);
        for (int a = 0; a < 3; a++) {
            served_adapter_select(&served, values[a]);
            served_infer(&served, served_inputs[i], served_outputs[a][i]);
        }
        second_infer(&watched, second_inputs[i], second_outputs[i]);
        differ += which(served_outputs[1][i], i) == 1 && which(served_outputs[2][i], i) == 2;
    }
    return differ;
}

static void switches(void)
{
    uint32_t counts[3] = {0, 0, 0}, mixed = 0;
    int8_t y[SERVED_OUTPUT_BYTES];
    switching = 1;
    for (uint32_t r = 0; r < ROUNDS; r++) {
        under_way = 1;
        served_infer(&served, served_inputs[r % INPUTS], y);
        under_way = 0;
        const int k = which(y, r % INPUTS);
        if (k < 0) mixed++; else counts[k]++;
    }
    switching = 0;
    print("mixed ", mixed);
    print("base ", counts[0]);
    print("a ", counts[1]);
    print("b ", counts[2]);
}

static void learn(uint32_t step)
{
    const kt_target target = {(int32_t)(step % SECOND_CLASSES), NULL};
    under_way = 1;
    second_train_step(&learner, second_inputs[step % INPUTS], &target, NULL);
    under_way = 0;
}

/* Training that is given up between samples and begun again from the last update ends in the state of training in one go. */
static void trainings(void)
{
    uint32_t aborts = 0, kept = 0;
    SYST_CSR = 0;
    longest = 300;
    second_init(&learner, learner_arena, sizeof learner_arena, learner_state, sizeof learner_state);
    for (uint32_t s = 1; s <= STEPS; s++) {
        learn(s);
        if (s % STEPS_A_BATCH == 0) second_apply(&learner);
    }
    memcpy(whole_state, learner_state, SECOND_STATE_BYTES);
    second_init(&learner, learner_arena, sizeof learner_arena, learner_state, sizeof learner_state);
    memcpy(saved_state, learner_state, SECOND_STATE_BYTES);
    SYST_CSR = 7;
    for (uint32_t s = 1; s <= STEPS; s++) {
        learn(s);
        if (wanted && aborts < 25) {
            wanted = 0, aborts++;
            memcpy(learner_state, saved_state, SECOND_STATE_BYTES);
            second_resume(&learner, learner_arena, sizeof learner_arena, learner_state, sizeof learner_state);
            wrong += second_apply(&learner) != KT_ERROR_NOT_TRAINED;
            s = kept;
        } else if (s % STEPS_A_BATCH == 0) {
            second_apply(&learner);
            memcpy(saved_state, learner_state, SECOND_STATE_BYTES);
            kept = s;
        }
    }
    print("trainings given up ", aborts);
    print("other state ", memcmp(learner_state, whole_state, SECOND_STATE_BYTES) != 0);
}

/* One update in drawn pieces, given up at drawn moments and begun again, or gone on with after a reset. Returns how often. */
static uint32_t update(kt_adapter_slots *slots, const kt_flash *flash, const uint8_t *file, uint32_t bytes)
{
    uint32_t aborts = 0;
    int8_t y[SERVED_OUTPUT_BYTES];
    wrong += kt_update_begin(slots, bytes) != KT_OK;
    for (uint32_t at = 0; at < bytes;) {
        const uint32_t i = draw(&chance) % INPUTS, piece = 8 * (1 + draw(&chance) % 12);
        wrong += kt_update_write(slots, at, file + at, piece < bytes - at ? piece : bytes - at) != KT_OK;
        at += piece;
        served_infer(&served, served_inputs[i], y);
        torn += which(y, i) != current;
        if (wanted && aborts < 5) {
            wanted = 0, aborts++;
            kt_update_abandon(slots);
            at = at < PAGE || aborts % 2 ? 0 : kt_update_page(slots, at / PAGE);
            if (at != 0) wrong += kt_slots_boot(slots, flash, &served_interface, &served) != KT_OK;
            wrong += (at == 0 ? kt_update_begin(slots, bytes) : kt_update_resume(slots, bytes, at)) != KT_OK;
        }
    }
    return aborts;
}

static void updates(void)
{
    static const kt_flash flash = {(const uint8_t *)flash_memory, PAGE, PAGES, 8, erase, write, NULL};
    kt_adapter_slots slots;
    uint32_t aborts = 0;
    for (uint32_t page = 0; page < PAGES; page++) erase(NULL, page);
    wrong += kt_slots_boot(&slots, &flash, &served_interface, &served) != KT_OK;
    current = next = 0;
    longest = 8000; /* the handler infers as well, for longer than what it interrupts */
    reading = 1;
    for (int u = 0; u < 3; u++) {
        const int to = 1 + u % 2;
        aborts += update(&slots, &flash, to == 1 ? adapter_a : adapter_b, to == 1 ? sizeof adapter_a : sizeof adapter_b);
        next = to;
        wrong += kt_update_install(&slots, NULL, NULL) != KT_OK;
        current = to;
    }
    reading = 0;
    print("updates given up ", aborts);
}

int main(void)
{
    kt_board_init();
    print("differ ", prepare());
    SYST_RVR = 1000;
    SYST_CVR = 0;
    SYST_CSR = 7; /* processor clock, interrupt, enabled */
    switches();
    trainings();
    updates();
    SYST_CSR = 0;
    print("torn ", torn);
    print("wrong ", wrong);
    print("landed ", landed);
    const uint32_t leave[2] = {0x20026, 0};
    register uint32_t r0 __asm__("r0") = 0x20;
    register const void *r1 __asm__("r1") = leave;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return 0;
}
