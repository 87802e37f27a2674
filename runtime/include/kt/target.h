/* kt/target.h: the core that this build is for, where the compiler does not say it. `kilotune build` writes its own; in the runtime alone
 * KT_TARGET_CORTEX_M7 may be defined for the compiler. Any core gives the same bits with either. */
#ifndef KT_TARGET_H
#define KT_TARGET_H

#endif
