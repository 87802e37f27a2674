/* column_sums.h: sums over the rows of a matrix of int8, eight or four columns at once. */
#ifndef KT_DSP_COLUMN_SUMS_H
#define KT_DSP_COLUMN_SUMS_H

#include <stdint.h>

enum { KT_COLUMNS_AT_ONCE = 8 };

/* totals[c] += sum over rows of x[row * step + c], c in [0, count); count: 4 or 8. */
void kt_column_sums(const int8_t *x, int32_t step, int32_t rows, int32_t count, int32_t *totals);

#endif
