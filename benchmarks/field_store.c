/* field_store.c: kt_state_store over simulated flash, for field_lifetime.py. */
#include <stdlib.h>
#include <string.h>

#include "kt/state_store.h"

enum { PAGE = 4096, PAGES = 8 };

static uint64_t cells[PAGES * PAGE / 8];
static kt_state_store store;

static int erase_page(void *context, uint32_t page)
{
    (void)context;
    memset((uint8_t *)cells + page * PAGE, 0xFF, PAGE);
    return 0;
}

static int write_word(void *context, uint32_t offset, const uint8_t *word)
{
    (void)context;
    for (int i = 0; i < 8; i++) {
        ((uint8_t *)cells)[offset + (uint32_t)i] &= word[i];
    }
    return 0;
}

static const kt_flash flash = {(const uint8_t *)cells, PAGE, PAGES, 8, erase_page, write_word, NULL};

void field_new(void);
int field_boot(void);
int field_save(const void *content, uint32_t bytes);
const void *field_content(uint32_t *bytes);
uint32_t field_erasures(void);

void field_new(void)
{
    memset(cells, 0xFF, sizeof cells);
    (void)field_boot();
}

int field_boot(void)
{
    memset(&store, 0, sizeof store);
    return kt_store_open(&store, &flash);
}

int field_save(const void *content, uint32_t bytes)
{
    return kt_store_save(&store, content, bytes);
}

const void *field_content(uint32_t *bytes)
{
    return kt_store_content(&store, bytes);
}

uint32_t field_erasures(void)
{
    return store.erasures;
}
