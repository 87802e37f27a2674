/* nrf51.c: BBC micro:bit (Nordic nRF51822), as QEMU emulates it. */
#include "kt_board.h"
#include "sleep.h"

#define UART ((volatile uint32_t *)0x40002000u)
#define UART_INTERRUPT 2u

/* Words from the start of the UART's registers. */
enum {
    START_RECEIVE = 0x000 / 4,
    START_TRANSMIT = 0x008 / 4,
    RECEIVED = 0x108 / 4,
    TRANSMITTED = 0x11C / 4,
    INTERRUPT_ENABLE = 0x304 / 4,
    ENABLE = 0x500 / 4,
    PIN_TRANSMIT = 0x50C / 4,
    PIN_RECEIVE = 0x514 / 4,
    RECEIVE_DATA = 0x518 / 4,
    TRANSMIT_DATA = 0x51C / 4,
    BAUD_RATE = 0x524 / 4
};

void kt_board_init(void)
{
    UART[PIN_TRANSMIT] = 24;
    UART[PIN_RECEIVE] = 25;
    UART[BAUD_RATE] = 0x01D7E000u; /* 115200 */
    UART[ENABLE] = 4;
    UART[INTERRUPT_ENABLE] = 1u << 2; /* received */
    UART[START_RECEIVE] = 1;
    UART[START_TRANSMIT] = 1;
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    while (UART[RECEIVED] == 0)
        sleep_unless(&UART[RECEIVED], 1, UART_INTERRUPT);
    UART[RECEIVED] = 0; /* before the byte is taken: taking it announces the next */
    return (int)(UART[RECEIVE_DATA] & 0xFFu);
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    while (length-- > 0) {
        UART[TRANSMITTED] = 0;
        UART[TRANSMIT_DATA] = *bytes++;
        while (UART[TRANSMITTED] == 0) {
        }
    }
}
