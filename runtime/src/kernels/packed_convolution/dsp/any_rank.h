/* any_rank.h: whether a build has LoRA of ranks other than 4. Where it has not (kt/target.h) kernels for them are left out: any rank is right, but
 * slower. Only what these kernels are made of includes this, so that all else is the same program in either kind of build. */
#ifndef KT_DSP_ANY_RANK_H
#define KT_DSP_ANY_RANK_H

#include "kt/target.h"

#ifdef KT_RANK_FOUR
#define KT_ANY_RANK 0
#else
#define KT_ANY_RANK 1
#endif

#endif
