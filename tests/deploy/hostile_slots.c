/* Slots with right checksums that say what they must not, updates that do not keep to the order, and flash that lies: one case for every
 * check of kt_slots_boot, kt_update_begin, kt_update_resume, kt_update_write and kt_update_install. */
#include "hostile.h"

enum { PAGE = 128, PAGES = 8, SLOT = PAGE * PAGES / 2, CAPACITY = SLOT - KT_SLOT_RECORD, WORD = 8 };

static uint64_t *cells; /* of exactly the flash's size */
static uint8_t *bytes;
static model m;
static kt_adapter_slots slots;

/* ---- The flash: fails at the operation that is asked for ---- */

static struct { int operations, erase_fails_at, write_fails_at, write_lies_at; } driver = {0, -1, -1, -1};

static int erase(void *context, uint32_t page)
{
    CHECK(context == &driver && page < PAGES);
    if (driver.operations++ == driver.erase_fails_at) return 1;
    memset(bytes + page * PAGE, 0xFF, PAGE);
    return 0;
}

static int write(void *context, uint32_t offset, const uint8_t *word)
{
    CHECK(context == &driver && offset % WORD == 0 && offset + WORD <= PAGE * PAGES);
    const int at = driver.operations++;
    for (int i = 0; i < WORD; i++) {
        CHECK(bytes[offset + (uint32_t)i] == 0xFF);
        bytes[offset + (uint32_t)i] = at == driver.write_lies_at && i == WORD - 1 ? (uint8_t)~word[i] : word[i];
    }
    return at == driver.write_fails_at; /* a driver may fail and have written */
}

static kt_flash flash = {NULL, PAGE, PAGES, WORD, erase, write, &driver};

static void honest(void)
{
    driver.operations = 0, driver.erase_fails_at = driver.write_fails_at = driver.write_lies_at = -1;
}

static kt_status boot(void)
{
    memset(&slots, 0xEE, sizeof slots), memset(&m, 0, sizeof m);
    return kt_slots_boot(&slots, &flash, &interface, &m);
}

/* Whether the file in this slot is the one that runs; -1: the base model. */
static int runs(int slot)
{
    if (slot < 0) return m.values == NULL && slots.active.file == NULL;
    return slots.active.file == bytes + slot * SLOT + KT_SLOT_RECORD && m.values == slots.active.payload;
}

static adapter_file with(uint32_t sequence, uint8_t fill)
{
    content c = usual();
    c.sequence = sequence, c.fill = fill;
    return made(&c);
}

/* A slot as an attacker would write it: any record, with a right checksum. */
static void plant(int slot, const adapter_file *f, uint32_t counter, uint32_t length)
{
    uint8_t *const at = bytes + slot * SLOT;
    memset(at, 0xFF, SLOT);
    memcpy(at, "KTS1", 4), put(at + 4, counter, 4), put(at + 8, length, 4), put(at + 12, kt_crc32(0, at, 12), 4);
    memcpy(at + KT_SLOT_RECORD, f->bytes, f->length);
}

static void clear(void)
{
    honest();
    memset(bytes, 0xFF, PAGE * PAGES);
}

/* ---- usable(): records ---- */

static void records(void)
{
    const adapter_file f = with(1, 1);
    const uint32_t lengths[] = {0, 1, 127, f.length - 1, f.length + 1, CAPACITY, CAPACITY + 1, SLOT, 0x7FFFFFFF, 0xFFFFFFFF};
    current = "a record's length";
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        clear(), plant(1, &f, 1, lengths[i]);
        CHECK(boot() == KT_OK && runs(-1));
    }
    clear(), plant(1, &f, 1, f.length);
    CHECK(boot() == KT_OK && runs(1) && slots.other == 0 && slots.counter == 1);
    for (uint32_t i = 0; i < 16; i++) {
        current = i < 4 ? "a record's magic" : "a record's checksum";
        clear(), plant(1, &f, 1, f.length);
        bytes[SLOT + i] ^= 1;
        if (i < 4) put(bytes + SLOT + 12, kt_crc32(0, bytes + SLOT, 12), 4);
        CHECK(boot() == KT_OK && runs(-1));
    }
    current = "a file that reaches into the other slot";
    content c = usual();
    c.table = 128 * 3 + 84; /* longer than a slot, and whole */
    const adapter_file long_one = made(&c);
    CHECK(long_one.length > CAPACITY);
    clear(), plant(0, &long_one, 1, long_one.length);
    CHECK(boot() == KT_OK && runs(-1));
    current = "a file that reaches beyond the flash";
    adapter_file beyond = with(1, 1);
    put(beyond.bytes + 20, 4 * PAGE + 84, 4), put(beyond.bytes + 16, beyond.length + 4 * PAGE, 4);
    reseal(&beyond);
    clear(), plant(1, &beyond, 1, beyond.length + 4 * PAGE);
    CHECK(boot() == KT_OK && runs(-1));
}

