/* move_row.h: the steps of a row's masters with the DSP extension, where the exponent stays and nothing decays. */
#ifndef KT_OPTIM_DSP_MOVE_ROW_H
#define KT_OPTIM_DSP_MOVE_ROW_H

/* A row, whose elements are counted from -columns to 0; kt_move_until_doubt knows the places.
 *
 * factor   what an input with its offset is multiplied by; units: the same of that
 * base     half of a master's last bit, less the doubt; twice: the doubt, two times */
typedef struct {
    const int8_t *x;
    int8_t *value, *remainder;
    int32_t offset, factor, units, base, twice;
} kt_row_of_moves;

typedef char kt_row_has_its_places[offsetof(kt_row_of_moves, twice) == 28 && KT_UNIT_BITS == 12 ? 1 : -1];

/* Takes the steps of elements from i on; returns the first whose rounding is in doubt, or 0. An input of 0 has none. */
__attribute__((naked, noinline)) static int32_t kt_move_until_doubt(const kt_row_of_moves *row, int32_t i)
{
    (void)row;
    (void)i;
    __asm__("push {r4-r11, lr}\n\t"
            "ldm r0, {r2-r9}\n"
            "1:\n\t"
            "ldrsb r10, [r2, r1]\n\t"
            "adds r10, r10, r5\n\t"
            "beq 2f\n\t"
            "mul r10, r10, r6\n\t"
            "ldrsb r11, [r3, r1]\n\t"
            "ldrsb r12, [r4, r1]\n\t"
            "add r12, r12, r11, lsl #8\n\t"  /* kt_master */
            "add r12, r8, r12, lsl #12\n\t"
            "smmls r12, r10, r7, r12\n\t"    /* kt_less_step */
            "add r11, r12, r9\n\t"
            "asr r11, r11, #12\n\t"
            "cmp r11, r12, asr #12\n\t"
            "bne 3f\n\t"
            "strb r11, [r4, r1]\n\t"         /* kt_store_master */
            "add r11, r11, #128\n\t"
            "asr r11, r11, #8\n\t"
            "strb r11, [r3, r1]\n"
            "2:\n\t"
            "adds r1, r1, #1\n\t"
            "bne 1b\n"
            "3:\n\t"
            "mov r0, r1\n\t"
            "pop {r4-r11, pc}\n");
}

static void kt_move_staying_row(const kt_moves *m, int32_t row, int8_t *value, int8_t *remainder)
{
    const kt_streamed *const s = m->streamed;
    const int32_t columns = m->columns, factor = kt_factor_of_row(&m->units, s->g[row]), half = 1 << (KT_UNIT_BITS - 1);
    kt_row_of_moves moves = {
        s->x + columns, value + columns, remainder + columns, s->offset, factor, m->units.factor, half - m->doubt, 2 * m->doubt,
    };
    int32_t i = -columns;
    while (i != 0 && (i = kt_move_until_doubt(&moves, i)) != 0) {
        const int32_t stored = kt_doubted(m, row, columns + i, kt_master(moves.value[i], moves.remainder[i]));
        kt_store_master(moves.value + i, moves.remainder + i, stored);
        i++;
    }
}

#endif
