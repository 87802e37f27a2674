/* pages.c: slow memory that lies in the processor's address space, at SLOW_MEMORY_ORIGIN. For one model. */
#include "kt/port.h"

#include <string.h>

int kt_port_page_in(const void *model, uint32_t offset, void *to, uint32_t bytes)
{
    (void)model;
    memcpy(to, (const uint8_t *)SLOW_MEMORY_ORIGIN + offset, bytes);
    return 0;
}

int kt_port_page_out(const void *model, uint32_t offset, const void *from, uint32_t bytes)
{
    (void)model;
    memcpy((uint8_t *)SLOW_MEMORY_ORIGIN + offset, from, bytes);
    return 0;
}
