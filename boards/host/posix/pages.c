/* pages.c: slow memory as a file without a name, which goes when the process ends. Each model has a part of its own. */
#include "kt/port.h"

#include <stdio.h>
#include <string.h>

enum { MODELS = 1024 };
#define PART_BYTES (16L << 20)

static const void *models[MODELS];
static FILE *file;

/* Moves to a place in the part of a model; 0 where that is done. */
static int seek(const void *model, uint32_t offset, uint32_t bytes)
{
    int part = 0;
    if (file == NULL)
        file = tmpfile();
    while (part < MODELS && models[part] != NULL && models[part] != model)
        part++;
    if (file == NULL || part == MODELS || (long)offset + (long)bytes > PART_BYTES)
        return 1;
    models[part] = model;
    return fseek(file, part * PART_BYTES + (long)offset, SEEK_SET);
}

/* What was never written is 0. */
int kt_port_page_in(const void *model, uint32_t offset, void *to, uint32_t bytes)
{
    if (seek(model, offset, bytes) != 0)
        return 1;
    const size_t found = fread(to, 1, bytes, file);
    memset((char *)to + found, 0, bytes - found);
    return ferror(file) != 0;
}

int kt_port_page_out(const void *model, uint32_t offset, const void *from, uint32_t bytes)
{
    return seek(model, offset, bytes) != 0 || fwrite(from, 1, bytes, file) != bytes;
}
