/* kt_private.c: commands 48 to 50 of README.md: updates of bounded length under noise.
 *
 * AGENT_PRIVATE is the number of values of an update, 0 in a build without them; AGENT_ADAPTER_BYTES is as in agent.c. The flash of the secret is
 * simulated; a product hands its own random numbers to kt_noise_seed, too. */
#include "kt_private.h"

#include <string.h>

#include "kt_agent.h"
#include "kt_fields.h"
#include "kt_link.h"

enum { SEED = 48, UPDATE = 49 };

#define STATUS_REQUEST 66

#if AGENT_PRIVATE > 0
#include "kt/private_update.h"
#include "kt_cells.h"

enum { PAGE = 256, PAGES = 2 };

static uint64_t words[PAGES * PAGE / 8];
static uint64_t own[(AGENT_ADAPTER_BYTES + 7) / 8];
static int32_t update[AGENT_PRIVATE];
static uint32_t made; /* bytes of the update that may be read */
static kt_noise noise;

static kt_cells cells = {words, PAGE};
static const kt_flash flash = {(const uint8_t *)words, PAGE, PAGES, KT_CELLS_WORD, erase_cells, write_cells, &cells};

void kt_private_boot(void)
{
    made = 0;
    memset(update, 0, sizeof update);
    memset(own, 0, sizeof own);
    (void)kt_noise_open(&noise, &flash);
}

/* Zeros that a compiler may not leave out, though nothing reads them. */
static void forget(void *secret, size_t size)
{
    volatile uint8_t *byte = secret;
    while (size-- > 0)
        *byte++ = 0;
}

/* What was learned since the adapter of WRITE_ADAPTER. The count is kept before anything is drawn, and nothing without noise can be read. */
static kt_status make(const uint8_t *base, uint32_t bytes, kt_private_update_params *params)
{
    const kt_adapter_layout *const layout = kt_agent.interface->adapter_layout;
    kt_adapter opened;
    made = 0;
    if (layout == NULL || kt_agent.interface->adapter_export == NULL)
        return KT_ERROR_UNSUPPORTED;
    if (params->clip < 1 || params->clip > KT_PRIVATE_CLIP || params->sigma < 1 || params->sigma > KT_PRIVATE_SIGMA)
        return KT_ERROR_ARGUMENT;
    kt_status status = kt_adapter_open(&opened, base, bytes, layout);
    if (status == KT_OK)
        status = kt_noise_next(&noise, params);
    if (status != KT_OK)
        return status;
    (void)kt_agent.interface->adapter_export(kt_agent.storage, own, sizeof own);
    status = kt_adapter_update(layout, &opened, (const uint8_t *)own + KT_ADAPTER_PAYLOAD(layout->table_bytes), update);
    if (status == KT_OK)
        status = kt_private_update(params, update, AGENT_PRIVATE);
    if (status == KT_OK)
        made = sizeof update;
    forget(params, sizeof *params);
    return status;
}

static uint8_t seed(const uint8_t *data, size_t length, uint8_t **end)
{
    kt_status status = KT_OK;
    if (length != 0 && length != 32)
        return STATUS_REQUEST;
    if (length == 32)
        status = kt_noise_seed(&noise, data);
    *end = put32(*end, kt_noise_count(&noise));
    return (uint8_t)status;
}

static uint8_t read(const uint8_t *data, size_t length, uint8_t **end)
{
    if (length != 8 || get32(data + 4) > KT_LINK_CHUNK || get32(data) > made || get32(data + 4) > made - get32(data))
        return STATUS_REQUEST;
    for (uint32_t i = 0; i < get32(data + 4); i++) {
        const uint32_t at = get32(data) + i;
        *(*end)++ = (uint8_t)((uint32_t)update[at / 4] >> (8 * (at % 4)));
    }
    return KT_OK;
}

uint8_t kt_private_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end, const uint8_t *base, uint32_t size)
{
    if (code == SEED)
        return seed(data, length, end);
    if (code != UPDATE)
        return read(data, length, end);
    if (length != 12 || get32(data) > size)
        return STATUS_REQUEST;
    kt_private_update_params params = {get32(data + 4), get32(data + 8), {0}, {0}};
    const kt_status status = make(base, get32(data), &params);
    *end = put32(*end, AGENT_PRIVATE);
    return (uint8_t)status;
}
#else
void kt_private_boot(void)
{
}

uint8_t kt_private_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end, const uint8_t *base, uint32_t size)
{
    (void)code, (void)data, (void)length, (void)end, (void)base, (void)size;
    return KT_ERROR_UNSUPPORTED;
}
#endif
