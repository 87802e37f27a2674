/* Files with right checksums that say what they must not: one case for every check of kt_adapter_open and of the pool. */
#include "hostile.h"

/* ---- What a header says ---- */

typedef struct { const char *what; uint32_t at; int bytes; uint64_t value; kt_status wanted; } change;

static const change headers[] = {
    {"nothing changed", 36, 4, 0, KT_OK},
    {"magic, first byte", 0, 1, 'X', KT_ERROR_ADAPTER},
    {"magic, last byte", 3, 1, 0x1B, KT_ERROR_ADAPTER},
    {"version 0", 4, 2, 0, KT_ERROR_VERSION},
    {"version 2", 4, 2, 2, KT_ERROR_VERSION},
    {"version 257", 4, 2, 257, KT_ERROR_VERSION},
    {"flag 4", 6, 2, 4, KT_ERROR_ADAPTER},
    {"flag 0x8000", 6, 2, 0x8000, KT_ERROR_ADAPTER},
    {"a digest that is not there", 6, 2, 1, KT_ERROR_ADAPTER},
    {"a signature that is not there", 6, 2, 2, KT_ERROR_ADAPTER},
    {"another base, first byte", 8, 1, 0, KT_ERROR_BASE},
    {"another base, last byte", 15, 1, 0, KT_ERROR_BASE},
    {"a total of 0", 16, 4, 0, KT_ERROR_ADAPTER},
    {"the largest total", 16, 4, 0xFFFFFFFF, KT_ERROR_ADAPTER},
    {"a table of 0", 20, 4, 0, KT_ERROR_ADAPTER},
    {"a table that overflows", 20, 4, 0xFFFFFFFC, KT_ERROR_ADAPTER},
    {"a payload of 0", 24, 4, 0, KT_ERROR_ADAPTER},
    {"one payload byte less", 24, 4, PAYLOAD_BYTES - 1, KT_ERROR_ADAPTER},
    {"one payload byte more", 24, 4, PAYLOAD_BYTES + 1, KT_ERROR_ADAPTER},
    {"a payload that overflows", 24, 4, 0xFFFFFFFF, KT_ERROR_ADAPTER},
    {"one entry less", 28, 2, ENTRIES - 1, KT_ERROR_BASE},
    {"one entry more", 28, 2, ENTRIES + 1, KT_ERROR_BASE},
    {"more entries than the table holds", 28, 2, 0xFFFF, KT_ERROR_ADAPTER},
    {"no entries", 28, 2, 0, KT_ERROR_BASE},
    {"sequence number 0", 32, 4, 0, KT_OK},
};

static void header_cases(void)
{
    const content c = usual();
    const adapter_file good = made(&c);
    CHECK(good.length == 128 + TABLE_BYTES + 4 + 60 + 4 && payload_of(&c) == PAYLOAD_BYTES);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        adapter_file f = good;
        current = headers[i].what;
        put(f.bytes + headers[i].at, headers[i].value, headers[i].bytes);
        reseal(&f);
        CHECK(opened(f.bytes, f.length, NULL) == headers[i].wanted);
    }
    current = "no file";
    CHECK(kt_adapter_open(NULL, NULL, 0, &layout) == KT_ERROR_ADAPTER);
    current = "cut short";
    for (uint32_t n = 0; n < good.length; n++) CHECK(opened(good.bytes, n, NULL) == KT_ERROR_ADAPTER);
    current = "the total alone is wrong";
    for (int by = -4; by <= 4; by++) {
        adapter_file f = good;
        put(f.bytes + 16, good.length + (uint32_t)by, 4);
        reseal(&f);
        CHECK(opened(f.bytes, f.length, NULL) == (by == 0 ? KT_OK : KT_ERROR_ADAPTER));
        CHECK(by == 0 || opened(f.bytes, good.length + (uint32_t)by, NULL) == KT_ERROR_ADAPTER); /* a length that agrees with it */
        CHECK(by <= 0 || opened(good.bytes, good.length + (uint32_t)by, NULL) == KT_ERROR_ADAPTER);
    }
}

/* ---- Sizes that wrap round 2^32, in files as short as they then claim to be ---- */

