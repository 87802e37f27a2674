/* Adafruit Feather M4 Express (ATSAMD51J19A), behind its bootloader: 120 MHz, a USB adapter on TX (PB16) and RX (PB17). */
#include "kt_board.h"
#include "registers.h"

#define MCLK 0x40000800u
#define OSCCTRL 0x40001000u
#define GCLK 0x40001C00u
#define CMCC 0x41006000u
#define PORTB 0x41008080u
#define SERCOM5 0x43000400u

#define SOURCE_DFLL 6u
#define SOURCE_DPLL0 7u
#define ENABLED (1u << 8)

static void generator(uint32_t number, uint32_t source, uint32_t divider)
{
    *reg32(GCLK + 0x20 + 4 * number) = divider << 16 | ENABLED | source;
    reg_wait(reg32(GCLK + 0x04), 1u << (2 + number), 0);
}

static void channel(uint32_t number, uint32_t from)
{
    *reg32(GCLK + 0x80 + 4 * number) = 1u << 6 | from;
    reg_wait(reg32(GCLK + 0x80 + 4 * number), 1u << 6, 1u << 6);
}

/* The bootloader may have left anything: start from reset, where the core runs at the 48 MHz of the DFLL, let it run freely, and
 * make 48 MHz / 24 * 60 = 120 MHz of it. Generator 1 keeps 48 MHz for the serial port. */
static void clock_init(void)
{
    *reg8(GCLK) = 1;
    reg_wait(reg32(GCLK + 0x04), 1, 0);
    *reg8(OSCCTRL + 0x20) = 0;
    reg_wait(reg32(OSCCTRL + 0x2C), 1u << 2, 0);
    generator(1, SOURCE_DFLL, 1);
    generator(5, SOURCE_DFLL, 24);
    *reg8(OSCCTRL + 0x30) = 0; /* DPLL0 off while it is set up */
    reg_wait(reg32(OSCCTRL + 0x3C), 1u << 1, 0);
    channel(1, 5);
    *reg32(OSCCTRL + 0x34) = 59;
    reg_wait(reg32(OSCCTRL + 0x3C), 1u << 2, 0);
    *reg32(OSCCTRL + 0x38) = 1u << 11; /* do not wait for the lock to clock (erratum of the first revisions) */
    *reg8(OSCCTRL + 0x30) = 1u << 1;
    reg_wait(reg32(OSCCTRL + 0x3C), 1u << 1, 0);
    reg_wait(reg32(OSCCTRL + 0x40), 3u, 3u);
    generator(0, SOURCE_DPLL0, 1);
    *reg32(CMCC + 0x08) = 1; /* the cache of the flash */
}

void kt_board_init(void)
{
    clock_init();
    *reg32(MCLK + 0x20) |= 1u << 1; /* SERCOM5 */
    channel(35, 1);
    *reg8(PORTB + 0x30 + 16 / 2) = 2u << 4 | 2u; /* both pins to function C */
    *reg8(PORTB + 0x40 + 16) = 1;
    *reg8(PORTB + 0x40 + 17) = 1;
    *reg32(SERCOM5) = 1; /* reset */
    reg_wait(reg32(SERCOM5 + 0x1C), 1, 0);
    *reg32(SERCOM5) = 1u << 30 | 1u << 20 | 1u << 2; /* low bit first, receive on pad 1, transmit on pad 0, own clock */
    *reg32(SERCOM5 + 0x04) = 1u << 17 | 1u << 16;
    reg_wait(reg32(SERCOM5 + 0x1C), 1u << 2, 0);
    *(volatile uint16_t *)(SERCOM5 + 0x0C) = 63019; /* 65536 * (1 - 16 * 115200 / 48 MHz) */
    *reg32(SERCOM5) |= 1u << 1;
    reg_wait(reg32(SERCOM5 + 0x1C), 1u << 1, 0);
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    while ((*reg8(SERCOM5 + 0x18) & 1u << 2) == 0) {
    }
    return (int)(*reg32(SERCOM5 + 0x28) & 0xFFu);
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    while (length-- > 0) {
        while ((*reg8(SERCOM5 + 0x18) & 1u) == 0) {
        }
        *reg32(SERCOM5 + 0x28) = *bytes++;
    }
}
