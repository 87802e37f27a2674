/* A pool of adapters in flash and in memory. Arguments: samples, then files: A and B of the build, L of a lower rank, F of another base. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kt/adapter_pool.h"
#include "tiny.h"

#define SAMPLES 20
#define CHECK(condition) do { if (!(condition)) { printf("line %d: %s\n", __LINE__, #condition); exit(1); } } while (0)

typedef struct { uint64_t words[256]; size_t length; int8_t outputs[SAMPLES * TINY_OUTPUT_BYTES]; } adapter_file;
enum { A, B, LOWER, FOREIGN, FILES };
static adapter_file files[FILES];
static int8_t inputs[SAMPLES * TINY_INPUT_BYTES], base[SAMPLES * TINY_OUTPUT_BYTES];
static uint64_t memory[2 * TINY_SLOT_BYTES / 8 + 1], region[1024], state[TINY_STATE_BYTES / 8 + 1];
static kt_resident residents[4];
static kt_adapter_pool pool;
static tiny_model m;

static void outputs_of(int8_t *to)
{
    for (int i = 0; i < SAMPLES; i++) tiny_infer(&m, inputs + i * TINY_INPUT_BYTES, to + i * TINY_OUTPUT_BYTES);
}

static int runs(const int8_t *wanted)
{
    int8_t found[sizeof base];
    outputs_of(found);
    return memcmp(found, wanted, sizeof found) == 0;
}

static kt_status select(const char *name)
{
    return kt_pool_select(&pool, name, &tiny_interface, &m);
}

/* Nothing of the pool or the model changes in a call that fails. */
static kt_status unchanged(kt_status (*call)(kt_adapter_pool *, const char *, const void *, size_t), const char *name, const void *file, size_t length)
{
    const kt_adapter_pool before = pool;
    static kt_resident entries[4];
    static uint64_t slots[sizeof memory / 8];
    const tiny_model model = m;
    memcpy(entries, residents, sizeof entries), memcpy(slots, memory, sizeof slots);
    const kt_status status = call(&pool, name, file, length);
    CHECK(memcmp(&before, &pool, sizeof pool) == 0 && memcmp(entries, residents, sizeof entries) == 0 && memcmp(slots, memory, sizeof slots) == 0);
    CHECK(memcmp(&model, &m, sizeof m) == 0);
    return status;
}

static void flash_pool(void)
{
    uint8_t *at = (uint8_t *)region;
    memset(region, 0xFF, sizeof region);
    memcpy(at, files[A].words, files[A].length), at += (files[A].length + 7) / 8 * 8;
    memcpy(at, files[B].words, files[B].length);
    kt_pool_init(&pool, &tiny_adapter_layout, residents, 4, NULL, 0);
    CHECK(kt_pool_add_region(&pool, region, sizeof region) == KT_OK);
    CHECK(select("alice") == KT_OK && runs(files[A].outputs) && select("bob") == KT_OK && runs(files[B].outputs));
#ifdef IN_PLACE
    const uint8_t *const values = (const uint8_t *)m.values;
    CHECK(values >= (const uint8_t *)region && values < (const uint8_t *)(region + 1024) && values == kt_pool_find(&pool, "bob"));
    CHECK(kt_pool_remove(&pool, "bob") == KT_ERROR_BUSY);
#endif
    CHECK(select(NULL) == KT_OK && runs(base) && select("carol") == KT_ERROR_MISSING && runs(base));
    CHECK(unchanged(kt_pool_store, "x", files[A].words, files[A].length) == KT_ERROR_FULL);
    CHECK(unchanged(kt_pool_add, "x", files[LOWER].words, files[LOWER].length) == KT_ERROR_BASE);
    ((uint8_t *)region)[200] ^= 1;
    kt_pool_init(&pool, &tiny_adapter_layout, residents, 4, NULL, 0);
    CHECK(kt_pool_add_region(&pool, region, sizeof region) == KT_ERROR_ADAPTER);
}

static void memory_pool(void)
{
    kt_pool_init(&pool, &tiny_adapter_layout, residents, 4, memory, 2 * TINY_SLOT_BYTES);
    CHECK(pool.slots == 2);
    for (int i = 0; i < FILES; i++) { /* the file's memory is free again after it was stored */
        static uint64_t passing[256];
        memcpy(passing, files[i].words, files[i].length);
        const char *const name = i == A ? NULL : i == LOWER ? "a name of 24 bytes, full" : "x";
        if (i == B) continue;
        CHECK((i == FOREIGN ? unchanged(kt_pool_store, name, passing, files[i].length) : kt_pool_store(&pool, name, passing, files[i].length)) ==
              (i == FOREIGN ? KT_ERROR_BASE : KT_OK));
        memset(passing, 0, sizeof passing);
    }
    CHECK(select("alice") == KT_OK && runs(files[A].outputs));
    CHECK(select("a name of 24 bytes, full and more") == KT_OK && runs(files[LOWER].outputs)); /* a lower rank in the slot of a higher one */
    CHECK(unchanged(kt_pool_store, NULL, files[A].words, files[A].length) == KT_ERROR_EXISTS);
    CHECK(unchanged(kt_pool_store, "new", files[B].words, files[B].length) == KT_ERROR_FULL);
    for (size_t n = 0; n < files[B].length; n++) CHECK(unchanged(kt_pool_store, "new", files[B].words, n) == KT_ERROR_ADAPTER);
    CHECK(kt_pool_remove(&pool, "none") == KT_ERROR_MISSING && kt_pool_remove(&pool, "alice") == KT_OK && kt_pool_find(&pool, "alice") == NULL);
    CHECK(kt_pool_store(&pool, NULL, files[B].words, files[B].length) == KT_OK && select("bob") == KT_OK && runs(files[B].outputs));
    CHECK(kt_pool_add(&pool, "in flash", files[A].words, files[A].length) == KT_OK && select("in flash") == KT_OK && runs(files[A].outputs));
    CHECK(kt_pool_add(&pool, "third", files[A].words, files[A].length) == KT_OK);
    CHECK(unchanged(kt_pool_add, "fifth", files[A].words, files[A].length) == KT_ERROR_FULL);
    CHECK(select(NULL) == KT_OK && runs(base));
}

int main(int count, char **arguments)
{
    CHECK(count == 2 + FILES);
    FILE *file = fopen(arguments[1], "rb");
    CHECK(fread(inputs, 1, sizeof inputs, file) == sizeof inputs);
    fclose(file);
#ifdef IN_PLACE
    static uint64_t arena[TINY_ARENA_BYTES_INFER / 8 + 1];
#else
    static uint64_t arena[TINY_ARENA_BYTES_TRAIN / 8 + 1];
#endif
    CHECK(tiny_init(&m, arena, sizeof arena, state, sizeof state) == KT_OK);
    outputs_of(base);
    for (int i = 0; i < FILES; i++) {
        file = fopen(arguments[2 + i], "rb");
        files[i].length = fread(files[i].words, 1, sizeof files[i].words, file);
        fclose(file);
        CHECK(tiny_adapter_load(&m, files[i].words, files[i].length) == (i == FOREIGN ? KT_ERROR_BASE : KT_OK));
        outputs_of(files[i].outputs);
    }
    tiny_adapter_select(&m, NULL);
    flash_pool();
    memory_pool();
    puts("passed");
    return 0;
}
