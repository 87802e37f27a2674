/* Updates of bounded length under noise; see kt/private_update.h. */
#include "kt/private_update.h"
#include "little_endian.h"

#include <string.h>

/* Steps of a discrete Laplace that are drawn again: their probability is e^-64. */
#define FARTHEST 64

typedef struct {
    uint32_t input[16];
    uint32_t block[16];
    int used; /* words of the block */
} stream;

/* ---- ChaCha20, RFC 8439 ---- */

static uint32_t turned(uint32_t x, int bits)
{
    return x << bits | x >> (32 - bits);
}

static void quarter(uint32_t *x, int a, int b, int c, int d)
{
    x[a] += x[b];
    x[d] = turned(x[d] ^ x[a], 16);
    x[c] += x[d];
    x[b] = turned(x[b] ^ x[c], 12);
    x[a] += x[b];
    x[d] = turned(x[d] ^ x[a], 8);
    x[c] += x[d];
    x[b] = turned(x[b] ^ x[c], 7);
}

static void next_block(stream *s)
{
    int i;
    for (i = 0; i < 16; i++) {
        s->block[i] = s->input[i];
    }
    for (i = 0; i < 10; i++) {
        int column;
        for (column = 0; column < 4; column++) {
            quarter(s->block, column, column + 4, column + 8, column + 12);
        }
        for (column = 0; column < 4; column++) {
            quarter(s->block, column, (column + 1) % 4 + 4, (column + 2) % 4 + 8, (column + 3) % 4 + 12);
        }
    }
    for (i = 0; i < 16; i++) {
        s->block[i] += s->input[i];
    }
    s->input[12]++;
    s->used = 0;
}

static void begin(stream *s, const uint32_t *key, const uint32_t *nonce)
{
    static const uint32_t constants[4] = {0x61707865u, 0x3320646Eu, 0x79622D32u, 0x6B206574u};
    int i;
    for (i = 0; i < 4; i++) {
        s->input[i] = constants[i];
    }
    for (i = 0; i < 8; i++) {
        s->input[4 + i] = key[i];
    }
    s->input[12] = 0;
    for (i = 0; i < 3; i++) {
        s->input[13 + i] = nonce[i];
    }
    s->used = 16;
}

static uint32_t next_word(stream *s)
{
    if (s->used == 16) {
        next_block(s);
    }
    return s->block[s->used++];
}

/* ---- Exact sampling ---- */

/* 0 to n - 1, each as likely; n > 0. */
static uint64_t below(stream *s, uint64_t n)
{
    uint64_t mask = n - 1;
    int shift;
    for (shift = 1; shift < 64; shift *= 2) {
        mask |= mask >> shift;
    }
    for (;;) {
        uint64_t bits = next_word(s);
        if (mask > UINT32_MAX) {
            bits |= (uint64_t)next_word(s) << 32;
        }
        if ((bits & mask) < n) {
            return bits & mask;
        }
    }
}

/* 1 with the probability exp(-a / b), a <= b. */
static int survives_part(stream *s, uint64_t a, uint64_t b)
{
    uint64_t k = 1;
    while (below(s, b * k) < a) {
        k++;
    }
    return (int)(k & 1);
}

/* The same of any a. */
static int survives(stream *s, uint64_t a, uint64_t b)
{
    while (a > b) {
        if (!survives_part(s, 1, 1)) {
            return 0;
        }
        a -= b;
    }
    return survives_part(s, a, b);
}

/* P(x) proportional to exp(-|x| / t) */
static int64_t laplace(stream *s, uint64_t t)
{
    for (;;) {
        const uint64_t u = below(s, t);
        uint64_t v = 0;
        uint64_t x;
        int negative;
        if (!survives(s, u, t)) {
            continue;
        }
        while (survives_part(s, 1, 1)) {
            v++;
        }
        negative = (int)below(s, 2);
        x = u + t * v;
        if (v < FARTHEST && !(negative && x == 0)) {
            return negative ? -(int64_t)x : (int64_t)x;
        }
    }
}

/* P(x) proportional to exp(-x^2 / 2 sigma^2). Algorithm 3 of the source with t = sigma instead of sigma + 1: it is exact for any t,
 * and with this one what is accepted depends on (|y| - sigma)^2 / 2 sigma^2 alone, whose terms are small. */
