/* cmsdk_board.h: a board whose one serial port is a CMSDK UART and whose clock runs from reset. Include it once, in board.c, after
 *
 *     CLOCK          Hz of the UART
 *     UART           its address
 *     UART_RECEIVE   number of its receive interrupt */
#include "cmsdk_uart.h"
#include "kt_board.h"

static cmsdk_uart *const uart = (cmsdk_uart *)UART;

void kt_board_init(void)
{
    cmsdk_uart_init(uart, CLOCK, 115200u);
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    return cmsdk_uart_read(uart, UART_RECEIVE);
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    cmsdk_uart_write(uart, bytes, length);
}
