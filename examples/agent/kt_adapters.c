/* kt_adapters.c: stored adapters behind commands 18 to 27 (README.md), in simulated flash.
 *
 * AGENT_RESIDENT and AGENT_SLOT_BYTES are as the build planned them, AGENT_FLASH_PAGE is 0 without slots. */
#include "kt_adapters.h"
#include "kt_fields.h"

#include <string.h>

enum { STORE = 18, SELECT = 19, REMOVE = 20, LIST = 21, UPDATE_BEGIN = 22, UPDATE_WRITE = 23, UPDATE_HASH = 24, UPDATE_INSTALL = 25, REBOOT = 26, UPDATE_ABANDON = 27 };

#define STATUS_REQUEST 66

#if AGENT_ADAPTER_BYTES > 0
#include "kt/adapter_pool.h"
#include "kt/adapter_slots.h"

#define AT_LEAST_1(n) ((n) > 0 ? (n) : 1)

static kt_resident residents[AT_LEAST_1(AGENT_RESIDENT)];
static uint64_t memory[AT_LEAST_1(AGENT_RESIDENT * AGENT_SLOT_BYTES / 8)];
static kt_adapter_pool pool;

/* ---- The pool ---- */

static void empty_pool(void)
{
    kt_pool_init(&pool, kt_agent.interface->adapter_layout, residents, AGENT_RESIDENT, memory, AGENT_RESIDENT * AGENT_SLOT_BYTES);
}

void kt_adapters_forget_active(void)
{
    pool.active = NULL;
}

/* A name of 24 bytes behind `before` others. */
static const char *name_in(const uint8_t *data, size_t length, size_t before)
{
    static char name[KT_ADAPTER_NAME + 1];
    if (length != before + KT_ADAPTER_NAME)
        return NULL;
    memcpy(name, data + before, KT_ADAPTER_NAME);
    return name;
}

static uint8_t list(const uint8_t *data, size_t length, uint8_t **end)
{
    uint32_t index = length == 4 ? get32(data) : 0;
    for (int room = 20; room > 0 && index < pool.entries; index++) {
        if (pool.residents[index].values != NULL) {
            *(*end)++ = pool.residents[index].values == pool.active;
            memcpy(*end, pool.residents[index].name, KT_ADAPTER_NAME);
            *end += KT_ADAPTER_NAME;
            room--;
        }
    }
    *end = put32(*end, index);
    return length == 4 ? KT_OK : STATUS_REQUEST;
}

static uint8_t pool_command(uint8_t code, const uint8_t *data, size_t length, const uint8_t *file, uint32_t size)
{
    const char *const name = name_in(data, length, code == STORE ? 4 : 0);
    if (name == NULL || (code == STORE && get32(data) > size))
        return STATUS_REQUEST;
    if (code == STORE)
        return (uint8_t)kt_pool_store(&pool, name[0] == 0 ? NULL : name, file, get32(data));
    if (code == REMOVE)
        return (uint8_t)kt_pool_remove(&pool, name);
    return (uint8_t)kt_pool_select(&pool, name[0] == 0 ? NULL : name, kt_agent.interface, kt_agent.storage);
}

/* ---- The slots ---- */

#if AGENT_FLASH_PAGE > 0
#include "kt_cells.h"

#define SLOT_PAGES ((KT_SLOT_RECORD + AGENT_ADAPTER_BYTES + AGENT_FLASH_PAGE - 1) / AGENT_FLASH_PAGE)

static uint64_t words[2 * SLOT_PAGES * AGENT_FLASH_PAGE / 8];
static kt_adapter_slots slots;

static kt_cells cells = {words, AGENT_FLASH_PAGE};
static const kt_flash flash = {(const uint8_t *)words, AGENT_FLASH_PAGE, 2 * SLOT_PAGES, KT_CELLS_WORD, erase_cells, write_cells, &cells};

void kt_adapters_boot(void)
{
    empty_pool();
    (void)kt_slots_boot(&slots, &flash, kt_agent.interface, kt_agent.storage);
}

/* The adapter of the slots becomes active, or the selected one of the pool stays. */
static kt_status install(int8_t *output)
{
    const kt_status status = kt_update_install(&slots, kt_agent.interface->self_test, output);
    if (status == KT_OK)
        pool.active = NULL;
    else if (pool.active != NULL)
        kt_agent.interface->adapter_select(kt_agent.storage, pool.active);
    return status;
}

static uint8_t slots_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end, int8_t *output)
{
    switch (code) {
    case UPDATE_BEGIN: /* bytes, offset: 0 begins anew, else goes on there */
        if (length != 8)
            return STATUS_REQUEST;
        *end = put32(*end, AGENT_FLASH_PAGE);
        return (uint8_t)(get32(data + 4) == 0 ? kt_update_begin(&slots, get32(data)) : kt_update_resume(&slots, get32(data), get32(data + 4)));
    case UPDATE_WRITE:
        return length < 4 ? STATUS_REQUEST : (uint8_t)kt_update_write(&slots, get32(data), data + 4, (uint32_t)length - 4);
    case UPDATE_HASH:
        if (length != 8)
            return STATUS_REQUEST;
        *end = put32(*end, kt_update_hash(&slots, get32(data), get32(data + 4)));
        *end = put32(*end, AGENT_FLASH_PAGE);
        return KT_OK;
    case UPDATE_ABANDON:
        kt_update_abandon(&slots);
        return KT_OK;
    default:
        return (uint8_t)install(output);
    }
}
#else
void kt_adapters_boot(void)
{
    empty_pool();
}

static uint8_t slots_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end, int8_t *output)
{
    (void)code, (void)data, (void)length, (void)end, (void)output;
    return KT_ERROR_UNSUPPORTED;
}
#endif

uint8_t kt_adapters_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end, const uint8_t *file, uint32_t size, int8_t *output)
{
    if (code == LIST)
        return list(data, length, end);
    if (code <= REMOVE)
        return pool_command(code, data, length, file, size);
    return slots_command(code, data, length, end, output);
}
#else
void kt_adapters_boot(void)
{
}

void kt_adapters_forget_active(void)
{
}

uint8_t kt_adapters_command(uint8_t code, const uint8_t *data, size_t length, uint8_t **end, const uint8_t *file, uint32_t size, int8_t *output)
{
    (void)code, (void)data, (void)length, (void)end, (void)file, (void)size, (void)output;
    return KT_ERROR_UNSUPPORTED;
}
#endif
