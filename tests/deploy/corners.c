/* Flash of every description, errors of a self test counted one by one, and updates in a row. */
#include "hostile.h"

static uint64_t cells[512];

static int power_of_two_up_to_32(uint32_t n)
{
    return n == 1 || n == 2 || n == 4 || n == 8 || n == 16 || n == 32;
}

/* Erased flash boots with the base model where it is as kt_flash asks, and only there. */
static void descriptions(void)
{
    static const uint32_t page_sizes[] = {0, 16, 31, 32, 33, 48, 64, 96, 128};
    static model m;
    memset(cells, 0xFF, sizeof cells);
    for (uint32_t word = 0; word <= 65; word++) {
        for (size_t p = 0; p < sizeof page_sizes / sizeof page_sizes[0]; p++) {
            for (uint32_t pages = 0; pages <= 6; pages++) {
                for (uint32_t shift = 0; shift <= 8; shift += 4) {
                    const kt_flash flash = {(const uint8_t *)cells + shift, page_sizes[p], pages, word, NULL, NULL, NULL};
                    kt_adapter_slots slots;
                    const int right = power_of_two_up_to_32(word) && page_sizes[p] > 0 && page_sizes[p] % 32 == 0 && pages > 0 && pages % 2 == 0 && shift != 4;
                    static char name[80];
                    snprintf(name, sizeof name, "word %u, page %u, pages %u, shift %u", word, page_sizes[p], pages, shift);
                    current = name;
                    CHECK(kt_slots_boot(&slots, &flash, &interface, &m) == (right ? KT_OK : KT_ERROR_ARGUMENT));
                    if (right) CHECK(kt_slots_capacity(&slots) == pages / 2 * page_sizes[p] - 32 && slots.active.file == NULL);
                }
            }
        }
    }
}

/* Training changes values where they lie: a model that trains has no slots. */
static kt_status no_step(void *m, const int8_t *input, const kt_target *target, float *loss)
{
    (void)m, (void)input, (void)target, (void)loss;
    return KT_OK;
}

static void a_model_that_trains(void)
{
    const kt_flash flash = {(const uint8_t *)cells, 128, 8, 8, NULL, NULL, NULL};
    kt_model_interface training = interface;
    kt_adapter_slots slots;
    model m;
    current = "a model that trains";
    training.train_step = no_step;
    CHECK(kt_slots_boot(&slots, &flash, &training, &m) == KT_ERROR_UNSUPPORTED);
    training = interface, training.adapter_layout = NULL;
    CHECK(kt_slots_boot(&slots, &flash, &training, &m) == KT_ERROR_UNSUPPORTED);
}

static kt_status scores(void *m, const int8_t *input, int8_t *output)
{
    (void)m;
    memcpy(output, input, 4);
    return input[4] ? KT_ERROR_PAGE : KT_OK;
}

/* The class is the first of the largest results. */
static void self_tests(void)
{
    static const int8_t inputs[5][5] = {{1, 0, 0, 0, 0}, {-5, -3, -4, -3, 0}, {0, 0, 0, 1, 0}, {127, 126, -128, 127, 0}, {-128, -128, -128, -128, 0}};
    static const int32_t right[5] = {0, 1, 3, 0, 0};
    static const kt_model_interface scorer = {.name = "s", .input_bytes = 5, .output_bytes = 4, .infer = scores};
    int8_t output[4];
    current = "self tests";
    for (uint32_t samples = 0; samples <= 5; samples++) {
        for (uint32_t wrong = 0; wrong < 32; wrong++) {
            int32_t labels[5];
            uint32_t expected = 0;
            for (uint32_t i = 0; i < 5; i++) {
                labels[i] = right[i] + (int32_t)(wrong >> i & 1);
                expected += i < samples && labels[i] != right[i];
            }
            const kt_self_test test = {&inputs[0][0], labels, samples, 0};
            CHECK(kt_self_test_errors(&test, &scorer, NULL, output) == expected);
        }
    }
    const int8_t failing[5] = {0, 0, 0, 0, 1};
    const kt_self_test test = {failing, right, 1, 0};
    CHECK(kt_self_test_errors(&test, &scorer, NULL, output) == UINT32_MAX);
}

/* ---- One update after the other ---- */

enum { PAGE = 128, PAGES = 8 };

static int erase(void *context, uint32_t page)
{
    (void)context;
    memset((uint8_t *)cells + page * PAGE, 0xFF, PAGE);
    return 0;
}

static int write_cells(void *context, uint32_t at, const uint8_t *word)
{
    (void)context;
    for (int i = 0; i < 8; i++) ((uint8_t *)cells)[at + (uint32_t)i] &= word[i];
    return 0;
}

/* Any number of updates without a reset between them: a boot finds the last. */
static void updates_in_a_row(void)
{
    static const kt_flash flash = {(const uint8_t *)cells, PAGE, PAGES, 8, erase, write_cells, NULL};
    static model m;
    current = "updates in a row";
    for (uint32_t count = 1; count <= 5; count++) {
        kt_adapter_slots slots;
        memset(cells, 0xFF, sizeof cells);
        CHECK(kt_slots_boot(&slots, &flash, &interface, &m) == KT_OK && slots.counter == 0 && slots.active.file == NULL);
        for (uint32_t i = 1; i <= count; i++) {
            content c = usual();
            c.sequence = 10 + i;
            const adapter_file f = made(&c);
            CHECK(kt_update_begin(&slots, f.length) == KT_OK && kt_update_write(&slots, 0, f.bytes, f.length) == KT_OK);
            CHECK(kt_update_install(&slots, NULL, NULL) == KT_OK && slots.active.sequence == 10 + i && slots.counter == i);
        }
        CHECK(kt_slots_boot(&slots, &flash, &interface, &m) == KT_OK && slots.active.sequence == 10 + count && slots.counter == count);
    }
}

int main(void)
{
    begin();
    descriptions();
    a_model_that_trains();
    self_tests();
    updates_in_a_row();
    puts("passed");
    return 0;
}
