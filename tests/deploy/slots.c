/* Power cuts at every write of every update: what the device boots with afterwards. Arguments: samples, then files of adapters A, B, C.
 * The flash is simulated: erasing sets a page to 0xFF, writing clears bits of erased bytes, and either can be cut before, within or after. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kt/adapter_slots.h"
#include "tiny.h"

#ifndef PAGE
#define PAGE 256
#define WORD 8
#endif
#define PAGES 12
#define SAMPLES 20
#define CHECK(condition) do { if (!(condition)) { printf("line %d: %s, cut at %ld\n", __LINE__, #condition, cut_at); exit(1); } } while (0)

static uint64_t memory[PAGES * PAGE / 8];
static uint8_t *const flash_bytes = (uint8_t *)memory;
static long operations, cut_at = -1, cuts;
static int cut_mode;
static jmp_buf power;
static uint32_t seed = 99;

static uint32_t draw(void)
{
    seed ^= seed << 13, seed ^= seed >> 17, seed ^= seed << 5;
    return seed;
}

static int cut_here(void)
{
    return operations++ == cut_at;
}

static int erase(void *context, uint32_t page)
{
    (void)context;
    if (page >= PAGES) exit(3);
    if (cut_here()) {
        for (int i = 0; cut_mode == 1 && i < PAGE; i++) flash_bytes[page * PAGE + i] = (uint8_t)(draw() % 3 ? 0xFF : draw());
        if (cut_mode == 2) memset(flash_bytes + page * PAGE, 0xFF, PAGE);
        longjmp(power, 1);
    }
    memset(flash_bytes + page * PAGE, 0xFF, PAGE);
    return 0;
}

static int write(void *context, uint32_t offset, const uint8_t *word)
{
    (void)context;
    if (offset % WORD != 0 || offset + WORD > sizeof memory) exit(3);
    const int cut = cut_here();
    for (int i = 0; i < WORD; i++) {
        if (flash_bytes[offset + i] != 0xFF) { printf("a word that is not erased is written at %lu\n", (unsigned long)offset); exit(1); }
        if (!cut || cut_mode == 2) flash_bytes[offset + i] = word[i];
        else if (cut_mode == 1) flash_bytes[offset + i] = (uint8_t)(word[i] | draw());
    }
    if (cut) longjmp(power, 1);
    return 0;
}

static const kt_flash flash = {(const uint8_t *)memory, PAGE, PAGES, WORD, erase, write, NULL};

typedef struct { uint8_t bytes[4096]; uint32_t length; int8_t outputs[SAMPLES * TINY_OUTPUT_BYTES]; } adapter_file;
static adapter_file files[3]; /* A, B, C */
static int8_t base_outputs[SAMPLES * TINY_OUTPUT_BYTES], inputs[SAMPLES * TINY_INPUT_BYTES], scratch[TINY_OUTPUT_BYTES];
static int32_t labels[SAMPLES];
static uint64_t arena[TINY_ARENA_BYTES_INFER / 8 + 1];
static tiny_model model;
static kt_adapter_slots slots;

static void outputs_of(int8_t *to)
{
    for (int i = 0; i < SAMPLES; i++) tiny_infer(&model, inputs + i * TINY_INPUT_BYTES, to + i * TINY_OUTPUT_BYTES);
}

/* -1: the base model, 0, 1, 2: A, B, C, and anything else is neither. */
static int running(void)
{
    int8_t found[sizeof base_outputs];
    outputs_of(found);
    for (int i = 0; i < 3; i++) if (memcmp(found, files[i].outputs, sizeof found) == 0) return i;
    return memcmp(found, base_outputs, sizeof found) == 0 ? -1 : -2;
}

/* Everything in memory is forgotten. */
static int boot(void)
{
    memset(&model, 0xEE, sizeof model);
    memset(&slots, 0xEE, sizeof slots);
    CHECK(tiny_init(&model, arena, sizeof arena, NULL, 0) == KT_OK);
    CHECK(kt_slots_boot(&slots, &flash, &tiny_interface, &model) == KT_OK);
    return running();
}

