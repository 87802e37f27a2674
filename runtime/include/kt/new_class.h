/* kt/new_class.h: a class that a model learns from its first sample, in a last layer with room for it (Head(extra_classes=...)).
 *
 * A class is closed where its bias is at most the one that it was built with: its result is the lowest code for every input, and
 * the loss leaves it out. Opening it writes its row of weights and its bias, in float32, one operation at a time:
 *
 *     d_i = x_i - z_x - mean_i          what sets the sample apart from the original domain; S = sum d_i^2, P = sum d_i (x_i - z_x)
 *     gap = (open * top - sum y) / open * s_y              the largest of the open classes' results above their mean
 *     a = gap / (S * s_x)               0 where S is
 *     row_i = a * d_i,  bias = (top + 1 - z_y) * s_y - a * s_x * P
 *
 * So the sample's own result is one code above that of the likeliest class before, and a sample like the mean has about the mean of
 * the results; training goes on from there. The row is stored as an update would store it: the tensor's power of two grows where it has to.
 * After the imprinting of weights by Qi, Brown and Lowe, Low-Shot Learning with Imprinted Weights (2018), whose rows have the
 * direction of a sample too, and the length of the other rows.
 *
 * The NumPy twin is new_class in codegen/kiloc/continual/new_classes.py. */
#ifndef KT_NEW_CLASS_H
#define KT_NEW_CLASS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t classes; /* open or closed */
    int32_t known;   /* that are never closed */
    int32_t depth;   /* values of x */
    int32_t x_zero_point;
    int32_t y_zero_point;
    float x_scale;
    float y_scale;
    const float *unit;     /* real value of one step of each bias [classes] */
    const int32_t *closed; /* biases of closed classes [classes - known] */
    const int16_t *mean;   /* of x - z_x over samples of the original domain [depth] */
} kt_new_class_params;

/* Whether a class is closed. */
int kt_class_closed(const kt_new_class_params *params, const int32_t *bias, int32_t label);

/* The first closed class, or -1: all are open. */
int32_t kt_closed_class(const kt_new_class_params *params, const int32_t *bias);

/* Open a class by a sample: x [depth] is what the last layer reads, y [classes] what it gives. value, exponent and
 * remainder are those of its trained weights [classes, depth] in 16 bits (kt_step_block16). */
void kt_open_class(const kt_new_class_params *params, int32_t label, const int8_t *x, const int8_t *y, int8_t *value,
                   int8_t *exponent, int8_t *remainder, int32_t *bias);

#ifdef __cplusplus
}
#endif
#endif
