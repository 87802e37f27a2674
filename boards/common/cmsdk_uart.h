/* cmsdk_uart.h: the serial port of Arm's MPS2 and MPS3 boards (CMSDK APB UART). */
#ifndef CMSDK_UART_H
#define CMSDK_UART_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    volatile uint32_t data;
    volatile uint32_t state; /* bit 0: transmitter full, bit 1: receiver full */
    volatile uint32_t control;
    volatile uint32_t interrupt;
    volatile uint32_t divider;
} cmsdk_uart;

/* Arrays of 32 interrupts a word. */
#define NVIC_ENABLE ((volatile uint32_t *)0xE000E100u)
#define NVIC_DISABLE ((volatile uint32_t *)0xE000E180u)
#define NVIC_CLEAR ((volatile uint32_t *)0xE000E280u)

static inline void cmsdk_uart_init(cmsdk_uart *uart, uint32_t clock, uint32_t baud)
{
    uart->divider = clock / baud;
    uart->control = 1u | 2u | 8u; /* transmit, receive, receive interrupt */
}

/* Waits asleep, so that a waiting board costs an emulator nothing. The receiver's interrupt only wakes the core: it is
 * enabled while interrupts are masked, and needs no handler. SysTick gets its turn between two sleeps. */
static inline int cmsdk_uart_read(cmsdk_uart *uart, uint32_t interrupt)
{
    const uint32_t word = interrupt / 32, bit = 1u << interrupt % 32;

    while ((uart->state & 2u) == 0) {
        __asm volatile("cpsid i" ::: "memory");
        NVIC_ENABLE[word] = bit;
        if ((uart->state & 2u) == 0)
            __asm volatile("wfi");
        NVIC_DISABLE[word] = bit;
        uart->interrupt = 2;
        NVIC_CLEAR[word] = bit;
        __asm volatile("dsb\n isb\n cpsie i\n isb" ::: "memory");
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
