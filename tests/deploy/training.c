/* A short training session, printed as CRCs of the state, the losses and the results: on this computer or on a board, by any compiler. */
#include <string.h>

#include "kt/adapter.h"
#include "kt_board.h"
#include "model.h"

#define STEPS 12

static uint64_t arena[MODEL_ARENA_BYTES_TRAIN / 8 + 1], state[MODEL_STATE_BYTES / 8 + 1];
static model_model m;

static void print(const char *what, uint32_t value)
{
    char line[32];
    size_t at = strlen(what);
    memcpy(line, what, at);
    for (int i = 28; i >= 0; i -= 4) line[at++] = "0123456789abcdef"[value >> i & 15u];
    line[at++] = '\n';
    kt_board_write((const uint8_t *)line, at);
}

int main(void)
{
    static int8_t x[MODEL_INPUT_BYTES], y[MODEL_OUTPUT_BYTES];
    uint32_t seed = 7, losses = 0, results = 0, status = 0;
    kt_board_init();
    status |= (uint32_t)model_init(&m, arena, sizeof arena, state, sizeof state);
    for (int step = 0; step < STEPS; step++) {
        const kt_target target = {step % MODEL_CLASSES, NULL};
        float loss;
        for (int i = 0; i < MODEL_INPUT_BYTES; i++) {
            seed = seed * 1664525u + 1013904223u;
            x[i] = (int8_t)(seed >> 24);
        }
        status |= (uint32_t)model_train_step(&m, x, &target, &loss);
        losses = kt_crc32(losses, &loss, sizeof loss);
        if (step % 3 == 2) status |= (uint32_t)model_apply(&m);
        status |= (uint32_t)model_infer(&m, x, y);
        results = kt_crc32(results, y, sizeof y);
    }
    print("status ", status);
    print("losses ", losses);
    print("results ", results);
    print("state ", kt_crc32(0, m.state, sizeof *m.state));
#if defined(__arm__)
    {
        const uint32_t leave[2] = {0x20026, 0};
        register uint32_t r0 __asm__("r0") = 0x20;
        register const void *r1 __asm__("r1") = leave;
        __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    }
#endif
    return 0;
}
