/* nrf51.c: BBC micro:bit (Nordic nRF51822), as QEMU emulates it. */
#include "kt_board.h"
#include "nrf_uart.h"

void kt_board_init(void)
{
    nrf_uart_init(24, 25);
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
