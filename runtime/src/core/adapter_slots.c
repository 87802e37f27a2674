/* Two slots in flash. The order of writes is what makes it safe: erase, file, check, self test, record. */
#include "kt/adapter_slots.h"
#include "little_endian.h"

#include <string.h>

static const uint8_t magic[4] = {'K', 'T', 'S', '1'};

static uint32_t slot_bytes(const kt_adapter_slots *slots)
{
    return slots->flash->pages / 2 * slots->flash->page_bytes;
}

static uint32_t slot_offset(const kt_adapter_slots *slots, uint32_t slot)
{
    return slot * slot_bytes(slots);
}

static const uint8_t *slot_file(const kt_adapter_slots *slots, uint32_t slot)
{
    return slots->flash->base + slot_offset(slots, slot) + KT_SLOT_RECORD;
}

uint32_t kt_slots_capacity(const kt_adapter_slots *slots)
{
    return slot_bytes(slots) - KT_SLOT_RECORD;
}

/* Whether a slot has a valid record and a whole adapter of this model. */
static int usable(const kt_adapter_slots *slots, uint32_t slot, kt_adapter *adapter, uint32_t *counter)
{
    const uint8_t *const record = slots->flash->base + slot_offset(slots, slot);
    const uint32_t bytes = kt_get32(record + 8);
    if (memcmp(record, magic, sizeof magic) != 0 || kt_get32(record + 12) != kt_crc32(0, record, 12) || bytes > kt_slots_capacity(slots)) {
        return 0;
    }
    *counter = kt_get32(record + 4);
    return kt_adapter_open(adapter, slot_file(slots, slot), bytes, slots->interface->adapter_layout) == KT_OK;
}

/* Values of an adapter in place; a lower rank is copied into the model's state. */
static kt_status activate(const kt_adapter_slots *slots, const kt_adapter *adapter)
{
    if (adapter->file != NULL && !adapter->in_place) {
        return slots->interface->adapter_load(slots->model, adapter->file, adapter->bytes);
    }
    slots->interface->adapter_select(slots->model, adapter->file == NULL ? NULL : adapter->payload);
    return KT_OK;
}

static int described(const kt_flash *flash)
{
    const uint32_t word = flash->word_bytes;
    return (uintptr_t)flash->base % KT_ALIGNMENT == 0 && word >= 1 && word <= 32 && (word & (word - 1)) == 0 && flash->page_bytes >= KT_SLOT_RECORD &&
           flash->page_bytes % 32 == 0 && flash->pages >= 2 && flash->pages % 2 == 0;
}

/* Whether a slot is newer than the one chosen so far: by its record, whose counter wraps; sequence numbers come first where they may not fall. */
static int newer(const kt_adapter_slots *slots, const kt_adapter *adapter, uint32_t counter)
{
    if (slots->active.file == NULL) {
        return 1;
    }
    if (slots->interface->adapter_layout->floor != NULL && adapter->sequence != slots->active.sequence) {
        return adapter->sequence > slots->active.sequence;
    }
    const uint32_t ahead = counter - slots->counter;
    return ahead > 0 && ahead < 0x80000000u;
}

kt_status kt_slots_boot(kt_adapter_slots *slots, const kt_flash *flash, const kt_model_interface *interface, void *model)
{
    memset(slots, 0, sizeof *slots);
    slots->flash = flash;
    slots->interface = interface;
    slots->model = model;
    if (interface->train_step != NULL || interface->adapter_layout == NULL) {
        return KT_ERROR_UNSUPPORTED;
    }
    if (!described(flash)) {
        return KT_ERROR_ARGUMENT;
    }
    for (uint32_t slot = 0; slot < 2; slot++) {
        kt_adapter adapter;
        uint32_t counter;
        if (usable(slots, slot, &adapter, &counter) && newer(slots, &adapter, counter)) {
            slots->active = adapter;
            slots->counter = counter;
            slots->other = (uint8_t)(1 - slot);
        }
    }
    if (slots->active.file != NULL) {
        kt_adapter_raise_floor(interface->adapter_layout, slots->active.sequence);
    }
    return activate(slots, &slots->active);
}

static int erased(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (bytes[i] != 0xFF) {
            return 0;
        }
    }
    return 1;
}

/* The first page of the inactive slot. */
static int erase_record(const kt_adapter_slots *slots)
{
    return slots->flash->erase(slots->flash->context, slots->other * slots->flash->pages / 2);
}

static kt_status start(kt_adapter_slots *slots, uint32_t bytes, uint32_t offset)
{
    if (bytes > kt_slots_capacity(slots)) {
        return KT_ERROR_FULL;
    }
    if (bytes == 0 || offset > bytes || (offset != 0 && (offset + KT_SLOT_RECORD) % slots->flash->page_bytes != 0)) {
        return KT_ERROR_MISSING;
    }
    if (offset != 0 && !erased(slots->flash->base + slot_offset(slots, slots->other), KT_SLOT_RECORD)) {
        return KT_ERROR_MISSING;
    }
    kt_update_abandon(slots);
    /* An older record must not vouch for what is written now: the first page goes first, also where the rest is kept. */
    if (offset == 0 && erase_record(slots) != 0) {
        return KT_ERROR_FLASH;
    }
    slots->expected = bytes;
    slots->written = offset;
    return KT_OK;
}

kt_status kt_update_begin(kt_adapter_slots *slots, uint32_t bytes)
{
    return start(slots, bytes, 0);
}

kt_status kt_update_resume(kt_adapter_slots *slots, uint32_t bytes, uint32_t offset)
{
    return start(slots, bytes, offset);
}

uint32_t kt_update_page(const kt_adapter_slots *slots, uint32_t page)
{
    return page == 0 ? 0 : page * slots->flash->page_bytes - KT_SLOT_RECORD;
}

