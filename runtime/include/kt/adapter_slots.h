/* kt/adapter_slots.h: an adapter in flash that survives power cuts, and its replacement over the air.
 *
 * Two slots of equal size: one holds the adapter in use, the other takes the next one. A slot is 32 bytes for a record, then the file. The record
 * is written last, so that at every moment the slot with the newest valid record is whole: after a power cut at any write the device boots with
 * the old adapter or with the new one. What is written in part is never used, and is written anew.
 *
 *   record: "KTS1", counter (u32), bytes of the file (u32), CRC-32 of these 12 bytes; then erased up to 32 bytes
 *
 * The counter wraps: of two records the newer is the one whose counter is less than 2^31 steps ahead, so 0 follows 2^32 - 1.
 *
 * An update: kt_update_begin, kt_update_write for each chunk in order, kt_update_install. After a reset: kt_update_hash tells the sender what has
 * arrived, kt_update_resume goes on at the start of the first page that is not whole. The inactive slot is never read by the model.
 *
 * Rollback protection (kt_adapter_layout.floor): the floor is the sequence number of the adapter in the slots. It rises at boot and when an
 * update is installed, and holds wherever an adapter is opened or selected: in a slot, in a pool, by adapter_load. Only a higher
 * number replaces the adapter in the slots; elsewhere an equal one is taken too. */
#ifndef KT_ADAPTER_SLOTS_H
#define KT_ADAPTER_SLOTS_H

#include "kt/adapter.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KT_SLOT_RECORD 32u

/* Flash that is read where it is mapped, and whose erased bytes are 0xFF. erase and write return 0 when done. */
typedef struct {
    const uint8_t *base; /* aligned to KT_ALIGNMENT */
    uint32_t page_bytes; /* what is erased together: a multiple of 32 */
    uint32_t pages;      /* of both slots together: even */
    uint32_t word_bytes; /* what is written together: 1, 2, 4, 8, 16 or 32 */
    int (*erase)(void *context, uint32_t page);
    int (*write)(void *context, uint32_t offset, const uint8_t *word); /* word_bytes onto erased ones */
    void *context;
} kt_flash;

typedef struct {
    const kt_flash *flash;
    const kt_model_interface *interface;
    void *model;
    kt_adapter active;  /* where active.file is NULL the base model is in use */
    uint32_t counter;   /* of the active slot */
    uint32_t expected;  /* bytes of the update under way; 0: none */
    uint32_t written;   /* bytes of it that have been written */
    uint8_t other;      /* the slot that takes the next update */
} kt_adapter_slots;

/* Samples with labels that stay in the firmware: an adapter that makes more of them wrong is not taken. */
struct kt_self_test {
    const int8_t *inputs;  /* samples x the model's input_bytes */
    const int32_t *labels; /* the class: the largest of the model's output_bytes */
    uint32_t samples;
    uint32_t permitted; /* how many more may be wrong than with the adapter before */
};

/* Find the adapter in flash and make it the active one, or the base model where there is none. The model is initialised; it is one built for
 * inference with adapters (KT_ERROR_UNSUPPORTED otherwise: training changes its values where they lie). KT_ERROR_ARGUMENT: the flash is not
 * as kt_flash asks. */
kt_status kt_slots_boot(kt_adapter_slots *slots, const kt_flash *flash, const kt_model_interface *interface,
                        void *model);

/* Bytes of the largest file that a slot takes. */
uint32_t kt_slots_capacity(const kt_adapter_slots *slots);

/* Begin an update of so many bytes; one that is under way is given up. Errors: KT_ERROR_FULL where it is too large, KT_ERROR_MISSING where it
 * has none: an update under way goes on. KT_ERROR_FLASH: none is under way. */
kt_status kt_update_begin(kt_adapter_slots *slots, uint32_t bytes);

/* Go on with an update that was interrupted, after a reset or before one, from `offset` on: 0, or where kt_update_page starts a page. Errors as
 * for begin; KT_ERROR_MISSING for another offset, or where a record was begun: begin anew. */
kt_status kt_update_resume(kt_adapter_slots *slots, uint32_t bytes, uint32_t offset);

/* Offset in the file of the first byte of page number `page` of a slot. */
uint32_t kt_update_page(const kt_adapter_slots *slots, uint32_t page);

/* FNV-1a (32 bits) of what the inactive slot holds of a file from `from` to `to`; 0 where that is not in the slot. No CRC: the file holds
 * CRCs of its own, and one that covers data with its CRC says nothing. */
uint32_t kt_update_hash(const kt_adapter_slots *slots, uint32_t from, uint32_t to);

/* Write the next bytes; `offset` says where they belong. A chunk that was written before is passed over, so that it may be repeated.
 * All but the last are multiples of word_bytes. Errors: KT_ERROR_MISSING where no update is under way or bytes between are missing,
 * KT_ERROR_FULL beyond the announced size, KT_ERROR_FLASH: the update is over. */
kt_status kt_update_write(kt_adapter_slots *slots, uint32_t offset, const void *data, uint32_t bytes);

/* Check what was written, try it on the self test (NULL: none), and make it the active adapter, also after the next boot. output: memory of
 * the model's output_bytes for the test. On any error the
 * slots' adapter before stays, also after the next boot, and the update is over; after a trial that failed it is active, whatever was selected
 * from elsewhere meanwhile: those of kt_adapter_open; KT_ERROR_MISSING where bytes are missing (the update goes
 * on); KT_ERROR_VERSION where rollback protection is on and its sequence number is not higher; KT_ERROR_SELF_TEST; KT_ERROR_FLASH. */
kt_status kt_update_install(kt_adapter_slots *slots, const kt_self_test *test, int8_t *output);

/* Give up the update under way. */
void kt_update_abandon(kt_adapter_slots *slots);

/* How many samples of the test the model gets wrong as it is now; UINT32_MAX where it cannot infer. */
uint32_t kt_self_test_errors(const kt_self_test *test, const kt_model_interface *interface, void *model,
                             int8_t *output);

#ifdef __cplusplus
}
#endif
#endif
