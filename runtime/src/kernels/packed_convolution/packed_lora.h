/* packed_lora.h: what the sums of packed layers with LoRA start from, as the core finds it: kt_lora_starts, of a block of channels. */
#ifndef KT_PACKED_LORA_H
#define KT_PACKED_LORA_H

#include "kt/architecture.h"

#if KT_DSP
#include "dsp/lora_starts.h"
#elif KT_VECTOR
#include "vector/lora_starts.h"
#else
#include "lora_starts.h"

static void kt_lora_starts(const kt_lora_layer *lora, const kt_lora_block *block, int32_t *starts)
{
    kt_each_start(lora, block, 0, block->count, 0, starts);
    kt_no_starts(block->count, starts);
}
#endif

enum { KT_STARTED_CHANNELS = 64 }; /* of a block, whose starts lie on the stack */

#endif