/* The newest of two, whatever its slot; and the counter goes on after its last value. */
static void counters(void)
{
    const adapter_file a = with(1, 1), b = with(2, 2);
    const uint32_t cases[][3] = { /* counters of both slots, and which is the newer */
        {1, 2, 1}, {2, 1, 0}, {0xFFFFFFFF, 0, 1}, {0, 0xFFFFFFFF, 0}, {0x7FFFFFFF, 0x80000000, 1}, {5, 0x80000004, 1}, {5, 0x80000006, 0}, {7, 7, 0},
    };
    current = "counters";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        clear(), plant(0, &a, cases[i][0], a.length), plant(1, &b, cases[i][1], b.length);
        CHECK(boot() == KT_OK && runs((int)cases[i][2]) && slots.other == 1 - cases[i][2]);
    }
    clear(), plant(0, &a, 0xFFFFFFFE, a.length);
    CHECK(boot() == KT_OK && runs(0));
    for (int i = 1; i < 5; i++) { /* 0xFFFFFFFF, 0, 1, 2 */
        const adapter_file next = with(1 + (uint32_t)i, (uint8_t)(1 + i));
        CHECK(kt_update_begin(&slots, next.length) == KT_OK && kt_update_write(&slots, 0, next.bytes, next.length) == KT_OK);
        CHECK(kt_update_install(&slots, NULL, NULL) == KT_OK && runs(i % 2) && boot() == KT_OK && runs(i % 2));
        CHECK(slots.counter == 0xFFFFFFFEu + (uint32_t)i);
    }
}

static void descriptions(void)
{
    const kt_flash right = flash;
    const struct { const char *what; kt_flash flash; } cases[] = {
        {"base", {bytes + 4, PAGE, PAGES, WORD, erase, write, &driver}}, {"page of 0", {bytes, 0, PAGES, WORD, erase, write, &driver}},
        {"page of 48", {bytes, 48, PAGES, WORD, erase, write, &driver}}, {"no pages", {bytes, PAGE, 0, WORD, erase, write, &driver}},
        {"odd pages", {bytes, PAGE, PAGES - 1, WORD, erase, write, &driver}}, {"word of 0", {bytes, PAGE, PAGES, 0, erase, write, &driver}},
        {"word of 3", {bytes, PAGE, PAGES, 3, erase, write, &driver}}, {"word of 64", {bytes, PAGE, PAGES, 64, erase, write, &driver}},
    };
    clear();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        current = cases[i].what;
        flash = cases[i].flash;
        CHECK(boot() == KT_ERROR_ARGUMENT);
    }
    flash = right;
    CHECK(boot() == KT_OK);
}

/* ---- start(): sizes and offsets ---- */

