/* The file of an adapter: every check before the first byte is used. The layout is in kt/adapter.h. */
#include "kt/adapter.h"
#include "little_endian.h"

#include <string.h>

static const uint8_t magic[4] = {'K', 'T', 'A', 0x1A};

enum { HAS_DIGEST = 1, HAS_SIGNATURE = 2 };

/* The part of an entry's role that says which extent is a rank: the roles of kiloc/peft. */
enum { ROLE_LORA_A = 2, ROLE_LORA_B = 3, ROLE_ADAPTER_DOWN = 6, ROLE_ADAPTER_UP = 7 };

/* Larger sections are damage; sums of them cannot overflow. */
#define LARGEST 0x08000000u

uint32_t kt_crc32(uint32_t crc, const void *data, size_t length)
{
    /* One table entry a half byte: 64 bytes of flash instead of 1 KB. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *bytes = data;
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

static uint32_t filled(uint32_t bytes)
{
    return (bytes + 3u) & ~3u;
}

/* Whether a section has the CRC behind it, which continues the one in front of it. */
static int intact(const uint8_t *section, uint32_t bytes)
{
    return kt_crc32(kt_get32(section - 4), section, bytes) == kt_get32(section + bytes);
}

typedef struct {
    uint32_t rows;
    uint32_t columns;
    uint32_t width; /* bytes of an element */
} extent;

static extent extent_of(const uint8_t *entry)
{
    const extent e = {kt_get32(entry + 4), kt_get32(entry + 8), entry[3] == 2 ? 4u : 1u};
    return e;
}

/* Layer, role and type agree, and the extents too, but for a rank that may be lower. */
static int fits(const uint8_t *from, const uint8_t *to)
{
    const extent e = extent_of(from), wanted = extent_of(to);
    const uint8_t role = to[2];
    const int by_row = role == ROLE_LORA_A || role == ROLE_ADAPTER_DOWN;
    const int by_column = role == ROLE_LORA_B || role == ROLE_ADAPTER_UP;
    return memcmp(from, to, 4) == 0 && (e.rows == wanted.rows || (by_row && e.rows > 0 && e.rows < wanted.rows)) &&
           (e.columns == wanted.columns || (by_column && e.columns > 0 && e.columns < wanted.columns));
}

static kt_status check_table(kt_adapter *adapter, uint32_t payload_bytes, const kt_adapter_layout *layout)
{
    uint32_t total = 0;
    adapter->in_place = 1;
    for (uint32_t i = 0; i < layout->entries; i++) {
        const uint8_t *const from = adapter->table + KT_ADAPTER_ENTRY * i, *const to = layout->table + KT_ADAPTER_ENTRY * i;
        if (!fits(from, to)) {
            return KT_ERROR_BASE;
        }
        const extent e = extent_of(from);
        total += e.rows * e.columns * e.width;
        adapter->in_place &= memcmp(from, to, KT_ADAPTER_ENTRY) == 0;
    }
    return total == payload_bytes ? KT_OK : KT_ERROR_ADAPTER;
}

/* The first of the limited channels that a value moves, by number; limits->count where it moves none. */
static inline __attribute__((always_inline)) uint32_t moved_in(const kt_channel_limits *limits, const uint8_t *entry, const uint8_t *value)
{
    const extent e = extent_of(entry);
    const uint32_t block = e.rows > 1 ? e.columns * e.width : e.width;
    uint32_t i;
    for (i = 0; i < limits->count; i++) {
        const uint8_t *const at = value + (limits->channels[i] & ~KT_AT_MOST) * block;
        if (limits->limits != NULL) {
            const int32_t bias = (int32_t)kt_get32(at);
            if (limits->channels[i] & KT_AT_MOST ? bias > limits->limits[i] : bias < limits->limits[i]) {
                return i;
            }
        }
        for (uint32_t j = 0; limits->limits == NULL && j < block; j++) {
            if (at[j] != 0) {
                return i;
            }
        }
    }
    return i;
}

int kt_keeps_channels(const kt_channel_limits *limits, const uint8_t *entry, const void *value)
{
    return moved_in(limits, entry, value) == limits->count;
}

/* The same in a file whose table fits: limits and channel, or NULL where it moves none. */
static const kt_channel_limits *moved_by(const uint8_t *table, const uint8_t *payload, const kt_adapter_layout *layout, uint32_t *channel)
{
    for (uint32_t i = 0; i < layout->limit_count; i++) {
        const kt_channel_limits *const limits = &layout->limits[i];
        const uint8_t *value = payload;
        for (uint32_t entry = 0; entry < limits->entry; entry++) {
            const extent e = extent_of(table + KT_ADAPTER_ENTRY * entry);
            value += e.rows * e.columns * e.width;
        }
        const uint32_t moved = moved_in(limits, table + KT_ADAPTER_ENTRY * limits->entry, value);
        if (moved < limits->count) {
            *channel = limits->channels[moved] & ~KT_AT_MOST;
            return limits;
        }
    }
    return NULL;
}

kt_moved_channel kt_adapter_moved(const void *file, const kt_adapter_layout *layout)
{
    const uint8_t *const bytes = file;
    kt_moved_channel found = {"", 0};
    const kt_channel_limits *const limits =
        moved_by(bytes + KT_ADAPTER_HEADER, bytes + KT_ADAPTER_PAYLOAD(kt_get32(bytes + 20)), layout, &found.channel);
    if (limits != NULL) {
        const char *name = (const char *)layout->table + KT_ADAPTER_ENTRY * layout->entries;
        for (uint32_t before = kt_get16(layout->table + KT_ADAPTER_ENTRY * limits->entry); before > 0; name++) {
            before -= *name == 0;
        }
        found.layer = name;
    }
    return found;
}

__attribute__((cold))
kt_status kt_adapter_open(kt_adapter *adapter, const void *file, size_t length, const kt_adapter_layout *layout)
{
    const uint8_t *const bytes = file;
    if (bytes == NULL || length < KT_ADAPTER_HEADER || memcmp(bytes, magic, sizeof magic) != 0) {
        return KT_ERROR_ADAPTER;
    }
    if (kt_get16(bytes + 4) != KT_ADAPTER_VERSION) {
        return KT_ERROR_VERSION;
    }
    const uint32_t flags = kt_get16(bytes + 6), table = kt_get32(bytes + 20), payload = kt_get32(bytes + 24), entries = kt_get16(bytes + 28);
    if (kt_crc32(0, bytes, KT_ADAPTER_HEADER - 4) != kt_get32(bytes + KT_ADAPTER_HEADER - 4) || flags > 3u || table > LARGEST || payload > LARGEST || table % 8 != 4 ||
        entries * KT_ADAPTER_ENTRY > table) {
        return KT_ERROR_ADAPTER;
    }
    const uint32_t digest = KT_ADAPTER_PAYLOAD(table) + filled(payload) + 4;
    const uint32_t signature = digest + (flags & HAS_DIGEST ? KT_ADAPTER_DIGEST : 0);
    const uint32_t end = signature + (flags & HAS_SIGNATURE ? KT_ADAPTER_SIGNATURE : 0);
    if (length != end || kt_get32(bytes + 16) != end || !intact(bytes + KT_ADAPTER_HEADER, table) ||
        !intact(bytes + KT_ADAPTER_PAYLOAD(table), filled(payload)) || ((flags & HAS_DIGEST) && !intact(bytes + digest, KT_ADAPTER_DIGEST - 4)) ||
        ((flags & HAS_SIGNATURE) && !intact(bytes + signature, KT_ADAPTER_SIGNATURE - 4))) {
        return KT_ERROR_ADAPTER;
    }
    if (memcmp(bytes + 8, layout->base_hash, 8) != 0 || entries != layout->entries) {
        return KT_ERROR_BASE;
    }
    kt_adapter found = {bytes, bytes + KT_ADAPTER_HEADER, bytes + KT_ADAPTER_PAYLOAD(table), end, kt_get32(bytes + 32), 0};
    const kt_status status = check_table(&found, payload, layout);
    if (status != KT_OK) {
        return status;
    }
    if (layout->public_key != NULL && (!(flags & HAS_SIGNATURE) || !layout->verify(bytes, signature, layout->public_key))) {
        return KT_ERROR_SIGNATURE;
    }
    if (layout->floor != NULL && found.sequence < *layout->floor) {
        return KT_ERROR_VERSION;
    }
    uint32_t channel;
    if (moved_by(found.table, found.payload, layout, &channel) != NULL) {
        return KT_ERROR_CHANNEL;
    }
    *adapter = found;
    return KT_OK;
}

void kt_adapter_raise_floor(const kt_adapter_layout *layout, uint32_t sequence)
{
    if (layout->floor != NULL && sequence > *layout->floor) {
        *layout->floor = sequence;
    }
}

kt_adapter_reader kt_adapter_read(const kt_adapter *adapter, const kt_adapter_layout *layout)
{
    const kt_adapter_reader reader = {adapter->table, layout->table, adapter->payload};
    return reader;
}

void kt_adapter_next(kt_adapter_reader *reader, void *value)
{
    const extent e = extent_of(reader->from), wanted = extent_of(reader->to);
    const size_t row = (size_t)e.columns * e.width, wanted_row = (size_t)wanted.columns * e.width;
    uint8_t *to = value;
    for (uint32_t i = 0; i < wanted.rows; i++, to += wanted_row) {
        const size_t given = i < e.rows ? row : 0;
        memcpy(to, reader->bytes, given);
        memset(to + given, 0, wanted_row - given);
        reader->bytes += given;
    }
    reader->from += KT_ADAPTER_ENTRY;
    reader->to += KT_ADAPTER_ENTRY;
}

void kt_adapter_copy(const kt_adapter *adapter, const kt_adapter_layout *layout, void *values)
{
    uint8_t *to = values;
    kt_adapter_reader reader = kt_adapter_read(adapter, layout);
    for (uint32_t i = 0; i < layout->entries; i++) {
        const extent e = extent_of(reader.to);
        kt_adapter_next(&reader, to);
        to += e.rows * e.columns * e.width;
    }
}

size_t kt_adapter_bytes(const kt_adapter_layout *layout)
{
    return KT_ADAPTER_PAYLOAD(layout->table_bytes) + filled(layout->payload_bytes) + 4;
}

__attribute__((cold))
size_t kt_adapter_seal(uint8_t *buffer, const kt_adapter_layout *layout)
{
    const uint32_t payload = KT_ADAPTER_PAYLOAD(layout->table_bytes), end = payload + filled(layout->payload_bytes);
    memset(buffer, 0, KT_ADAPTER_HEADER);
    memcpy(buffer, magic, sizeof magic);
    kt_put16(buffer + 4, KT_ADAPTER_VERSION);
    memcpy(buffer + 8, layout->base_hash, 8);
    kt_put32(buffer + 16, end + 4);
    kt_put32(buffer + 20, layout->table_bytes);
    kt_put32(buffer + 24, layout->payload_bytes);
    kt_put16(buffer + 28, layout->entries);
    kt_put16(buffer + 30, layout->layers);
    for (size_t i = 0; i < 60 && layout->methods[i] != 0; i++) {
        buffer[64 + i] = (uint8_t)layout->methods[i];
    }
    kt_put32(buffer + KT_ADAPTER_HEADER - 4, kt_crc32(0, buffer, KT_ADAPTER_HEADER - 4));
    memcpy(buffer + KT_ADAPTER_HEADER, layout->table, layout->table_bytes);
    kt_put32(buffer + payload - 4, kt_crc32(kt_get32(buffer + KT_ADAPTER_HEADER - 4), layout->table, layout->table_bytes));
    memset(buffer + payload + layout->payload_bytes, 0, end - payload - layout->payload_bytes);
    kt_put32(buffer + end, kt_crc32(kt_get32(buffer + payload - 4), buffer + payload, end - payload));
    return end + 4;
}
