/* kt_down_projection_s8 on cores with Helium: values are multiplied as they are stored, with their zero point, and each sum starts from
 * input_offset times the sum of the kernel's weights. Windows that are no one piece of the image are copied, as many as a panel
 * holds, with the zero point in the border. Larger windows and more kernels than there is room for take the portable loop. */
#include "kt/architecture.h"
#include "kt/kernels/lora.h"

#if KT_MVE
#include "../../convolution/mve/conv2d_lanes.h"
#include "../down_projection.h"

enum { MOST_KERNELS = 32 };

/* What all positions have in common, and results of one after the other; project_four knows the places.
 *
 * x, size      values under a window, which lie `size` from position to position; count: positions
 * start        [rank]: input_offset times the sum of each kernel's weights
 * shift        to the left
 * largest, least  of the elements before the clamp, of which lanes beyond the rank are 0 */
typedef struct {
    const int8_t *x, *a;
    const int32_t *start;
    int8_t *u;
    int32_t size, count, low, shift;
    int32_t largest[4], least[4];
    int32_t rank;
} projection;

typedef char projection_has_its_places[offsetof(projection, size) == 16 && offsetof(projection, largest) == 32 ? 1 : -1];

/* Rank 4. */
__attribute__((naked, noinline)) static void project_four(projection *p)
{
    (void)p;
    __asm__("push {r4-r11, lr}\n\t"
            "vpush {d8-d15}\n\t"
            "mov r12, r0\n\t"                   /* r12: p */
            "ldr r11, [r12, #16]\n\t"           /* r11: size */
            "ldrd r0, r1, [r12, #24]\n\t"
            "vdup.32 q7, r0\n\t"                /* low */
            "vdup.32 q4, r1\n\t"                /* shift */
            "vldrw.32 q5, [r12, #32]\n\t"       /* largest, least */
            "vldrw.32 q6, [r12, #48]\n"
            "1:\n\t"
            "ldr r0, [r12, #8]\n\t"
            "ldm r0, {r4, r6, r8, r10}\n\t"     /* sums of four kernels */
            "ldrd r1, r3, [r12]\n\t"            /* r1: values; r3, r5, r7, r9: weights */
            "add r0, r1, r11\n\t"
            "str r0, [r12]\n\t"
            "add r5, r3, r11\n\t"
            "add r7, r5, r11\n\t"
            "add r9, r7, r11\n\t"
            "dlstp.8 lr, r11\n"
            "2:\n\t"
            "vldrb.8 q0, [r1], #16\n\t"
            "vldrb.8 q1, [r3], #16\n\t"
            "vmladava.s8 r4, q0, q1\n\t"
            "vldrb.8 q2, [r5], #16\n\t"
            "vmladava.s8 r6, q0, q2\n\t"
            "vldrb.8 q1, [r7], #16\n\t"
            "vmladava.s8 r8, q0, q1\n\t"
            "vldrb.8 q2, [r9], #16\n\t"
            "vmladava.s8 r10, q0, q2\n\t"
            "letp lr, 2b\n\t"
            "vmov q0[2], q0[0], r4, r8\n\t"
            "vmov q0[3], q0[1], r6, r10\n\t"
            "vqrshl.s32 q0, q0, q4\n\t"         /* kt_shift_round */
            "vmax.s32 q5, q5, q0\n\t"
            "vmin.s32 q6, q6, q0\n\t"
            "vmov.i32 q1, #127\n\t"
            "vmax.s32 q0, q0, q7\n\t"
            "vmin.s32 q0, q0, q1\n\t"
            "ldrd r1, r3, [r12, #12]\n\t"
            "vstrb.32 q0, [r1], #4\n\t"
            "ldr r3, [r12, #20]\n\t"
            "str r1, [r12, #12]\n\t"
            "subs r3, #1\n\t"
            "str r3, [r12, #20]\n\t"
            "bne 1b\n\t"
            "vstrw.32 q5, [r12, #32]\n\t"
            "vstrw.32 q6, [r12, #48]\n\t"
            "vpop {d8-d15}\n\t"
            "pop {r4-r11, pc}\n");
}

/* Any rank, one position. */
static void project_any(projection *p)
{
    int32_t sums[MOST_KERNELS];
    const int32_t fours = p->rank & -4;
    const int32x4_t shift = vdupq_n_s32(p->shift), low = vdupq_n_s32(p->low);
    int32_t j;
    if (fours > 0) {
        kt_dot_block block = {p->x, NULL, p->a, p->size, p->start, sums, NULL, sums + fours, p->size};
        kt_dot_four(&block);
    }
    for (j = fours; j < p->rank; j++) {
        sums[j] = kt_dot_one(p->x, p->a + j * p->size, p->size, p->start[j]);
    }
    for (j = 0; j < p->rank; j += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(p->rank - j));
        const int32x4_t value = vqrshlq_s32(vldrwq_z_s32(sums + j, lanes), shift);
        vstrwq_s32(p->largest, vmaxq_s32(vldrwq_s32(p->largest), value));
        vstrwq_s32(p->least, vminq_s32(vldrwq_s32(p->least), value));
        vstrbq_p_s32(p->u + j, vminq_s32(vmaxq_s32(value, low), vdupq_n_s32(127)), lanes);
    }
    p->x += p->size;
    p->u += p->rank;
}

/* `count` positions whose values lie one behind the other from x on. */
static void project(projection *p, const int8_t *x, int32_t count)
{
    p->x = x;
    p->count = count;
    if (p->rank == 4) {
        project_four(p);
        return;
    }
    for (; count > 0; count--) {
        project_any(p);
    }
}

static void project_all(projection *p, const kt_down_projection_params *params, const int8_t *x)
{
    const kt_window *const window = &params->window;
    const int32_t most = KT_PANEL_VALUES / p->size;
    const kt_panels panels = kt_panels_of(window, x, -params->input_offset, p->size);
    int8_t panel[KT_PANEL_VALUES];
    int32_t oy, ox, taken, count = 0;
    if (kt_is_pixel(window)) {
        project(p, x, window->output[KT_Y] * window->output[KT_X]);
        return;
    }
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        for (ox = 0; ox < window->output[KT_X]; ox += taken) {
            taken = kt_minimum(window->output[KT_X] - ox, most - count);
            kt_fill_panels(&panels, oy, ox, 1, taken, panel + count * p->size);
            count += taken;
            if (count == most) {
                project(p, panel, count);
                count = 0;
            }
        }
    }
    if (count > 0) {
        project(p, panel, count);
    }
}

void kt_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a,
                           const int8_t *a_exponent, const int8_t *range, int8_t *saturated, int8_t *u)
{
    const int32_t shift = *range - *a_exponent, rank = params->window.output[KT_CHANNELS], size = kt_kernel_size(&params->window);
    int32_t start[MOST_KERNELS];
    projection p = {x, a, start, u, size, 0, params->low, -kt_clamp(shift, -31, 32), {0, 0, 0, 0}, {0, 0, 0, 0}, rank};
    int hit;
    if (rank > MOST_KERNELS || size > KT_PANEL_VALUES) {
        hit = kt_project_all(params, x, a, shift, u, kt_patch_sums);
    } else {
        kt_initial_sums(a, size, rank, params->input_offset, start);
        project_all(&p, params, x);
        hit = vmaxvq_s32(INT32_MIN, vldrwq_s32(p.largest)) > 127 || (p.low < 0 && vminvq_s32(INT32_MAX, vldrwq_s32(p.least)) < p.low);
    }
    if (saturated != NULL && hit) {
        *saturated = 1;
    }
}

#endif