static void starts(void)
{
    const adapter_file a = with(1, 1), b = with(2, 2);
    clear(), plant(0, &a, 1, a.length);
    CHECK(boot() == KT_OK && runs(0));
    current = "sizes";
    CHECK(kt_slots_capacity(&slots) == CAPACITY);
    CHECK(kt_update_begin(&slots, 0) == KT_ERROR_MISSING && kt_update_begin(&slots, CAPACITY + 1) == KT_ERROR_FULL);
    CHECK(kt_update_begin(&slots, 0xFFFFFFFF) == KT_ERROR_FULL && driver.operations == 0);
    CHECK(kt_update_begin(&slots, CAPACITY) == KT_OK && driver.operations == 1);
    current = "offsets";
    for (uint32_t at = 1; at <= 300; at++) {
        const kt_status wanted = at <= 290 && (at + KT_SLOT_RECORD) % PAGE == 0 ? KT_OK : KT_ERROR_MISSING;
        CHECK(kt_update_resume(&slots, 290, at) == wanted);
        CHECK(slots.expected == (at < 96 ? CAPACITY : 290)); /* what is refused leaves the update under way */
    }
    CHECK(kt_update_resume(&slots, 290, 0xFFFFFFE0) == KT_ERROR_MISSING);
    current = "a record in front of what is kept";
    for (uint32_t i = 0; i < KT_SLOT_RECORD; i++) {
        clear(), plant(0, &a, 1, a.length);
        bytes[SLOT + i] = 0xFE;
        CHECK(boot() == KT_OK && kt_update_resume(&slots, 290, PAGE - KT_SLOT_RECORD) == KT_ERROR_MISSING && slots.expected == 0);
    }
    current = "an update given up";
    clear(), plant(0, &a, 1, a.length);
    CHECK(boot() == KT_OK && kt_update_begin(&slots, b.length) == KT_OK && kt_update_write(&slots, 0, b.bytes, 200) == KT_OK);
    CHECK(kt_update_begin(&slots, b.length) == KT_OK && kt_update_write(&slots, 8, b.bytes + 8, 8) == KT_ERROR_MISSING);
    CHECK(kt_update_write(&slots, 0, b.bytes, 240) == KT_OK && kt_update_resume(&slots, b.length, 96) == KT_OK); /* goes on in its second page */
    CHECK(kt_update_write(&slots, 96, b.bytes + 96, b.length - 96) == KT_OK);
    kt_update_abandon(&slots);
    CHECK(kt_update_write(&slots, 0, b.bytes, 8) == KT_ERROR_MISSING && kt_update_install(&slots, NULL, NULL) == KT_ERROR_MISSING && runs(0));
    CHECK(kt_update_resume(&slots, b.length, 224) == KT_OK && kt_update_write(&slots, 224, b.bytes + 224, b.length - 224) == KT_OK);
    CHECK(kt_update_install(&slots, NULL, NULL) == KT_OK && runs(1) && boot() == KT_OK && runs(1));
    current = "a page that cannot be erased";
    CHECK(kt_update_begin(&slots, a.length) == KT_OK);
    honest(), driver.erase_fails_at = 0;
    CHECK(kt_update_begin(&slots, a.length) == KT_ERROR_FLASH && slots.expected == 0 && runs(1));
}

/* ---- kt_update_write: chunks ---- */

static void chunks(void)
{
    const adapter_file a = with(1, 1), b = with(2, 2);
    clear(), plant(0, &a, 1, a.length);
    CHECK(boot() == KT_OK && kt_update_write(&slots, 0, b.bytes, 8) == KT_ERROR_MISSING && kt_update_begin(&slots, b.length) == KT_OK);
    const struct { const char *what; uint32_t at, count; kt_status wanted; int operations; } cases[] = {
        {"ahead of what is written", 8, 8, KT_ERROR_MISSING, 0}, {"far ahead", 0xFFFFFFF8, 16, KT_ERROR_MISSING, 0},
        {"one byte", 0, 1, KT_ERROR_MISSING, 0}, {"no whole words", 0, 12, KT_ERROR_MISSING, 0}, {"beyond the size", 0, b.length + 1, KT_ERROR_FULL, 0},
        {"no end", 0, 0xFFFFFFFF, KT_ERROR_FULL, 0}, {"nothing", 0, 0, KT_OK, 0}, {"two words", 0, 16, KT_OK, 2}, {"again", 0, 16, KT_OK, 0},
        {"half again", 8, 16, KT_OK, 1}, {"a part of what is there", 3, 6, KT_OK, 0}, {"a part that ends within a word", 8, 20, KT_ERROR_MISSING, 0},
        {"beyond the size from here", 24, b.length - 23, KT_ERROR_FULL, 0}, {"to the first page's end", 24, 72, KT_OK, 9},
        {"a page, which is erased first", 96, 128, KT_OK, 17},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        current = cases[i].what;
        honest();
        CHECK(kt_update_write(&slots, cases[i].at, b.bytes + (cases[i].at & 0xFF), cases[i].count) == cases[i].wanted);
        CHECK(driver.operations == cases[i].operations);
    }
    current = "what was written";
    CHECK(memcmp(bytes + SLOT + KT_SLOT_RECORD, b.bytes, 224) == 0 && kt_update_install(&slots, NULL, NULL) == KT_ERROR_MISSING);
    CHECK(kt_update_write(&slots, 224, b.bytes + 224, b.length - 224) == KT_OK && kt_update_install(&slots, NULL, NULL) == KT_OK && runs(1));
    CHECK(kt_update_install(&slots, NULL, NULL) == KT_ERROR_MISSING);
}