static int64_t gaussian(stream *s, uint64_t sigma)
{
    for (;;) {
        const int64_t y = laplace(s, sigma);
        const uint64_t far = (uint64_t)(y < 0 ? -y : y);
        const uint64_t apart = far > sigma ? far - sigma : sigma - far;
        if (survives(s, apart * apart, 2 * sigma * sigma)) {
            return y;
        }
    }
}

/* ---- Length ---- */

/* The smallest n with n n >= x. */
static uint64_t root_above(uint64_t x)
{
    uint64_t n = 0;
    int bit;
    for (bit = 31; bit >= 0; bit--) {
        const uint64_t tried = n | UINT64_C(1) << bit;
        if (tried * tried < x) {
            n = tried;
        }
    }
    return x > 0 ? n + 1 : 0;
}

kt_status kt_private_update(const kt_private_update_params *params, int32_t *update, size_t size)
{
    uint64_t squares = 0;
    uint64_t norm;
    size_t i;
    stream s;
    if (params->clip < 1 || params->clip > KT_PRIVATE_CLIP || params->sigma > KT_PRIVATE_SIGMA || size > KT_PRIVATE_SIZE) {
        return KT_ERROR_ARGUMENT;
    }
    for (i = 0; i < size; i++) {
        const int32_t x = update[i] > KT_PRIVATE_LIMIT ? KT_PRIVATE_LIMIT : update[i] < -KT_PRIVATE_LIMIT ? -KT_PRIVATE_LIMIT : update[i];
        update[i] = x;
        squares += (uint64_t)((int64_t)x * x);
    }
    norm = root_above(squares);
    if (norm > params->clip) {
        for (i = 0; i < size; i++) {
            update[i] = (int32_t)((int64_t)update[i] * params->clip / (int64_t)norm);
        }
    }
    if (params->sigma > 0) {
        begin(&s, params->key, params->nonce);
        for (i = 0; i < size; i++) {
            update[i] += (int32_t)gaussian(&s, params->sigma);
        }
    }
    return KT_OK;
}

/* ---- Difference of two adapters ---- */

enum { VALUE = 0, EXPONENT = 0x40, PART = 0xC0, INT32 = 2 };

/* Bits of a unit: 2^-16, of biases 2^-13 of theirs, and of what is subtracted below that. */
enum { FRACTION = 16, BIAS_SHIFT = 3, FINER = 24, LARGEST_SHIFT = 48 };

static uint32_t elements(const uint8_t *entry)
{
    return kt_get32(entry + 4) * kt_get32(entry + 8);
}

uint32_t kt_adapter_update_size(const kt_adapter_layout *layout)
{
    uint32_t size = 0;
    uint32_t i;
    for (i = 0; i < layout->entries; i++) {
        const uint8_t *const entry = layout->table + KT_ADAPTER_ENTRY * i;
        size += (entry[2] & PART) == VALUE ? elements(entry) : 0;
    }
    return size;
}

/* Where in a payload the exponent of an entry is; UINT32_MAX: it has none. */
static uint32_t exponent_at(const kt_adapter_layout *layout, const uint8_t *of)
{
    uint32_t at = 0;
    uint32_t i;
    for (i = 0; i < layout->entries; i++) {
        const uint8_t *const entry = layout->table + KT_ADAPTER_ENTRY * i;
        if (memcmp(entry, of, 2) == 0 && entry[2] == (of[2] | EXPONENT)) {
            return at;
        }
        at += elements(entry) * (entry[3] == INT32 ? 4u : 1u);
    }
    return UINT32_MAX;
}

/* code 2^exponent in units of 2^-40; what is smaller is nothing, what is far beyond the limit stays so. */
static int64_t fine(int8_t code, int8_t exponent)
{
    const int shift = exponent + FRACTION + FINER;
    return shift < 0 ? 0 : (int64_t)code * (INT64_C(1) << (shift > LARGEST_SHIFT ? LARGEST_SHIFT : shift));
}

