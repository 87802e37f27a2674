/* Stuffing by itself: every short string, in memory of exactly its length, and data of every length there and back. */
#include "kt_link.h"

#include "kt_board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) do { if (!(condition)) { printf("line %d: %s\n", __LINE__, #condition); exit(1); } } while (0)

int kt_board_read(void)
{
    return -1;
}

void kt_board_write(const uint8_t *bytes, size_t length)
{
    (void)bytes, (void)length;
}

/* What a string stands for, as the comment of kt_link_unstuff says it; -1: it is not COBS. */
static int meaning(const uint8_t *bytes, int length, uint8_t *to)
{
    int n = 0;
    for (int at = 0; at < length;) {
        const int code = bytes[at];
        if (code == 0 || at + code > length) return -1;
        memcpy(to + n, bytes + at + 1, (size_t)code - 1);
        n += code - 1, at += code;
        if (code != 255 && at < length) to[n++] = 0;
    }
    return n;
}

static void short_strings(void)
{
    static const uint8_t letters[] = {0, 1, 2, 3, 4, 5, 254, 255};
    for (int length = 0; length <= 5; length++) {
        for (int number = 0; number < 1 << 3 * length; number++) {
            uint8_t given[5], expected[8], *const exact = malloc((size_t)length + !length);
            for (int i = 0; i < length; i++) given[i] = exact[i] = letters[number >> 3 * i & 7];
            const int n = meaning(given, length, expected);
            CHECK(kt_link_unstuff(exact, (size_t)length) == (size_t)(n < 0 ? 0 : n));
            CHECK(n < 0 || memcmp(exact, expected, (size_t)n) == 0);
            free(exact);
        }
    }
}

static uint8_t stuffed[800];
static size_t written;

static void collect(const uint8_t *bytes, size_t length)
{
    CHECK(length > 0 && written + length <= sizeof stuffed);
    memcpy(stuffed + written, bytes, length);
    written += length;
}

static void there_and_back(void)
{
    for (size_t length = 0; length <= 600; length++) {
        for (int kind = 0; kind < 4; kind++) {
            uint8_t *const data = malloc(length + !length);
            for (size_t i = 0; i < length; i++) data[i] = (uint8_t)(kind == 0 ? 7 : kind == 1 ? 0 : kind == 2 ? i : i % 254 != 253);
            written = 0;
            kt_link_stuff(data, length, collect);
            CHECK(memchr(stuffed, 0, written) == NULL && written <= length + length / 254 + 1);
            CHECK(kt_link_unstuff(stuffed, written) == length && memcmp(stuffed, data, length) == 0);
            free(data);
        }
    }
}

int main(void)
{
    short_strings();
    there_and_back();
    CHECK(kt_link_crc32((const uint8_t *)"123456789", 9) == 0xCBF43926u && kt_link_crc32((const uint8_t *)"", 0) == 0);
    puts("passed");
    return 0;
}
