/* boot2.c: what the RP2040's boot ROM loads from the first 256 bytes of flash into RAM and runs: it makes the flash readable
 * in place and enters the program behind it. The ROM refuses it unless the last word is the CRC-32 of the 252 bytes before
 * (polynomial 0x04C11DB7, start 0xFFFFFFFF, not reflected, not inverted); tests/e2e/test_boards_link.py checks that word.
 *
 * Serial read (command 0x03, 24-bit address), a quarter of the clock: slow, and understood by any flash chip. */

__attribute__((naked, used, section(".boot2"), noreturn)) void kt_board_boot2(void);

void kt_board_boot2(void)
{
    __asm volatile(
        ".syntax unified\n"
        "1:  ldr r3, 2f\n"          /* XIP_SSI */
        "    movs r0, #0\n"
        "    str r0, [r3, #0x08]\n" /* SSIENR: off while it is set up */
        "    movs r1, #4\n"
        "    str r1, [r3, #0x14]\n" /* BAUDR */
        "    ldr r1, 3f\n"
        "    str r1, [r3]\n"        /* CTRLR0: 32 bits a frame, read after the command */
        "    ldr r1, 4f\n"
        "    ldr r2, 5f\n"
        "    str r1, [r2]\n"        /* SPI_CTRLR0: command 0x03, 8 bits, then 24 bits of address */
        "    str r0, [r3, #0x04]\n" /* CTRLR1: one frame */
        "    movs r1, #1\n"
        "    str r1, [r3, #0x08]\n"
        "    ldr r0, 6f\n"
        "    ldr r1, 7f\n"
        "    str r0, [r1]\n"        /* VTOR */
        "    ldmia r0, {r0, r1}\n"
        "    msr msp, r0\n"
        "    bx r1\n"
        "    .balign 4\n"
        "2:  .word 0x18000000\n"
        "3:  .word 0x001F0300\n"
        "4:  .word 0x03000218\n"
        "5:  .word 0x180000F4\n"
        "6:  .word 0x10000100\n"
        "7:  .word 0xE000ED08\n"
        "    .fill 252 - (. - 1b), 1, 0\n"
        "    .word 0xF87E46F7\n");
}
