/* startup.c: vectors, reset and faults of any Cortex-M. Needs no C library.
 *
 * A fault is reported as one line of text on the serial port, which no frame of a program looks like, and ends there. */
#include "kt_board.h"
#include "sleep.h"

extern uint32_t kt_board_stack_low[], kt_board_stack_high[];
extern uint32_t kt_board_data_load[], kt_board_data_start[], kt_board_data_end[];
extern uint32_t kt_board_bss_start[], kt_board_bss_end[];

typedef void (*handler)(void);
typedef union {
    uint32_t *stack;
    handler call;
} vector;
static const vector vectors[16];

int main(void);
void kt_board_start(void);
void kt_board_fault(const uint32_t *frame);
void Reset_Handler(void);
void SysTick_Handler(void);

/* SCB registers, the same on every Cortex-M that has them. */
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SCB_VTOR (*(volatile uint32_t *)0xE000ED08u)
#define SCB_CPACR (*(volatile uint32_t *)0xE000ED88u)
#define SCB_CFSR (*(volatile uint32_t *)0xE000ED28u)

kt_board_stack kt_board_stack_limits(void)
{
    const kt_board_stack limits = {kt_board_stack_low, kt_board_stack_high};
    return limits;
}

void kt_board_exit(int code)
{
    (void)code;
    for (;;)
        __asm volatile("wfi");
}

static void write_hex(char *text, uint32_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 4)
        text[i] = "0123456789abcdef"[value & 15u];
}

/* A fault may come with a broken stack pointer: Fault_Handler starts again from the stack's top. frame is where the
 * core stacked the registers, to be believed only inside the stack; its seventh word is the address that faulted. */
__attribute__((noreturn, used)) void kt_board_fault(const uint32_t *frame)
{
    static char line[] = "\0FAULT exception ........ status ........ pc ........\n";
    uint32_t exception;

    __asm volatile("mrs %0, ipsr" : "=r"(exception));
    write_hex(line + 17, exception);
#if __ARM_ARCH_ISA_THUMB >= 2
    write_hex(line + 33, SCB_CFSR);
#endif
    if (frame >= kt_board_stack_low && frame + 8 <= kt_board_stack_high)
        write_hex(line + 45, frame[6]);
    kt_board_write((const uint8_t *)line, sizeof line);
    kt_board_exit(1);
}

__attribute__((naked, noreturn)) static void Fault_Handler(void)
{
    __asm volatile("mov r0, sp\n ldr r1, =kt_board_stack_high\n mov sp, r1\n bl kt_board_fault\n .ltorg");
}

__attribute__((weak)) void SysTick_Handler(void)
{
    Fault_Handler();
}

/* A bootloader may leave interrupts enabled and its own vectors in place; a Cortex-M0 has no choice of vectors. */
static void forget_bootloader(void)
{
    SYST_CSR = 0;
#if __ARM_ARCH_ISA_THUMB >= 2
    for (int i = 0; i < 8; i++) {
        NVIC_DISABLE[i] = 0xFFFFFFFFu;
        NVIC_CLEAR[i] = 0xFFFFFFFFu;
    }
    SCB_VTOR = (uint32_t)(uintptr_t)vectors;
#else
    NVIC_DISABLE[0] = 0xFFFFFFFFu;
    NVIC_CLEAR[0] = 0xFFFFFFFFu;
#endif
    __asm volatile("dsb\n isb\n cpsie i" ::: "memory");
}

__attribute__((noreturn, used)) void kt_board_start(void)
{
    forget_bootloader();
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    SCB_CPACR |= 0xFu << 20;
    __asm volatile("dsb\n isb" ::: "memory");
#endif
    const uint32_t *from = kt_board_data_load;
    for (uint32_t *to = kt_board_data_start; to < kt_board_data_end;)
        *to++ = *from++;
    for (uint32_t *to = kt_board_bss_start; to < kt_board_bss_end;)
        *to++ = 0;
    kt_board_exit(main());
}

/* A bootloader or debugger may jump here with another stack. */
__attribute__((naked, noreturn)) void Reset_Handler(void)
{
    __asm volatile("ldr r0, =kt_board_stack_high\n mov sp, r0\n bl kt_board_start\n .ltorg");
}

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = kt_board_stack_high},
    {.call = Reset_Handler},
    {.call = Fault_Handler}, /* NMI */
    {.call = Fault_Handler}, /* HardFault */
    {.call = Fault_Handler}, /* MemManage */
    {.call = Fault_Handler}, /* BusFault */
    {.call = Fault_Handler}, /* UsageFault */
    {.call = Fault_Handler}, /* SecureFault */
    {.stack = 0},
    {.stack = 0},
    {.stack = 0},
    {.call = Fault_Handler}, /* SVCall */
    {.call = Fault_Handler}, /* DebugMonitor */
    {.stack = 0},
    {.call = Fault_Handler}, /* PendSV */
    {.call = SysTick_Handler},
};
