/* kt/strict_float.h: refuses what would change the bits of float arithmetic, and keeps a product from melting into the sum after it.
 *
 * Every float operation of the runtime is IEEE 754 binary32, rounded to nearest even, one operation a statement: only so does a step give
 * the same bits on every core. Headers with such arithmetic include this one before anything else, so that it holds whatever flags a
 * project compiles with.
 *
 *     -ffast-math and each of its parts    an error where the compiler says so; gcc says all of them, clang the first two
 *     -ffp-contract=fast, and gcc without  turned off here: an FMA of a product and a sum rounds once instead of twice
 *      -std=c99 where the core has an FMA
 *
 * What no header sees: clang's explicit -ffp-contract=fast, which goes over the pragma, and code elsewhere in the program that sets the
 * processor to flush subnormals (linking by gcc -ffast-math on a computer does). */
#ifndef KT_STRICT_FLOAT_H
#define KT_STRICT_FLOAT_H

#include <float.h>

#if defined(__FAST_MATH__)
#error "kilotune needs strict float arithmetic: build without -ffast-math (-Ofast)"
#endif
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ + 0 != 0
#error "kilotune has to see NaN and infinity: build without -ffinite-math-only"
#endif
#if defined(__ASSOCIATIVE_MATH__)
#error "kilotune needs float sums in their order: build without -fassociative-math (-funsafe-math-optimizations)"
#endif
#if defined(__RECIPROCAL_MATH__)
#error "kilotune needs true float divisions: build without -freciprocal-math (-funsafe-math-optimizations)"
#endif
#if defined(__NO_SIGNED_ZEROS__)
#error "kilotune keeps the sign of zero: build without -fno-signed-zeros (-funsafe-math-optimizations)"
#endif
#if defined(FLT_EVAL_METHOD)
#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 /* 16: only half precision is evaluated in more than its own */
#error "kilotune needs float expressions evaluated in float (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
#endif

/* Functions that are defined from here on: gcc knows no C99 pragma for it. Without an FMA nothing can be contracted. */
#if defined(__clang__)
#pragma float_control(precise, on)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && defined(__FP_FAST_FMAF)
#pragma GCC optimize("fp-contract=off")
#elif !defined(__GNUC__)
#pragma STDC FP_CONTRACT OFF
#endif

#endif
