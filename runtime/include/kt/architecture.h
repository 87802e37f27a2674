/* kt/architecture.h: which instructions the compiler may use for this core.
 *
 * A kernel in runtime/src/kernels is portable C. Where a folder below it (dsp, mve) has a file of the same name, that file defines
 * the same symbol for cores with those instructions, and the portable file is empty there:
 *
 *     KT_DSP   the DSP extension of Armv7E-M and Armv8-M: Cortex-M4, M7, M33, M55
 *     KT_MVE   integer Helium: Cortex-M55; its inline assembly takes more registers than a build without optimisation has free
 *     KT_ARMV7M, KT_ARMV6M   cores without either, by whether they have all of Thumb-2 (Cortex-M3) or not
 *              (Cortex-M0, M0+, M23)
 *     KT_VECTOR   vectors of a computer (AVX2, SSE2, NEON, or those of gcc and clang); only where the build asks for it with
 *              -DKT_VECTOR=1, as kilotune's host device does
 *
 * All give the same bits. Define KT_PORTABLE to build the portable C everywhere. A generated build has the sources that its own core needs, and
 * its kt/target.h says which are absent (KT_WITHOUT_DSP, KT_WITHOUT_MVE and so on): another core then runs the portable ones. */
#ifndef KT_ARCHITECTURE_H
#define KT_ARCHITECTURE_H

#include "kt/target.h"

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && !defined(KT_PORTABLE) && !defined(KT_WITHOUT_DSP)
#if __ARM_ARCH_PROFILE == 'M'
#define KT_DSP 1
#endif
#endif
#ifndef KT_DSP
#define KT_DSP 0
#endif

/* Generated code whose constants are packed for the DSP extension says so: elsewhere it would run, and slowly. Not on a host: there the
 * portable C is what a device is compared with. */
#if defined(KT_PACKED_FOR_DSP) && !KT_DSP && !defined(KT_PORTABLE) && defined(__ARM_ARCH_PROFILE)
#if __ARM_ARCH_PROFILE == 'M'
#error "packed for a core with the DSP extension, which this one lacks: build with its own --target, or define KT_PORTABLE"
#endif
#endif

/* In a build for size (KT_SMALL in kt/target.h) kernels are portable but for their innermost loops, where this is 1: two pairs of 16-bit values
 * multiplied at once. Their inline assembly takes more registers than a build without optimisation has free. */
#if defined(KT_SMALL) && defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && defined(__OPTIMIZE__) && !defined(KT_PORTABLE)
#define KT_SMALL_DSP 1
#else
#define KT_SMALL_DSP 0
#endif

#if KT_DSP && defined(__ARM_FEATURE_MVE) && defined(__OPTIMIZE__) && !defined(KT_WITHOUT_MVE)
#define KT_MVE 1
#else
#define KT_MVE 0
#endif

#ifndef KT_VECTOR
#define KT_VECTOR 0
#endif

/* 1 where element-wise kernels and attention take parts of a row at once: in vectors of a computer, with Helium or the DSP extension. */
#define KT_ROW_PARTS (KT_VECTOR || KT_DSP)

#define KT_ARMV7M 0
#define KT_ARMV6M 0
#if defined(__ARM_ARCH_PROFILE) && defined(__thumb__) && !KT_DSP && !defined(KT_PORTABLE)
#if __ARM_ARCH_PROFILE == 'M' && defined(__thumb2__) && !defined(KT_WITHOUT_ARMV7M)
#undef KT_ARMV7M
#define KT_ARMV7M 1
#elif __ARM_ARCH_PROFILE == 'M' && !defined(KT_WITHOUT_ARMV6M)
#undef KT_ARMV6M
#define KT_ARMV6M 1
#endif
#endif

/* 1 where layers take three sums in two words in whatever form: these cores, and RISC-V, in C with its 32 registers. */
#if KT_ARMV7M || KT_ARMV6M || (defined(__riscv) && !defined(KT_PORTABLE))
#define KT_TRIPLE 1
#else
#define KT_TRIPLE 0
#endif

/* 1 where float32 is worked out by the compiler's library: products and sums that take most of an update are then made in integers, inline. Not in
 * a build for size. A test may define it. */
#ifndef KT_SOFT_FLOAT
#if defined(__GNUC__) && !defined(KT_PORTABLE) && !defined(KT_SMALL) && \
    ((defined(__ARM_ARCH_PROFILE) && defined(__SOFTFP__)) || (defined(__riscv) && !defined(__riscv_flen)))
#define KT_SOFT_FLOAT 1
#else
#define KT_SOFT_FLOAT 0
#endif
#endif

/* 1 where updates use a core's unit for float32 by its instructions: with the DSP extension, in a build for size too. */
#if (KT_DSP || KT_SMALL_DSP) && !KT_SOFT_FLOAT && defined(__ARM_FP)
#define KT_FLOAT_FOURS 1
#else
#define KT_FLOAT_FOURS 0
#endif

/* 1 in a build for size on a core without such a unit: products with 1 and with powers of two are then made without the library, and differences by
 * its sum. */
#if defined(__GNUC__) && defined(KT_SMALL) && !defined(KT_PORTABLE) && \
    ((defined(__ARM_ARCH_PROFILE) && defined(__SOFTFP__)) || (defined(__riscv) && !defined(__riscv_flen)))
#define KT_SMALL_FLOAT 1
#else
#define KT_SMALL_FLOAT 0
#endif

/* 1 where one instruction that loads two words takes no longer than one that loads one: the Cortex-M7, whose bus has 64 bits. On others the
 * two loads of one word each are as fast or faster. The compiler defines the same for Cortex-M4 and M7, so the build says it (kt/target.h). */
#ifdef KT_TARGET_CORTEX_M7
#define KT_LOADS_TWO_WORDS 1
#else
#define KT_LOADS_TWO_WORDS 0
#endif

#endif
