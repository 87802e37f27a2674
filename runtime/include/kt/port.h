/* kt/port.h: what a program provides for a model that keeps moments or saved values in slow memory (option offload), or the
 * entries of a replay buffer.
 *
 * Slow memory is whatever the board has beside the arena: external RAM, FRAM, flash, a file. Its content need not outlive a reset:
 * init and resume fill it, but for entries of a replay buffer, each of which has a checksum. Every training step makes the same
 * transfers in the same order: a saved value goes out once and comes back once, moments come in and go out again in pages of up to
 * 256 elements. */
#ifndef KT_PORT_H
#define KT_PORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Copy bytes [offset, offset + bytes) of a model's slow memory into the arena, and back. Returns 0, or anything else where it
 * failed. model: the one that was given to init, which tells several models of a program apart. offset: a multiple of 4, as `to` and
 * `from` are; offset + bytes <= <NAME>_PAGE_BYTES. */
int kt_port_page_in(const void *model, uint32_t offset, void *to, uint32_t bytes);
int kt_port_page_out(const void *model, uint32_t offset, const void *from, uint32_t bytes);

#ifdef __cplusplus
}
#endif
#endif