static kt_status send(const adapter_file *file, uint32_t from)
{
    for (uint32_t at = from; at < file->length; at += 96) {
        const kt_status status = kt_update_write(&slots, at, file->bytes + at, file->length - at < 96 ? file->length - at : 96);
        if (status != KT_OK) return status;
    }
    return KT_OK;
}

static kt_status update(const adapter_file *file, const kt_self_test *test)
{
    kt_status status = kt_update_begin(&slots, file->length);
    if (status == KT_OK) status = send(file, 0);
    return status == KT_OK ? kt_update_install(&slots, test, scratch) : status;
}

static uint32_t hash(const uint8_t *bytes, uint32_t from, uint32_t to)
{
    uint32_t found = 0x811C9DC5u;
    for (uint32_t i = from; i < to; i++) found = (found ^ bytes[i]) * 0x01000193u;
    return found;
}

/* What a sender does after a reset: keep the pages that arrived, send the rest. */
static kt_status resume(const adapter_file *file, const kt_self_test *test, uint32_t *kept)
{
    uint32_t page = 0;
    while (kt_update_page(&slots, page + 1) < file->length &&
           kt_update_hash(&slots, kt_update_page(&slots, page), kt_update_page(&slots, page + 1)) ==
               hash(file->bytes, kt_update_page(&slots, page), kt_update_page(&slots, page + 1))) {
        page++;
    }
    *kept = kt_update_page(&slots, page);
    kt_status status = kt_update_resume(&slots, file->length, *kept);
    if (status == KT_ERROR_MISSING) {
        *kept = 0;
        status = kt_update_begin(&slots, file->length);
    }
    if (status == KT_OK) status = send(file, *kept);
    return status == KT_OK ? kt_update_install(&slots, test, scratch) : status;
}

/* The flash with the first `installed` adapters installed one after the other. */
static void prepare(int installed)
{
    for (size_t i = 0; i < sizeof memory; i++) flash_bytes[i] = (uint8_t)draw();
    cut_at = -1;
    CHECK(boot() == -1);
    for (int i = 0; i < installed; i++) CHECK(update(&files[i], NULL) == KT_OK && running() == i);
    CHECK(boot() == installed - 1);
}

/* Cut every operation of one update; resumed says whether what is cut is the sequel of an update that was cut before. */
static void every_cut(int installed, int wanted, const kt_self_test *test, int resumed)
{
    const int old = installed - 1, end = test != NULL ? old : wanted;
    const kt_status expected = test != NULL ? KT_ERROR_SELF_TEST : KT_OK;
    volatile long total = 1;
    uint32_t kept;
    for (volatile long at = 0; at < total; at++) {
        for (volatile int mode = 0; mode < 3; mode++) {
            prepare(installed);
            if (resumed) {
                operations = 0, cut_at = (long)files[wanted].length / WORD / 2, cut_mode = 1;
                if (setjmp(power) == 0) { (void)update(&files[wanted], test); CHECK(0); }
                cut_at = -1;
                CHECK(boot() == old);
            }
            operations = 0, cut_at = at, cut_mode = mode;
            if (setjmp(power) == 0) {
                CHECK((resumed ? resume(&files[wanted], test, &kept) : update(&files[wanted], test)) == expected);
                total = operations;
                cut_at = -1;
            } else {
                cuts++;
                cut_at = -1;
                const int found = boot();
                CHECK(found == old || (found == wanted && test == NULL));
                CHECK(found == old || (at == total - 1 && mode == 2) || total == 1 || mode > 0);
                if (found == old) CHECK(resume(&files[wanted], test, &kept) == expected);
            }
            CHECK(running() == end);
            CHECK(boot() == end);
        }
        if (at == 0) { /* learn how many there are */
            prepare(installed);
            if (resumed) {
                operations = 0, cut_at = (long)files[wanted].length / WORD / 2, cut_mode = 1;
                if (setjmp(power) == 0) { (void)update(&files[wanted], test); CHECK(0); }
                cut_at = -1;
                CHECK(boot() == old);
            }
            operations = 0;
            CHECK((resumed ? resume(&files[wanted], test, &kept) : update(&files[wanted], test)) == expected);
            total = operations;
        }
    }
}

