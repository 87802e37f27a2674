#ifndef TOY_WEIGHTS_H
#define TOY_WEIGHTS_H

#include <stdint.h>

static const int8_t toy_weights[3][4] = {{10, -20, 30, -40}, {-15, 25, -35, 45}, {1, 2, 3, 4}};

#endif