static void wrapping_cases(void)
{
    const content c = usual();
    const uint32_t cases[][3] = { /* table, payload, length */
        {0xFFFFFFFC, 4, 136}, {0xFFFFFFFC, PAYLOAD_BYTES, 192}, {0x80000004, 0x80000000, 140}, {TABLE_BYTES, 0xFFFFFFF0, 204},
        {TABLE_BYTES, 0xFFFFFFAC, 136}, {0x0800000C, PAYLOAD_BYTES, 276}, {TABLE_BYTES, 0x08000001, 276},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        adapter_file f = made(&c);
        current = "sizes that wrap";
        put(f.bytes + 20, cases[i][0], 4), put(f.bytes + 24, cases[i][1], 4), put(f.bytes + 16, cases[i][2], 4);
        reseal(&f);
        CHECK(opened(f.bytes, cases[i][2], NULL) == KT_ERROR_ADAPTER);
    }
}

/* ---- Tables ---- */

static void table_cases(void)
{
    content c = usual();
    kt_adapter adapter;
    for (c.table = 72; c.table <= 108; c.table += 4) { /* whole files, whose payload starts at multiples of 4 */
        const adapter_file f = made(&c);
        current = "where the payload starts";
        CHECK(opened(f.bytes, f.length, &adapter) == (c.table % 8 == 4 ? KT_OK : KT_ERROR_ADAPTER));
    }
    c = usual(), c.table = 4;
    current = "a table without room for its entries";
    adapter_file f = made(&c);
    put(f.bytes + 24, 4, 4), put(f.bytes + 16, 144, 4);
    f.digest = f.signature = f.length = 144;
    reseal(&f);
    CHECK(opened(f.bytes, f.length, NULL) == KT_ERROR_ADAPTER);
    c = usual(), c.count = ENTRIES + 1, c.table = 92;
    current = "an entry that the model has not";
    f = made(&c);
    CHECK(opened(f.bytes, f.length, NULL) == KT_ERROR_BASE);
}

static kt_status with_extents(int which, uint32_t rows, uint32_t columns)
{
    static char text[64];
    content c = usual();
    (void)snprintf(text, sizeof text, "entry %d of %lu x %lu", which, (unsigned long)rows, (unsigned long)columns);
    current = text;
    c.entries[which].rows = rows, c.entries[which].columns = columns;
    if ((uint64_t)rows * columns > 100) { /* what no file holds: the product wraps to what one does */
        adapter_file f;
        content usual_one = usual();
        f = made(&usual_one);
        put(f.bytes + f.table + 12 * which + 4, rows, 4), put(f.bytes + f.table + 12 * which + 8, columns, 4);
        reseal(&f);
        return opened(f.bytes, f.length, NULL);
    }
    const adapter_file f = made(&c);
    return opened(f.bytes, f.length, NULL);
}

/* A rank may be lower, and nothing else: LoRA's A and a bottleneck's down have one row a rank, B and up one column. */
static void entry_cases(void)
{
    for (int which = 0; which < ENTRIES; which++) {
        const uint32_t rows = model_entries[which].rows, columns = model_entries[which].columns;
        const int by_row = which == LORA_A || which == DOWN, by_column = which == LORA_B || which == UP;
        CHECK(with_extents(which, rows, columns) == KT_OK);
        CHECK(with_extents(which, rows - 1, columns) == (by_row ? KT_OK : KT_ERROR_BASE));
        CHECK(with_extents(which, rows, columns - 1) == (by_column ? KT_OK : KT_ERROR_BASE));
        CHECK(with_extents(which, rows + 1, columns) == KT_ERROR_BASE && with_extents(which, rows, columns + 1) == KT_ERROR_BASE);
        CHECK(with_extents(which, 0, columns) == KT_ERROR_BASE && with_extents(which, rows, 0) == KT_ERROR_BASE);
        CHECK(with_extents(which, columns, rows) == (rows == columns ? KT_OK : KT_ERROR_BASE));
        CHECK(with_extents(which, rows | 0x80000000u, columns) == KT_ERROR_BASE && with_extents(which, rows, columns | 0x80000000u) == KT_ERROR_BASE);
        for (int field = 0; field < 3; field++) {
            content c = usual();
            current = field == 0 ? "another layer" : field == 1 ? "another role" : "another type";
            if (field == 0) c.entries[which].layer ^= 1;
            if (field == 1) c.entries[which].role ^= 0x40;
            if (field == 2) c.entries[which].type ^= 3;
            const adapter_file f = made(&c);
            CHECK(opened(f.bytes, f.length, NULL) == KT_ERROR_BASE);
        }
    }
}

