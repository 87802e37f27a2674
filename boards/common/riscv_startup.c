/* riscv_startup.c: reset and traps of a RISC-V core of 32 bits that starts in machine mode. Needs no C library.
 *
 * A trap is reported as one line of text on the serial port, which no frame of a program looks like, and ends there. Interrupts are never taken:
 * a board that waits for one sleeps until it is pending. */
#include "kt_board.h"

extern uint32_t kt_board_stack_low[], kt_board_stack_high[];
extern uint32_t kt_board_data_load[], kt_board_data_start[], kt_board_data_end[];
extern uint32_t kt_board_bss_start[], kt_board_bss_end[];

int main(void);
void kt_board_start(void);
void kt_board_fault(uint32_t cause, uint32_t at);
void Reset_Handler(void);
void Trap_Handler(void);

kt_board_stack kt_board_stack_limits(void)
{
    const kt_board_stack limits = {kt_board_stack_low, kt_board_stack_high};
    return limits;
}

void kt_board_exit(int code)
{
    (void)code;
    for (;;)
        __asm volatile("wfi");
}

static void write_hex(char *text, uint32_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 4)
        text[i] = "0123456789abcdef"[value & 15u];
}

/* cause, at: mcause and mepc. */
__attribute__((noreturn, used)) void kt_board_fault(uint32_t cause, uint32_t at)
{
    static char line[] = "\0FAULT exception ........ status ........ pc ........\n";

    write_hex(line + 17, cause);
    write_hex(line + 45, at);
    kt_board_write((const uint8_t *)line, sizeof line);
    kt_board_exit(1);
}

/* A trap may come with a broken stack pointer: it starts again from the stack's top. */
__attribute__((naked, aligned(4), used)) void Trap_Handler(void)
{
    __asm volatile(".option push\n .option arch, +zicsr\n"
                   "csrr a0, mcause\n csrr a1, mepc\n"
                   ".option pop\n"
                   "la sp, kt_board_stack_high\n j kt_board_fault");
}

__attribute__((noreturn, used)) void kt_board_start(void)
{
    const uint32_t *from = kt_board_data_load;

    for (uint32_t *to = kt_board_data_start; to < kt_board_data_end;)
        *to++ = *from++;
    for (uint32_t *to = kt_board_bss_start; to < kt_board_bss_end;)
        *to++ = 0;
    kt_board_exit(main());
}

/* The first instructions in flash. mstatus.MIE is clear after reset; a bootloader may have set it. */
__attribute__((naked, section(".vectors"), used)) void Reset_Handler(void)
{
    __asm volatile(".option push\n .option arch, +zicsr\n"
                   "csrci mstatus, 8\n la t0, Trap_Handler\n csrw mtvec, t0\n"
                   ".option pop\n"
                   "la sp, kt_board_stack_high\n j kt_board_start");
}
