/* kt_down_projection_s8 on cores with Helium: values are multiplied as they are stored, with their zero point, and each sum starts from
 * input_offset times the sum of the kernel's weights. Windows that are no one piece of the image are copied to a panel, with the zero point in
 * the border. Larger windows and more kernels than there is room for take the portable loop. */
#include "kt/architecture.h"
#include "kt/kernels/lora.h"

#if KT_MVE
#include "../../convolution/mve/conv2d_lanes.h"
#include "../down_projection.h"

enum { MOST_KERNELS = 32 };

/* What all positions have in common. */
typedef struct {
    const int8_t *a;
    const int32_t *start; /* [rank]: input_offset times the sum of each kernel's weights */
    int32_t size, rank, low;
    int32x4_t shift;      /* to the left */
    int32x4_t largest, least;
} projection;

/* Of one position; x: the values under its window. */
static void project(projection *p, const int8_t *x, int8_t *u)
{
    int32_t sums[MOST_KERNELS];
    const int32_t fours = p->rank & -4;
    int32_t j;
    if (fours > 0) {
        kt_dot_block block = {x, NULL, p->a, p->size, p->start, sums, NULL, sums + fours};
        kt_dot_four(&block);
    }
    for (j = fours; j < p->rank; j++) {
        sums[j] = kt_dot_one(x, p->a + j * p->size, p->size, p->start[j]);
    }
    for (j = 0; j < p->rank; j += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(p->rank - j));
        const int32x4_t value = vqrshlq_s32(vldrwq_z_s32(sums + j, lanes), p->shift); /* kt_shift_round */
        p->largest = vmaxq_s32(p->largest, value);
        p->least = vminq_s32(p->least, value);
        vstrbq_p_s32(u + j, vminq_s32(vmaxq_s32(value, vdupq_n_s32(p->low)), vdupq_n_s32(127)), lanes);
    }
}

/* A window of one value in each channel, at every position of the image. */
static int is_pixel(const kt_window *window)
{
    return kt_windows_are_pieces(window) && window->stride[KT_Y] * window->stride[KT_X] == 1 && window->pad[KT_Y] == 0 && window->pad[KT_X] == 0 &&
           window->input[KT_X] == window->output[KT_X];
}

static void project_all(projection *p, const kt_down_projection_params *params, const int8_t *x, int8_t *u)
{
    const kt_window *const window = &params->window;
    int8_t panel[KT_PANEL_VALUES];
    int32_t oy, ox;
    if (is_pixel(window)) {
        for (oy = window->output[KT_Y] * window->output[KT_X]; oy > 0; oy--, x += p->size, u += p->rank) {
            project(p, x, u);
        }
        return;
    }
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        const kt_panel_row row = kt_panel_row_at(window, x, oy);
        for (ox = 0; ox < window->output[KT_X]; ox++, u += p->rank) {
            kt_fill_panel(window, -params->input_offset, &row, ox, x, p->size, panel);
            project(p, panel, u);
        }
    }
}

void kt_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a,
                           const int8_t *a_exponent, const int8_t *range, int8_t *saturated, int8_t *u)
{
    const int32_t shift = *range - *a_exponent, rank = params->window.output[KT_CHANNELS], size = kt_kernel_size(&params->window);
    int32_t start[MOST_KERNELS];
    projection p = {a, start, size, rank, params->low, vdupq_n_s32(-kt_clamp(shift, -31, 32)), vdupq_n_s32(0), vdupq_n_s32(0)};
    int hit;
    if (rank > MOST_KERNELS || size > KT_PANEL_VALUES) {
        hit = kt_project_all(params, x, a, shift, u, kt_patch_sums);
    } else {
        kt_initial_sums(a, size, rank, params->input_offset, start);
        project_all(&p, params, x, u);
        hit = vmaxvq_s32(INT32_MIN, p.largest) > 127 || (p.low < 0 && vminvq_s32(INT32_MAX, p.least) < p.low);
    }
    if (saturated != NULL && hit) {
        *saturated = 1;
    }
}

#endif
