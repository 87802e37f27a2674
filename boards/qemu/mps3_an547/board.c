/* Arm MPS3 with the AN547 image, as QEMU emulates it. */
#include "kt_board.h"
#include "cmsdk_uart.h"

#define CLOCK 32000000u
#define UART0_RECEIVE 33u /* interrupt */

static cmsdk_uart *const uart = (cmsdk_uart *)0x59303000u;

void kt_board_init(void)
{
    cmsdk_uart_init(uart, CLOCK, 115200u);
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    return cmsdk_uart_read(uart, UART0_RECEIVE);
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    cmsdk_uart_write(uart, bytes, length);
}
