/* dot.h: sums of int8 products, 16 a instruction.
 *
 * A VMLADAVA adds the products of two vectors of 16 to a register. Blocks of several channels and positions use each
 * vector more than once. The loops are assembly because gcc moves the sums out of the even registers, which VMLADAVA needs,
 * and back for each product. LETP ends them with the right number of lanes, so that any size works and nothing is read
 * beyond it. */
#ifndef KT_DOT_H
#define KT_DOT_H

#include <arm_mve.h>
#include <stddef.h>
#include <stdint.h>

/* The operands of kt_dot_three_by_two and kt_dot_four, which change them; they know their places. */
typedef struct {
    const int8_t *x0, *x1;     /* values of two positions */
    const int8_t *w;           /* weights of the first channel, of which `size` are taken of each */
    int32_t size;
    const int32_t *initial;    /* what the sums start from, one a channel */
    int32_t *sums0, *sums1;    /* of the two positions */
    const int32_t *end;        /* of sums0 */
    int32_t step;              /* from channel to channel, at least `size` */
} kt_dot_block;

/* Does not compile where the assembly below would look in the wrong places. */
typedef char kt_dot_block_has_its_places[offsetof(kt_dot_block, size) == 12 && offsetof(kt_dot_block, step) == 32 ? 1 : -1];

/* sums0[c] = initial[c] + w[c] . x0, sums1[c] = initial[c] + w[c] . x1; a multiple of three channels, at least three. Three
 * channels and two positions are all that the even registers hold; with five pointers, nothing is left for a compiler. */
__attribute__((naked, noinline, unused)) static void kt_dot_three_by_two(kt_dot_block *block)
{
    (void)block;
    __asm__("push {r4-r11, lr}\n\t"
            "mov r12, r0\n"                  /* r12: block */
            "1:\n\t"
            "ldr r11, [r12, #32]\n\t"        /* r11: step */
            "ldr r0, [r12, #16]\n\t"          /* initial */
            "ldr r5, [r12, #8]\n\t"           /* r5, r7, r9: weights of three channels */
            "ldmia r0!, {r4, r6, r8}\n\t"     /* r4, r6, r8: sums of the first position */
            "str r0, [r12, #16]\n\t"          /* initial of the next three */
            "add r7, r5, r11\n\t"
            "add r9, r7, r11\n\t"
            "add r1, r9, r11\n\t"
            "str r1, [r12, #8]\n\t"           /* weights of the next three */
            "ldrd r1, r3, [r12]\n\t"          /* r1, r3: values of two positions */
            "mov r0, r4\n\t"                  /* r0, r2, r10: sums of the second position */
            "mov r2, r6\n\t"
            "mov r10, r8\n\t"
            "ldr r11, [r12, #12]\n\t"        /* r11: size */
            "dlstp.8 lr, r11\n"               /* for each 16 of `size` bytes, the last few predicated */
            "2:\n\t"
            "vldrb.8 q0, [r1], #16\n\t"
            "vldrb.8 q2, [r5], #16\n\t"
            "vmladava.s8 r4, q0, q2\n\t"
            "vldrb.8 q1, [r3], #16\n\t"
            "vmladava.s8 r0, q1, q2\n\t"
            "vldrb.8 q3, [r7], #16\n\t"
            "vmladava.s8 r6, q0, q3\n\t"
            "vmladava.s8 r2, q1, q3\n\t"
            "vldrb.8 q2, [r9], #16\n\t"
            "vmladava.s8 r8, q0, q2\n\t"
            "vmladava.s8 r10, q1, q2\n\t"
            "letp lr, 2b\n\t"
            "ldrd r1, r3, [r12, #20]\n\t"     /* where the sums go */
            "ldr r5, [r12, #28]\n\t"          /* and end */
            "stmia r1!, {r4, r6, r8}\n\t"
            "stmia r3!, {r0, r2, r10}\n\t"
            "strd r1, r3, [r12, #20]\n\t"
            "cmp r1, r5\n\t"
            "bne 1b\n\t"
            "pop {r4-r11, pc}\n");
}

