/* finish.h: from the sums of packed layers with trained parts to results, in vectors of channels. */
#ifndef KT_VECTOR_FINISH_H
#define KT_VECTOR_FINISH_H

#include "../../../product/vector/words.h"
#include "../packed_trained_walk.h"

/* addend limited, in units of the sums: KT_LANES products of channels from c on. */
KT_INLINE kt_lanes kt_addend_lanes(const kt_trained_sums *trained, kt_lanes product, int32_t c)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const kt_lanes shift = kt_add_lanes(kt_widen_codes(params->addend_shift + c), kt_splat(trained->exponent));
    const kt_lanes scaled = kt_requantize_lanes(product, kt_load_lanes(params->addend_multiplier + c), shift);
    return kt_clamp_lanes(scaled, kt_splat(-KT_ADDEND_LIMIT), kt_splat(KT_ADDEND_LIMIT));
}

/* Sums, with what is added to them, as KT_LANES results of channels from c on. */
KT_INLINE void kt_finish_lanes(const kt_trained_sums *trained, kt_lanes sums, int32_t c, int8_t *y)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t offset = params->output_offset;
    const kt_lanes total = kt_add_saturated_lanes(sums, kt_load_lanes(trained->bias + c));
    const kt_lanes scaled = kt_requantize_lanes(total, kt_load_lanes(params->multiplier + c), kt_widen_codes(params->shift + c));
    const kt_lanes limited = kt_clamp_lanes(scaled, kt_splat(params->clamp[0] - offset), kt_splat(params->clamp[1] - offset));
    kt_store_narrow(y + c, kt_add_lanes(limited, kt_splat(offset)));
}

#endif
