/* Runs prepared kernel calls on an emulated core. An image holds the buffers, structs and calls of all cases; this program makes the
 * calls and hands the image back through semihosting.
 *
 * Image: uint32 words {relocations, calls}, then the offsets of words that hold offsets and become addresses, then for each
 * call {kernel, arguments, argument words}, then the bytes that they point to. */
#include <stdint.h>

#include "kt_board.h"

typedef void kernel(uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t);

enum { ARGUMENTS = 12 };

extern void (*const kernels[])(void);
extern uint32_t image[];
extern const uint32_t image_bytes;

static uint32_t semihosting(uint32_t operation, const void *argument)
{
#ifdef __riscv
    register uint32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    /* These three, uncompressed and in one page, are the call. */
    __asm__ volatile(".balign 16\n.option push\n.option norvc\nslli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n.option pop"
                     : "+r"(a0) : "r"(a1) : "memory");
    return a0;
#else
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
#endif
}

static void save(const char *name, uint32_t length, const void *bytes, uint32_t size)
{
    const uint32_t open[3] = {(uint32_t)(uintptr_t)name, 5, length};
    const uint32_t file = semihosting(0x01, open);
    const uint32_t write[3] = {file, (uint32_t)(uintptr_t)bytes, size};
    semihosting(0x05, write);
    semihosting(0x02, &file);
}

int main(void)
{
    uint32_t *word = image;
    const uint32_t relocations = *word++;
    uint32_t calls = *word++;
    for (uint32_t i = 0; i < relocations; i++) {
        image[*word++ / 4] += (uint32_t)(uintptr_t)image;
    }
    for (; calls > 0; calls--) {
        const uint32_t number = *word++;
        const uint32_t count = *word++;
        uint32_t a[ARGUMENTS] = {0};
        for (uint32_t i = 0; i < count; i++) {
            a[i] = *word++;
        }
        /* Arguments that a kernel does not take are ignored: the caller removes them from the stack. */
        ((kernel *)kernels[number])(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]);
    }
    save("image.bin", 9, image, image_bytes);
    const uint32_t leave[2] = {0x20026, 0};
    semihosting(0x20, leave);
    for (;;) {
    }
}
