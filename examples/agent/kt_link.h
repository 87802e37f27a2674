/* kt_link.h: frames over a byte stream that may lose, flip or invent bytes.
 *
 * A frame is its content followed by the CRC-32 of it (little-endian), stuffed by COBS so that it holds no zero byte,
 * between zero bytes. Whatever arrives between two zeros and is not a frame is reported as damaged and forgotten. */
#ifndef KT_LINK_H
#define KT_LINK_H

#include <stddef.h>
#include <stdint.h>

/* Most data bytes of one request or response, and the most that stands before them in a frame. */
#define KT_LINK_CHUNK 512
#define KT_LINK_HEADER 8
#define KT_LINK_CRC 4
#define KT_LINK_CONTENT (KT_LINK_HEADER + KT_LINK_CHUNK)

/* A frame as received, before unstuffing: one more byte, and one for every 254. */
#define KT_LINK_BUFFER (KT_LINK_CONTENT + KT_LINK_CRC + (KT_LINK_CONTENT + KT_LINK_CRC) / 254 + 1)

typedef enum { KT_LINK_FRAME, KT_LINK_DAMAGED, KT_LINK_CLOSED } kt_link_event;

/* Waits for something to end. For KT_LINK_FRAME, buffer[0 .. *length) is the content. */
kt_link_event kt_link_receive(uint8_t buffer[KT_LINK_BUFFER], size_t *length);

/* Sends content[0 .. length); room for the CRC must follow it in the same buffer. */
void kt_link_send(uint8_t *content, size_t length);

/* CRC-32 as in zlib, PNG and Ethernet. */
uint32_t kt_link_crc32(const uint8_t *bytes, size_t length);

/* Unstuffs in place; returns the length, or 0 if bytes is not COBS. */
size_t kt_link_unstuff(uint8_t *bytes, size_t length);

/* Stuffs and hands over to `write` piece by piece, so that no second buffer is needed. */
void kt_link_stuff(const uint8_t *bytes, size_t length, void (*write)(const uint8_t *bytes, size_t length));

#endif