/* A file of a lower rank is read into zeros. */
static void lower_rank(void)
{
    content c = usual();
    kt_adapter adapter;
    uint8_t values[PAYLOAD_BYTES];
    current = "a lower rank";
    c.entries[LORA_A].rows = 1, c.entries[UP].columns = 1;
    const adapter_file f = made(&c);
    CHECK(kt_adapter_open(&adapter, f.bytes, f.length, &layout) == KT_OK && !adapter.in_place);
    memset(values, 0xEE, sizeof values);
    kt_adapter_copy(&adapter, &layout, values);
    CHECK(memcmp(values, f.bytes + f.payload, 12 + 5) == 0);
    for (int i = 0; i < 5; i++) CHECK(values[12 + 5 + i] == 0);
    CHECK(memcmp(values + 22, f.bytes + f.payload + 17, 8 + 9 + 8) == 0);
    for (int i = 0; i < 6; i++) CHECK(values[47 + 2 * i] == f.bytes[f.payload + 42 + (uint32_t)i] && values[48 + 2 * i] == 0);
}

/* ---- Checksums, signatures, the floor ---- */

static void section_cases(void)
{
    content c = usual();
    c.flags = 3;
    const adapter_file good = made(&c);
    CHECK(opened(good.bytes, good.length, NULL) == KT_OK);
    const uint32_t inside[] = {60, good.table + 1, good.payload + 1, good.digest + 1, good.signature + 1, good.digest - 2};
    current = "one byte of a section";
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        adapter_file f = good;
        f.bytes[inside[i]] ^= 0x10;
        CHECK(opened(f.bytes, f.length, NULL) == KT_ERROR_ADAPTER);
    }
}

static void signature_cases(void)
{
    content c = usual();
    layout.public_key = key, layout.verify = verify;
    for (c.flags = 0; c.flags < 4; c.flags++) {
        adapter_file f = made(&c);
        current = "signatures";
        expected_signed = f.signature;
        CHECK(opened(f.bytes, f.length, NULL) == KT_ERROR_SIGNATURE);
        if (c.flags & 2) memset(f.bytes + f.signature, 0x5A, 96);
        reseal(&f);
        CHECK(opened(f.bytes, f.length, NULL) == (c.flags & 2 ? KT_OK : KT_ERROR_SIGNATURE));
    }
    layout.public_key = NULL, layout.verify = NULL;
}

static void floor_cases(void)
{
    content c = usual();
    current = "the floor";
    kt_adapter_raise_floor(&layout, 9); /* without rollback protection nothing happens */
    CHECK(lowest == 0);
    layout.floor = &lowest;
    kt_adapter_raise_floor(&layout, 5), kt_adapter_raise_floor(&layout, 4);
    CHECK(lowest == 5);
    for (c.sequence = 3; c.sequence <= 7; c.sequence++) {
        const adapter_file f = made(&c);
        CHECK(opened(f.bytes, f.length, NULL) == (c.sequence < 5 ? KT_ERROR_VERSION : KT_OK));
    }
    layout.floor = NULL, lowest = 0;
}

/* ---- The pool ---- */

static void pool_files(void)
{
    static uint64_t region[64], memory[3 * 64 / 8];
    static kt_resident residents[4];
    kt_adapter_pool pool;
    content c = usual();
    const adapter_file f = made(&c);
    kt_pool_init(&pool, &layout, residents, 4, memory, sizeof memory);
    CHECK(pool.slots == 3 && pool.slot_bytes == 64);
    kt_pool_init(&pool, &layout, residents, 4, memory, sizeof memory - 1);
    CHECK(pool.slots == 2);
    current = "where a file lies";
    for (uint32_t at = 0; at < 16; at++) {
        uint8_t *const to = (uint8_t *)region + at;
        memcpy(to, f.bytes, f.length);
        CHECK(kt_pool_add(&pool, NULL, to, f.length) == (at % 8 == 0 ? KT_OK : KT_ERROR_BASE));
        CHECK(kt_pool_remove(&pool, "mine") == (at % 8 == 0 ? KT_OK : KT_ERROR_MISSING));
        CHECK(kt_pool_store(&pool, NULL, to, f.length) == KT_OK && kt_pool_remove(&pool, "mine") == KT_OK);
    }
    current = "a lower rank in place";
    c.entries[LORA_A].rows = 1;
    const adapter_file low = made(&c);
    memcpy(region, low.bytes, low.length);
    CHECK(kt_pool_add(&pool, NULL, region, low.length) == KT_ERROR_BASE && kt_pool_store(&pool, NULL, region, low.length) == KT_OK);
    current = "more slots than a number of 16 bits";
    kt_pool_init(&pool, &layout, residents, 4, memory, (size_t)64 << 17);
    CHECK(pool.slots == UINT16_MAX);
}

