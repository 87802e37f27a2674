/* four_rows.h: sums of one row of values with four rows of weights that training changes, which lie anywhere. */
#ifndef KT_FOUR_ROWS_H
#define KT_FOUR_ROWS_H

#include "kt/architecture.h"
#include "halves.h"

/* sums[c] += sum_i (x[i] + offset) * rows[c][i]; length: positive. */
void kt_sums_of_four_rows(const int8_t *x, const int8_t *const rows[4], int32_t length, int32_t offset, int32_t sums[4]);

#endif
