/* A device that hears a word: samples come in on the serial port as from a microphone, numbers of words go out.
 *
 *     p SAMPLES           which word: "word N", with the counter's ticks of the front end and of the model
 *     l LABEL SAMPLES     keep that this is the word LABEL (a byte): "kept", or "full"
 *     t TIMES             learn what was kept, so many times (a byte): "learned"
 *     s                   CRC-32 of what was learned: "state N"
 *     q                   end
 *
 * SAMPLES are VOICE_SAMPLES of 16 bits, the low byte first. */
#include <string.h>

#include "kt/adapter.h"
#include "kt_board.h"
#include "voice.h"

#define LESSONS 64

static uint64_t arena[(VOICE_ARENA_BYTES_TRAIN + 7) / 8], state[(VOICE_STATE_BYTES + 7) / 8];
static int16_t samples[VOICE_SAMPLES];
static int8_t lessons[LESSONS][VOICE_INPUT_BYTES];
static int32_t labels[LESSONS];
static int count;
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

/* A lesson is kept as the model's input, which is far shorter than the recording. */
static void keep(void)
{
    const int32_t label = kt_board_read();
    hear();
    if (count == LESSONS) {
        say("full\n");
        return;
    }
    voice_features(&model, samples);
    memcpy(lessons[count], voice_input(&model), VOICE_INPUT_BYTES);
    labels[count++] = label;
    say("kept\n");
}

static void learn(void)
{
    kt_status status = KT_OK;
    for (int times = kt_board_read(); times > 0 && status == KT_OK; times--) {
        for (int i = 0; i < count && status == KT_OK; i++) {
            const kt_target target = {labels[i], NULL};
            memcpy(voice_input(&model), lessons[i], VOICE_INPUT_BYTES);
            status = voice_train_step(&model, &target, NULL);
            if (status == KT_OK) {
                status = voice_apply(&model);
            }
        }
    }
    say(status == KT_OK ? "learned" : kt_status_text(status));
    say("\n");
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
        case 'l': keep(); break;
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
