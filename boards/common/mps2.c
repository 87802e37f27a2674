/* mps2.c: Arm MPS2 with the AN385, AN386 or AN500 image, which differ in their core only, as QEMU emulates them. */
#define CLOCK 25000000u
#define UART 0x40004000u
#define UART_RECEIVE 0u
#include "cmsdk_board.h"
