/* kt/state_store.h: what a device has learned, kept over resets with as few erasures as possible.
 *
 * Records lie one behind the other in a ring of flash pages (sectors): a save writes behind the last record, and a page is erased only when writing
 * reaches it, so that every erased byte is written once: on average (bytes + 32) / page_bytes erasures a save, nearly evenly over the pages, and none
 * where the content is that of the last record. A record counts once its last word is written: a power cut at any moment leaves the record before.
 * Torn records are passed over. The number of erasures so far is in every record.
 *
 *   record: "KTL1", sequence (u32), bytes (u32), erasures with those for it (u32), CRC-32 of these
 *           16 bytes, 0 (u32), CRC-32 of the content, its complement; then the content. A record
 *           begins at a multiple of 32 bytes.
 *
 * The two last numbers are written after the content. The flash is that of kt/adapter_slots.h, with any number of pages from 2 on and words of
 * at most 8 bytes. It takes contents of up to half of its pages, less 32 bytes. */
#ifndef KT_STATE_STORE_H
#define KT_STATE_STORE_H

#include "kt/adapter_slots.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KT_STORE_RECORD 32u

typedef struct {
    const kt_flash *flash;
    uint32_t at;       /* of the last whole record; UINT32_MAX: there is none */
    uint32_t bytes;    /* of its content */
    uint32_t sequence; /* of it */
    uint32_t erasures; /* so far, of all pages together */
} kt_state_store;

/* Find the last whole record. KT_ERROR_ARGUMENT: the flash is not as this header asks. */
kt_status kt_store_open(kt_state_store *store, const kt_flash *flash);

/* Its content, where it lies; NULL where nothing was saved. */
const void *kt_store_content(const kt_state_store *store, uint32_t *bytes);

/* Keep a content, such as a model's state between two training steps, or an adapter. KT_ERROR_FULL: so many bytes need a larger flash, the
 * record before stays. KT_ERROR_FLASH: the flash did not take it, the record before stays. */
kt_status kt_store_save(kt_state_store *store, const void *content, uint32_t bytes);

#ifdef __cplusplus
}
#endif
#endif
