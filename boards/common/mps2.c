/* mps2.c: Arm MPS2 with the AN385, AN386 or AN500 image, which differ in their core only, as QEMU emulates them. */
#include "kt_board.h"
#include "cmsdk_uart.h"

#define CLOCK 25000000u
#define UART0_RECEIVE 0u /* interrupt */

static cmsdk_uart *const uart = (cmsdk_uart *)0x40004000u;

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
