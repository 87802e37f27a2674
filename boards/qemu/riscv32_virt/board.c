/* QEMU's machine `virt` with a RISC-V core of 32 bits: an NS16550A, whose interrupt goes through a PLIC to the core. */
#include "kt_board.h"

#define UART ((volatile uint8_t *)0x10000000u)
#define UART_INTERRUPT 10u
#define PLIC 0x0C000000u

/* Registers of the UART. */
enum { DATA = 0, INTERRUPT_ENABLE = 1, FIFO_CONTROL = 2, LINE_CONTROL = 3, LINE_STATUS = 5 };
enum { RECEIVED = 1, TRANSMITTER_EMPTY = 0x20 };

/* Words of the PLIC for the first core in machine mode. */
#define PLIC_PRIORITY (*(volatile uint32_t *)(PLIC + 4u * UART_INTERRUPT))
#define PLIC_ENABLE (*(volatile uint32_t *)(PLIC + 0x2000u))
#define PLIC_THRESHOLD (*(volatile uint32_t *)(PLIC + 0x200000u))
#define PLIC_CLAIM (*(volatile uint32_t *)(PLIC + 0x200004u))

/* The first 4 MB of memory stand for flash: machine mode may read and execute them, and no more, so that an overflowing stack faults. */
static void protect_flash(void)
{
    const uint32_t napot = 0x80000000u >> 2 | ((4u << 20) - 1u) >> 3, locked = 0x80u | 0x18u | 0x4u | 0x1u;

    __asm volatile(".option push\n .option arch, +zicsr\n"
                   "csrw pmpaddr0, %0\n csrw pmpcfg0, %1\n"
                   ".option pop" ::"r"(napot), "r"(locked) : "memory");
}

void kt_board_init(void)
{
    protect_flash();
    UART[LINE_CONTROL] = 3; /* 8 bits, no parity */
    UART[FIFO_CONTROL] = 1;
    UART[INTERRUPT_ENABLE] = RECEIVED;
    PLIC_PRIORITY = 1;
    PLIC_ENABLE = 1u << UART_INTERRUPT;
    PLIC_THRESHOLD = 0;
    /* Machine external interrupts wake the core; mstatus.MIE stays clear, and they are not taken. */
    __asm volatile(".option push\n .option arch, +zicsr\n csrs mie, %0\n .option pop" ::"r"(1u << 11) : "memory");
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    while ((UART[LINE_STATUS] & RECEIVED) == 0) {
        uint32_t source;

        __asm volatile("wfi" ::: "memory"); /* goes on at once if a byte came since */
        source = PLIC_CLAIM;
        if (source != 0)
            PLIC_CLAIM = source;
    }
    return UART[DATA];
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    while (length-- > 0) {
        while ((UART[LINE_STATUS] & TRANSMITTER_EMPTY) == 0) {
        }
        UART[DATA] = *bytes++;
    }
}
