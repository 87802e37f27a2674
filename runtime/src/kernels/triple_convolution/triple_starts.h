/* triple_starts.h: what the sums of six positions of a layer with LoRA start from. */
#ifndef KT_TRIPLE_STARTS_H
#define KT_TRIPLE_STARTS_H

#include "../packed_convolution/lora_starts.h"
#include "triple_conv2d.h"

/* Whether a channel has a short form; rank: up to 4. Shifts to the right beyond the largest leave 0. */
KT_INLINE int kt_short_scale(const kt_lora_layer *lora, int32_t c, int32_t rank, kt_shares *six)
{
    const kt_packed_lora_params *const params = lora->params;
    const kt_packed_conv2d_params *const layer = &params->layer;
    const int32_t right = -kt_lora_shift(lora, c), left = kt_maximum(-right, 0);
    const int8_t *const b = lora->b + c * rank;
    int32_t start = lora->bias[c], j;
    if (right <= 0 && (left > KT_MOST_SHORT_LEFT || rank << (14 + left) > params->addend_limit || kt_is_far(lora, c))) {
        return 0;
    }
    if (layer->fold != NULL) {
        start = layer->fold[c] + kt_clamp(start, -layer->bias_limit, layer->bias_limit);
    }
    six->start = KT_START_UNIT * start;
    six->multiplier = params->addend[KT_SCALE_WORDS * c];
    kt_scale_shares(six, right);
    for (j = 0; j < KT_FOUR_RANKS; j++) {
        six->b[j] = j < rank ? b[j] * (INT32_C(1) << left) : 0;
    }
    return 1;
}

/* The codes of u at a position of a block; of one that there is not the first's. */
KT_INLINE const int8_t *kt_u_of(const kt_lora_layer *lora, const kt_triple_block *block, int32_t i)
{
    return lora->u + (block->position + (i < block->positions ? i * block->direction : 0)) * lora->params->rank;
}

/* Starts of channels of a rank up to 4 from `first` on, as far as their shares have a short form. Returns where those of the next belong. */
KT_INLINE int32_t *kt_four_starts(const kt_lora_layer *lora, const int32_t *u, int32_t first, int32_t count, int32_t *starts)
{
    const kt_packed_lora_params *const params = lora->params;
    const int32_t *const fold = params->layer.fold;
    const int32_t limit = params->layer.bias_limit, rank = params->rank;
    int32_t own[KT_STARTED_CHANNELS];
    kt_share_run run = {u + (KT_ARMV6M ? KT_PAIRED_CODES : 0), params->addend + KT_SCALE_WORDS * first, lora->bias + first, lora->b + rank * first,
                        starts, starts + KT_POSITIONS * count, -(params->least_shift + lora->exponent), 0, rank};
    if (fold == NULL) {
        run.left = KT_MOST_SHORT_LEFT + 1;
        while (run.left > 0 && KT_FOUR_RANKS << (13 + run.left) > params->addend_limit) {
            run.left--;
        }
    } else {
        int32_t c;
        for (c = 0; c < count; c++) {
            own[c] = fold[first + c] + kt_clamp(run.start[c], -limit, limit);
        }
        run.start = own;
    }
    return kt_run_of_shares(&run);
}

/* How many of `count` channels from `first` on have four bytes of b from their own on. */
KT_INLINE int32_t kt_readable_rows(const kt_lora_layer *lora, int32_t first, int32_t count)
{
    const int32_t left = lora->params->layer.window.output[KT_CHANNELS] - first;
    int32_t bytes = lora->params->rank, rows = left;
    for (; bytes < KT_FOUR_RANKS; bytes += lora->params->rank) {
        rows--;
    }
    return kt_clamp(rows, 0, count);
}

static __attribute__((noinline)) void kt_block_codes(const kt_lora_layer *lora, const kt_triple_block *block, int32_t u[KT_CODE_WORDS])
{
    const int32_t rank = lora->params->rank;
    int32_t *const end = u + KT_PAIRED_CODES;
#if KT_ARMV6M
    int32_t *pairs = end;
#endif
    int32_t i, j;
    for (i = 0; u != end && rank <= KT_FOUR_RANKS; i++, u += KT_FOUR_RANKS) {
        const int8_t *const codes = kt_u_of(lora, block, i);
        if (rank == KT_FOUR_RANKS) {
            u[0] = KT_CODE_UNIT * codes[0];
            u[1] = KT_CODE_UNIT * codes[1];
            u[2] = KT_CODE_UNIT * codes[2];
            u[3] = KT_CODE_UNIT * codes[3];
        } else {
            for (j = 0; j < KT_FOUR_RANKS; j++) {
                u[j] = j < rank ? KT_CODE_UNIT * codes[j] : 0;
            }
        }
#if KT_ARMV6M
        *pairs++ = u[0] + u[1] * (1 << 16);
        *pairs++ = u[2] + u[3] * (1 << 16);
#endif
    }
}

static __attribute__((noinline)) void kt_triple_starts(const kt_lora_layer *lora, const kt_triple_block *block, const int32_t u[KT_CODE_WORDS],
                                                       int32_t first, int32_t count, int32_t *starts)
{
    const int32_t rank = lora->params->rank;
    int32_t c, i;
    for (c = first; c < first + count; c++, starts += KT_POSITIONS) {
        const int32_t rows = rank <= KT_FOUR_RANKS ? kt_readable_rows(lora, c, first + count - c) : 0;
        kt_shares six;
        if (rows > 0) {
            int32_t *const next = kt_four_starts(lora, u, c, rows, starts);
            c += (int32_t)(next - starts) / KT_POSITIONS;
            starts = next;
            if (c == first + count) {
                return;
            }
        }
        if (rank <= KT_FOUR_RANKS && kt_short_scale(lora, c, rank, &six)) {
            kt_six_shares(u, &six, starts);
            continue;
        }
        for (i = 0; i < KT_POSITIONS; i++) {
            starts[i] = KT_START_UNIT * kt_any_start(lora, kt_u_of(lora, block, i), c);
        }
    }
}

#endif
