#include "kt_link.h"

#include "kt_board.h"

/* Half a byte at a time: a table of 64 bytes instead of 1024. */
uint32_t kt_link_crc32(const uint8_t *bytes, size_t length)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
    };
    uint32_t crc = 0xFFFFFFFFu;

    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        crc = table[crc & 15u] ^ (crc >> 4);
        crc = table[crc & 15u] ^ (crc >> 4);
    }
    return ~crc;
}

/* COBS: a code byte c stands before c - 1 bytes that are not zero, and means a zero after them unless c is 255 or the
 * block is the last. The data moves down by at least one byte, so unstuffing in place never overtakes itself. */
size_t kt_link_unstuff(uint8_t *bytes, size_t length)
{
    size_t from = 0, to = 0;

    while (from < length) {
        const size_t code = bytes[from++];
        if (code == 0 || code - 1 > length - from)
            return 0;
        for (size_t i = 1; i < code; i++)
            bytes[to++] = bytes[from++];
        if (code != 255 && from < length)
            bytes[to++] = 0;
    }
    return to;
}

void kt_link_stuff(const uint8_t *bytes, size_t length, void (*write)(const uint8_t *bytes, size_t length))
{
    size_t from = 0;
    int more = 1;

    while (more) {
        size_t run = 0;
        while (run < 254 && from + run < length && bytes[from + run] != 0)
            run++;
        const uint8_t code = (uint8_t)(run + 1);
        write(&code, 1);
        if (run > 0)
            write(bytes + from, run);
        from += run;
        if (run < 254 && from < length)
            from++; /* the zero that the code byte stands for: one more block follows, even if it is empty */
        else
            more = from < length;
    }
}

kt_link_event kt_link_receive(uint8_t buffer[KT_LINK_BUFFER], size_t *length)
{
    size_t filled = 0;

    for (;;) {
        const int byte = kt_board_read();
        if (byte < 0)
            return KT_LINK_CLOSED;
        if (byte != 0) {
            if (filled < KT_LINK_BUFFER)
                buffer[filled] = (uint8_t)byte;
            if (filled <= KT_LINK_BUFFER)
                filled++;
        } else if (filled > 0) {
            break;
        }
    }
    if (filled > KT_LINK_BUFFER)
        return KT_LINK_DAMAGED;

    const size_t plain = kt_link_unstuff(buffer, filled);
    if (plain < KT_LINK_CRC + 2)
        return KT_LINK_DAMAGED;
    *length = plain - KT_LINK_CRC;

    uint32_t crc = 0;
    for (size_t i = 0; i < KT_LINK_CRC; i++)
        crc |= (uint32_t)buffer[*length + i] << (8 * i);
    return crc == kt_link_crc32(buffer, *length) ? KT_LINK_FRAME : KT_LINK_DAMAGED;
}

void kt_link_send(uint8_t *content, size_t length)
{
    static const uint8_t delimiter = 0;
    const uint32_t crc = kt_link_crc32(content, length);

    for (size_t i = 0; i < KT_LINK_CRC; i++)
        content[length + i] = (uint8_t)(crc >> (8 * i));
    kt_board_write(&delimiter, 1); /* ends whatever noise came before */
    kt_link_stuff(content, length + KT_LINK_CRC, kt_board_write);
    kt_board_write(&delimiter, 1);
}
