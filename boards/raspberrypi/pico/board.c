/* Raspberry Pi Pico (RP2040): 125 MHz, a USB adapter on GP0 (TX) and GP1 (RX). */
#include "kt_board.h"
#include "registers.h"

#define CLEAR 0x3000u /* added to an address: the ones written become zeros */
#define RESETS 0x4000C000u
#define CLOCKS 0x40008000u
#define XOSC 0x40024000u
#define PLL_SYS 0x40028000u
#define IO_BANK0 0x40014000u
#define PADS_BANK0 0x4001C000u
#define UART0 0x40034000u

static void start(uint32_t peripherals)
{
    *reg32(RESETS + CLEAR) = peripherals;
    reg_wait(reg32(RESETS + 8), peripherals, peripherals);
}

/* 12 MHz * 125 / 6 / 2 = 125 MHz, for the core and for the serial port. */
static void clock_init(void)
{
    *reg32(XOSC + 0x0C) = 47; /* 1 ms */
    *reg32(XOSC) = 0xFABu << 12 | 0xAA0u;
    reg_wait(reg32(XOSC + 0x04), 1u << 31, 1u << 31);
    reg_set(reg32(CLOCKS + 0x3C), 1u, 0u); /* the core off the PLL, should it run already */
    reg_wait(reg32(CLOCKS + 0x44), 1u, 1u);
    reg_set(reg32(CLOCKS + 0x30), 3u, 2u); /* the reference clock from the crystal */
    reg_wait(reg32(CLOCKS + 0x38), 1u << 2, 1u << 2);

    start(1u << 12);
    *reg32(PLL_SYS) = 1;
    *reg32(PLL_SYS + 0x08) = 125;
    *reg32(PLL_SYS + 0x04 + CLEAR) = 1u | 1u << 5; /* power up but for the dividers behind it */
    reg_wait(reg32(PLL_SYS), 1u << 31, 1u << 31);
    *reg32(PLL_SYS + 0x0C) = 6u << 16 | 2u << 12;
    *reg32(PLL_SYS + 0x04 + CLEAR) = 1u << 3;

    reg_set(reg32(CLOCKS + 0x3C), 7u << 5, 0u);
    reg_set(reg32(CLOCKS + 0x3C), 1u, 1u);
    reg_wait(reg32(CLOCKS + 0x44), 1u << 1, 1u << 1);
    *reg32(CLOCKS + 0x48) = 1u << 11; /* peripherals from the core's clock */
}

void kt_board_init(void)
{
    clock_init();
    start(1u << 5 | 1u << 8 | 1u << 22); /* pins, pads, UART0 */
    *reg32(PADS_BANK0 + 0x08) = 1u << 6 | 1u << 4 | 1u << 3 | 1u << 1; /* GP1: input, pulled up */
    *reg32(IO_BANK0 + 0x04) = 2;
    *reg32(IO_BANK0 + 0x0C) = 2;
    *reg32(UART0 + 0x24) = 67; /* 125 MHz / (16 * 115200) = 67 + 52 / 64 */
    *reg32(UART0 + 0x28) = 52;
    *reg32(UART0 + 0x2C) = 3u << 5 | 1u << 4; /* 8 bits, FIFOs */
    *reg32(UART0 + 0x30) = 1u << 9 | 1u << 8 | 1u;
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    reg_wait(reg32(UART0 + 0x18), 1u << 4, 0);
    return (int)(*reg32(UART0) & 0xFFu);
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    while (length-- > 0) {
        reg_wait(reg32(UART0 + 0x18), 1u << 5, 0);
        *reg32(UART0) = *bytes++;
    }
}
