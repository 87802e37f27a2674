/* ST Nucleo-64 with an STM32F446RE: 168 MHz from the internal oscillator, the ST-LINK's serial port on USART2. */
#include "kt_board.h"
#include "stm32.h"

#define RCC 0x40023800u
#define FLASH_ACR 0x40023C00u
#define GPIOA 0x40020000u
#define USART2 0x40004400u
#define APB1_CLOCK 42000000u

/* 16 MHz / 8 * 168 / 2 = 168 MHz, the most without over-drive; APB1 a quarter of it, APB2 a half. */
static void clock_init(void)
{
    *reg32(FLASH_ACR) = 5u | 1u << 8 | 1u << 9 | 1u << 10; /* five wait states, prefetch, both caches */
    reg_wait(reg32(FLASH_ACR), 15u, 5u);
    reg_set(reg32(RCC + 0x04), 0x7F437FFFu, 2u << 28 | 7u << 24 | 168u << 6 | 8u); /* PLLCFGR */
    stm32_run_from_pll(RCC);
}

void kt_board_init(void)
{
    clock_init();
    *reg32(RCC + 0x30) |= 1u;       /* GPIOA */
    *reg32(RCC + 0x40) |= 1u << 17; /* USART2 */
    (void)*reg32(RCC + 0x40);       /* a peripheral answers two cycles after its clock */
    stm32_pin(GPIOA, 2, 7);
    stm32_pin(GPIOA, 3, 7);
    stm32_usart_f4_init(USART2, APB1_CLOCK, 115200u);
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    return stm32_usart_f4_read(USART2);
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    stm32_usart_f4_write(USART2, bytes, length);
}
