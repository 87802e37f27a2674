/* kt/adapter.h: the file of an adapter (.kta), written, checked and read in place. All numbers are little-endian.
 *
 *   0    4   magic "KTA" 0x1A
 *   4    2   version of this format, 1
 *   6    2   flags: 1 a digest follows, 2 a signature follows
 *   8    8   hash of the base model and of how trained values are read; ranks and widths do not count
 *   16   4   bytes of the whole file
 *   20   4   bytes t of the layer table, 4 more than a multiple of 8
 *   24   4   bytes p of the payload
 *   28   2   entries of the layer table
 *   30   2   layers
 *   32   4   sequence number: where rollback protection is on, one below the floor is refused
 *   36   4   0
 *   40  24   name, UTF-8, filled up with zeros
 *   64  60   methods, as text, filled up with zeros
 *   124  4   CRC
 *   128  t   layer table: entries of 12 bytes, then the names of the layers, each ended by a zero; filled up with zeros
 *        4   CRC
 *        p   payload: the values in the order of the table, filled up with zeros to a multiple of 4
 *        4   CRC
 *   [    32  BLAKE2b-256 of everything before it;  4  CRC ]
 *   [    32  public key;  64  EdDSA signature (Monocypher's, with BLAKE2b) of everything before the key;  4  CRC ]
 *
 * An entry: layer (u16), role (u8), type (u8: 1 int8, 2 int32), rows (u32), columns (u32). The payload starts at a multiple of 8.
 * A CRC is the CRC-32 of IEEE 802.3 (reflected) of its section, continued from the CRC of the section before: sections of two files do not go
 * together.
 *
 * Who may change a model. Without a public key anybody who can reach the calls may: files are checked for damage only. With one, values come in
 * by three ways and no other: the firmware itself, an adapter that the key's owner signed, and train_step of a build that has training.
 * A state is not signed, so none is taken from outside (KT_ERROR_UNSIGNED of kt/model.h); what train_step made can be exported, but no
 * device with the key loads it before the owner has signed it. train_step itself asks for no signature: whoever can call it, teaches. */
#ifndef KT_ADAPTER_H
#define KT_ADAPTER_H

#include "kt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KT_ADAPTER_VERSION 1
#define KT_ADAPTER_HEADER 128u
#define KT_ADAPTER_ENTRY 12u
#define KT_ADAPTER_DIGEST 36u
#define KT_ADAPTER_SIGNATURE 100u

/* Offset of the payload in a file with a table of t bytes. */
#define KT_ADAPTER_PAYLOAD(t) (KT_ADAPTER_HEADER + (t) + 4u)

/* What a value has to keep where the build computes without some channels, which are constant and which its own training cannot move. In these
 * channels codes are 0, and a bias is at most the channel's limit where KT_AT_MOST is set in its number, and at least it otherwise. */
#define KT_AT_MOST 0x8000u
typedef struct {
    uint16_t entry; /* of the layer table */
    uint16_t count;
    const uint16_t *channels;
    const int32_t *limits; /* NULL: codes */
} kt_channel_limits;

/* What a model takes: a constant of the generated code. */
struct kt_adapter_layout {
    const uint8_t *base_hash; /* 8 bytes */
    const uint8_t *table;     /* the layer table as a file holds it */
    const char *methods;
    uint32_t table_bytes;
    uint32_t payload_bytes;
    uint16_t entries;
    uint16_t layers;
    /* NULL: adapters are checked for damage, not for origin. Else a file needs the signature of this key (32 bytes). */
    const uint8_t *public_key;
    int (*verify)(const uint8_t *file, size_t signed_bytes, const uint8_t public_key[32]);
    uint32_t *floor; /* rollback protection: the lowest sequence number taken, which slots raise; NULL: any */
    const kt_channel_limits *limits;
    uint16_t limit_count;
};

/* A file that was checked. Valid as long as its bytes are. */
typedef struct {
    const uint8_t *file;
    const uint8_t *table;
    const uint8_t *payload;
    uint32_t bytes;
    uint32_t sequence;
    int in_place; /* the payload has the layout of the model: what inference reads may point to it */
} kt_adapter;

/* CRC-32 of `length` bytes; start with crc = 0, or continue from an earlier call's result. */
uint32_t kt_crc32(uint32_t crc, const void *data, size_t length);

/* Check a file for this model; nothing but *adapter is written. Ranks and widths may be lower than the model's.
 * KT_ERROR_ADAPTER: no adapter, truncated, oversized or damaged. KT_ERROR_VERSION: another version of the format, or a sequence number
 * below the floor.
 * KT_ERROR_BASE: of another base model, other methods or layers, or of a higher rank. KT_ERROR_SIGNATURE: not signed by the key.
 * KT_ERROR_CHANNEL: it moves a channel that the build computes without (kt_adapter_moved says which): build with constant_channels="frozen". */
kt_status kt_adapter_open(kt_adapter *adapter, const void *file, size_t length, const kt_adapter_layout *layout);

/* The first channel of the model that a file moves and may not: of a file for which kt_adapter_open gave KT_ERROR_CHANNEL. */
typedef struct {
    const char *layer; /* its name in the model */
    uint32_t channel;
} kt_moved_channel;

kt_moved_channel kt_adapter_moved(const void *file, const kt_adapter_layout *layout);

/* Whether a value keeps its limits; entry: its entry of the layer table, with its extents. */
int kt_keeps_channels(const kt_channel_limits *limits, const uint8_t *entry, const void *value);

/* From now on only sequence numbers from `sequence` on are taken; a lower floor than before changes nothing, nor does any without rollback
 * protection. Firmware that keeps the floor where it outlives the flash of the slots calls it before the first adapter is opened. */
void kt_adapter_raise_floor(const kt_adapter_layout *layout, uint32_t sequence);

/* Reads the values of a checked file in the order of the model's table. */
typedef struct {
    const uint8_t *from;  /* next entry of the file */
    const uint8_t *to;    /* next entry of the model */
    const uint8_t *bytes; /* next value */
} kt_adapter_reader;

kt_adapter_reader kt_adapter_read(const kt_adapter *adapter, const kt_adapter_layout *layout);

/* Copy the next value; rows and columns that the file does not have become zero, which adds nothing. */
void kt_adapter_next(kt_adapter_reader *reader, void *value);

/* Copy all values, one behind the other as in the model's payload: layout->payload_bytes. */
void kt_adapter_copy(const kt_adapter *adapter, const kt_adapter_layout *layout, void *values);

/* Bytes of a file of this model without digest and signature. */
size_t kt_adapter_bytes(const kt_adapter_layout *layout);

/* Write header, table and CRCs around a payload that already lies at KT_ADAPTER_PAYLOAD(table_bytes): no name, no digest, no signature.
 * Returns the bytes in all. */
size_t kt_adapter_seal(uint8_t *buffer, const kt_adapter_layout *layout);

/* Whether the section behind signed_bytes holds this key's signature of them: the `verify` of a layout. Needs monocypher.c. */
int kt_adapter_verify(const uint8_t *file, size_t signed_bytes, const uint8_t public_key[32]);

#ifdef __cplusplus
}
#endif
#endif
