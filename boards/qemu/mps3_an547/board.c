/* Arm MPS3 with the AN547 image, as QEMU emulates it. */
#define CLOCK 32000000u
#define UART 0x59303000u
#define UART_RECEIVE 33u
#include "cmsdk_board.h"