static void hashes(void)
{
    clear();
    CHECK(boot() == KT_OK);
    slots.other = 1; /* its end is that of the flash */
    current = "hashes";
    CHECK(kt_update_hash(&slots, 0, 0) == 0x811C9DC5 && kt_update_hash(&slots, 0, 1) == (0x811C9DC5u ^ 0xFF) * 0x01000193u);
    CHECK(kt_update_hash(&slots, 0, CAPACITY) != 0 && kt_update_hash(&slots, CAPACITY, CAPACITY) != 0);
    CHECK(kt_update_hash(&slots, 0, CAPACITY + 1) == 0 && kt_update_hash(&slots, 2, 1) == 0 && kt_update_hash(&slots, 0, 0xFFFFFFFF) == 0);
    CHECK(kt_update_page(&slots, 0) == 0 && kt_update_page(&slots, 1) == 96 && kt_update_page(&slots, 2) == 224);
}

/* ---- Flash that fails or lies, at every operation of an update ---- */

static void bad_flash(void)
{
    const adapter_file a = with(1, 1), b = with(2, 2);
    for (int kind = 0; kind < 3; kind++) {
        current = kind == 0 ? "an erase that fails" : kind == 1 ? "a write that fails" : "a write that lies";
        int failures = 0, installed = 0;
        for (int at = 0; !installed; at++) {
            clear(), plant(0, &a, 1, a.length);
            CHECK(boot() == KT_OK);
            *(kind == 0 ? &driver.erase_fails_at : kind == 1 ? &driver.write_fails_at : &driver.write_lies_at) = at;
            kt_status status = kt_update_begin(&slots, b.length);
            for (uint32_t i = 0; i < b.length && status == KT_OK; i += 96)
                status = kt_update_write(&slots, i, b.bytes + i, b.length - i < 96 ? b.length - i : 96);
            if (status == KT_OK) status = kt_update_install(&slots, NULL, NULL);
            installed = at >= driver.operations; /* the failure would have come later */
            failures += status == KT_ERROR_FLASH;
            CHECK(status == KT_OK ? runs(1) : status == KT_ERROR_FLASH && runs(0) && slots.expected == 0);
            CHECK(status == KT_OK || kt_update_write(&slots, 0, b.bytes, 8) == KT_ERROR_MISSING);
            CHECK(boot() == KT_OK && (status == KT_OK ? runs(1) : runs(0)));
        }
        CHECK(failures == (kind == 0 ? 3 : 35 + 2)); /* pages of the file; words of the file and of the record */
    }
}

/* ---- kt_update_install ---- */

static kt_status install(const adapter_file *f, const kt_self_test *test)
{
    static int8_t output[2];
    CHECK(kt_update_begin(&slots, f->length) == KT_OK && kt_update_write(&slots, 0, f->bytes, f->length) == KT_OK);
    return kt_update_install(&slots, test, output);
}

