/* kt/guard.h: what an adaptation has made worse is taken back, by a few labelled samples that stay on the device.
 *
 * kt_guard_begin before the first training step of an adaptation, kt_guard_end behind its last update: the samples are judged before and after, and
 * the adapter of before is loaded again where more of them are wrong than `permitted` of kt_self_test allows. A training build only. */
#ifndef KT_GUARD_H
#define KT_GUARD_H

#include "kt/adapter_slots.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const kt_model_interface *interface;
    void *model;
    const kt_self_test *test;
    int8_t *output;     /* memory of the model's output_bytes */
    void *adapter;      /* memory of the model's adapter_bytes, for that of before */
    size_t bytes;       /* of the adapter of before; 0: none is kept */
    uint32_t before;    /* samples that were wrong before the adaptation */
    uint32_t after;     /* and after it */
    uint32_t taken_back; /* adaptations so far that were */
} kt_guard;

/* Keep the adapter of now and judge it. KT_ERROR_UNSUPPORTED: the model takes no adapters, or signed ones alone. */
kt_status kt_guard_begin(kt_guard *guard);

/* Judge what was learned. KT_OK: it stays. KT_ERROR_SELF_TEST: it was worse, and the adapter of before is active; moments of the optimizer start
 * at zero. KT_ERROR_MISSING: nothing was begun. */
kt_status kt_guard_end(kt_guard *guard);

#ifdef __cplusplus
}
#endif
#endif
