/* Updates of bounded length under noise; see kt/private_update.h. */
#include "kt/private_update.h"

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

static void begin(stream *s, const kt_private_update_params *params)
{
    static const uint32_t constants[4] = {0x61707865u, 0x3320646Eu, 0x79622D32u, 0x6B206574u};
    int i;
    for (i = 0; i < 4; i++) {
        s->input[i] = constants[i];
    }
    for (i = 0; i < 8; i++) {
        s->input[4 + i] = params->key[i];
    }
    s->input[12] = 0;
    for (i = 0; i < 3; i++) {
        s->input[13 + i] = params->nonce[i];
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
        begin(&s, params);
        for (i = 0; i < size; i++) {
            update[i] += (int32_t)gaussian(&s, params->sigma);
        }
    }
    return KT_OK;
}