/* Byte i of the values says class 1 for sample i where it is odd. */
static void self_tests(void)
{
    static const int8_t samples[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    static const int32_t none[8] = {0}, all[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    adapter_file even = with(1, 1), odd = with(1, 1);
    for (uint32_t i = 0; i < 8; i++) even.bytes[even.payload + i] = 2, odd.bytes[odd.payload + i] = i < 3;
    reseal(&even), reseal(&odd);
    current = "the self test";
    for (uint32_t permitted = 0; permitted < 6; permitted++) { /* from 0 wrong to 3 */
        const kt_self_test test = {samples, none, 8, permitted};
        clear(), plant(0, &even, 1, even.length);
        CHECK(boot() == KT_OK && install(&odd, &test) == (permitted < 3 ? KT_ERROR_SELF_TEST : KT_OK) && runs(permitted < 3 ? 0 : 1));
        CHECK(boot() == KT_OK && runs(permitted < 3 ? 0 : 1));
    }
    const kt_self_test test = {samples, all, 8, 0}; /* from 8 wrong to 5: what gets better is always taken */
    clear(), plant(0, &even, 1, even.length);
    CHECK(boot() == KT_OK && install(&odd, &test) == KT_OK && runs(1));
    current = "a model that cannot infer";
    clear(), plant(0, &even, 1, even.length);
    CHECK(boot() == KT_OK);
    m.fails = 1;
    CHECK(install(&odd, &test) == KT_ERROR_SELF_TEST && runs(0));
}

static void installs(void)
{
    const adapter_file a = with(5, 1);
    content c = usual();
    current = "a lower rank in a slot";
    c.entries[LORA_A].rows = 1;
    const adapter_file low = made(&c);
    clear();
    CHECK(boot() == KT_OK && install(&low, NULL) == KT_OK && m.values == m.copy && boot() == KT_OK && m.values == m.copy && m.values[17] == 0);
    CHECK(install(&a, NULL) == KT_OK && runs(1));
    current = "what is no adapter of this model";
    adapter_file wrong = a;
    wrong.bytes[wrong.payload] ^= 1;
    CHECK(install(&wrong, NULL) == KT_ERROR_ADAPTER && runs(1) && slots.expected == 0);
    wrong = a, wrong.bytes[8] ^= 1;
    reseal(&wrong);
    CHECK(install(&wrong, NULL) == KT_ERROR_BASE && runs(1) && boot() == KT_OK && runs(1));
}

/* ---- Rollback protection ---- */

static void rollback(void)
{
    const adapter_file two = with(2, 2), three = with(3, 3), again = with(3, 4), four = with(4, 5);
    layout.floor = &lowest, lowest = 0;
    current = "a newer counter before a lower sequence number";
    clear(), plant(0, &three, 1, three.length), plant(1, &two, 2, two.length);
    CHECK(boot() == KT_OK && runs(0) && lowest == 3);
    clear(), plant(0, &two, 2, two.length), plant(1, &three, 1, three.length), lowest = 0;
    CHECK(boot() == KT_OK && runs(1) && lowest == 3 && slots.other == 0);
    current = "equal numbers";
    clear(), plant(0, &three, 1, three.length), plant(1, &again, 2, again.length), lowest = 0;
    CHECK(boot() == KT_OK && runs(1));
    current = "updates";
    CHECK(install(&two, NULL) == KT_ERROR_VERSION && install(&again, NULL) == KT_ERROR_VERSION && runs(1) && lowest == 3);
    driver.operations = 0, driver.write_fails_at = 39; /* the record: nothing is installed, and the floor stays */
    CHECK(install(&four, NULL) == KT_ERROR_FLASH && runs(1) && lowest == 3);
    honest();
    CHECK(install(&four, NULL) == KT_OK && runs(0) && lowest == 4);
    CHECK(model_load(&m, three.bytes, three.length) == KT_ERROR_VERSION && model_load(&m, four.bytes, four.length) == KT_OK);
    CHECK(boot() == KT_OK && runs(0) && lowest == 4);
    current = "a floor that the firmware has kept";
    clear(), plant(0, &three, 1, three.length), lowest = 0;
    kt_adapter_raise_floor(&layout, 4);
    CHECK(boot() == KT_OK && runs(-1) && install(&three, NULL) == KT_ERROR_VERSION && install(&four, NULL) == KT_OK && runs(0));
    layout.floor = NULL, lowest = 0;
}

int main(void)
{
    cells = malloc(PAGE * PAGES);
    bytes = (uint8_t *)cells, flash.base = bytes;
    begin();
    records();
    counters();
    descriptions();
    starts();
    chunks();
    hashes();
    bad_flash();
    self_tests();
    installs();
    rollback();
    free(cells);
    puts("passed");
    return 0;
}
