/* ST 32F746G-Discovery with an STM32F746NG: 180 MHz from the internal oscillator, the ST-LINK's serial port on USART1. */
#include "cortex_m7_cache.h"
#include "kt_board.h"
#include "stm32.h"

#define RCC 0x40023800u
#define FLASH_ACR 0x40023C00u
#define GPIOA 0x40020000u
#define GPIOB 0x40020400u
#define USART1 0x40011000u
#define APB2_CLOCK 90000000u

/* 16 MHz / 8 * 180 / 2 = 180 MHz, the most without over-drive; APB1 a quarter of it, APB2 a half. */
static void clock_init(void)
{
    *reg32(FLASH_ACR) = 5u | 1u << 8 | 1u << 9; /* five wait states, prefetch, accelerator */
    reg_wait(reg32(FLASH_ACR), 15u, 5u);
    reg_set(reg32(RCC + 0x04), 0x0F437FFFu, 8u << 24 | 180u << 6 | 8u); /* PLLCFGR */
    stm32_run_from_pll(RCC);
}

void kt_board_init(void)
{
    clock_init();
    cortex_m7_caches_enable();
    *reg32(RCC + 0x30) |= 1u | 1u << 1; /* GPIOA, GPIOB */
    *reg32(RCC + 0x44) |= 1u << 4;      /* USART1 */
    (void)*reg32(RCC + 0x44);           /* a peripheral answers two cycles after its clock */
    stm32_pin(GPIOA, 9, 7);
    stm32_pin(GPIOB, 7, 7);
    stm32_usart_init(USART1, APB2_CLOCK, 115200u);
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    return stm32_usart_read(USART1);
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    stm32_usart_write(USART1, bytes, length);
}