static void bad_updates(void)
{
    static adapter_file wrong;
    prepare(1);
    const long before = operations;
    CHECK(kt_update_begin(&slots, kt_slots_capacity(&slots) + 1) == KT_ERROR_FULL && operations == before);
    CHECK(kt_update_write(&slots, 0, files[1].bytes, 8) == KT_ERROR_MISSING && kt_update_install(&slots, NULL, NULL) == KT_ERROR_MISSING);
    CHECK(kt_update_begin(&slots, files[1].length) == KT_OK);
    CHECK(send(&files[1], 0) == KT_OK && kt_update_begin(&slots, files[1].length) == KT_OK); /* the earlier one is given up */
    CHECK(kt_update_write(&slots, 8, files[1].bytes, 8) == KT_ERROR_MISSING);
    CHECK(kt_update_write(&slots, 0, files[1].bytes, files[1].length + 1) == KT_ERROR_FULL);
    CHECK(kt_update_install(&slots, NULL, NULL) == KT_ERROR_MISSING);
    CHECK(kt_update_write(&slots, 0, files[1].bytes, 96) == KT_OK && kt_update_write(&slots, 0, files[1].bytes, 96) == KT_OK);
    CHECK(send(&files[1], 0) == KT_OK && kt_update_install(&slots, NULL, NULL) == KT_OK && running() == 1);
    for (uint32_t i = 0; i < files[2].length; i += 7) { /* what arrives damaged is not installed */
        wrong = files[2];
        wrong.bytes[i] ^= 4;
        const kt_status status = update(&wrong, NULL);
        CHECK(status == KT_ERROR_ADAPTER || (status == KT_ERROR_VERSION && i < 6));
        CHECK(running() == 1);
    }
    CHECK(boot() == 1 && update(&files[2], NULL) == KT_OK && boot() == 2);
    kt_model_interface training = tiny_interface;
    training.train_step = (kt_status (*)(void *, const int8_t *, const kt_target *, float *))1;
    CHECK(kt_slots_boot(&slots, &flash, &training, &model) == KT_ERROR_UNSUPPORTED);
}

int main(int count, char **arguments)
{
    CHECK(count == 5);
    FILE *file = fopen(arguments[1], "rb");
    CHECK(fread(inputs, 1, sizeof inputs, file) == sizeof inputs);
    fclose(file);
    static uint64_t state[TINY_STATE_BYTES / 8 + 1];
    CHECK(tiny_init(&model, arena, sizeof arena, state, sizeof state) == KT_OK);
    outputs_of(base_outputs);
    for (int i = 0; i < 3; i++) {
        file = fopen(arguments[2 + i], "rb");
        files[i].length = (uint32_t)fread(files[i].bytes, 1, sizeof files[i].bytes, file);
        fclose(file);
        CHECK(tiny_adapter_load(&model, files[i].bytes, files[i].length) == KT_OK);
        outputs_of(files[i].outputs);
    }
    /* The self test wants what B says: C is worse. */
    for (int i = 0; i < SAMPLES; i++) {
        for (int k = 1; k < TINY_OUTPUT_BYTES; k++) {
            const int8_t *const y = files[1].outputs + i * TINY_OUTPUT_BYTES;
            labels[i] = y[k] > y[labels[i]] ? k : labels[i];
        }
    }
    const kt_self_test test = {inputs, labels, SAMPLES, 0};
    bad_updates();
    every_cut(0, 0, NULL, 0);
    every_cut(1, 1, NULL, 0);
    every_cut(2, 2, NULL, 0);
    every_cut(2, 2, &test, 0);
    every_cut(1, 1, NULL, 1);
    const kt_self_test lenient = {inputs, labels, SAMPLES, SAMPLES};
    prepare(2);
    CHECK(update(&files[2], &test) == KT_ERROR_SELF_TEST && running() == 1 && boot() == 1);
    CHECK(update(&files[2], &lenient) == KT_OK && running() == 2 && boot() == 2);
    printf("%ld\n", cuts);
    return 0;
}