static int32_t limited(int64_t x)
{
    return (int32_t)(x > KT_PRIVATE_LIMIT ? KT_PRIVATE_LIMIT : x < -KT_PRIVATE_LIMIT ? -KT_PRIVATE_LIMIT : x);
}

/* x / 2^FINER, to nearest, ties away from zero. */
static int64_t rounded(int64_t x)
{
    const int64_t half = INT64_C(1) << (FINER - 1);
    return x < 0 ? -((half - x) >> FINER) : (x + half) >> FINER;
}

kt_status kt_adapter_update(const kt_adapter_layout *layout, const kt_adapter *base, const uint8_t *own, int32_t *update)
{
    const uint8_t *start = base->payload;
    const uint8_t *const first = own;
    uint32_t i, j;
    if (!base->in_place) {
        return KT_ERROR_BASE;
    }
    for (i = 0; i < layout->entries; i++) {
        const uint8_t *const entry = layout->table + KT_ADAPTER_ENTRY * i;
        const uint32_t width = entry[3] == INT32 ? 4 : 1, count = elements(entry);
        if ((entry[2] & PART) == VALUE) {
            const uint32_t at = exponent_at(layout, entry);
            for (j = 0; j < count; j++) {
                if (at != UINT32_MAX) {
                    *update++ = limited(rounded(fine((int8_t)own[j], (int8_t)first[at]) - fine((int8_t)start[j], (int8_t)base->payload[at])));
                } else {
                    const int64_t value = width == 4 ? (int32_t)kt_get32(own + 4 * j) : (int8_t)own[j];
                    const int64_t before = width == 4 ? (int32_t)kt_get32(start + 4 * j) : (int8_t)start[j];
                    *update++ = limited((value - before) * (1 << BIAS_SHIFT));
                }
            }
        }
        own += width * count;
        start += width * count;
    }
    return KT_OK;
}

/* ---- Noise that never repeats ---- */

enum { SECRET = 32, KEPT = SECRET + 4 };

/* The key and the count that were kept; zeros and UINT32_MAX where nothing was. */
static uint32_t kept(const kt_noise *noise, uint32_t *key)
{
    uint32_t bytes = 0;
    const uint8_t *const content = kt_store_content(&noise->store, &bytes);
    int i;
    if (content == NULL || bytes != KEPT) {
        memset(key, 0, SECRET);
        return UINT32_MAX;
    }
    for (i = 0; i < 8; i++) {
        key[i] = kt_get32(content + 4 * i);
    }
    return kt_get32(content + SECRET);
}

static kt_status keep(kt_noise *noise, const uint32_t *key, uint32_t count)
{
    uint8_t content[KEPT];
    int i;
    for (i = 0; i < 8; i++) {
        kt_put32(content + 4 * i, key[i]);
    }
    kt_put32(content + SECRET, count);
    return kt_store_save(&noise->store, content, KEPT);
}

kt_status kt_noise_open(kt_noise *noise, const kt_flash *flash)
{
    return kt_store_open(&noise->store, flash);
}

uint32_t kt_noise_count(const kt_noise *noise)
{
    uint32_t key[8];
    return kept(noise, key);
}

kt_status kt_noise_seed(kt_noise *noise, const uint8_t entropy[32])
{
    uint32_t key[8], nonce[3] = {0, 0, UINT32_MAX};
    const uint32_t count = kept(noise, key);
    stream s;
    int i;
    nonce[0] = count;
    begin(&s, key, nonce); /* updates have another last word */
    for (i = 0; i < 8; i++) {
        key[i] = next_word(&s) ^ kt_get32(entropy + 4 * i);
    }
    return keep(noise, key, count == UINT32_MAX ? 0 : count);
}

kt_status kt_noise_next(kt_noise *noise, kt_private_update_params *params)
{
    uint32_t key[8];
    const uint32_t count = kept(noise, key);
    kt_status status;
    if (count == UINT32_MAX) {
        return KT_ERROR_EMPTY;
    }
    if (count == UINT32_MAX - 1) {
        return KT_ERROR_FULL;
    }
    status = keep(noise, key, count + 1);
    if (status == KT_OK) {
        memcpy(params->key, key, SECRET);
        params->nonce[0] = count + 1;
        params->nonce[1] = params->nonce[2] = 0;
    }
    return status;
}
