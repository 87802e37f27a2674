/* systick.c: kt_board_ticks on SysTick, the 24-bit counter that every Cortex-M has, extended by its interrupt. */
#include "kt_board.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)

#define RELOAD 0xFFFFFFu

static volatile uint32_t wraps;

void SysTick_Handler(void);
void SysTick_Handler(void)
{
    wraps++;
}

void kt_board_ticks_reset(void)
{
    SYST_CSR = 0;
    wraps = 0;
    SYST_RVR = RELOAD;
    SYST_CVR = 0; /* any write clears it: counting starts anew, whatever the phase was */
    SYST_CSR = 7; /* processor clock, interrupt, enabled */
}

uint64_t kt_board_ticks(void)
{
    uint32_t high, low;

    do { /* again if it wrapped between the two reads */
        high = wraps;
        low = SYST_CVR;
    } while (high != wraps);
    return (uint64_t)high * (RELOAD + 1u) + (low == 0 ? 0 : RELOAD + 1u - low);
}
