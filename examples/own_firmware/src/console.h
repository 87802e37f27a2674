/* console.h: text on the board's serial port, without a C library's stdio. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdint.h>

void print(const char *text);
void print_number(uint32_t number);
void print_hex(uint32_t number);

#endif
