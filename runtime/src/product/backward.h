/* backward.h: what the products with transposed weights of a forward stream share, in portable C. */
#ifndef KT_PRODUCT_BACKWARD_H
#define KT_PRODUCT_BACKWARD_H

#include "halves.h"
#include "product.h"

/* Of a pair of values, each: weights of the channels a, b, c, d. */
typedef struct {
    int32_t of[2][4];
} kt_eight_weights;

/* Two paired words, of a and b and of c and d. The low byte is A; what is left is 256 B. */
static inline kt_eight_weights kt_weights_of(const int32_t words[2])
{
    kt_eight_weights w;
    int32_t i, k;
    for (i = 0; i < 2; i++) {
        const int32_t halves[2] = {kt_low(words[i]), kt_high(words[i])};
        for (k = 0; k < 2; k++) {
            const int32_t a = (int8_t)(uint8_t)halves[k];
            w.of[k][2 * i] = a;
            w.of[k][2 * i + 1] = (halves[k] - a) >> 8;
        }
    }
    return w;
}

/* g: the pairs (a, c) and (b, d). */
static inline int32_t kt_dot_quad(const int32_t w[4], const int32_t g[2])
{
    return w[0] * kt_low(g[0]) + w[1] * kt_low(g[1]) + w[2] * kt_high(g[0]) + w[3] * kt_high(g[1]);
}

#endif
