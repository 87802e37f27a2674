#include "kt/replay.h"

#include "kt/random.h"

#include <stddef.h>

/* Names of two uses of one seed. */
enum { STREAM_PLACE = 0x706C61, STREAM_DRAW = 0x647261 };

/* A number from 0 to n - 1; 0 where n is none. */
static int32_t below(int32_t n, int32_t seed, int32_t counter, int32_t stream)
{
    const uint64_t bits = kt_random_mix(kt_random_key(seed, counter, stream));
    return n > 0 ? (int32_t)((bits * (uint32_t)n) >> 32) : 0;
}

/* Counters stop at the largest number; a state from outside may hold any. Returns what was counted before. */
static int32_t count(int32_t *counter)
{
    const int32_t before = *counter < 0 ? 0 : *counter;
    *counter = before < INT32_MAX ? before + 1 : INT32_MAX;
    return before;
}

static int32_t entries_of(const uint8_t *labels, int32_t held, int32_t label)
{
    int32_t found = 0;
    int32_t i;
    for (i = 0; i < held; i++) {
        found += labels[i] == label;
    }
    return found;
}

static int32_t numbered(const uint8_t *labels, int32_t held, int32_t label, int32_t rank)
{
    int32_t i;
    for (i = 0; i < held; i++) {
        if (labels[i] == label && rank-- == 0) {
            return i;
        }
    }
    return -1;
}

/* The entry that a sample takes in a full buffer whose classes are balanced. */
static int32_t balanced(const kt_replay_params *params, const int32_t *counts, const uint8_t *labels, int32_t label, int32_t number)
{
    const int32_t own = entries_of(labels, params->samples, label);
    int32_t most = own, largest = label, among = counts[KT_REPLAY_CLASSES + label];
    int32_t c;
    for (c = 0; c < params->classes; c++) {
        const int32_t found = entries_of(labels, params->samples, c);
        if (found > most) {
            most = found;
            largest = c;
            among = found;
        }
    }
    return numbered(labels, params->samples, largest, below(among, params->seed, number, STREAM_PLACE));
}

int32_t kt_replay_held(const kt_replay_params *params, const int32_t *counts)
{
    const int32_t held = counts[KT_REPLAY_HELD];
    return held < 0 ? 0 : held > params->samples ? params->samples : held;
}

int32_t kt_replay_place(const kt_replay_params *params, int32_t *counts, uint8_t *labels, int32_t label)
{
    const int32_t held = kt_replay_held(params, counts);
    const int32_t number = count(&counts[KT_REPLAY_OFFERED]);
    int32_t entry = held;
    if (params->classes > 0) {
        (void)count(&counts[KT_REPLAY_CLASSES + label]);
    }
    if (held < params->samples) {
        counts[KT_REPLAY_HELD] = held + 1;
    } else if (params->classes > 0) {
        entry = balanced(params, counts, labels, label, number);
    } else {
        entry = below(counts[KT_REPLAY_OFFERED], params->seed, number, STREAM_PLACE);
        entry = entry < params->samples ? entry : -1;
    }
    if (entry >= 0 && labels != NULL) {
        labels[entry] = (uint8_t)label;
    }
    return entry;
}

/* The number of the code that is nearest to a value. */
static uint8_t numbered4(int32_t value, int32_t lowest)
{
    const int32_t above = value - lowest + 8;
    return (uint8_t)(above < 0 ? 0 : above > 255 ? 15 : above >> 4);
}

void kt_replay_pack4(const int8_t *values, int32_t count, int32_t lowest, uint8_t *packed)
{
    int32_t i;
    for (i = 0; i + 1 < count; i += 2) {
        packed[i / 2] = (uint8_t)(numbered4(values[i], lowest) | numbered4(values[i + 1], lowest) << 4);
    }
    if (i < count) {
        packed[i / 2] = numbered4(values[i], lowest);
    }
}

void kt_replay_unpack4(const uint8_t *packed, int32_t count, int32_t lowest, int8_t *values)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        values[i] = (int8_t)(lowest + 16 * (packed[i / 2] >> (i % 2 * 4) & 15));
    }
}

int32_t kt_replay_draw(const kt_replay_params *params, int32_t *counts)
{
    const int32_t held = kt_replay_held(params, counts);
    return held > 0 ? below(held, params->seed, count(&counts[KT_REPLAY_DRAWN]), STREAM_DRAW) : -1;
}
