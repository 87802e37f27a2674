/* stm32.h: pins and serial ports of STM32 families, by base address. Offsets from ST's reference manuals RM0390 (F446),
 * RM0385 (F746) and RM0433 (H743). */
#ifndef STM32_H
#define STM32_H

#include <stddef.h>

#include "registers.h"

/* Gives a pin to a peripheral: alternate function 0 .. 15, fast, with a pull-up that keeps an open line quiet. */
static inline void stm32_pin(uint32_t gpio, uint32_t pin, uint32_t function)
{
    reg_set(reg32(gpio + 0x08), 3u << 2 * pin, 2u << 2 * pin);                                 /* OSPEEDR */
    reg_set(reg32(gpio + 0x0C), 3u << 2 * pin, 1u << 2 * pin);                                 /* PUPDR */
    reg_set(reg32(gpio + 0x20 + pin / 8 * 4), 15u << pin % 8 * 4, function << pin % 8 * 4);    /* AFRL, AFRH */
    reg_set(reg32(gpio), 3u << 2 * pin, 2u << 2 * pin);                                        /* MODER, last */
}

/* F4 and F7: APB1 at a quarter of the core's clock, APB2 at half of it, the PLL on, and the core on the PLL. */
static inline void stm32_run_from_pll(uint32_t rcc)
{
    reg_set(reg32(rcc + 0x08), 7u << 13 | 7u << 10 | 15u << 4, 4u << 13 | 5u << 10); /* CFGR */
    *reg32(rcc) |= 1u << 24;                                                         /* CR: PLLON */
    reg_wait(reg32(rcc), 1u << 25, 1u << 25);
    reg_set(reg32(rcc + 0x08), 3u, 2u);
    reg_wait(reg32(rcc + 0x08), 3u << 2, 2u << 2);
}

/* The USART of the F4: one data register, and an overrun that reading it clears. */
static inline void stm32_usart_f4_init(uint32_t usart, uint32_t clock, uint32_t baud)
{
    *reg32(usart + 0x08) = (clock + baud / 2) / baud; /* BRR */
    *reg32(usart + 0x0C) = 1u << 13 | 1u << 3 | 1u << 2;
}

static inline int stm32_usart_f4_read(uint32_t usart)
{
    while ((*reg32(usart) & 1u << 5) == 0) {
    }
    return (int)(*reg32(usart + 0x04) & 0xFFu);
}

static inline void stm32_usart_f4_write(uint32_t usart, const uint8_t *bytes, size_t length)
{
    while (length-- > 0) {
        reg_wait(reg32(usart), 1u << 7, 1u << 7);
        *reg32(usart + 0x04) = *bytes++;
    }
}

/* The USART of the F7 and H7: it stops receiving after an overrun, so overruns are switched off. */
static inline void stm32_usart_init(uint32_t usart, uint32_t clock, uint32_t baud)
{
    *reg32(usart + 0x0C) = (clock + baud / 2) / baud; /* BRR */
    *reg32(usart + 0x08) = 1u << 12;                  /* CR3: OVRDIS */
    *reg32(usart) = 1u << 3 | 1u << 2 | 1u;           /* CR1: transmit, receive, enable */
}

static inline int stm32_usart_read(uint32_t usart)
{
    while ((*reg32(usart + 0x1C) & 1u << 5) == 0) {
    }
    return (int)(*reg32(usart + 0x24) & 0xFFu);
}

static inline void stm32_usart_write(uint32_t usart, const uint8_t *bytes, size_t length)
{
    while (length-- > 0) {
        reg_wait(reg32(usart + 0x1C), 1u << 7, 1u << 7);
        *reg32(usart + 0x28) = *bytes++;
    }
}

#endif
