/* Gradient of CONV_2D and FULLY_CONNECTED with LoRA to their input: the frozen path plus the path through A.
 *
 *     dx = saturate8(shift_round(W^T G' + requantize(A^T du), shift))
 *
 * The LoRA path is brought to units of the frozen one (rounded twice, +-2^30), the total saturates at int32. */
#include "conv2d_input_gradient.h"

/* row[k] = sum over the windows that cover (y, x), and over j, of du[j] * a[j, tap, k]. */
static void gather_lora(const kt_conv2d_input_gradient_params *params, const int8_t *du, const int8_t *a, int32_t y,
                        int32_t x, int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t size = window->input[KT_CHANNELS];
    const int32_t rank = params->rank;
    const int32_t step = kt_kernel_size(window);
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    memset(row, 0, (size_t)size * sizeof *row);
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int8_t *gradient = du + meeting.position * rank;
        int32_t j;
        for (j = 0; j < rank; j++) {
            if (gradient[j] != 0) {
                kt_add_row(row, a + (j * step + meeting.tap * size), gradient[j], size);
            }
        }
    }
}

void kt_conv2d_lora_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int8_t *du,
                                      const int8_t *du_exponent, const int8_t *a, const int8_t *a_exponent, int8_t *dx,
                                      void *scratch)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t lora_shift = params->lora_shift + *du_exponent + *a_exponent;
    int32_t *frozen = (int32_t *)scratch;
    int32_t *path = frozen + channels;
    int32_t y, x, k;
    for (y = 0; y < window->input[KT_Y]; y++) {
        for (x = 0; x < window->input[KT_X]; x++) {
            kt_conv2d_gather(params, g, y, x, frozen);
            gather_lora(params, du, a, y, x, path);
            for (k = 0; k < channels; k++) {
                const int32_t scaled = kt_requantize(path[k], params->lora_multiplier, lora_shift);
                const int32_t addend = kt_clamp(scaled, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
                *dx++ = kt_saturate8(kt_shift_round(kt_add_saturated(frozen[k], addend), params->shift));
            }
        }
    }
}
