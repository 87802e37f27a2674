/* triple_projection.h: what kernels of down-projections for cores without the DSP extension share: u from its sums. */
#ifndef KT_TRIPLE_PROJECTION_H
#define KT_TRIPLE_PROJECTION_H

#include "kt/kernels/lora.h"
#include "../../product/triple.h"
#include "../window.h"

enum { KT_PROJECTED_RANK = 16, KT_PROJECTED_CHUNK = 64, KT_ANY_CHUNK = 60 };

/* A, and what its rows add to their sums for the input's zero point. */
typedef struct {
    const kt_down_projection_params *params;
    int32_t length, chunk; /* of a row, in whole fours; of it, what is summed at once */
    int32_t shift, usual;  /* usual: sums with half a unit stay within 32 bits */
    int32_t offset[KT_PROJECTED_RANK];
} kt_projection;

KT_INLINE void kt_projection_of(kt_projection *p, const kt_down_projection_params *params, int32_t shift)
{
    const int32_t size = kt_kernel_size(&params->window);
    p->params = params;
    p->length = (size + 3) & -4;
    p->chunk = KT_PROJECTED_CHUNK;
    p->shift = shift;
    p->usual = shift > 0 && shift <= 24 && size < (1 << 15);
}

/* From the sum of a row of A what it adds. */
KT_INLINE int32_t kt_projection_offset(const kt_projection *p, int32_t sum)
{
    return sum * p->params->input_offset + (p->usual ? INT32_C(1) << (p->shift - 1) : 0);
}

/* An element of u from a sum with its offset; hit: made negative where it saturated. */
KT_INLINE int8_t kt_projected(int32_t value, int32_t shift, int32_t usual, int32_t low, int32_t *hit)
{
    if (usual) {
        value >>= shift;
    } else {
        value = kt_clamp(kt_shift_round(value, shift), -256, 256);
    }
    if (((127 - value) | (value - low)) < 0) {
        *hit |= (127 - value) | (low < 0 ? value - low : 0);
        value = kt_clamp(value, low, 127);
    }
    return (int8_t)value;
}

/* A row of u at some positions from its sums; returns a negative number where an element saturated. */
static inline int32_t kt_round_projected(const kt_projection *p, const int32_t *sums, int32_t j, int32_t positions, int8_t *u)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], low = p->params->low, shift = p->shift, usual = p->usual, offset = p->offset[j];
    const int32_t *const end = sums + positions;
    int32_t hit = 0;
    for (u += j; sums != end; u += rank) {
        *u = kt_projected(*sums++ + offset, shift, usual, low, &hit);
    }
    return hit;
}

/* u of the only position of a layer, a pixel; returns a negative number where an element saturated. */
static inline int32_t kt_project_pixel(kt_projection *p, const int8_t *x, const int8_t *a, int8_t *u)
{
    const int32_t rank = p->params->window.output[KT_CHANNELS], depth = p->params->window.input[KT_CHANNELS];
    int32_t hit = 0, j, i;
    for (j = 0; j < rank; j++, a += depth) {
        int32_t sum = 0;
        p->offset[j] = p->usual ? INT32_C(1) << (p->shift - 1) : 0;
        for (i = 0; i < depth; i++) {
            sum += a[i] * (x[i] + p->params->input_offset);
        }
        hit |= kt_round_projected(p, &sum, j, 1, u);
    }
    return hit;
}

#endif
