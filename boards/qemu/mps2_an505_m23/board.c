/* Arm MPS2 with the AN505 image, as QEMU emulates it. */
#define CLOCK 20000000u
#define UART 0x50200000u
#define UART_RECEIVE 32u
#include "cmsdk_board.h"
