/* decay.h: decoupled weight decay, which a storage step applies to the old value.
 *
 *     value = value * (1 - lost) - step,  lost = min(1, rate * decay)
 *
 * Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019). */
#ifndef KT_OPTIM_DECAY_H
#define KT_OPTIM_DECAY_H

#include <stddef.h>

/* learning_rate: NULL where nothing decays. */
static inline float kt_decay_lost(float decay, const float *learning_rate)
{
    float lost;
    if (learning_rate == NULL) {
        return 0.0f;
    }
    lost = *learning_rate * decay;
    return lost < 1.0f ? lost : 1.0f;
}

#endif
