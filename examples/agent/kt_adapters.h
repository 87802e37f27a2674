/* kt_adapters.h: the agent's commands about stored adapters: a pool in memory, and two slots in simulated flash. */
#ifndef KT_ADAPTERS_H
#define KT_ADAPTERS_H

#include "kt_agent.h"

/* After a reset, with the model initialised: the pool is empty, the adapter in flash becomes active. */
void kt_adapters_boot(void);

/* The model was initialised or resumed: no stored adapter is active. */
void kt_adapters_forget_active(void);

/* Commands 18 to 27 of README.md. file: where WRITE_ADAPTER left bytes, of the given size. */
uint8_t kt_adapters_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end, const uint8_t *file, uint32_t size, int8_t *output);

#endif
