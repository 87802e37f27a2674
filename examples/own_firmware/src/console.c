#include "console.h"

#include <string.h>

#include "kt_board.h"

void print(const char *text)
{
    kt_board_write((const uint8_t *)text, strlen(text));
}

void print_number(uint32_t number)
{
    char text[11], *first = text + sizeof text - 1;

    *first = '\0';
    do
        *--first = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    print(first);
}

void print_hex(uint32_t number)
{
    char text[9] = "";

    for (int i = 7; i >= 0; i--, number >>= 4)
        text[i] = "0123456789abcdef"[number & 15u];
    print(text);
}
