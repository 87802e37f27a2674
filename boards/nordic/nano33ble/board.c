/* Arduino Nano 33 BLE (Nordic nRF52840), behind its bootloader: a USB adapter on D1 (TX, P1.03) and D0 (RX, P1.10). */
#include "kt_board.h"
#include "nrf_uart.h"
#include "registers.h"

#define CLOCK 0x40000000u
#define P1 0x50000300u
#define TRANSMIT 3u
#define RECEIVE 10u

void kt_board_init(void)
{
    *reg32(CLOCK) = 1; /* the crystal: the internal oscillator may be 8 % off, too much for a serial port */
    reg_wait(reg32(CLOCK + 0x100), 1, 1);
    *reg32(P1 + 0x508) = 1u << TRANSMIT; /* high while idle */
    *reg32(P1 + 0x518) = 1u << TRANSMIT;
    *reg32(P1 + 0x700 + 4 * RECEIVE) = 3u << 2; /* input, pulled up */
    nrf_uart_init(32 + TRANSMIT, 32 + RECEIVE);
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    return nrf_uart_read();
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    nrf_uart_write(bytes, length);
}
