/* One more factor of a running power, such as Adam's beta^t: a product a step, so it is the same on every core. */
#include "kt/optim.h"

void kt_next_power(const kt_next_power_params *params, float *power)
{
    *power = *power * params->factor;
}
