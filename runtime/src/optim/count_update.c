/* One more update: the counter that schedules and random numbers read. It stays at INT32_MAX. */
#include "kt/optim.h"

void kt_count_update(int32_t *updates)
{
    if (*updates < INT32_MAX) {
        *updates = *updates + 1;
    }
}
