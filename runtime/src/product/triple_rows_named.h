/* triple_rows_named.h: the functions of triple_rows.h by kt_rows of the file that includes this, which computes so many rows of windows with a stride and
 * takes so much from the addend of a negative sum. */
void kt_triple_two_rows_half_up(const kt_triple_rows *rows)
{
    kt_rows(rows, 2, 1, 0);
}

void kt_triple_two_rows_away(const kt_triple_rows *rows)
{
    kt_rows(rows, 2, 1, 128);
}

void kt_triple_three_rows_half_up(const kt_triple_rows *rows)
{
    kt_rows(rows, 3, 1, 0);
}

void kt_triple_three_rows_away(const kt_triple_rows *rows)
{
    kt_rows(rows, 3, 1, 128);
}

void kt_triple_strided_rows_half_up(const kt_triple_rows *rows)
{
    kt_rows(rows, 2, 2, 0);
}

void kt_triple_strided_rows_away(const kt_triple_rows *rows)
{
    kt_rows(rows, 2, 2, 128);
}
