/* Two slots driven by anybody: byte 0 chooses the flash, then operations follow, each a byte and its operands. Power is cut, writes fail and
 * lie, records and files are planted; whatever happens, what runs is a whole adapter that was there, or the base model. */
#include <setjmp.h>

#include "../../deploy/hostile.h"

enum { PAGES = 8, LARGEST_PAGE = 160 };

static const uint8_t *next, *last;
static uint64_t cells[PAGES * LARGEST_PAGE / 8];
static uint8_t *const bytes = (uint8_t *)cells;
static model m;
static kt_adapter_slots slots;
static jmp_buf power;
static int fails_in, how_it_fails, honest; /* in so many operations; 1 it says so, 2 it lies, 3 and 4 the power goes before and within */

static uint32_t take(int count)
{
    uint32_t value = 0;
    for (int i = 0; i < count; i++) value |= (uint32_t)(next < last ? *next++ : 0) << (8 * i);
    return value;
}

static int failure(void)
{
    return fails_in > 0 && --fails_in == 0 ? how_it_fails : 0;
}

static int erase(void *context, uint32_t page);
static int write(void *context, uint32_t offset, const uint8_t *word);
static kt_flash flash = {(const uint8_t *)cells, 64, PAGES, 8, erase, write, NULL};

static int erase(void *context, uint32_t page)
{
    (void)context;
    current = "erase";
    CHECK(page < PAGES && page / (PAGES / 2) == slots.other);
    const int failed = failure();
    if (failed == 1) return 1;
    if (failed == 3) longjmp(power, 1);
    memset(bytes + page * flash.page_bytes, 0xFF, failed >= 2 ? flash.page_bytes / 3 : flash.page_bytes);
    if (failed == 4) longjmp(power, 1);
    return 0;
}

static int write(void *context, uint32_t offset, const uint8_t *word)
{
    (void)context;
    current = "write";
    CHECK(offset % flash.word_bytes == 0 && offset + flash.word_bytes <= PAGES * flash.page_bytes);
    CHECK(offset / (flash.page_bytes * PAGES / 2) == slots.other);
    const int failed = failure();
    if (failed == 3) longjmp(power, 1);
    for (uint32_t i = 0; i < flash.word_bytes; i++) {
        CHECK(!honest || bytes[offset + i] == 0xFF); /* flash takes a word once */
        bytes[offset + i] &= failed >= 2 && i % 2 ? 0xA5 : word[i];
    }
    if (failed == 4) longjmp(power, 1);
    return failed == 1;
}

/* What runs is the base model, or a whole adapter of the active slot. */
static void whole(void)
{
    kt_adapter adapter;
    current = "what runs";
    if (slots.active.file == NULL) return;
    const uint32_t slot = 1u - slots.other, size = flash.page_bytes * PAGES / 2;
    CHECK(slots.active.file == bytes + slot * size + KT_SLOT_RECORD && slots.active.bytes <= size - KT_SLOT_RECORD);
    const uint32_t floor_before = lowest;
    lowest = 0;
    CHECK(kt_adapter_open(&adapter, slots.active.file, slots.active.bytes, &layout) == KT_OK);
    lowest = floor_before;
    CHECK(layout.floor == NULL || adapter.sequence >= lowest || lowest == 0);
    CHECK(m.values == (adapter.in_place ? adapter.payload : m.copy));
}

static void boot(void)
{
    memset(&slots, 0xEE, sizeof slots), memset(&m, 0, sizeof m);
    current = "boot";
    CHECK(kt_slots_boot(&slots, &flash, &interface, &m) == KT_OK);
    CHECK(slots.active.file != NULL || m.values == NULL);
}

static adapter_file file_of(void)
{
    content c = usual();
    c.sequence = take(1), c.fill = (uint8_t)take(1);
    const uint32_t more = take(1);
    if (more & 1) c.entries[LORA_A].rows = 1;
    c.flags = (uint16_t)(more >> 1 & 3);
    c.table += (more >> 3 & 3) * 8;
    adapter_file f = made(&c);
    if (more & 0x80) f.bytes[take(1)] = (uint8_t)take(1), reseal(&f);
    return f;
}

static void plant(void)
{
    const adapter_file f = file_of();
    const uint32_t size = flash.page_bytes * PAGES / 2, slot = take(1) & 1, counter = take(4), claimed = take(2);
    uint8_t *const to = bytes + slot * size;
    memset(to, 0xFF, size);
    memcpy(to, "KTS1", 4), put(to + 4, counter, 4), put(to + 8, claimed == 0 ? f.length : claimed, 4), put(to + 12, kt_crc32(0, to, 12), 4);
    memcpy(to + KT_SLOT_RECORD, f.bytes, f.length < size - KT_SLOT_RECORD ? f.length : size - KT_SLOT_RECORD);
    boot();
}

static void operation(uint32_t which)
{
    static const int8_t samples[4] = {0, 1, 2, 3};
    static const int32_t labels[4] = {0, 1, 0, 1};
    static adapter_file sent;
    static int8_t output[2];
    const kt_adapter before = slots.active;
    kt_status status = KT_OK;
    uint32_t offset, count, from;
    switch (which % 12) {
    case 0: boot(); return;
    case 1: sent = file_of(); status = kt_update_begin(&slots, sent.length); break;
    case 2: status = kt_update_begin(&slots, take(2)); break;
    case 3: offset = take(2), status = kt_update_resume(&slots, sent.length, offset); break;
    case 4: status = kt_update_resume(&slots, sent.length, kt_update_page(&slots, take(1) % PAGES)); break;
    case 5: offset = take(2), count = take(2), from = offset < 512 ? offset : 0; /* any chunk */
        status = kt_update_write(&slots, offset, sent.bytes + from, count < 512 ? count : 0xFFFFFFFF);
        break;
    case 6: if (sent.length > slots.written) status = kt_update_write(&slots, slots.written, sent.bytes + slots.written, sent.length - slots.written); break;
    case 7: {
        const kt_self_test test = {samples, labels, 4, take(1) % 5};
        status = kt_update_install(&slots, test.permitted == 4 ? NULL : &test, output);
        if (status == KT_OK) return;
        break;
    }
    case 8: kt_update_abandon(&slots); break;
    case 9: offset = take(2), (void)kt_update_hash(&slots, offset, take(2)); break;
    case 10: plant(); return;
    default: fails_in = (int)take(1), how_it_fails = 1 + (int)take(1) % 4, honest = 0; break;
    }
    current = "an update that is not installed";
    CHECK(memcmp(&before, &slots.active, sizeof before) == 0 && (status != KT_ERROR_FLASH || slots.expected == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t words[4] = {1, 8, 16, 32};
    next = data, last = data + size;
    begin();
    const uint32_t how = take(1);
    fails_in = 0, honest = 1, lowest = 0;
    layout.floor = how & 1 ? &lowest : NULL;
    flash.word_bytes = words[how >> 1 & 3], flash.page_bytes = how & 8 ? 160 : 96;
    memset(cells, how & 16 ? 0xFF : 0, sizeof cells);
    boot();
    while (next < last) {
        if (setjmp(power) == 0) {
            operation(take(1));
        } else {
            boot();
        }
        whole();
    }
    return 0;
}
