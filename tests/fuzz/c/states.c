/* The state of a training build from anybody: byte 0 is the label, byte 1 says what is right, then a sample and the state's bytes, which are
 * laid over those of init. Whatever they are, training, inference and export stay within the model's memory and within defined arithmetic. */
#include <stdlib.h>
#include <string.h>

#include "kt/adapter.h"
#include "tiny.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void train(tiny_model *m, const int8_t *x, int32_t label)
{
    const kt_target target = {label, NULL};
    float loss;
    for (int step = 0; step < 3; step++) {
        (void)tiny_train_step(m, x, &target, &loss);
        if (step != 1) (void)tiny_apply(m);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t arena[TINY_ARENA_BYTES_TRAIN / 8 + 1];
    static int8_t x[TINY_INPUT_BYTES], y[TINY_OUTPUT_BYTES];
    static uint8_t file[TINY_ADAPTER_BYTES];
    tiny_model m;
    if (size < 2 + sizeof x) return 0;
    uint64_t *const state = malloc(TINY_STATE_BYTES); /* of its size: what is read or written behind it is reported */
    if (tiny_init(&m, arena, sizeof arena, state, TINY_STATE_BYTES) != KT_OK) abort();
    memcpy(x, data + 2, sizeof x);
    const size_t given = size - 2 - sizeof x, from = data[1] & 1 ? 12 : 0; /* after the layout and the hash, or from them on */
    uint8_t *const bytes = (uint8_t *)state;
    for (size_t i = 0; i < given && from + i < TINY_STATE_BYTES; i++) bytes[from + i] ^= data[2 + sizeof x + i];
    if (tiny_resume(&m, arena, sizeof arena, state, TINY_STATE_BYTES) == KT_OK) {
        if (tiny_infer(&m, x, y) != KT_OK) abort();
        train(&m, x, data[0] % (TINY_CLASSES + 1));
        if (tiny_infer(&m, x, y) != KT_OK) abort();
        const size_t length = tiny_adapter_export(&m, file, sizeof file);
        if (length == 0 || tiny_adapter_load(&m, file, length) != KT_OK || tiny_infer(&m, x, y) != KT_OK) abort();
        train(&m, x, 0);
    }
    free(state);
    return 0;
}
