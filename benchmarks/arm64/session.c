/* Inference and training steps of a model, as many as the two arguments say; what a program without either takes is subtracted. */
#include <stdlib.h>

#include "model.h"

static uint64_t arena[MODEL_ARENA_BYTES_TRAIN / 8 + 1], state[MODEL_STATE_BYTES / 8 + 1];
static int8_t x[MODEL_INPUT_BYTES], y[MODEL_OUTPUT_BYTES];
static model_model m;

int main(int argc, char **argv)
{
    int infer = argc > 1 ? atoi(argv[1]) : 0, steps = argc > 2 ? atoi(argv[2]) : 0;
    int failed = (int)model_init(&m, arena, sizeof arena, state, sizeof state);
    uint32_t seed = 7;
    size_t i;
    for (i = 0; i < sizeof x; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (int8_t)(seed >> 24);
    }
    for (; infer > 0; infer--) {
        failed |= (int)model_infer(&m, x, y);
    }
    for (; steps > 0; steps--) {
        const kt_target target = {0, NULL};
        float loss;
        failed |= (int)model_train_step(&m, x, &target, &loss) | (int)model_apply(&m);
    }
    return failed;
}
