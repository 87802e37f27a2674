/* Two models whose replay buffers lie in one flash, on this computer or on a board: entries go through port functions that erase pages and write
 * words. The power is cut in the middle of an entry, and a state is set that is older than the flash. A name and a number a line. */
#include <string.h>

#include "kt/adapter.h"
#include "kt/port.h"
#include "kt/replay.h"
#include "kt_board.h"
#include "leave.h"
#include "put.h"
#include "second.h"
#include "slow_replay.h"
#include "tiny.h"

enum { PAGE = 64, WORD = 8, PAGES = (TINY_PAGE_BYTES + SECOND_PAGE_BYTES) / PAGE + 2 };

static uint64_t arena[TINY_ARENA_BYTES_TRAIN / 8 + 1], state[TINY_STATE_BYTES / 8 + 1];
static uint64_t second_arena[SECOND_ARENA_BYTES_TRAIN / 8 + 1], memory_of_second[SECOND_STATE_BYTES / 8 + 1];
static uint8_t cells[PAGES * PAGE];
static tiny_model m;
static second_model other;
static uint32_t erasures;
static long words = -1; /* until the power is cut; -1: never */

/* Where a model's slow memory begins in the flash: the second behind the first, in a page of its own. */
static uint32_t begins(const void *model)
{
    return model == &m ? 0 : (TINY_PAGE_BYTES + PAGE - 1) / PAGE * PAGE;
}

int kt_port_page_in(const void *model, uint32_t offset, void *to, uint32_t bytes)
{
    memcpy(to, cells + begins(model) + offset, bytes);
    return 0;
}

/* Each page that is touched is read, erased and written again. */
int kt_port_page_out(const void *model, uint32_t offset, const void *from, uint32_t bytes)
{
    const uint8_t *source = from;
    uint32_t at = begins(model) + offset;
    while (bytes > 0) {
        uint8_t page[PAGE];
        uint8_t *const cell = cells + at / PAGE * PAGE;
        const uint32_t rest = PAGE - at % PAGE, count = bytes < rest ? bytes : rest;
        memcpy(page, cell, PAGE);
        memcpy(page + at % PAGE, source, count);
        memset(cell, 0xFF, PAGE);
        erasures++;
        for (int i = 0; i < PAGE; i += WORD) {
            if (words >= 0 && words-- == 0) {
                return 1;
            }
            memcpy(cell + i, page + i, WORD);
        }
        source += count;
        at += count;
        bytes -= count;
    }
    return 0;
}

/* Replayed steps: how many trained, and how many found an entry that is not theirs; in turns whole and in slices. A step that finds none changes
 * nothing but what is held of the buffer, its counters and the entry that was read. */
static void replay(int steps)
{
    uint32_t trained = 0, refused = 0, changed = 0, losses = 0;
    for (int i = 0; i < steps; i++) {
        static tiny_state before;
        float loss = 0;
        int done = i % 2;
        memcpy(&before, m.state, sizeof before);
        kt_status status = done ? tiny_replay_step(&m, &loss) : KT_OK;
        while (!done && status == KT_OK) {
            status = tiny_replay_slice(&m, TINY_SLICE_INSTRUCTIONS, &loss, &done);
        }
        if (status == KT_OK) {
            trained++;
            losses = kt_crc32(losses, &loss, sizeof loss);
            continue;
        }
        refused += status == KT_ERROR_PAGE;
        memcpy(before.replay_counts, m.state->replay_counts, sizeof before.replay_counts);
        memcpy(before.replay_labels, m.state->replay_labels, sizeof before.replay_labels);
        memcpy(before.replay_entries, m.state->replay_entries, sizeof before.replay_entries);
        changed += memcmp(&before, m.state, sizeof before) != 0;
    }
    put("trained ", trained);
    put("refused ", refused);
    put("changed ", changed);
    put("held ", (uint32_t)m.state->replay_counts[KT_REPLAY_HELD]);
    put("losses ", losses);
    put("state ", kt_crc32(0, m.state, sizeof *m.state));
}

static uint32_t remember(int from, int to)
{
    uint32_t status = 0;
    for (int i = from; i < to; i++) {
        const kt_target target = {slow_labels[i], NULL};
        status |= (uint32_t)tiny_remember(&m, slow_x[i], &target);
    }
    return status;
}

int main(void)
{
    uint32_t status = 0;
    static tiny_state saved;
    kt_board_init();
    memset(cells, 0xFF, sizeof cells);
    status |= (uint32_t)tiny_init(&m, arena, sizeof arena, state, sizeof state);
    status |= (uint32_t)second_init(&other, second_arena, sizeof second_arena, memory_of_second, sizeof memory_of_second);
    status |= remember(0, FILLED);
    for (int i = 0; i < FILLED; i++) {
        const kt_target target = {slow_labels[i], NULL};
        float loss;
        status |= (uint32_t)second_remember(&other, slow_x[i], &target);
        status |= (uint32_t)second_replay_step(&other, &loss);
    }
    put("status ", status);
    put("second ", kt_crc32(0, other.state, sizeof *other.state));
    replay(STEPS);
    words = 1;
    put("cut ", remember(FILLED, SAMPLES));
    words = -1;
    replay(STEPS);
    memcpy(&saved, m.state, sizeof saved);
    put("status ", remember(0, SAMPLES));
    replay(STEPS);
    memset(state, 0xA5, sizeof state); /* a reset, behind which the state of before is set */
    put("status ", (uint32_t)tiny_resume(&m, arena, sizeof arena, memcpy(state, &saved, sizeof saved), sizeof state));
    replay(STEPS);
    put("erasures ", erasures);
    put("flash ", kt_crc32(0, cells, sizeof cells));
    return leave(0);
}
