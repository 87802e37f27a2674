/* kt/recorder.h: what a device trains on, written down in flash, so that `kilotune replay` repeats it at a desk, bit for bit.
 *
 * Records go into a ring of flash pages one behind the other. A page is erased when writing reaches it, so that every erased byte is written once;
 * the number of erasures so far stands in every page. The oldest pages are lost as the ring goes round, and so is the state that the log began
 * with: the whole state is written again whenever half of the pages have been written since. What the ring holds can therefore always be repeated
 * from one of its states on. A power cut leaves all whole records; after a reset kt_recorder_open goes on behind them.
 *
 *   page:    "KTR1", sequence (u32), erasures with that for it (u32), bytes in it that belong to a
 *            record of the page before (u16, 0xFFFF: all), session (u16), bytes of a page (u32),
 *            pages (u32), CRC-32 of these 24 bytes, 0 (u32); then records
 *   record:  kind (u8), length of the content (u32), content, CRC-32 of all these, then 0xFF up to a
 *            multiple of 8 bytes. One that does not fit goes on behind the header of the next page.
 *            Kinds and contents: python/kilotune/devices/training_ring.py
 *
 * A session is what lies between two calls of kt_recorder_open. Little-endian, as every core that kilotune builds for. The flash is that of
 * kt/adapter_slots.h, with words of at most 8 bytes and 6 pages or more of 64 to 65,504 bytes; its bytes, read out by whatever reads flash, are
 * the file that `kilotune replay` takes.
 * What a record holds stands in flash as it is: samples, labels and the trained state. */
#ifndef KT_RECORDER_H
#define KT_RECORDER_H

#include "kt/strict_float.h"

#include "kt/adapter_slots.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KT_RECORDER_HEADER 32u /* of a page */

typedef struct {
    const kt_flash *flash;
    const kt_model_interface *interface;
    const void *state;    /* the model's state, where firmware has it: state_bytes of interface */
    uint32_t every;       /* steps from one checksum of the state to the next */
    uint32_t steps;       /* that were recorded since open */
    uint32_t sequence;    /* of the page that is written */
    uint32_t page;        /* its number */
    uint32_t at;          /* where in it the next word goes; 0: no page is open */
    uint32_t since;       /* pages since the last state */
    uint32_t erasures;    /* so far, of all pages together */
    uint32_t crc;         /* of the record that is written */
    uint32_t left;        /* bytes of it that are to come */
    uint16_t session;
    uint8_t filled;       /* bytes of the word that is being filled */
    uint8_t failed;       /* open failed, or the flash did not take something: nothing more is recorded until open */
    uint8_t word[8];
} kt_recorder;

/* Go on behind what the flash holds, with a page of its own and the state as it is now. every: at least 1; each step's checksum costs some
 * 10 instructions a byte of the state. Errors: KT_ERROR_ARGUMENT: the flash is not as this header asks; KT_ERROR_FULL: a state and two samples
 * need more than half of its pages, less two; KT_ERROR_UNSUPPORTED: the model does not train; KT_ERROR_FLASH. */
kt_status kt_recorder_open(kt_recorder *recorder, const kt_flash *flash, const kt_model_interface *interface,
                           const void *state, uint32_t every);

/* Each behind the call of the model that it is named after, with what that was given and gave; a training step in slices counts when it is done.
 * Errors: KT_ERROR_FLASH, also for all that comes behind it, or behind an open that failed. */
kt_status kt_recorder_train_step(kt_recorder *recorder, const int8_t *input, const kt_target *target, float loss);
kt_status kt_recorder_apply(kt_recorder *recorder);
kt_status kt_recorder_set_learning_rate(kt_recorder *recorder, float learning_rate);
kt_status kt_recorder_remember(kt_recorder *recorder, const int8_t *input, const kt_target *target);
kt_status kt_recorder_replay_step(kt_recorder *recorder, float loss);
kt_status kt_recorder_add_class(kt_recorder *recorder, const int8_t *input, int32_t label);

/* Behind whatever else changes the state, such as init, resume or an adapter that was loaded: the state as it is now. */
kt_status kt_recorder_state(kt_recorder *recorder);

#ifdef __cplusplus
}
#endif
#endif