/* Regions of exactly their size: nothing behind them is read. */
static void pool_regions(void)
{
    static kt_resident residents[4];
    kt_adapter_pool pool;
    content c = usual();
    adapter_file f;
    current = "regions";
    for (int digest = 1; digest >= 0; digest--) { /* with one the length is no multiple of 8 */
        c.flags = (uint16_t)digest, f = made(&c);
        for (uint32_t kept = 0; kept <= f.length + 9; kept++) {
            uint8_t *const region = malloc(kept + !kept);
            memset(region, 0xFF, kept);
            memcpy(region, f.bytes, kept < f.length ? kept : f.length);
            kt_pool_init(&pool, &layout, residents, 4, NULL, 0);
            CHECK(kt_pool_add_region(&pool, region, kept) == (kept >= 128 && kept < f.length ? KT_ERROR_ADAPTER : KT_OK));
            CHECK((kt_pool_find(&pool, "mine") != NULL) == (kept >= f.length));
            free(region);
        }
    }
    const uint32_t totals[] = {0, 1, 127, f.length + 8, 0x7FFFFFFF, 0xFFFFFFF9, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        uint8_t *const region = malloc(f.length + 8);
        put(f.bytes + 16, totals[i], 4);
        reseal(&f);
        memset(region, 0, f.length + 8), memcpy(region, f.bytes, f.length);
        kt_pool_init(&pool, &layout, residents, 4, NULL, 0);
        CHECK(kt_pool_add_region(&pool, region, f.length + 8) == KT_ERROR_ADAPTER && kt_pool_find(&pool, "mine") == NULL);
        free(region);
    }
}

static void pool_floor(void)
{
    static uint64_t memory[2 * 64 / 8];
    static kt_resident residents[4];
    static model m;
    kt_adapter_pool pool;
    content c = usual();
    current = "what the floor says of a pool";
    layout.floor = &lowest;
    kt_pool_init(&pool, &layout, residents, 4, memory, sizeof memory);
    const adapter_file old = made(&c);
    c.sequence = 6, c.fill = 2;
    const adapter_file new = made(&c);
    CHECK(kt_pool_store(&pool, "old", old.bytes, old.length) == KT_OK && kt_pool_store(&pool, "new", new.bytes, new.length) == KT_OK);
    CHECK(kt_pool_select(&pool, "old", &interface, &m) == KT_OK && kt_pool_find(&pool, "old") == m.values);
    kt_adapter_raise_floor(&layout, 6);
    CHECK(kt_pool_select(&pool, "new", &interface, &m) == KT_OK && m.values == kt_pool_find(&pool, "new"));
    CHECK(kt_pool_select(&pool, "old", &interface, &m) == KT_ERROR_VERSION && m.values == pool.active && kt_pool_find(&pool, "old") == NULL);
    CHECK(m.values == kt_pool_find(&pool, "new") && kt_pool_select(&pool, "none", &interface, &m) == KT_ERROR_MISSING);
    CHECK(kt_pool_remove(&pool, "old") == KT_OK && kt_pool_store(&pool, "old", old.bytes, old.length) == KT_ERROR_VERSION);
    CHECK(kt_pool_select(&pool, NULL, &interface, &m) == KT_OK && m.values == NULL);
    layout.floor = NULL, lowest = 0;
}

int main(void)
{
    begin();
    header_cases();
    wrapping_cases();
    table_cases();
    entry_cases();
    lower_rank();
    section_cases();
    signature_cases();
    floor_cases();
    pool_files();
    pool_regions();
    pool_floor();
    puts("passed");
    return 0;
}
