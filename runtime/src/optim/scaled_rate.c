/* The learning rate of a new head, which starts from nothing and goes faster than what is there already. */
#include "kt/optim.h"

void kt_scaled_rate(const kt_scaled_rate_params *params, const float *base, float *rate)
{
    *rate = *base * params->factor;
}
