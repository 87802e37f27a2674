/* ST Nucleo-144 with an STM32H743ZI: 400 MHz from the internal oscillator, the ST-LINK's serial port on USART3. */
#include "cortex_m7_cache.h"
#include "kt_board.h"
#include "stm32.h"

#define RCC 0x58024400u
#define PWR 0x58024800u
#define FLASH_ACR 0x52002000u
#define GPIOD 0x58020C00u
#define USART3 0x40004800u
#define APB1_CLOCK 100000000u

/* 64 MHz / 16 * 200 / 2 = 400 MHz for the core, 200 MHz for the buses, 100 MHz for their peripherals. */
static void clock_init(void)
{
    reg_set(reg32(PWR + 0x0C), 7u, 2u); /* CR3: the regulator, to be written once before anything else */
    reg_wait(reg32(PWR + 0x04), 1u << 13, 1u << 13);
    reg_set(reg32(PWR + 0x18), 3u << 14, 3u << 14); /* D3CR: scale 1 */
    reg_wait(reg32(PWR + 0x18), 1u << 13, 1u << 13);
    *reg32(FLASH_ACR) = 2u | 2u << 4; /* two wait states */
    reg_wait(reg32(FLASH_ACR), 15u, 2u);
    reg_set(reg32(RCC + 0x28), 3u | 63u << 4, 16u << 4);                         /* PLLCKSELR: internal, a sixteenth */
    reg_set(reg32(RCC + 0x2C), 15u | 7u << 16, 2u << 2 | 1u << 16);              /* PLLCFGR: 4 to 8 MHz, wide, output P */
    *reg32(RCC + 0x30) = 199u | 1u << 9 | 3u << 16 | 1u << 24;                   /* PLL1DIVR */
    reg_set(reg32(RCC + 0x18), 15u << 8 | 7u << 4 | 15u, 8u | 4u << 4);          /* D1CFGR */
    reg_set(reg32(RCC + 0x1C), 7u << 8 | 7u << 4, 4u << 8 | 4u << 4);            /* D2CFGR */
    reg_set(reg32(RCC + 0x20), 7u << 4, 4u << 4);                                /* D3CFGR */
    *reg32(RCC) |= 1u << 24;
    reg_wait(reg32(RCC), 1u << 25, 1u << 25);
    reg_set(reg32(RCC + 0x10), 7u, 3u);
    reg_wait(reg32(RCC + 0x10), 7u << 3, 3u << 3);
}

void kt_board_init(void)
{
    if (*reg32(0x5C001000u) >> 16 < 0x2000u) /* revision Y: AXI SRAM needs one read at a time, as in ST's start-up code */
        *reg32(0x51008108u) = 1;
    clock_init();
    cortex_m7_caches_enable();
    *reg32(RCC + 0xE0) |= 1u << 3;  /* GPIOD */
    *reg32(RCC + 0xE8) |= 1u << 18; /* USART3 */
    (void)*reg32(RCC + 0xE8);       /* a peripheral answers two cycles after its clock */
    stm32_pin(GPIOD, 8, 7);
    stm32_pin(GPIOD, 9, 7);
    stm32_usart_init(USART3, APB1_CLOCK, 115200u);
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    return stm32_usart_read(USART3);
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    stm32_usart_write(USART3, bytes, length);
}
