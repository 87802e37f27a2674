/* Runs prepared kernel calls on an emulated core. An image holds the buffers, structs and calls of all cases; this program makes the
 * calls and hands the image back: through semihosting, or on Linux as a file.
 *
 * Image: words of the size of a pointer {relocations, calls}, then the offsets of words that hold offsets and become addresses, then for each
 * call {kernel, arguments, argument words}, then the bytes that they point to. */
#include <stdint.h>

#ifdef __linux__
#include <stdio.h>
#else
#include "kt_board.h"
#endif

typedef uintptr_t word_t;
typedef void kernel(word_t, word_t, word_t, word_t, word_t, word_t, word_t, word_t, word_t, word_t, word_t, word_t, word_t);

enum { ARGUMENTS = 13 };

extern void (*const kernels[])(void);
extern word_t image[];
extern const unsigned long image_bytes;

#ifdef __linux__
static int finish(void)
{
    FILE *const file = fopen("image.bin", "wb");
    return file == NULL || fwrite(image, 1, image_bytes, file) != image_bytes || fclose(file) != 0;
}
#else
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

static int finish(void)
{
    const uint32_t open[3] = {(uint32_t)(uintptr_t)"image.bin", 5, 9};
    const uint32_t file = semihosting(0x01, open);
    const uint32_t write[3] = {file, (uint32_t)(uintptr_t)image, (uint32_t)image_bytes};
    const uint32_t leave[2] = {0x20026, 0};
    semihosting(0x05, write);
    semihosting(0x02, &file);
    return (int)semihosting(0x20, leave);
}
#endif

int main(void)
{
    word_t *word = image;
    const word_t relocations = *word++;
    word_t calls = *word++;
    for (word_t i = 0; i < relocations; i++) {
        image[*word++ / sizeof(word_t)] += (word_t)image;
    }
    for (; calls > 0; calls--) {
        const word_t number = *word++;
        const word_t count = *word++;
        word_t a[ARGUMENTS] = {0};
        for (word_t i = 0; i < count; i++) {
            a[i] = *word++;
        }
        /* Arguments that a kernel does not take are ignored: the caller removes them from the stack. */
        ((kernel *)kernels[number])(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12]);
    }
    return finish();
}
