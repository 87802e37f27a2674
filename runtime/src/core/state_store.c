/* A ring of records in flash. The order of writes is what makes it safe: erase, header, content, CRC of the content. */
#include "kt/state_store.h"
#include "little_endian.h"

#include <string.h>

#define NOWHERE UINT32_MAX

enum { AT_CRC = 16, AT_END = 24 };

static const uint8_t magic[4] = {'K', 'T', 'L', '1'};

static uint32_t rounded(uint32_t value, uint32_t to)
{
    return (value + to - 1) / to * to;
}

static uint32_t size_of(const kt_flash *flash)
{
    return flash->pages * flash->page_bytes;
}

static int described(const kt_flash *flash)
{
    const uint32_t word = flash->word_bytes;
    return (uintptr_t)flash->base % KT_ALIGNMENT == 0 && word >= 1 && word <= 8 && (word & (word - 1)) == 0 &&
           flash->page_bytes >= KT_STORE_RECORD && flash->page_bytes % KT_STORE_RECORD == 0 && flash->pages >= 2 &&
           flash->pages <= UINT32_MAX / 2 / flash->page_bytes;
}

static int has_header(const uint8_t *record)
{
    return memcmp(record, magic, sizeof magic) == 0 && kt_get32(record + AT_CRC) == kt_crc32(0, record, AT_CRC);
}

/* Whether the content behind a header is whole. */
static int is_whole(const kt_flash *flash, uint32_t at)
{
    const uint8_t *const record = flash->base + at;
    const uint32_t bytes = kt_get32(record + 8), crc = kt_get32(record + AT_END);
    return bytes <= size_of(flash) - at - KT_STORE_RECORD && kt_get32(record + AT_END + 4) == ~crc &&
           kt_crc32(0, record + KT_STORE_RECORD, bytes) == crc;
}

kt_status kt_store_open(kt_state_store *store, const kt_flash *flash)
{
    memset(store, 0, sizeof *store);
    store->flash = flash;
    store->at = NOWHERE;
    if (!described(flash)) {
        return KT_ERROR_ARGUMENT;
    }
    for (uint32_t at = 0; at < size_of(flash); at += KT_STORE_RECORD) {
        const uint8_t *const record = flash->base + at;
        if (!has_header(record)) {
            continue;
        }
        if (kt_get32(record + 12) > store->erasures) { /* also of one that is torn */
            store->erasures = kt_get32(record + 12);
        }
        const uint32_t ahead = kt_get32(record + 4) - store->sequence;
        if ((store->at == NOWHERE || (ahead > 0 && ahead < 0x80000000u)) && is_whole(flash, at)) {
            store->at = at;
            store->sequence = kt_get32(record + 4);
            store->bytes = kt_get32(record + 8);
        }
    }
    return KT_OK;
}

const void *kt_store_content(const kt_state_store *store, uint32_t *bytes)
{
    *bytes = store->at == NOWHERE ? 0 : store->bytes;
    return store->at == NOWHERE ? NULL : store->flash->base + store->at + KT_STORE_RECORD;
}

static int erased(const kt_flash *flash, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (flash->base[i] != 0xFF) {
            return 0;
        }
    }
    return 1;
}

/* The place number `choice` for a record of `length` bytes behind one that ends at `end`: next to it, on the next page, at the beginning. */
static uint32_t place(const kt_flash *flash, uint32_t end, int choice)
{
    return choice == 0 ? rounded(end, KT_STORE_RECORD) : choice == 1 ? rounded(end, flash->page_bytes) : 0;
}

/* Whether it can lie there: inside of the flash, and without erasing a page of the record in [from, end). */
static int harmless(const kt_flash *flash, uint32_t at, uint32_t length, uint32_t from, uint32_t end)
{
    const uint32_t size = size_of(flash);
    if (length > size || at > size - length) {
        return 0;
    }
    const uint32_t first = rounded(at, flash->page_bytes), last = rounded(at + length, flash->page_bytes);
    return first >= last || end <= first || from >= last;
}

/* Where the next record goes so that the one behind it has a place too, also where its first try next to this one is torn. */
static uint32_t next_place(const kt_state_store *store, uint32_t length)
{
    const kt_flash *const flash = store->flash;
    if (store->at == NOWHERE) {
        return length <= size_of(flash) ? 0 : NOWHERE;
    }
    const uint32_t end = store->at + KT_STORE_RECORD + store->bytes;
    for (int choice = 0; choice < 3; choice++) {
        const uint32_t at = place(flash, end, choice), page = rounded(at, flash->page_bytes);
        if (!harmless(flash, at, length, store->at, end) || (at < page && !erased(flash, at, page))) {
            continue;
        }
        for (int later = 1; later < 3; later++) {
            if (harmless(flash, place(flash, at + length, later), length, at, at + length)) {
                return at;
            }
        }
    }
    return NOWHERE;
}

/* Bytes at a multiple of a word; what is left of the last word stays erased. */
static int write_bytes(const kt_flash *flash, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    for (uint32_t done = 0; done < count; done += flash->word_bytes) {
        const uint32_t left = count - done;
        uint8_t word[8];
        memset(word, 0xFF, sizeof word);
        memcpy(word, bytes + done, left < flash->word_bytes ? left : flash->word_bytes);
        if (flash->write(flash->context, at + done, word) != 0 || memcmp(flash->base + at + done, word, flash->word_bytes) != 0) {
            return 0;
        }
    }
    return 1;
}

static int erase_pages(kt_state_store *store, uint32_t from, uint32_t to)
{
    const kt_flash *const flash = store->flash;
    for (uint32_t at = rounded(from, flash->page_bytes); at < to; at += flash->page_bytes) {
        if (flash->erase(flash->context, at / flash->page_bytes) != 0) {
            return 0;
        }
        store->erasures++;
    }
    return 1;
}

kt_status kt_store_save(kt_state_store *store, const void *content, uint32_t bytes)
{
    const kt_flash *const flash = store->flash;
    if (bytes > size_of(flash) - KT_STORE_RECORD) {
        return KT_ERROR_FULL;
    }
    if (store->at != NOWHERE && store->bytes == bytes && memcmp(flash->base + store->at + KT_STORE_RECORD, content, bytes) == 0) {
        return KT_OK;
    }
    const uint32_t length = KT_STORE_RECORD + bytes, at = next_place(store, length);
    if (at == NOWHERE) {
        return KT_ERROR_FULL;
    }
    if (!erase_pages(store, at, at + length)) {
        return KT_ERROR_FLASH;
    }
    uint8_t header[KT_STORE_RECORD];
    memset(header, 0, sizeof header);
    memcpy(header, magic, sizeof magic);
    kt_put32(header + 4, store->sequence + 1);
    kt_put32(header + 8, bytes);
    kt_put32(header + 12, store->erasures);
    kt_put32(header + AT_CRC, kt_crc32(0, header, AT_CRC));
    const uint32_t crc = kt_crc32(0, content, bytes);
    kt_put32(header + AT_END, crc);
    kt_put32(header + AT_END + 4, ~crc);
    if (!write_bytes(flash, at, header, AT_END) || !write_bytes(flash, at + KT_STORE_RECORD, content, bytes) ||
        !write_bytes(flash, at + AT_END, header + AT_END, KT_STORE_RECORD - AT_END)) {
        return KT_ERROR_FLASH;
    }
    store->at = at;
    store->bytes = bytes;
    store->sequence++;
    return KT_OK;
}
