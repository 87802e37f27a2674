#include "training.h"

#include "digits.h"
#include "samples.h"

/* All the memory that the model uses: what to reserve is in its header. */
static uint64_t arena[(DIGITS_ARENA_BYTES_TRAIN + 7) / 8];
static uint64_t state[(DIGITS_STATE_BYTES + 7) / 8];
static digits_model model;

int training_start(void)
{
    return digits_init(&model, arena, sizeof arena, state, sizeof state) != KT_OK;
}

uint32_t training_epoch(void)
{
    float total = 0.0f;

    for (int i = 0; i < SAMPLES; i++) {
        const kt_target target = {.label = sample_labels[i]};
        float loss = 0.0f;
        digits_train_step(&model, sample_inputs[i], &target, &loss);
        digits_apply(&model);
        total += loss;
    }
    return (uint32_t)(total * 1000.0f / SAMPLES);
}

int training_correct(void)
{
    int correct = 0;

    for (int i = 0; i < SAMPLES; i++) {
        int8_t scores[DIGITS_CLASSES];
        int best = 0;
        digits_infer(&model, sample_inputs[i], scores);
        for (int c = 1; c < DIGITS_CLASSES; c++)
            if (scores[c] > scores[best])
                best = c;
        correct += best == sample_labels[i];
    }
    return correct;
}

uint32_t training_state_crc(void)
{
    const uint8_t *const bytes = (const uint8_t *)state;
    uint32_t crc = 0xFFFFFFFFu;

    for (int i = 0; i < DIGITS_STATE_BYTES; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}
