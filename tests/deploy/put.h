/* put.h: what a test's program says, a name and a number a line. */
#ifndef PUT_H
#define PUT_H

#include <stdint.h>
#include <string.h>

#include "kt_board.h"

static void put(const char *name, uint32_t value)
{
    uint8_t text[16];
    size_t at = sizeof text;
    text[--at] = '\n';
    do {
        text[--at] = (uint8_t)('0' + value % 10u);
        value /= 10u;
    } while (value > 0);
    kt_board_write((const uint8_t *)name, strlen(name));
    kt_board_write(text + at, sizeof text - at);
}

#endif
