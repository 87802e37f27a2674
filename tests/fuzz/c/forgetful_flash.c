/* The agent's stored adapters, with a flash that is forgotten between two inputs, so that each input does what it does alone. */
#include "kt_adapters.c"

void forget_flash(void);

void forget_flash(void)
{
#if AGENT_FLASH_PAGE > 0
    memset(words, 0, sizeof words);
#endif
    const kt_adapter_layout *const layout = kt_agent.interface->adapter_layout;
    if (layout->floor != NULL)
        *layout->floor = 0;
}
