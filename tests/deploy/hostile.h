/* A model of six values, files of its adapters with right checksums whatever they say, and a flash that fails when told to: what
 * hostile_files.c and hostile_slots.c share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kt/adapter_pool.h"
#include "kt/adapter_slots.h"

#define CHECK(condition) do { if (!(condition)) { printf("line %d, case %s: %s\n", __LINE__, current, #condition); exit(1); } } while (0)

static const char *current = "none";

/* ---- The model: one value for each kind of role ---- */

#define ENTRIES 6
#define TABLE_BYTES 84u /* 72 of entries, 8 of names, filled up to 4 more than a multiple of 8 */
#define PAYLOAD_BYTES 59u
#define BIAS 0
#define LORA_A 1
#define LORA_B 2
#define DELTA 3
#define DOWN 4
#define UP 5

typedef struct { uint16_t layer; uint8_t role, type; uint32_t rows, columns; } entry;
static const entry model_entries[ENTRIES] = {{0, 1, 2, 1, 3}, {0, 2, 1, 2, 5}, {1, 3, 1, 4, 2}, {1, 4, 1, 3, 3}, {0, 6, 1, 2, 4}, {1, 7, 1, 6, 2}};
static const uint8_t model_hash[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static uint8_t model_table[TABLE_BYTES];

static void put(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* ---- A file, from what it shall say ---- */

typedef struct {
    entry entries[ENTRIES + 1];
    uint32_t count, table, sequence;
    uint16_t flags;
    uint8_t fill; /* of the payload: byte i is fill + i */
} content;

typedef struct { uint8_t bytes[1024]; uint32_t length, table, payload, digest, signature; } adapter_file;

static content usual(void)
{
    content c = {.count = ENTRIES, .table = TABLE_BYTES, .sequence = 5, .fill = 1};
    memcpy(c.entries, model_entries, sizeof model_entries);
    return c;
}

static uint32_t payload_of(const content *c)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < ENTRIES; i++) total += c->entries[i].rows * c->entries[i].columns * (c->entries[i].type == 2 ? 4u : 1u);
    return total;
}

static void write_table(uint8_t *to, const content *c)
{
    for (uint32_t i = 0; i < c->count && 12 * (i + 1) <= c->table; i++) {
        put(to + 12 * i, c->entries[i].layer, 2), to[12 * i + 2] = c->entries[i].role, to[12 * i + 3] = c->entries[i].type;
        put(to + 12 * i + 4, c->entries[i].rows, 4), put(to + 12 * i + 8, c->entries[i].columns, 4);
    }
}

/* Every checksum anew: what is wrong with the file is in what it says. */
static void reseal(adapter_file *f)
{
    const uint32_t ends[5] = {124, f->payload - 4, f->digest - 4, f->signature - 4, f->length - 4};
    uint32_t start = 0, crc = 0;
    for (int i = 0; i < 5; i++) {
        if (ends[i] + 4 <= start) continue; /* a section that is not there */
        crc = kt_crc32(crc, f->bytes + start, ends[i] - start);
        put(f->bytes + ends[i], crc, 4);
        start = ends[i] + 4;
    }
}

static adapter_file made(const content *c)
{
    static const char methods[] = "lora r=2 all";
    const uint32_t payload = payload_of(c);
    adapter_file f;
    memset(&f, 0, sizeof f);
    f.table = 128, f.payload = 128 + c->table + 4, f.digest = f.payload + (payload + 3) / 4 * 4 + 4;
    f.signature = f.digest + (c->flags & 1 ? 36u : 0u), f.length = f.signature + (c->flags & 2 ? 100u : 0u);
    CHECK(f.length <= sizeof f.bytes);
    memcpy(f.bytes, "KTA\x1a", 4), put(f.bytes + 4, 1, 2), put(f.bytes + 6, c->flags, 2), memcpy(f.bytes + 8, model_hash, 8);
    put(f.bytes + 16, f.length, 4), put(f.bytes + 20, c->table, 4), put(f.bytes + 24, payload, 4), put(f.bytes + 28, c->count, 2);
    put(f.bytes + 30, 2, 2), put(f.bytes + 32, c->sequence, 4), memcpy(f.bytes + 40, "mine", 4), memcpy(f.bytes + 64, methods, sizeof methods);
    write_table(f.bytes + f.table, c);
    for (uint32_t i = 0; i < payload; i++) f.bytes[f.payload + i] = (uint8_t)(c->fill + i);
    reseal(&f);
    return f;
}

/* ---- Keys and floors: the signature of the model's key is made of 0x5A ---- */

static const uint8_t key[32] = {9};
static size_t expected_signed; /* 0: any */

static int verify(const uint8_t *file, size_t signed_bytes, const uint8_t public_key[32])
{
    CHECK((expected_signed == 0 || signed_bytes == expected_signed) && public_key == key);
    for (int i = 0; i < 96; i++) if (file[signed_bytes + (size_t)i] != 0x5A) return 0;
    return 1;
}

static uint32_t lowest;
static kt_adapter_layout layout = {.base_hash = model_hash, .table = model_table, .methods = "lora r=2 all", .table_bytes = TABLE_BYTES,
                                   .payload_bytes = PAYLOAD_BYTES, .entries = ENTRIES, .layers = 2};

/* Checked in memory of exactly its length: a byte read beyond it is a sanitizer's report. Nothing is written where it is refused. */
static kt_status opened(const uint8_t *bytes, size_t length, kt_adapter *found)
{
    uint8_t *const exact = malloc(length + !length);
    kt_adapter before, adapter;
    memset(&before, 0xEE, sizeof before), memset(&adapter, 0xEE, sizeof adapter);
    memcpy(exact, bytes, length);
    const kt_status status = kt_adapter_open(&adapter, exact, length, &layout);
    CHECK(status == KT_OK || memcmp(&adapter, &before, sizeof before) == 0);
    if (found != NULL) *found = adapter;
    free(exact);
    return status;
}

/* ---- The program: a model that says of sample i what byte i of its values says ---- */

typedef struct { const uint8_t *values; uint8_t copy[PAYLOAD_BYTES]; int fails; } model;

static kt_status model_infer(void *m, const int8_t *input, int8_t *output)
{
    const model *const self = m;
    output[0] = 0, output[1] = self->values != NULL && self->values[input[0]] % 2 != 0;
    return self->fails ? KT_ERROR_STATE : KT_OK;
}

static void model_select(void *m, const void *values)
{
    ((model *)m)->values = values;
}

static kt_status model_load(void *m, const void *file, size_t length)
{
    model *const self = m;
    kt_adapter adapter;
    const kt_status status = kt_adapter_open(&adapter, file, length, &layout);
    if (status == KT_OK) kt_adapter_copy(&adapter, &layout, self->copy), self->values = self->copy;
    return status;
}

static const kt_model_interface interface = {.name = "m", .base_hash = model_hash, .model_bytes = sizeof(model), .input_bytes = 1, .output_bytes = 2,
                                             .infer = model_infer, .adapter_load = model_load, .adapter_layout = &layout, .adapter_select = model_select};

static void begin(void)
{
    const content c = usual();
    write_table(model_table, &c);
    memcpy(model_table + 72, "one\0two", 8);
}
