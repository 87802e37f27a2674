/* kt_private.h: the agent's commands about updates of bounded length under noise. */
#ifndef KT_PRIVATE_H
#define KT_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

/* As after a reset: finds the secret that flash has kept. */
void kt_private_boot(void);

/* Commands 48 to 50: mix into the secret, or ask for the count; make an update; bytes of it. base: the bytes of WRITE_ADAPTER, of which there are
 * `size` at most. */
uint8_t kt_private_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end, const uint8_t *base, uint32_t size);

#endif
