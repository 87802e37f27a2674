/* Gradient of GATHER and of resizing: each value of dx takes all of g that was made of it. */
#include "kt/kernels/layout.h"
#include "kt/numerics.h"

/* The sum behind one value of dx; g: its position in the innermost block of the first row and column. */
static int32_t sum_of(const kt_resample_gradient_params *p, const int32_t *rows, const int32_t *columns, const int8_t *g)
{
    int32_t sum = 0;
    int32_t r, c;
    for (r = rows[0]; r < rows[1]; r++) {
        const int32_t *const row = p->row_pairs + 2 * r;
        const int8_t *const line = g + row[0] * p->output[1] * p->block;
        for (c = columns[0]; c < columns[1]; c++) {
            const int32_t *const column = p->column_pairs + 2 * c;
            sum += kt_shift_round(row[1] * column[1], p->weight_shift) * line[column[0] * p->block];
        }
    }
    return sum;
}

void kt_resample_gradient_s8(const kt_resample_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_resample_gradient_params p = *params;
    int32_t o, row, column, i;
    for (o = 0; o < p.outer; o++) {
        for (row = 0; row < p.input[0]; row++) {
            for (column = 0; column < p.input[1]; column++) {
                for (i = 0; i < p.block; i++) {
                    const int32_t sum = sum_of(&p, p.rows + 2 * row, p.columns + 2 * column, g + i);
                    *dx++ = kt_saturate8(kt_shift_round(sum, p.shift));
                }
            }
        }
        g += p.output[0] * p.output[1] * p.block;
    }
}
