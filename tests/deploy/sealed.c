/* What a device writes itself: kt_adapter_seal, and kt_adapter_bytes, compared byte by byte with a file of the same content. */
#include "hostile.h"

/* Every byte behind the buffer and in front of it must stay. */
static void sealed_as(const char *what, const char *methods, uint32_t shown)
{
    const content c = usual();
    adapter_file expected = made(&c);
    uint8_t memory[1024 + 16];
    current = what;
    memset(memory, 0xEE, sizeof memory);
    layout.methods = methods, layout.layers = 0x0302;
    const size_t bytes = kt_adapter_bytes(&layout);
    CHECK(bytes == expected.length);
    memcpy(memory + 8 + expected.payload, expected.bytes + expected.payload, PAYLOAD_BYTES);
    CHECK(kt_adapter_seal(memory + 8, &layout) == bytes);
    memcpy(expected.bytes + expected.table, model_table, TABLE_BYTES);
    put(expected.bytes + 30, 0x0302, 2);
    put(expected.bytes + 32, 0, 4); /* a device numbers nothing and names nothing */
    memset(expected.bytes + 40, 0, 84);
    memcpy(expected.bytes + 64, methods, shown);
    reseal(&expected);
    CHECK(memcmp(memory + 8, expected.bytes, bytes) == 0);
    for (size_t i = 0; i < 8; i++) CHECK(memory[i] == 0xEE && memory[8 + bytes + i] == 0xEE);
    layout.methods = "lora r=2 all", layout.layers = 2;
    CHECK(opened(memory + 8, bytes, NULL) == KT_OK);
}

static void seals(void)
{
    char long_name[80];
    sealed_as("usual", "lora r=2 all", 12);
    sealed_as("no text", "", 0);
    memset(long_name, 'm', sizeof long_name);
    long_name[60] = 0;
    sealed_as("60 bytes of text", long_name, 60);
    long_name[60] = 'm', long_name[79] = 0;
    sealed_as("longer text is cut", long_name, 60);
}

/* The text of CRC-32: "123456789" has the check value CBF43926, also in two pieces. */
static void checksums(void)
{
    current = "checksums";
    CHECK(kt_crc32(0, "123456789", 9) == 0xCBF43926u && kt_crc32(0, "", 0) == 0);
    for (size_t n = 0; n <= 9; n++) CHECK(kt_crc32(kt_crc32(0, "123456789", n), "123456789" + n, 9 - n) == 0xCBF43926u);
    uint8_t every[256];
    for (int i = 0; i < 256; i++) every[i] = (uint8_t)i;
    CHECK(kt_crc32(0, every, 256) == 0x29058C73u);
}

/* Copied into memory of exactly the values' bytes; an adapter of lower ranks leaves zeros where it says nothing. */
static void copies(void)
{
    current = "copies";
    content c = usual();
    c.entries[LORA_A].rows = 1, c.entries[LORA_B].columns = 1, c.entries[DOWN].rows = 1, c.entries[UP].columns = 1;
    const adapter_file f = made(&c);
    kt_adapter adapter;
    CHECK(kt_adapter_open(&adapter, f.bytes, f.length, &layout) == KT_OK && !adapter.in_place && adapter.sequence == 5 && adapter.bytes == f.length);
    uint8_t *const values = malloc(PAYLOAD_BYTES);
    memset(values, 0xEE, PAYLOAD_BYTES);
    kt_adapter_copy(&adapter, &layout, values);
    uint32_t given = 0, at = 0;
    for (int e = 0; e < ENTRIES; e++) {
        const uint32_t width = model_entries[e].type == 2 ? 4 : 1;
        for (uint32_t row = 0; row < model_entries[e].rows; row++) {
            for (uint32_t b = 0; b < model_entries[e].columns * width; b++, at++) {
                const int there = row < c.entries[e].rows && b < c.entries[e].columns * width;
                CHECK(values[at] == (there ? (uint8_t)(1 + given) : 0));
                given += (uint32_t)there;
            }
        }
    }
    CHECK(at == PAYLOAD_BYTES);
    free(values);
}

int main(void)
{
    begin();
    seals();
    checksums();
    copies();
    puts("passed");
    return 0;
}
