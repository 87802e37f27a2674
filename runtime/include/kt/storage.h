/* kt/storage.h: how trained values are held. */
#ifndef KT_STORAGE_H
#define KT_STORAGE_H

#include "kt/strict_float.h"

#include <stddef.h>
#include <stdint.h>

/* Fill the 16-bit values that training updates from the int8 codes that inference reads: master = code * 256 with the
 * exponent 8 lower (not below -32). Exact, so an adapter can be trained on. */
void kt_block16_restore(int16_t *master, int8_t *master_exponent, const int8_t *codes, const int8_t *exponent, size_t size);

/* Whether every value is in [low, high]: targets a loss can be computed from. NaN is not, NULL holds none. */
int kt_all_within(const float *values, size_t size, float low, float high);

#endif
