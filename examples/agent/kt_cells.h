/* kt_cells.h: flash that is simulated: memory that survives REBOOT, erased and written as flash is. A product hands the functions of its own flash
 * driver to kt_flash instead. */
#ifndef KT_CELLS_H
#define KT_CELLS_H

#include <stdint.h>
#include <string.h>

/* The context of both functions. */
typedef struct {
    uint64_t *words;
    uint32_t page_bytes;
} kt_cells;

enum { KT_CELLS_WORD = 8 };

static int erase_cells(void *context, uint32_t page)
{
    const kt_cells *const cells = context;
    memset((uint8_t *)cells->words + page * cells->page_bytes, 0xFF, cells->page_bytes);
    return 0;
}

static int write_cells(void *context, uint32_t offset, const uint8_t *word)
{
    const kt_cells *const cells = context;
    uint8_t *const to = (uint8_t *)cells->words + offset;
    for (int i = 0; i < KT_CELLS_WORD; i++)
        to[i] &= word[i];
    return 0;
}

#endif
