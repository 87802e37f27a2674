/* A device that hears a word: samples come in on the serial port as from a microphone, numbers of words go out.
 *
 *     p SAMPLES           which word: "word N", with the counter's ticks of the front end and of the model
 *     t LABEL SAMPLES     learn that this is the word LABEL (a byte): "learned"
 *     s                   CRC-32 of what was learned: "state N"
 *     q                   end
 *
 * SAMPLES are VOICE_SAMPLES of 16 bits, the low byte first. */
#include <string.h>

#include "kt/adapter.h"
#include "kt_board.h"
#include "voice.h"

static uint64_t arena[(VOICE_ARENA_BYTES_TRAIN + 7) / 8], state[(VOICE_STATE_BYTES + 7) / 8];
static int16_t samples[VOICE_SAMPLES];
static voice_model model;

static void say(const char *text)
{
    kt_board_write((const uint8_t *)text, strlen(text));
}

static void say_number(uint32_t number)
{
    char digits[11], *at = digits + sizeof digits - 1;
    *at = '\0';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    say(at);
}

static void hear(void)
{
    for (int i = 0; i < VOICE_SAMPLES; i++) {
        const int low = kt_board_read(), high = kt_board_read();
        samples[i] = (int16_t)((uint16_t)low | (uint16_t)((uint16_t)high << 8));
    }
}

static void recognise(void)
{
    hear();
    kt_board_ticks_reset();
    voice_features(&model, samples);
    const uint32_t front_end = (uint32_t)kt_board_ticks();
    voice_infer(&model);
    const uint32_t all = (uint32_t)kt_board_ticks();
    say("word ");
    say_number((uint32_t)voice_argmax_output(voice_output(&model)));
    say(" ");
    say_number(front_end);
    say(" ");
    say_number(all - front_end);
    say("\n");
}

static void learn(void)
{
    const kt_target target = {kt_board_read(), NULL};
    hear();
    voice_features(&model, samples);
    kt_status status = voice_train_step(&model, &target, NULL);
    if (status == KT_OK) {
        status = voice_apply(&model);
    }
    say(status == KT_OK ? "learned\n" : kt_status_text(status));
}

int main(void)
{
    kt_board_init();
    if (voice_init(&model, arena, sizeof arena, state, sizeof state) != KT_OK) {
        kt_board_exit(1);
    }
    for (;;) {
        switch (kt_board_read()) {
        case 'p': recognise(); break;
        case 't': learn(); break;
        case 's':
            say("state ");
            say_number(kt_crc32(0, state, VOICE_STATE_BYTES));
            say("\n");
            break;
        case 'q':
            say("end\n");
            kt_board_exit(0);
        default: break; /* a byte that is nothing */
        }
    }
}
