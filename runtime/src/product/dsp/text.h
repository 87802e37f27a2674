/* text.h: what the functions of this folder that are nothing but assembly share. */
#ifndef KT_DSP_TEXT_H
#define KT_DSP_TEXT_H

/* Aligned as a Cortex-M7 fetches its instructions. */
#define KT_NAKED __attribute__((naked, aligned(8)))
/* The text reads the arguments, not C. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

/* Two neighbouring words at a multiple of 4, by loads that are 32 bits wide (kt/architecture.h). */
#if KT_LOADS_TWO_WORDS
#define KT_TWO_WORDS(a, b, at, offset) "ldrd " a ", " b ", [" at ", #" offset "]\n\t"
#else
#define KT_TWO_WORDS(a, b, at, offset) "ldr.w " a ", [" at ", #" offset "]\n\t" "ldr.w " b ", [" at ", #" offset " + 4]\n\t"
#endif

/* sum >> shift within [-127, 127], `one` a register that holds 1: one less and one more, of which the first saturates. */
#define KT_LIMITED(sum, shift, one) \
    "asr " sum ", " shift "\n\t" "ssat " sum ", #8, " sum "\n\t" \
    "qsub8 " sum ", " sum ", " one "\n\t" "sadd8 " sum ", " sum ", " one "\n\t"

/* Leaves with what was pushed: variables of so many bytes, r4 to r11 and lr, and the first four arguments. */
#define KT_RETURN(variables) "add sp, #" variables "\n\t" "pop {r4-r11, lr}\n\t" "add sp, #16\n\t" "bx lr\n\t"

#endif
