/* riscv_counter.c: kt_board_ticks on minstret, which counts the instructions that a RISC-V core has finished. */
#include "kt_board.h"

static uint64_t start;

static uint64_t instructions(void)
{
    uint32_t high, low, again;

    do { /* again if the low half wrapped between the reads */
        __asm volatile(".option push\n .option arch, +zicsr\n"
                       "csrr %0, minstreth\n csrr %1, minstret\n csrr %2, minstreth\n"
                       ".option pop"
                       : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

void kt_board_ticks_reset(void)
{
    start = instructions();
}

uint64_t kt_board_ticks(void)
{
    return instructions() - start;
}