/* The same for one channel. */
static inline void kt_dot_one_by_two(const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t size, int32_t initial,
                                     int32_t *sum0, int32_t *sum1)
{
    int32_t a = initial, b = initial;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
            "1:\n\t"
            "vldrb.8 q0, [%[w]], #16\n\t"
            "vldrb.8 q1, [%[x0]], #16\n\t"
            "vmladava.s8 %[a], q0, q1\n\t"
            "vldrb.8 q2, [%[x1]], #16\n\t"
            "vmladava.s8 %[b], q0, q2\n\t"
            "letp lr, 1b\n"
            : [a] "+Te"(a), [b] "+Te"(b), [x0] "+r"(x0), [x1] "+r"(x1), [w] "+r"(w)
            : [n] "r"(size)
            : "lr", "q0", "q1", "q2", "memory");
    *sum0 = a;
    *sum1 = b;
}

/* sums0[c] = initial[c] + w[c] . x0; the channels are a multiple of four, at least four, and x1 and sums1 are not used. */
__attribute__((naked, noinline, unused)) static void kt_dot_four(kt_dot_block *block)
{
    (void)block;
    __asm__("push {r4-r11, lr}\n\t"
            "mov r12, r0\n"                      /* r12: block */
            "1:\n\t"
            "ldr r11, [r12, #32]\n\t"            /* r11: step */
            "ldr r0, [r12, #16]\n\t"              /* initial */
            "ldr r3, [r12, #8]\n\t"               /* r3, r5, r7, r9: weights of four channels */
            "ldmia r0!, {r4, r6, r8, r10}\n\t"    /* their sums */
            "str r0, [r12, #16]\n\t"              /* initial of the next four */
            "add r5, r3, r11\n\t"
            "add r7, r5, r11\n\t"
            "add r9, r7, r11\n\t"
            "add r0, r9, r11\n\t"
            "str r0, [r12, #8]\n\t"               /* weights of the next four */
            "ldr r1, [r12]\n\t"                   /* r1: values */
            "ldr r11, [r12, #12]\n\t"            /* r11: size */
            "dlstp.8 lr, r11\n"
            "2:\n\t"
            "vldrb.8 q0, [r1], #16\n\t"
            "vldrb.8 q1, [r3], #16\n\t"
            "vmladava.s8 r4, q0, q1\n\t"
            "vldrb.8 q2, [r5], #16\n\t"
            "vmladava.s8 r6, q0, q2\n\t"
            "vldrb.8 q1, [r7], #16\n\t"
            "vmladava.s8 r8, q0, q1\n\t"
            "vldrb.8 q2, [r9], #16\n\t"
            "vmladava.s8 r10, q0, q2\n\t"
            "letp lr, 2b\n\t"
            "ldr r1, [r12, #20]\n\t"              /* where the sums go */
            "ldr r3, [r12, #28]\n\t"              /* and end */
            "stmia r1!, {r4, r6, r8, r10}\n\t"
            "str r1, [r12, #20]\n\t"
            "cmp r1, r3\n\t"
            "bne 1b\n\t"
            "pop {r4-r11, pc}\n");
}

/* initial + w . x */
static inline int32_t kt_dot_one(const int8_t *x, const int8_t *w, int32_t size, int32_t initial)
{
    int32_t a = initial;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
            "1:\n\t"
            "vldrb.8 q0, [%[x]], #16\n\t"
            "vldrb.8 q1, [%[w]], #16\n\t"
            "vmladava.s8 %[a], q0, q1\n\t"
            "letp lr, 1b\n"
            : [a] "+Te"(a), [x] "+r"(x), [w] "+r"(w)
            : [n] "r"(size)
            : "lr", "q0", "q1", "memory");
    return a;
}

/* Sum of n bytes. */
static inline int32_t kt_sum_lanes(const int8_t *w, int32_t n)
{
    int32_t a = 0;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
            "1:\n\t"
            "vldrb.8 q0, [%[w]], #16\n\t"
            "vaddva.s8 %[a], q0\n\t"
            "letp lr, 1b\n"
            : [a] "+Te"(a), [w] "+r"(w)
            : [n] "r"(n)
            : "lr", "q0", "memory");
    return a;
}

#endif
