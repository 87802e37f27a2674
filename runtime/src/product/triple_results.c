/* Three results of two words: most cores have them in C, in triple.h. */
#include "triple.h"

typedef int kt_no_results; /* a translation unit is not empty in C99 */
