/* kt/private_update.h: what a device may tell of what it learned: an update of bounded length under noise.
 *
 * All is integer: the same bits on every core and in Python (kilotune.federated.private_update). An update is a vector of
 * int32, the change of each trained value (kilotune.federated.update_of):
 *
 *     difference  of two adapters, in units of 2^-16, of biases 2^-13 of an accumulator's: codes times their powers of two
 *                 are subtracted in units of 2^-40 and rounded once, to nearest, ties away from zero
 *     clip        values beyond +-2^23 become these; a vector longer than `clip` is scaled to it, each value rounded towards
 *                 zero, so that its Euclidean norm is at most `clip`, not nearly so
 *     noise       to each value a discrete Gaussian of parameter sigma is added: P(x) proportional to exp(-x^2 / 2 sigma^2)
 *                 on the integers, sampled without any rounding, but for a tail of less than 2^-90 that is drawn again
 *
 * Source of the sampler: Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020), algorithms
 * 1 to 3. Its guarantee is that of a Gaussian of the same sigma: rho = clip^2 / (2 sigma^2) of concentrated privacy.
 * Source of the bits: the ChaCha20 key stream of RFC 8439, which is a function of (key, nonce, counter). Who knows the key
 * can take the noise away, and who sees two updates under one noise, too: so a device keeps its key and the number of its
 * updates in flash (kt_noise), and counts before it draws. */
#ifndef KT_PRIVATE_UPDATE_H
#define KT_PRIVATE_UPDATE_H

#include <stddef.h>
#include <stdint.h>

#include "kt/adapter.h"
#include "kt/state_store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { KT_PRIVATE_LIMIT = 1 << 23, KT_PRIVATE_SIZE = 1 << 16, KT_PRIVATE_CLIP = 1 << 20, KT_PRIVATE_SIGMA = 1 << 20 };

/* clip: largest norm, 1 to KT_PRIVATE_CLIP. sigma: 0 for no noise, up to KT_PRIVATE_SIGMA. nonce: number of the round and
 * whatever else, another one for each update. */
typedef struct {
    uint32_t clip;
    uint32_t sigma;
    uint32_t key[8];
    uint32_t nonce[3];
} kt_private_update_params;

/* In place. KT_ERROR_ARGUMENT where a number is out of range, or there are more than KT_PRIVATE_SIZE values: nothing was
 * changed. */
kt_status kt_private_update(const kt_private_update_params *params, int32_t *update, size_t size);

/* Values of an update of this model. */
uint32_t kt_adapter_update_size(const kt_adapter_layout *layout);

/* What was learned since `base`, an adapter that was opened: update[kt_adapter_update_size], each up to +-KT_PRIVATE_LIMIT. own: the payload of
 * what adapter_export wrote, at KT_ADAPTER_PAYLOAD(layout->table_bytes). KT_ERROR_BASE: base has lower ranks than the model. */
kt_status kt_adapter_update(const kt_adapter_layout *layout, const kt_adapter *base, const uint8_t *own,
                            int32_t *update);

/* The secret that a device draws its noise from, and how often it has, as the content of a store of its own: 2 pages or more of 256 bytes. */
typedef struct {
    kt_state_store store;
} kt_noise;

/* Find what was kept. KT_ERROR_ARGUMENT: the flash is not as kt/state_store.h asks. */
kt_status kt_noise_open(kt_noise *noise, const kt_flash *flash);

/* Updates so far; UINT32_MAX where there is no key yet. */
uint32_t kt_noise_count(const kt_noise *noise);

/* Mix 32 bytes into the key: who does not know the key before does not know it after, whatever the bytes; nor who does not know these. The board's
 * own random numbers where it has some; else those of whoever provisions it. The count goes on. KT_ERROR_FLASH: nothing was changed. */
kt_status kt_noise_seed(kt_noise *noise, const uint8_t entropy[32]);

/* The next key and nonce, which no update before had and none after will have: the count is in flash before they are given, so that a reset at any
 * moment skips one at most. clip and sigma stay. KT_ERROR_EMPTY: there is no key yet. KT_ERROR_FULL: after 2^32 - 2 updates. */
kt_status kt_noise_next(kt_noise *noise, kt_private_update_params *params);

#ifdef __cplusplus
}
#endif
#endif
