/* kt_measure.h: ticks and stack of one call. Of agent.c alone, whose last measurement it holds. */
#ifndef KT_MEASURE_H
#define KT_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "kt_board.h"

#define PAINT 0xA5C3F00Du

static struct {
    uint8_t command; /* the last command that was measured */
    uint64_t ticks;
    uintptr_t base;    /* of the stack, when the call was made */
    uint32_t *painted; /* end of the painted part of the stack */
    uint32_t stack_bytes;
} measured;

#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

/* Paints from the stack's lowest word up to just below this function's own frame, which the measured call reuses; the
 * caller's frame is where counting begins. */
static NOINLINE void measure_start(const volatile uint32_t *caller)
{
    const kt_board_stack stack = kt_board_stack_limits();
    volatile uint32_t here = 0;

    measured.base = (uintptr_t)caller;
    measured.painted = NULL;
    if (stack.lowest != NULL) {
        measured.painted = (uint32_t *)((uintptr_t)&here - 32);
        for (volatile uint32_t *word = stack.lowest; word < measured.painted; word++)
            *word = PAINT;
    }
    kt_board_ticks_reset();
}

static NOINLINE void measure_stop(uint8_t command)
{
    measured.ticks = kt_board_ticks();
    measured.command = command;
    measured.stack_bytes = 0;
    if (measured.painted != NULL) {
        const volatile uint32_t *word = kt_board_stack_limits().lowest;
        while (word < measured.painted && *word == PAINT)
            word++;
        measured.stack_bytes = (uint32_t)(measured.base - (uintptr_t)word);
    }
}

#endif
