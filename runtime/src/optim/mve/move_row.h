/* move_row.h: the steps of a row's masters with Helium, four at a time. */
#ifndef KT_OPTIM_MVE_MOVE_ROW_H
#define KT_OPTIM_MVE_MOVE_ROW_H

#include <arm_mve.h>
#include <stddef.h>

/* What is left of a row; kt_move_lanes knows the places.
 *
 * factor     what an input with its offset is multiplied by; units: the same of that; scale: of a master times 2^15
 * base       half of a stored master's last bit, less the doubt; twice: the doubt, two times; up: what a moved one is shifted by, to the left
 * masters, stored, doubtful   of four whose rounding is in doubt: before, moved, and two bytes of which a lane has four bits */
typedef struct {
    const int8_t *x;
    int8_t *value, *remainder;
    int32_t offset, factor, base, twice, up, units, scale, count;
    int32_t masters[4], stored[4];
    uint32_t doubtful;
} kt_lanes_of_moves;

typedef char kt_lanes_have_their_places[offsetof(kt_lanes_of_moves, count) == 40 && offsetof(kt_lanes_of_moves, doubtful) == 76 ? 1 : -1];

/* Takes steps until some rounding is in doubt, or all are taken: `doubtful` is 0 then. */
__attribute__((naked, noinline)) static void kt_move_lanes(kt_lanes_of_moves *row)
{
    (void)row;
    __asm__("push {r4-r11, lr}\n\t"
            "vpush {d8-d11}\n\t"
            "ldm r0, {r1-r8}\n\t"
            "ldrd r9, r10, [r0, #32]\n\t"
            "vdup.32 q4, r9\n\t"
            "vdup.32 q5, r10\n\t"
            "ldr r10, [r0, #40]\n\t"
            "movs r9, #0\n\t"
            "dlstp.32 lr, r10\n"
            "1:\n\t"
            "vldrb.s32 q0, [r1], #4\n\t"
            "vadd.i32 q0, q0, r4\n\t"
            "vldrb.s32 q1, [r2]\n\t"
            "vmul.i32 q0, q0, r5\n\t"
            "vldrb.s32 q2, [r3]\n\t"
            "vshl.i32 q1, q1, #8\n\t"
            "vmulh.s32 q0, q0, q4\n\t"   /* kt_less_step */
            "vadd.i32 q2, q2, q1\n\t"    /* kt_master */
            "vshl.i32 q1, q2, #15\n\t"
            "vmulh.s32 q1, q1, q5\n\t"   /* kt_held_units */
            "vadd.i32 q1, q1, r6\n\t"
            "vsub.i32 q1, q1, q0\n\t"
            "vadd.i32 q3, q1, r7\n\t"
            "vshl.s32 q1, r8\n\t"
            "vshl.s32 q3, r8\n\t"
            "vcmp.i32 ne, q1, q3\n\t"
            "vmrs r9, p0\n\t"
            "cmp r9, #0\n\t"
            "bne 2f\n\t"
            "vstrb.32 q1, [r3], #4\n\t"  /* kt_store_master */
            "vrshr.s32 q1, q1, #8\n\t"
            "vstrb.32 q1, [r2], #4\n\t"
            "letp lr, 1b\n"
            "2:\n\t"
            "lctp\n\t"
            "stm r0, {r1-r3}\n\t"
            "vstrw.32 q2, [r0, #44]\n\t"
            "vstrw.32 q1, [r0, #60]\n\t"
            "str r9, [r0, #76]\n\t"
            "vpop {d8-d11}\n\t"
            "pop {r4-r11, pc}\n");
}

/* Takes the steps of a row. */
static __attribute__((noinline)) void kt_move_row(const kt_moves *m, int32_t row, int8_t *value, int8_t *remainder)
{
    const kt_streamed *const s = m->streamed;
    const int32_t columns = m->columns, down = KT_UNIT_BITS + m->growth;
    kt_lanes_of_moves lanes;
    lanes.x = s->x;
    lanes.value = value;
    lanes.remainder = remainder;
    lanes.offset = s->offset;
    lanes.factor = kt_factor_of_row(&m->units, s->g[row]);
    lanes.base = (1 << (down - 1)) - m->doubt;
    lanes.twice = 2 * m->doubt;
    lanes.up = -down;
    lanes.units = m->units.factor;
    lanes.scale = m->scale;
    lanes.count = columns;
    for (kt_move_lanes(&lanes); lanes.doubtful != 0; kt_move_lanes(&lanes)) {
        const int32_t column = (int32_t)(lanes.value - value), count = kt_minimum(columns - column, 4);
        int32_t i;
        for (i = 0; i < count; i++, lanes.doubtful >>= 4) {
            const int32_t stored = (lanes.doubtful & 1) ? kt_doubted(m, row, column + i, lanes.masters[i]) : lanes.stored[i];
            kt_store_master(lanes.value++, lanes.remainder++, stored);
        }
        lanes.count = columns - column - count;
        if (lanes.count == 0) {
            break;
        }
    }
}

#endif
