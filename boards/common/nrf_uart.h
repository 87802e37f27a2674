/* nrf_uart.h: the first serial port of Nordic's nRF51 and nRF52, 115200 baud. */
#ifndef NRF_UART_H
#define NRF_UART_H

#include <stddef.h>

#include "sleep.h"

#define NRF_UART ((volatile uint32_t *)0x40002000u)
#define NRF_UART_INTERRUPT 2u

/* Words from the start of the UART's registers. */
enum {
    NRF_START_RECEIVE = 0x000 / 4,
    NRF_START_TRANSMIT = 0x008 / 4,
    NRF_RECEIVED = 0x108 / 4,
    NRF_TRANSMITTED = 0x11C / 4,
    NRF_INTERRUPT_ENABLE = 0x304 / 4,
    NRF_ENABLE = 0x500 / 4,
    NRF_PIN_TRANSMIT = 0x50C / 4,
    NRF_PIN_RECEIVE = 0x514 / 4,
    NRF_RECEIVE_DATA = 0x518 / 4,
    NRF_TRANSMIT_DATA = 0x51C / 4,
    NRF_BAUD_RATE = 0x524 / 4
};

/* Pins are numbered through: 32 * port + pin. */
static inline void nrf_uart_init(uint32_t transmit, uint32_t receive)
{
    NRF_UART[NRF_PIN_TRANSMIT] = transmit;
    NRF_UART[NRF_PIN_RECEIVE] = receive;
    NRF_UART[NRF_BAUD_RATE] = 0x01D7E000u; /* 115200 */
    NRF_UART[NRF_ENABLE] = 4;
    NRF_UART[NRF_INTERRUPT_ENABLE] = 1u << 2; /* received */
    NRF_UART[NRF_START_RECEIVE] = 1;
    NRF_UART[NRF_START_TRANSMIT] = 1;
}

static inline int nrf_uart_read(void)
{
    while (NRF_UART[NRF_RECEIVED] == 0)
        sleep_unless(&NRF_UART[NRF_RECEIVED], 1, NRF_UART_INTERRUPT);
    NRF_UART[NRF_RECEIVED] = 0; /* before the byte is taken: taking it announces the next */
    return (int)(NRF_UART[NRF_RECEIVE_DATA] & 0xFFu);
}

static inline void nrf_uart_write(const uint8_t *bytes, size_t length)
{
    while (length-- > 0) {
        NRF_UART[NRF_TRANSMITTED] = 0;
        NRF_UART[NRF_TRANSMIT_DATA] = *bytes++;
        while (NRF_UART[NRF_TRANSMITTED] == 0) {
        }
    }
}

#endif
