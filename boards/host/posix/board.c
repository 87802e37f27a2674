/* A process: standard input and output are the serial port. */
#define _POSIX_C_SOURCE 200809L
#include "kt_board.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t start;

static uint64_t nanoseconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void kt_board_init(void)
{
    kt_board_ticks_reset();
}

int kt_board_read(void)
{
    static uint8_t buffer[4096];
    static size_t next, filled;

    while (next == filled) {
        const ssize_t got = read(0, buffer, sizeof buffer);
        if (got == 0 || (got < 0 && errno != EINTR))
            return -1;
        next = 0;
        filled = got < 0 ? 0 : (size_t)got;
    }
    return buffer[next++];
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t sent = write(1, bytes, length);
        if (sent < 0 && errno != EINTR)
            kt_board_exit(1);
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
        }
    }
}

void kt_board_ticks_reset(void)
{
    start = nanoseconds();
}

uint64_t kt_board_ticks(void)
{
    return nanoseconds() - start;
}

kt_board_stack kt_board_stack_limits(void)
{
    const kt_board_stack unknown = {NULL, NULL};
    return unknown;
}

void kt_board_exit(int code)
{
    exit(code);
}
