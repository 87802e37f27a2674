/* Ten days of a device, on this computer or on a board: it watches its inputs, learns in slices under a guard, keeps its adapter in simulated flash
 * over a reset a day, and holds an anomaly threshold calibrated. A name and a number a line. */
#include <string.h>

#include "days.h"
#include "kt/drift.h"
#include "kt/guard.h"
#include "kt/state_store.h"
#include "kt/threshold.h"
#include "kt_board.h"
#include "leave.h"
#include "put.h"
#include "second.h"
#include "tiny.h"
#include "tiny_drift.h"

enum { PAGE = 512, PAGES = 4, WORD = 8, A_DAY = SAMPLES / DAYS, LEARN = 20 };

static uint64_t arena[TINY_ARENA_BYTES_TRAIN / 8 + 1], state[TINY_STATE_BYTES / 8 + 1], adapter[TINY_ADAPTER_BYTES / 8 + 1];
static uint64_t second_arena[SECOND_ARENA_BYTES_TRAIN / 8 + 1], memory_of_second[SECOND_STATE_BYTES / 8 + 1];
static uint64_t cells[PAGES * PAGE / 8];
static long operations = -1; /* until the power is cut; -1: never */

static int cut(void)
{
    return operations >= 0 && operations-- == 0;
}

static int erase_page(void *context, uint32_t page)
{
    (void)context;
    memset((uint8_t *)cells + page * PAGE, 0xFF, PAGE);
    return cut();
}

static int write_word(void *context, uint32_t offset, const uint8_t *word)
{
    (void)context;
    if (cut()) {
        return 1;
    }
    memcpy((uint8_t *)cells + offset, word, WORD);
    return 0;
}

static const kt_flash flash = {(const uint8_t *)cells, PAGE, PAGES, WORD, erase_page, write_word, NULL};

/* What is left in memory behind a reset is noise; the adapter comes from flash. */
static void start(tiny_model *m, kt_state_store *store)
{
    uint32_t bytes;
    memset(arena, 0xA5, sizeof arena);
    memset(state, 0x5A, sizeof state);
    put("init ", (uint32_t)tiny_init(m, arena, sizeof arena, state, sizeof state));
    put("open ", (uint32_t)kt_store_open(store, &flash));
    const void *const saved = kt_store_content(store, &bytes);
    if (saved != NULL) {
        put("load ", (uint32_t)tiny_adapter_load(m, saved, bytes));
    }
    put("state ", kt_crc32(0, m->state, sizeof *m->state));
}

/* In slices, between which the model infers. */
static void learn(tiny_model *m, const int32_t *labels, int day)
{
    int8_t output[TINY_OUTPUT_BYTES];
    for (int step = 0; step < 8 * LEARN; step++) {
        const kt_target target = {labels[step % LEARN], NULL};
        int done = 0;
        while (!done) {
            tiny_train_slice(m, days_x[step % LEARN], &target, TINY_SLICE_INSTRUCTIONS, NULL, &done);
            tiny_infer(m, days_x[day], output);
        }
    }
}

int main(void)
{
    static int8_t output[TINY_OUTPUT_BYTES];
    static int32_t right[SAMPLES], wrong[SAMPLES];
    static kt_drift drift;
    static kt_state_store store;
    static kt_threshold threshold;
    static tiny_model m;
    static second_model other;
    uint32_t watched = 0, scores = 0, alarms = 0;
    kt_board_init();
    memset(cells, 0xFF, sizeof cells);
    start(&m, &store);
    second_init(&other, second_arena, sizeof second_arena, memory_of_second, sizeof memory_of_second);
    kt_drift_init(&drift, &tiny_drift_reference);
    for (int i = 0; i < SAMPLES; i++) {
        tiny_infer(&m, days_x[i], output);
        right[i] = ((int32_t)tiny_argmax_output(output) + 1) % 3;
        wrong[i] = (right[i] + 1) % 3;
    }
    const kt_self_test test = {days_x[0], right, LEARN, 1};
    kt_guard guard = {.interface = &tiny_interface, .model = &m, .test = &test, .output = output, .adapter = adapter};
    for (int day = 0; day < DAYS; day++) {
        for (int i = day * A_DAY; i < (day + 1) * A_DAY; i++) {
            float loss;
            tiny_infer(&m, days_x[i], output);
            const uint32_t flags = kt_drift_update(&drift, &tiny_drift_reference, days_x[i], output);
            watched = kt_crc32(watched, &flags, sizeof flags);
            watched = kt_crc32(watched, drift.cusum, sizeof drift.cusum);
            second_train_step(&other, days_x[i], NULL, &loss);
            alarms += (uint32_t)kt_threshold_alarm(&threshold, loss, 2 * 256);
            kt_threshold_learn(&threshold, loss, 30);
            scores = kt_crc32(scores, &threshold, sizeof threshold);
        }
        if (day % 3 == 2) { /* days 2, 5 and 8; the second time with labels that are wrong, the third time the power is cut */
            kt_guard_begin(&guard);
            learn(&m, day == 5 ? wrong : right, day);
            const kt_status status = kt_guard_end(&guard);
            put("guard ", (uint32_t)status);
            put("before ", guard.before);
            put("after ", guard.after);
            if (status == KT_OK) {
                operations = day == 8 ? 9 : -1;
                put("save ", (uint32_t)kt_store_save(&store, adapter, (uint32_t)tiny_adapter_export(&m, adapter, sizeof adapter)));
                operations = -1;
            }
            put("erasures ", store.erasures);
            kt_drift_learn(&drift, 8);
        }
        start(&m, &store);
    }
    put("back ", guard.taken_back);
    put("watched ", watched);
    put("flags ", drift.flags);
    put("scores ", scores);
    put("alarms ", alarms);
    put("flash ", kt_crc32(0, cells, sizeof cells));
    put("other ", kt_crc32(0, other.state, sizeof *other.state));
    return leave(0);
}
