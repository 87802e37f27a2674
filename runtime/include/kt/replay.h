/* kt/replay.h: which samples a replay buffer keeps, and which one is trained on next.
 *
 * Integer arithmetic on counters and numbers of kt/random.h, whose seed is the build's: equal calls give equal buffers on every
 * core. below(n) is the upper half of n times 32 bits: key(seed, counter, stream), mixed once more; it is at most n * 2^-32 off
 * uniform. The counter of a sample is how many were offered before it, that of a draw how many were drawn.
 *
 *     reservoir        entry held, while there is room; then below(offered), if there is such an entry: each of the samples offered
 *                      stays with the same probability (Vitter, algorithm R, 1985)
 *     class balanced   while there is room the same; then the sample takes the place of a random one of the largest class, the first
 *                      of equal ones. Where its own is as large as that it takes the place of number below(offered of its class) of
 *                      its class, if there is such an entry (after Chrysakis and Moens, 2020)
 *
 * The NumPy twin is ReplayBuffer in codegen/kiloc/continual/replay.py. */
#ifndef KT_REPLAY_H
#define KT_REPLAY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t samples; /* entries, at least 1 */
    int32_t classes; /* that are balanced, at most 256; 0: a reservoir */
    int32_t seed;
} kt_replay_params;

/* What counts begins with; from KT_REPLAY_CLASSES on are those offered of each class, where they are balanced. */
enum { KT_REPLAY_HELD = 0, KT_REPLAY_OFFERED = 1, KT_REPLAY_DRAWN = 2, KT_REPLAY_CLASSES = 3 };

/* Entries held, whatever the counter says. */
int32_t kt_replay_held(const kt_replay_params *params, const int32_t *counts);

/* The entry that the next sample takes, or -1: it is not kept. labels: of the entries, NULL for a reservoir; the sample's own is written
 * there. label: in [0, classes) where classes are balanced. */
int32_t kt_replay_place(const kt_replay_params *params, int32_t *counts, uint8_t *labels, int32_t label);

/* The entry to train on next, or -1: there is none. */
int32_t kt_replay_draw(const kt_replay_params *params, int32_t *counts);

/* Entries in four bits a value: of the 16 codes lowest, lowest + 16, ... the number of the nearest, the higher of two. Value 2i is in the
 * lower half of byte i; an odd one at the end leaves the upper half 0. lowest: in [-128, -113]. */
void kt_replay_pack4(const int8_t *values, int32_t count, int32_t lowest, uint8_t *packed);

/* The codes that they stand for. */
void kt_replay_unpack4(const uint8_t *packed, int32_t count, int32_t lowest, int8_t *values);

#ifdef __cplusplus
}
#endif
#endif
