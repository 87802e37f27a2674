/* A training that writes its own log into simulated flash, over a reset, a power cut and a class that is added; at the end the flash as hexadecimal
 * digits. FAULT: the step in front of which a bit of the state flips. */
#include <string.h>

#include "kt/recorder.h"
#include "kt_board.h"
#include "leave.h"
#include "tiny.h"

#ifndef FAULT
#define FAULT (-1)
#endif

enum { PAGE = 512, PAGES = 16, WORD = 8, STEPS = 300, CUT = 100, RESET = 200, ADDED = 282 };

static uint64_t arena[TINY_ARENA_BYTES_TRAIN / 8 + 1], state[TINY_STATE_BYTES / 8 + 1];
static uint64_t cells[PAGES * PAGE / 8];
static uint32_t erased[PAGES];
static int cut;

static int erase_page(void *context, uint32_t page)
{
    (void)context;
    memset((uint8_t *)cells + page * PAGE, 0xFF, PAGE);
    erased[page]++;
    return 0;
}

static int write_word(void *context, uint32_t offset, const uint8_t *word)
{
    uint8_t *const cell = (uint8_t *)cells + offset;
    (void)context;
    for (int i = 0; i < WORD; i++) {
        if (cell[i] != 0xFF) {
            kt_board_write((const uint8_t *)"not erased ", 11);
        }
    }
    memcpy(cell, word, cut ? 3 : WORD);
    return cut;
}

static const kt_flash flash = {(const uint8_t *)cells, PAGE, PAGES, WORD, erase_page, write_word, NULL};

static void put(uint32_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        kt_board_write((const uint8_t *)"0123456789abcdef" + (value >> (4 * i) & 15u), 1);
    }
}

static void put_wear(const kt_recorder *recorder)
{
    uint32_t most = 0, least = UINT32_MAX, all = 0;
    for (int i = 0; i < PAGES; i++) {
        most = erased[i] > most ? erased[i] : most;
        least = erased[i] < least ? erased[i] : least;
        all += erased[i];
    }
    put(most - least, 2);
    put(all == recorder->erasures, 2);
    put(recorder->erasures, 8);
}

/* A sample of pseudo-random numbers; returns the seed of the next one. */
static uint32_t draw(int8_t *x, uint32_t seed)
{
    for (int i = 0; i < TINY_INPUT_BYTES; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (int8_t)(seed >> 24);
    }
    return seed;
}

int main(void)
{
    static kt_recorder recorder;
    static tiny_model m;
    int8_t x[TINY_INPUT_BYTES];
    uint32_t seed = 5, status = 0, failed = 0;
    int32_t classes = 3;
    float loss;
    kt_board_init();
    memset(cells, 0, sizeof cells);
    status |= (uint32_t)tiny_init(&m, arena, sizeof arena, state, sizeof state);
    status |= (uint32_t)kt_recorder_open(&recorder, &flash, &tiny_interface, state, 3);
    status |= (uint32_t)tiny_set_learning_rate(&m, 0.2f);
    status |= (uint32_t)kt_recorder_set_learning_rate(&recorder, 0.2f);
    for (int step = 0; step < STEPS; step++) {
        seed = draw(x, seed);
        if (step == ADDED) {
            int32_t label;
            status |= (uint32_t)tiny_add_class(&m, x, &label);
            status |= (uint32_t)kt_recorder_add_class(&recorder, x, label);
            classes = label + 1;
        }
        const kt_target target = {step % classes, NULL};
        if (step == RESET) {
            status |= (uint32_t)tiny_resume(&m, arena, sizeof arena, state, sizeof state);
            status |= (uint32_t)kt_recorder_open(&recorder, &flash, &tiny_interface, state, 3);
        }
        if (step == FAULT) {
            m.state->logits_delta_remainder[3] ^= 64;
        }
        status |= (uint32_t)tiny_train_step(&m, x, &target, &loss);
        cut = step == CUT;
        failed += kt_recorder_train_step(&recorder, x, &target, loss) == KT_ERROR_FLASH;
        if (cut) {
            failed += kt_recorder_apply(&recorder) == KT_ERROR_FLASH;
            cut = 0;
            status |= (uint32_t)kt_recorder_open(&recorder, &flash, &tiny_interface, state, 3);
        }
        if (step % 2 == 1) {
            status |= (uint32_t)tiny_apply(&m);
            status |= (uint32_t)kt_recorder_apply(&recorder);
            status |= (uint32_t)tiny_remember(&m, x, &target);
            status |= (uint32_t)kt_recorder_remember(&recorder, x, &target);
        }
        if (step % 5 == 4) {
            status |= (uint32_t)tiny_replay_step(&m, &loss);
            status |= (uint32_t)kt_recorder_replay_step(&recorder, loss);
        }
    }
    put(status, 2);
    put(failed, 2);
    put((uint32_t)classes, 2);
    put_wear(&recorder);
    for (size_t i = 0; i < sizeof cells; i++) {
        put(((const uint8_t *)cells)[i], 2);
    }
    return leave(0);
}
