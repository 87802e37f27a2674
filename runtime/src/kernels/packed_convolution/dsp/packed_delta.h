/* packed_delta.h: a delta as exact words of product.h, made once a call. */
#ifndef KT_DSP_PACKED_DELTA_H
#define KT_DSP_PACKED_DELTA_H

#include "../packed_conv2d_delta.h"
#include "../../dsp/simd.h"

/* What makes results of the sums of one channel, in the order in which kt_two_positions reads it. product: bytes to the delta's products, zeros for
 * a channel without a delta. */
typedef struct {
    int32_t product;
    int32_t addend_multiplier, addend_half, addend_down;
    int32_t bias;
    int32_t multiplier, added, down;
} kt_channel_steps;

/* rows: of the delta, padded to fours. start: what the products of each begin with. products: of both positions, [2][rows + 4], zeros behind the
 * rows. steps: of each channel. unusual: whether a channel has other steps. */
typedef struct {
    int32_t rows;
    const int32_t *stream;
    const int32_t *start;
    int32_t *products;
    const kt_channel_steps *steps;
    int unusual;
} kt_packed_delta;

/* Four rows at the value that is read next; mask: 0 for one that does not exist. */
typedef struct {
    const int8_t *row[4];
    uint32_t mask[4];
} kt_four_rows;

static int32_t kt_total_of_row(const int8_t *row, int32_t size)
{
    int32_t sum = 0;
    for (; size >= 4; size -= 4, row += 4) {
        const uint32_t word = kt_load_word(row);
        sum = kt_add_products(kt_odd(word), UINT32_C(0x00010001), kt_add_products(kt_even(word), UINT32_C(0x00010001), sum));
    }
    for (; size > 0; size--) {
        sum += *row++;
    }
    return sum;
}

/* b * 256 + a + 128 in each half: of the values 0 and 2, and of 1 and 3. */
KT_INLINE int32_t kt_exact_even(uint32_t a, uint32_t b)
{
    return (int32_t)kt_add_halves(kt_add_halves(kt_even(a), UINT32_C(0x00800080)), (b & UINT32_C(0x00FF00FF)) << 8);
}

KT_INLINE int32_t kt_exact_odd(uint32_t a, uint32_t b)
{
    return (int32_t)kt_add_halves(kt_add_halves(kt_odd(a), UINT32_C(0x00800080)), b & UINT32_C(0xFF00FF00));
}

/* The values of a run that are left behind its fours, where kt_exact_even and kt_exact_odd find the pairs of panel.h. */
static inline uint32_t kt_rest_of_run(const int8_t *row, int32_t left)
{
    const uint32_t second = left == 2 ? (uint32_t)(uint8_t)row[1] << 16 : left == 3 ? (uint32_t)(uint8_t)row[1] << 8 | (uint32_t)(uint8_t)row[2] << 16 : 0;
    return (uint8_t)row[0] | second;
}

/* One run of four rows; returns the end of its words. */
static __attribute__((noinline)) int32_t *kt_pack_run(kt_four_rows *rows, int32_t length, int32_t *word)
{
    int32_t left, i;
    for (left = length; left > 0; left -= 4) {
        uint32_t bytes[4];
        for (i = 0; i < 4; i++) {
            bytes[i] = (left >= 4 ? kt_load_word(rows->row[i]) : kt_rest_of_run(rows->row[i], left)) & rows->mask[i];
            rows->row[i] += kt_minimum(left, 4);
        }
        *word++ = kt_exact_even(bytes[0], bytes[1]);
        *word++ = kt_exact_even(bytes[2], bytes[3]);
        if (left >= 3) {
            *word++ = kt_exact_odd(bytes[0], bytes[1]);
            *word++ = kt_exact_odd(bytes[2], bytes[3]);
        }
    }
    return word;
}

/* Packs `rows` rows; returns the end of the words that it takes. */
static int32_t *kt_pack_delta(kt_packed_delta *packed, const kt_trained_delta *delta, int32_t rows, int32_t *words)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
    const int32_t padded = kt_padded_channels(rows), size = delta->runs * delta->length;
    int32_t *const start = words, *word = words + 3 * padded + 8;
    int32_t first, run, i;
    packed->rows = padded;
    packed->start = start;
    packed->products = words + padded;
    packed->stream = word;
    for (first = 0; first < padded; first += 4) {
        kt_four_rows four;
        for (i = 0; i < 4; i++) {
            const int exists = first + i < rows;
            four.row[i] = delta->delta + (exists ? first + i : 0) * size;
            four.mask[i] = exists ? UINT32_MAX : 0;
            start[first + i] = exists ? -params->outside * kt_total_of_row(four.row[i], size) : 0;
        }
        for (run = 0; run < delta->runs; run++) {
            word = kt_pack_run(&four, delta->length, word);
        }
    }
    for (i = 0; i < 4; i++) {
        packed->products[padded + i] = packed->products[2 * padded + 4 + i] = 0;
    }
    return word;
}

#endif
