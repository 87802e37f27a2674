/* A table of names and checked values. An entry is published by its last write, the pointer to its values. */
#include "kt/adapter_pool.h"

#include <string.h>

enum { NAME = 40 }; /* offset in a file's header */

static void copy_name(uint8_t to[KT_ADAPTER_NAME], const char *name)
{
    memset(to, 0, KT_ADAPTER_NAME);
    for (uint32_t i = 0; i < KT_ADAPTER_NAME && name[i] != 0; i++) {
        to[i] = (uint8_t)name[i];
    }
}

static kt_resident *entry_of(const kt_adapter_pool *pool, const uint8_t name[KT_ADAPTER_NAME])
{
    for (uint32_t i = 0; i < pool->entries; i++) {
        if (pool->residents[i].values != NULL && memcmp(pool->residents[i].name, name, KT_ADAPTER_NAME) == 0) {
            return &pool->residents[i];
        }
    }
    return NULL;
}

static kt_resident *named(const kt_adapter_pool *pool, const char *name)
{
    uint8_t wanted[KT_ADAPTER_NAME];
    copy_name(wanted, name);
    return entry_of(pool, wanted);
}

static int in_use(const kt_adapter_pool *pool, const void *values)
{
    for (uint32_t i = 0; i < pool->entries; i++) {
        if (pool->residents[i].values == values) {
            return 1;
        }
    }
    return 0;
}

void kt_pool_init(kt_adapter_pool *pool, const kt_adapter_layout *layout, kt_resident *residents, uint16_t entries, void *memory, size_t memory_bytes)
{
    const uint32_t slot = (layout->payload_bytes + 7u) & ~7u;
    const size_t slots = memory == NULL ? 0 : memory_bytes / slot;
    memset(residents, 0, entries * sizeof *residents);
    pool->layout = layout;
    pool->residents = residents;
    pool->memory = memory;
    pool->active = NULL;
    pool->slot_bytes = slot;
    pool->entries = entries;
    pool->slots = (uint16_t)(slots < UINT16_MAX ? slots : UINT16_MAX);
}

/* A file that may join: what it holds, the entry it will take, and its name. */
typedef struct {
    kt_adapter adapter;
    kt_resident *entry;
    uint8_t name[KT_ADAPTER_NAME];
} newcomer;

/* The file checked, a free entry found, the name free: nothing is changed yet. */
static kt_status prepare(const kt_adapter_pool *pool, const char *name, const void *file, size_t length, newcomer *next)
{
    const kt_status status = kt_adapter_open(&next->adapter, file, length, pool->layout);
    if (status != KT_OK) {
        return status;
    }
    if (name == NULL) {
        memcpy(next->name, next->adapter.file + NAME, KT_ADAPTER_NAME);
    } else {
        copy_name(next->name, name);
    }
    if (entry_of(pool, next->name) != NULL) {
        return KT_ERROR_EXISTS;
    }
    for (uint32_t i = 0; i < pool->entries; i++) {
        if (pool->residents[i].values == NULL) {
            next->entry = &pool->residents[i];
            return KT_OK;
        }
    }
    return KT_ERROR_FULL;
}

static void publish(const newcomer *next, const uint8_t *values)
{
    memcpy(next->entry->name, next->name, KT_ADAPTER_NAME);
    next->entry->sequence = next->adapter.sequence;
    next->entry->values = values;
}

kt_status kt_pool_add(kt_adapter_pool *pool, const char *name, const void *file, size_t length)
{
    newcomer next;
    const kt_status status = prepare(pool, name, file, length, &next);
    if (status != KT_OK) {
        return status;
    }
    if (!next.adapter.in_place || (uintptr_t)next.adapter.payload % KT_ALIGNMENT != 0) {
        return KT_ERROR_BASE;
    }
    publish(&next, next.adapter.payload);
    return KT_OK;
}

kt_status kt_pool_add_region(kt_adapter_pool *pool, const void *region, size_t bytes)
{
    const uint8_t *file = region;
    while (bytes >= KT_ADAPTER_HEADER && memcmp(file, "KTA\x1a", 4) == 0) {
        const size_t length = (size_t)file[16] | (size_t)file[17] << 8 | (size_t)file[18] << 16 | (size_t)file[19] << 24;
        const size_t step = (length + 7u) & ~(size_t)7u;
        const kt_status status = kt_pool_add(pool, NULL, file, length <= bytes ? length : bytes);
        if (status != KT_OK || step >= bytes) {
            return status;
        }
        file += step;
        bytes -= step;
    }
    return KT_OK;
}

kt_status kt_pool_store(kt_adapter_pool *pool, const char *name, const void *file, size_t length)
{
    newcomer next;
    const kt_status status = prepare(pool, name, file, length, &next);
    if (status != KT_OK) {
        return status;
    }
    for (uint32_t i = 0; i < pool->slots; i++) {
        uint8_t *const slot = pool->memory + (size_t)i * pool->slot_bytes;
        if (!in_use(pool, slot)) {
            kt_adapter_copy(&next.adapter, pool->layout, slot);
            publish(&next, slot);
            return KT_OK;
        }
    }
    return KT_ERROR_FULL;
}

kt_status kt_pool_remove(kt_adapter_pool *pool, const char *name)
{
    kt_resident *const entry = named(pool, name);
    if (entry == NULL) {
        return KT_ERROR_MISSING;
    }
    if (entry->values == pool->active) {
        return KT_ERROR_BUSY;
    }
    entry->values = NULL;
    return KT_OK;
}

/* The floor may have risen since the adapter was added. */
static int outdated(const kt_adapter_pool *pool, const kt_resident *entry)
{
    return pool->layout->floor != NULL && entry->sequence < *pool->layout->floor;
}

const void *kt_pool_find(const kt_adapter_pool *pool, const char *name)
{
    const kt_resident *const entry = named(pool, name);
    return entry == NULL || outdated(pool, entry) ? NULL : entry->values;
}

kt_status kt_pool_select(kt_adapter_pool *pool, const char *name, const kt_model_interface *interface, void *model)
{
    const kt_resident *const entry = name == NULL ? NULL : named(pool, name);
    const void *const values = entry == NULL ? NULL : entry->values;
    if (name != NULL && entry == NULL) {
        return KT_ERROR_MISSING;
    }
    if (entry != NULL && outdated(pool, entry)) {
        return KT_ERROR_VERSION;
    }
    interface->adapter_select(model, values);
    pool->active = values;
    return KT_OK;
}
