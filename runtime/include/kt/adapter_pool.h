/* kt/adapter_pool.h: several adapters in one firmware, by name.
 *
 * An adapter of the pool lies in flash and is read in place, or its values lie in one of the pool's slots in memory. Both are checked once,
 * when they are added; to select one then takes constant time. The memory is the caller's; nothing is allocated. */
#ifndef KT_ADAPTER_POOL_H
#define KT_ADAPTER_POOL_H

#include "kt/adapter.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KT_ADAPTER_NAME 24u

typedef struct {
    uint8_t name[KT_ADAPTER_NAME]; /* UTF-8, filled up with zeros */
    const void *values;            /* NULL: this entry is free */
    uint32_t sequence;
} kt_resident;

typedef struct {
    const kt_adapter_layout *layout;
    kt_resident *residents; /* the table of names */
    uint8_t *memory;
    const void *active; /* values that kt_pool_select chose; NULL: the base model */
    uint32_t slot_bytes;
    uint16_t entries;
    uint16_t slots;
} kt_adapter_pool;

/* An empty pool. residents: `entries` of them, for adapters in flash and in memory together. memory: aligned to KT_ALIGNMENT, as many slots
 * of the generated header's SLOT_BYTES as fit into memory_bytes; may be NULL. */
void kt_pool_init(kt_adapter_pool *pool, const kt_adapter_layout *layout, kt_resident *residents, uint16_t entries,
                  void *memory, size_t memory_bytes);

/* Add a file that stays where it is, aligned to KT_ALIGNMENT: its bytes are read in place. name: at most 24 bytes; NULL is the file's own.
 * Errors: those of kt_adapter_open, KT_ERROR_BASE also for a lower rank; KT_ERROR_EXISTS, KT_ERROR_FULL. The pool is unchanged then. */
kt_status kt_pool_add(kt_adapter_pool *pool, const char *name, const void *file, size_t length);

/* Add the files that lie one behind the other in a region, each at a multiple of 8, up to the first bytes that are none. Returns the first error. */
kt_status kt_pool_add_region(kt_adapter_pool *pool, const void *region, size_t bytes);

/* Copy the values of a file into a free slot; its ranks may be lower than the model's. Errors: those of kt_adapter_open, KT_ERROR_EXISTS,
 * KT_ERROR_FULL. The pool is unchanged then. */
kt_status kt_pool_store(kt_adapter_pool *pool, const char *name, const void *file, size_t length);

/* Forget an adapter. Errors: KT_ERROR_MISSING, KT_ERROR_BUSY for the selected one. */
kt_status kt_pool_remove(kt_adapter_pool *pool, const char *name);

/* Values of an adapter, for adapter_select of the generated header; NULL where there is none of this name, or where it is older than rollback
 * protection permits by now. */
const void *kt_pool_find(const kt_adapter_pool *pool, const char *name);

/* Make an adapter the active one; name NULL: the base model. interface, model: of kt/model.h. Nothing changes after an
 * error: KT_ERROR_MISSING; KT_ERROR_VERSION where rollback protection's floor has risen above its sequence number. */
kt_status kt_pool_select(kt_adapter_pool *pool, const char *name, const kt_model_interface *interface, void *model);

#ifdef __cplusplus
}
#endif
#endif
