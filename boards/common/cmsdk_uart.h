/* cmsdk_uart.h: the serial port of Arm's MPS2 and MPS3 boards (CMSDK APB UART). */
#ifndef CMSDK_UART_H
#define CMSDK_UART_H

#include <stddef.h>
#include <stdint.h>

#include "sleep.h"

typedef struct {
    volatile uint32_t data;
    volatile uint32_t state; /* bit 0: transmitter full, bit 1: receiver full */
    volatile uint32_t control;
    volatile uint32_t interrupt;
    volatile uint32_t divider;
} cmsdk_uart;

static inline void cmsdk_uart_init(cmsdk_uart *uart, uint32_t clock, uint32_t baud)
{
    uart->divider = clock / baud;
    uart->control = 1u | 2u | 8u; /* transmit, receive, receive interrupt */
}

static inline int cmsdk_uart_read(cmsdk_uart *uart, uint32_t interrupt)
{
    while ((uart->state & 2u) == 0) {
        uart->interrupt = 2; /* of bytes that are taken already: it would stay pending, and the next would not be noticed */
        sleep_unless(&uart->state, 2u, interrupt);
    }
    return (int)(uart->data & 0xFFu);
}

static inline void cmsdk_uart_write(cmsdk_uart *uart, const uint8_t *bytes, size_t length)
{
    while (length-- > 0) {
        while ((uart->state & 1u) != 0) {
        }
        uart->data = *bytes++;
    }
}

#endif
