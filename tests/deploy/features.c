/* The input that a front end makes of recordings, printed as CRCs, with the counter's ticks of one: on this computer or on a board. */
#include <string.h>

#include "kt_board.h"
#include "model.h"
#include "recordings.h"

#ifdef MODEL_ARENA_BYTES_TRAIN
#define ARENA_BYTES MODEL_ARENA_BYTES_TRAIN
#else
#define ARENA_BYTES MODEL_ARENA_BYTES_INFER
#endif

static uint64_t arena[ARENA_BYTES / 8 + 1], state[MODEL_STATE_BYTES / 8 + 1];
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

/* As kt_crc32, which a build for inference has no use for. */
static uint32_t crc32(const int8_t *data, size_t length)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < length; i++) {
        crc ^= (uint8_t)data[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1u ? 0xEDB88320u : 0u);
    }
    return ~crc;
}

int main(void)
{
    kt_board_init();
    print("status ", (uint32_t)model_init(&m, arena, sizeof arena, state, sizeof state));
    for (size_t i = 0; i < sizeof recordings / sizeof recordings[0]; i++) {
        memset(arena, (int)(37 * i + 1), sizeof arena); /* what lay there before does not matter */
        kt_board_ticks_reset();
#ifdef MODEL_INPUT_OFFSET
        model_features(&m, recordings[i]);
        const uint32_t ticks = (uint32_t)kt_board_ticks();
        print("input ", crc32(model_input(&m), MODEL_INPUT_BYTES));
#else
        static int8_t input[MODEL_INPUT_BYTES];
        model_features(&m, recordings[i], input);
        const uint32_t ticks = (uint32_t)kt_board_ticks();
        print("input ", crc32(input, sizeof input));
#endif
        print("ticks ", ticks);
    }
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