uint32_t kt_update_hash(const kt_adapter_slots *slots, uint32_t from, uint32_t to)
{
    uint32_t hash = 0x811C9DC5u;
    if (from > to || to > kt_slots_capacity(slots)) {
        return 0;
    }
    for (uint32_t i = from; i < to; i++) {
        hash = (hash ^ slot_file(slots, slots->other)[i]) * 0x01000193u;
    }
    return hash;
}

/* One word of the inactive slot; what is left of the last one stays erased. */
static kt_status write_word(kt_adapter_slots *slots, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    const kt_flash *const flash = slots->flash;
    const uint32_t at = slot_offset(slots, slots->other) + offset;
    uint8_t word[32];
    memset(word, 0xFF, sizeof word);
    memcpy(word, data, bytes);
    if (flash->write(flash->context, at, word) != 0 || memcmp(flash->base + at, word, flash->word_bytes) != 0) {
        return KT_ERROR_FLASH;
    }
    return KT_OK;
}

void kt_update_abandon(kt_adapter_slots *slots)
{
    slots->expected = 0;
    slots->written = 0;
}

kt_status kt_update_write(kt_adapter_slots *slots, uint32_t offset, const void *data, uint32_t bytes)
{
    const kt_flash *const flash = slots->flash;
    const uint8_t *from = data;
    if (slots->expected == 0 || offset > slots->written) {
        return KT_ERROR_MISSING;
    }
    if (bytes > slots->expected || offset > slots->expected - bytes) {
        return KT_ERROR_FULL;
    }
    if (offset + bytes <= slots->written) {
        return KT_OK;
    }
    const uint32_t end = offset + bytes;
    from += slots->written - offset;
    if (end % flash->word_bytes != 0 && end != slots->expected) {
        return KT_ERROR_MISSING;
    }
    while (slots->written < end) {
        const uint32_t at = slots->written + KT_SLOT_RECORD, left = end - slots->written;
        const uint32_t step = left < flash->word_bytes ? left : flash->word_bytes;
        if (at % flash->page_bytes == 0 && flash->erase(flash->context, (slot_offset(slots, slots->other) + at) / flash->page_bytes) != 0) {
            kt_update_abandon(slots);
            return KT_ERROR_FLASH;
        }
        const kt_status status = write_word(slots, at, from, step);
        if (status != KT_OK) {
            kt_update_abandon(slots);
            return status;
        }
        slots->written += step;
        from += step;
    }
    return KT_OK;
}

/* The record that makes the other slot the newest. */
static kt_status commit(kt_adapter_slots *slots, uint32_t bytes)
{
    const uint32_t word = slots->flash->word_bytes;
    uint8_t record[KT_SLOT_RECORD];
    memset(record, 0xFF, sizeof record);
    memcpy(record, magic, sizeof magic);
    kt_put32(record + 4, slots->counter + 1);
    kt_put32(record + 8, bytes);
    kt_put32(record + 12, kt_crc32(0, record, 12));
    for (uint32_t at = 0; at < 16; at += word) {
        const kt_status status = write_word(slots, at, record + at, word);
        if (status != KT_OK) { /* the flash may have taken it nevertheless, and the next boot must not find it */
            (void)erase_record(slots);
            return status;
        }
    }
    return KT_OK;
}

/* Let the new adapter work, unless it makes the self test worse than permitted; the old one is active after an error. */
static kt_status try_out(kt_adapter_slots *slots, const kt_adapter *adapter, const kt_self_test *test, int8_t *output)
{
    const uint32_t before = test == NULL ? 0 : kt_self_test_errors(test, slots->interface, slots->model, output);
    kt_status status = activate(slots, adapter);
    if (status == KT_OK && test != NULL) {
        const uint32_t after = kt_self_test_errors(test, slots->interface, slots->model, output);
        status = after == UINT32_MAX || (after > before && after - before > test->permitted) ? KT_ERROR_SELF_TEST : KT_OK;
    }
    if (status == KT_OK) {
        status = commit(slots, adapter->bytes);
    }
    if (status != KT_OK) {
        (void)activate(slots, &slots->active);
    }
    return status;
}

kt_status kt_update_install(kt_adapter_slots *slots, const kt_self_test *test, int8_t *output)
{
    const kt_adapter_layout *const layout = slots->interface->adapter_layout;
    kt_adapter adapter;
    if (slots->expected == 0 || slots->written < slots->expected) {
        return KT_ERROR_MISSING;
    }
    const uint32_t bytes = slots->expected;
    kt_update_abandon(slots);
    kt_status status = kt_adapter_open(&adapter, slot_file(slots, slots->other), bytes, layout);
    if (status == KT_OK && layout->floor != NULL && slots->active.file != NULL && adapter.sequence <= slots->active.sequence) {
        status = KT_ERROR_VERSION;
    }
    if (status == KT_OK) {
        status = try_out(slots, &adapter, test, output);
    }
    if (status == KT_OK) {
        kt_adapter_raise_floor(layout, adapter.sequence);
        slots->active = adapter;
        slots->counter++;
        slots->other = (uint8_t)(1 - slots->other);
    }
    return status;
}

uint32_t kt_self_test_errors(const kt_self_test *test, const kt_model_interface *interface, void *model, int8_t *output)
{
    uint32_t errors = 0;
    for (uint32_t i = 0; i < test->samples; i++) {
        if (interface->infer(model, test->inputs + (size_t)i * interface->input_bytes, output) != KT_OK) {
            return UINT32_MAX;
        }
        uint32_t best = 0;
        for (uint32_t k = 1; k < interface->output_bytes; k++) {
            best = output[k] > output[best] ? k : best;
        }
        errors += test->labels[i] != (int32_t)best;
    }
    return errors;
}
