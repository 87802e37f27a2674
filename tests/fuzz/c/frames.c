/* The agent's line from anybody: requests of [command u8] [length u16] [data], put into right frames; command 0xFF sends its data as it is. */
#include <setjmp.h>

#define main agent_main
#include "agent.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void forget_flash(void);

static jmp_buf closed;
static uint8_t line[1 << 16];
static size_t sent, arrived;

static void feed(const uint8_t *from, size_t length)
{
    if (length <= sizeof line - sent) memcpy(line + sent, from, length), sent += length;
}

void kt_board_init(void)
{
}

int kt_board_read(void)
{
    return arrived < sent ? line[arrived++] : -1;
}

/* An answer is read in full, so that a length that is too large is reported. */
void kt_board_write(const uint8_t *from, size_t length)
{
    static volatile uint8_t all;
    for (size_t i = 0; i < length; i++) all ^= from[i];
}

void kt_board_ticks_reset(void)
{
}

uint64_t kt_board_ticks(void)
{
    return 0;
}

kt_board_stack kt_board_stack_limits(void)
{
    return (kt_board_stack){NULL, NULL};
}

void kt_board_exit(int code)
{
    (void)code;
    longjmp(closed, 1);
}

static void request(uint8_t sequence, uint8_t code, const uint8_t *data, size_t length)
{
    static const uint8_t delimiter = 0;
    uint8_t content[KT_LINK_CONTENT + KT_LINK_CRC];
    if (length > sizeof content - 2 - KT_LINK_CRC) length = sizeof content - 2 - KT_LINK_CRC;
    content[0] = sequence, content[1] = code;
    memcpy(content + 2, data, length);
    put32(content + 2 + length, kt_link_crc32(content, 2 + length));
    kt_link_stuff(content, 2 + length + KT_LINK_CRC, feed);
    feed(&delimiter, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t sequence = 0;
    sent = arrived = 0;
    for (size_t at = 0; at + 3 <= size;) {
        const size_t asked = (size_t)data[at + 1] | (size_t)data[at + 2] << 8, left = size - at - 3, length = asked < left ? asked : left;
        if (data[at] == 0xFF)
            feed(data + at + 3, length);
        else
            request(++sequence, data[at], data + at + 3, length);
        at += 3 + length;
    }
    memset(&session, 0, sizeof session);
    memset(&measured, 0, sizeof measured);
    memset(state, 0, sizeof state);
    forget_flash();
    if (setjmp(closed) == 0)
        (void)agent_main();
    return 0;
}
