/* kt/private_update.h: what a device may tell of what it learned: an update of bounded length under noise.
 *
 * All is integer: the same bits on every core and in Python (kilotune.federated.private_update). An update is a vector of
 * int32, the change of each trained value in units of its own choosing (2^-16 in kilotune.federated.update_of).
 *
 *     clip    values beyond +-2^23 become these; a vector longer than `clip` is scaled to it, each value rounded towards
 *             zero, so that its Euclidean norm is at most `clip`, not nearly so
 *     noise   to each value a discrete Gaussian of parameter sigma is added: P(x) proportional to exp(-x^2 / 2 sigma^2)
 *             on the integers, sampled without any rounding, but for a tail of less than 2^-90 that is drawn again
 *
 * Source of the sampler: Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020), algorithms
 * 1 to 3. Its guarantee is that of a Gaussian of the same sigma: rho = clip^2 / (2 sigma^2) of concentrated privacy.
 * Source of the bits: the ChaCha20 key stream of RFC 8439, which is a function of (key, nonce, counter). Who knows the key
 * can take the noise away: make it of the board's own random numbers, send it nowhere, and never use a nonce twice. */
#ifndef KT_PRIVATE_UPDATE_H
#define KT_PRIVATE_UPDATE_H

#include <stddef.h>
#include <stdint.h>

#include "kt/model.h"

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

#ifdef __cplusplus
}
#endif
#endif
