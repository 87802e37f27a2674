/* store.c: saves into simulated flash. Power is cut at every write and every erasure; then the last whole content is there, and saving goes on.
 * Prints saves, erasures, bytes written and the most erasures of one page. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kt/state_store.h"

static uint64_t cells[PAGES * PAGE / 8];
static uint32_t wear[PAGES], writes;
static long budget = -1; /* operations until the power is cut; -1: never */

static int cut(void)
{
    return budget >= 0 && budget-- == 0;
}

static int erase_page(void *context, uint32_t page)
{
    (void)context;
    uint8_t *const at = (uint8_t *)cells + page * PAGE;
    if (cut()) { /* half of it */
        memset(at, 0xFF, PAGE / 2);
        budget = 0;
        return 1;
    }
    memset(at, 0xFF, PAGE);
    wear[page]++;
    return 0;
}

static int write_word(void *context, uint32_t offset, const uint8_t *word)
{
    uint8_t *const cell = (uint8_t *)cells + offset;
    (void)context;
    if (cut()) { /* some of its bits */
        cell[0] &= word[0] | 0x0F;
        budget = 0;
        return 1;
    }
    for (int i = 0; i < WORD; i++) {
        if ((cell[i] & word[i]) != word[i]) {
            printf("a byte at %u was not erased\n", offset + i);
            exit(1);
        }
        cell[i] &= word[i];
    }
    writes++;
    return 0;
}

static const kt_flash flash = {(const uint8_t *)cells, PAGE, PAGES, WORD, erase_page, write_word, NULL};

static void make(uint8_t *content, uint32_t bytes, uint32_t number)
{
    for (uint32_t i = 0; i < bytes; i++) {
        content[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
    }
}

static void expect(int holds, const char *what, uint32_t number)
{
    if (!holds) {
        printf("%s, save %u\n", what, number);
        exit(1);
    }
}

static int holds(const kt_state_store *store, uint32_t bytes, uint32_t number)
{
    static uint8_t expected[PAGES * PAGE];
    uint32_t found;
    const void *const content = kt_store_content(store, &found);
    make(expected, bytes, number);
    return content != NULL && found == bytes && memcmp(content, expected, bytes) == 0;
}

int main(int count, char **arguments)
{
    static uint8_t content[PAGES * PAGE];
    static uint64_t before[PAGES * PAGE / 8];
    const uint32_t bytes = (uint32_t)atoi(arguments[1]), saves = (uint32_t)atoi(arguments[2]);
    kt_state_store store, again;
    (void)count;
    memset(cells, 0xFF, sizeof cells);
    expect(kt_store_open(&store, &flash) == KT_OK && kt_store_content(&store, &(uint32_t){0}) == NULL, "an empty flash has a content", 0);
    for (uint32_t n = 1; n <= saves; n++) {
        make(content, bytes, n);
        for (long at = 0; n <= CUTS; at++) { /* every operation of this save */
            memcpy(before, cells, sizeof cells);
            const kt_state_store kept = store;
            budget = at;
            const kt_status status = kt_store_save(&store, content, bytes);
            const int done = budget > 0;
            budget = -1;
            expect(status == KT_OK || status == KT_ERROR_FLASH, "status of a save", n);
            expect(kt_store_open(&again, &flash) == KT_OK, "opened", n);
            if (n > 1 || again.at != UINT32_MAX) {
                expect(holds(&again, bytes, n) || (!done && n > 1 && holds(&again, bytes, n - 1)), "after a cut neither old nor new is there", n);
            }
            make(content, bytes, n + 1000); /* another content is taken by what was left */
            expect(kt_store_save(&again, content, bytes) == KT_OK && holds(&again, bytes, n + 1000), "a save after a cut", n);
            make(content, bytes, n);
            memcpy(cells, before, sizeof cells);
            store = kept;
            if (done) {
                break;
            }
        }
        if (n <= CUTS) {
            memset(wear, 0, sizeof wear);
            writes = 0;
        }
        expect(kt_store_save(&store, content, bytes) == KT_OK, "saved", n);
        const uint32_t erasures = store.erasures;
        expect(kt_store_save(&store, content, bytes) == KT_OK && store.erasures == erasures, "an equal content is written again", n);
        expect(kt_store_open(&again, &flash) == KT_OK && memcmp(&again, &store, sizeof store) == 0 && holds(&again, bytes, n), "opened again", n);
    }
    uint32_t most = 0, all = 0;
    for (int i = 0; i < PAGES; i++) {
        most = wear[i] > most ? wear[i] : most;
        all += wear[i];
    }
    printf("%u %u %u %u\n", saves, store.erasures, all, most);
    make(content, sizeof content, 1);
    expect(kt_store_save(&store, content, sizeof content - 32) == KT_ERROR_FULL && holds(&store, bytes, saves), "too large a content", saves);
    expect(kt_store_save(&store, content, sizeof content) == KT_ERROR_FULL, "a content beyond the flash", saves);
    const kt_flash wrong[] = {{flash.base, PAGE, 1, WORD, erase_page, write_word, NULL}, {flash.base, 48, PAGES, WORD, erase_page, write_word, NULL},
                              {flash.base, PAGE, PAGES, 16, erase_page, write_word, NULL}, {flash.base + 4, PAGE, PAGES, WORD, erase_page, write_word, NULL}};
    for (int i = 0; i < 4; i++) {
        expect(kt_store_open(&again, &wrong[i]) == KT_ERROR_ARGUMENT, "a flash that is none", (uint32_t)i);
    }
    return 0;
}
