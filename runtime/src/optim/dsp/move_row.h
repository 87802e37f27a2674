/* move_row.h: the steps of a row's masters with the DSP extension, by loops of few instructions. */
#ifndef KT_OPTIM_DSP_MOVE_ROW_H
#define KT_OPTIM_DSP_MOVE_ROW_H

/* A row, whose elements are counted from -columns to 0; the loops know the places.
 *
 * factor   what an input with its offset is multiplied by; units: the same of that
 * base     half of a moved master's last bit, less the doubt; twice: the doubt, two times
 * scale    what masters are multiplied by; down: bits of a moved master's unit */
typedef struct {
    const int8_t *x;
    int8_t *value, *remainder;
    int32_t offset, factor, units, base, twice, scale, down;
} kt_row_of_moves;

typedef char kt_row_has_its_places[offsetof(kt_row_of_moves, down) == 36 && KT_UNIT_BITS == 12 ? 1 : -1];
typedef char kt_masters_are_shifted_by_15[KT_UNIT_BITS + 32 - KT_KEPT_BITS == 15 ? 1 : -1];

/* The upper part of a master goes to r3 + r1, the lower one to r4 + r1. */
#define KT_STORE_MASTER \
    "strb r11, [r4, r1]\n\t" \
    "add r11, r11, #128\n\t" \
    "asr r11, r11, #8\n\t" \
    "strb r11, [r3, r1]\n\t"

/* The end of a loop, and of its function: 3 is where an element is left. */
#define KT_NEXT_MASTER \
    "adds r1, r1, #1\n\t" \
    "bne 1b\n" \
    "3:\n\t" \
    "mov r0, r1\n\t" \
    "pop {r4-r11, pc}\n"

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
            KT_STORE_MASTER
            "2:\n\t"
            KT_NEXT_MASTER);
}

/* The same of scaled masters, each of which moves. */
__attribute__((naked, noinline)) static int32_t kt_move_scaled_until_doubt(const kt_row_of_moves *row, int32_t i)
{
    (void)row;
    (void)i;
    __asm__("push {r4-r11, lr}\n\t"
            "ldrd lr, r12, [r0, #32]\n\t"
            "ldm r0, {r2-r9}\n\t"
            "mov r0, r12\n"
            "1:\n\t"
            "ldrsb r10, [r2, r1]\n\t"
            "ldrsb r11, [r3, r1]\n\t"
            "ldrsb r12, [r4, r1]\n\t"
            "add r10, r10, r5\n\t"
            "mul r10, r10, r6\n\t"
            "add r12, r12, r11, lsl #8\n\t"  /* kt_master */
            "lsl r12, r12, #15\n\t"          /* kt_held_units */
            "smmul r12, r12, lr\n\t"
            "add r12, r12, r8\n\t"
            "smmls r12, r10, r7, r12\n\t"    /* kt_less_step */
            "add r11, r12, r9\n\t"
            "asr r11, r11, r0\n\t"
            "asr r12, r12, r0\n\t"
            "cmp r11, r12\n\t"
            "bne 3f\n\t"
            KT_STORE_MASTER
            KT_NEXT_MASTER);
}

/* The same of masters that get another exponent: an input of 0 leaves nothing but the rounding, which is never in doubt. */
__attribute__((naked, noinline)) static int32_t kt_move_grown_until_doubt(const kt_row_of_moves *row, int32_t i)
{
    (void)row;
    (void)i;
    __asm__("push {r4-r11, lr}\n\t"
            "ldr lr, [r0, #36]\n\t"
            "ldm r0, {r2-r9}\n\t"
            "add r0, r8, r9, lsr #1\n"        /* half of the last bit */
            "1:\n\t"
            "ldrsb r10, [r2, r1]\n\t"
            "ldrsb r11, [r3, r1]\n\t"
            "ldrsb r12, [r4, r1]\n\t"
            "adds r10, r10, r5\n\t"
            "add r12, r12, r11, lsl #8\n\t"  /* kt_master */
            "beq 4f\n\t"
            "mul r10, r10, r6\n\t"
            "add r12, r8, r12, lsl #12\n\t"
            "smmls r12, r10, r7, r12\n\t"    /* kt_less_step */
            "add r11, r12, r9\n\t"
            "asr r11, r11, lr\n\t"
            "asr r12, r12, lr\n\t"
            "cmp r11, r12\n\t"
            "bne 3f\n"
            "2:\n\t"
            KT_STORE_MASTER
            KT_NEXT_MASTER
            "4:\n\t"
            "add r11, r0, r12, lsl #12\n\t"
            "asr r11, r11, lr\n\t"
            "b 2b\n");
}

/* Takes the steps of a row: the loops, and float32 for what they leave. */
static __attribute__((noinline)) void kt_move_row(const kt_moves *m, int32_t row, int8_t *value, int8_t *remainder)
{
    const kt_streamed *const s = m->streamed;
    const int32_t columns = m->columns, factor = kt_factor_of_row(&m->units, s->g[row]), down = KT_UNIT_BITS + (m->stays ? 0 : m->growth);
    kt_row_of_moves moves = {
        s->x + columns, value + columns, remainder + columns, s->offset, factor, m->units.factor, (1 << (down - 1)) - m->doubt, 2 * m->doubt,
        m->scale, down,
    };
    int32_t i = -columns;
    while (i != 0) {
        if (m->stays) {
            i = kt_move_until_doubt(&moves, i);
        } else {
            i = m->scaled ? kt_move_scaled_until_doubt(&moves, i) : kt_move_grown_until_doubt(&moves, i);
        }
        if (i != 0) {
            const int32_t stored = kt_doubted(m, row, columns + i, kt_master(moves.value[i], moves.remainder[i]));
            kt_store_master(moves.value + i, moves.remainder + i, stored);
            i++;
        }
    }
}

#endif
