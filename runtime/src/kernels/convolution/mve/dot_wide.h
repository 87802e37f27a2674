/* dot_wide.h: sums of products of int16 values and int8 weights, eight an instruction; as dot.h. */
#ifndef KT_DOT_WIDE_H
#define KT_DOT_WIDE_H

#include <stddef.h>
#include <stdint.h>

/* The operands of kt_dot_wide, which changes them; it knows their places. */
typedef struct {
    const int16_t *x0, *x1;    /* values of two positions */
    const int8_t *w;           /* weights of the first channel, each has `size` */
    int32_t size;
    int32_t *sums0, *sums1;    /* of the two positions */
    const int32_t *end;        /* of sums0: a multiple of three channels, at least three */
} kt_dot_wide_block;

/* Does not compile where the assembly below would look in the wrong places. */
typedef char kt_dot_wide_has_its_places[offsetof(kt_dot_wide_block, size) == 12 && offsetof(kt_dot_wide_block, end) == 24 ? 1 : -1];

/* sums0[c] = w[c] . x0, sums1[c] = w[c] . x1. Loads that widen take their addresses from r0 to r7 only. */
__attribute__((naked, noinline, unused)) static void kt_dot_wide(kt_dot_wide_block *block)
{
    (void)block;
    __asm__("push {r4-r11, lr}\n\t"
            "mov r12, r0\n\t"                /* r12: block */
            "ldr r11, [r12, #12]\n"          /* r11: size */
            "1:\n\t"
            "ldr r1, [r12, #8]\n\t"          /* r1, r3, r5: weights of three channels */
            "add r3, r1, r11\n\t"
            "add r5, r3, r11\n\t"
            "add r7, r5, r11\n\t"
            "str r7, [r12, #8]\n\t"          /* weights of the next three */
            "ldrd r7, r9, [r12]\n\t"         /* r7, r9: values of two positions */
            "movs r0, #0\n\t"                /* r0, r2, r4: sums of the first position */
            "movs r2, #0\n\t"
            "movs r4, #0\n\t"
            "movs r6, #0\n\t"                /* r6, r8, r10: of the second */
            "mov r8, r0\n\t"
            "mov r10, r0\n\t"
            "dlstp.16 lr, r11\n"             /* for each 8 of `size` products, the last few predicated */
            "2:\n\t"
            "vldrh.16 q0, [r7], #16\n\t"
            "vldrb.s16 q2, [r1], #8\n\t"
            "vmladava.s16 r0, q0, q2\n\t"
            "vldrh.16 q1, [r9], #16\n\t"
            "vmladava.s16 r6, q1, q2\n\t"
            "vldrb.s16 q3, [r3], #8\n\t"
            "vmladava.s16 r2, q0, q3\n\t"
            "vmladava.s16 r8, q1, q3\n\t"
            "vldrb.s16 q2, [r5], #8\n\t"
            "vmladava.s16 r4, q0, q2\n\t"
            "vmladava.s16 r10, q1, q2\n\t"
            "letp lr, 2b\n\t"
            "ldrd r1, r3, [r12, #16]\n\t"    /* where the sums go */
            "ldr r5, [r12, #24]\n\t"         /* and end */
            "stmia r1!, {r0, r2, r4}\n\t"
            "stmia r3!, {r6, r8, r10}\n\t"
            "strd r1, r3, [r12, #16]\n\t"
            "cmp r1, r5\n\t"
            "bne 1b\n\t"
            "pop {r4-r11, pc}\n");
}

/* w . x of one channel at one position. */
static inline int32_t kt_dot_wide_one(const int16_t *x, const int8_t *w, int32_t size)
{
    int32_t a = 0;
    __asm__ volatile("dlstp.16 lr, %[n]\n"
            "1:\n\t"
            "vldrh.16 q0, [%[x]], #16\n\t"
            "vldrb.s16 q1, [%[w]], #8\n\t"
            "vmladava.s16 %[a], q0, q1\n\t"
            "letp lr, 1b\n"
            : [a] "+Te"(a), [x] "+r"(x), [w] "+l"(w)
            : [n] "r"(size)
            : "lr", "q0", "q1", "memory");
    return a;
}

#endif
