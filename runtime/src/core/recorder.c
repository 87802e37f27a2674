/* A ring of pages in flash with the log of a training. Bytes are collected into words; a page is erased when the first word goes into it. */
#include "kt/recorder.h"
#include "little_endian.h"

#include <string.h>

enum {
    CRC_AT = 24,
    ALIGNED = 8,
    HEAD = 5,    /* kind and length of a record */
    TAIL = 4,    /* its CRC */
    NAME = 32,
    MODEL = 8 + 4 * 4 + NAME, /* bytes of the content that says which model it is */
    LEAST_PAGES = 6
};

/* As training_log.py numbers them. */
enum { HEADER = 1, STATE = 2, STEP = 4, APPLY = 5, RATE = 6, REMEMBERED = 11, REPLAYED = 12, CLASS = 13 };

/* Why a state is written: it is the first, something beside the calls here has set it, or the ring needs it again. */
enum { START = 0, SET = 1, AGAIN = 2 };

static const uint8_t magic[4] = {'K', 'T', 'R', '1'};

static int is_page(const uint8_t *page)
{
    return memcmp(page, magic, sizeof magic) == 0 && kt_get32(page + CRC_AT) == kt_crc32(0, page, CRC_AT);
}

static uint32_t whole(uint32_t content)
{
    return (HEAD + content + TAIL + ALIGNED - 1) / ALIGNED * ALIGNED;
}

/* ---- Words and pages ---- */

static void write_word(kt_recorder *r, const uint8_t *word, uint32_t at)
{
    const kt_flash *const flash = r->flash;
    const uint32_t offset = r->page * flash->page_bytes + at;
    for (uint32_t i = 0; i < ALIGNED && !r->failed; i += flash->word_bytes) {
        r->failed = flash->write(flash->context, offset + i, word + i) != 0 ||
                    memcmp(flash->base + offset + i, word + i, flash->word_bytes) != 0;
    }
}

/* The next page of the ring, which `rest` bytes of the record before go into first. */
static void next_page(kt_recorder *r, uint32_t rest)
{
    const kt_flash *const flash = r->flash;
    uint8_t header[KT_RECORDER_HEADER] = {0};
    r->page = (r->page + 1) % flash->pages;
    r->sequence++;
    r->erasures++;
    r->since++;
    if (flash->erase(flash->context, r->page) != 0) {
        r->failed = 1;
        return;
    }
    if (rest > flash->page_bytes - KT_RECORDER_HEADER) {
        rest = UINT16_MAX;
    }
    memcpy(header, magic, sizeof magic);
    kt_put32(header + 4, r->sequence);
    kt_put32(header + 8, r->erasures);
    kt_put32(header + 12, rest | (uint32_t)r->session << 16);
    kt_put32(header + 16, flash->page_bytes);
    kt_put32(header + 20, flash->pages);
    kt_put32(header + CRC_AT, kt_crc32(0, header, CRC_AT));
    for (uint32_t at = 0; at < KT_RECORDER_HEADER; at += ALIGNED) {
        write_word(r, header + at, at);
    }
    r->at = KT_RECORDER_HEADER;
}

static void put_byte(kt_recorder *r, uint8_t byte)
{
    r->word[r->filled++] = byte;
    r->left--;
    if (r->filled < ALIGNED) {
        return;
    }
    r->filled = 0;
    if (r->at == r->flash->page_bytes) {
        next_page(r, r->left + ALIGNED);
    }
    write_word(r, r->word, r->at);
    r->at += ALIGNED;
}

static void put(kt_recorder *r, const void *bytes, uint32_t count)
{
    const uint8_t *const from = bytes;
    r->crc = kt_crc32(r->crc, bytes, count);
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        put_byte(r, from[i]);
    }
}

static void put_number(kt_recorder *r, uint32_t number)
{
    uint8_t bytes[4];
    kt_put32(bytes, number);
    put(r, bytes, sizeof bytes);
}

static void put_float(kt_recorder *r, float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_number(r, bits);
}

static void begin(kt_recorder *r, uint8_t kind, uint32_t content)
{
    if (!r->failed && r->at == r->flash->page_bytes) {
        next_page(r, 0);
    }
    r->crc = 0;
    r->left = whole(content);
    put(r, &kind, 1);
    put_number(r, content);
}

static kt_status end(kt_recorder *r)
{
    put_number(r, r->crc);
    while (r->left > 0 && !r->failed) {
        put_byte(r, 0xFF);
    }
    return r->failed ? KT_ERROR_FLASH : KT_OK;
}

/* ---- Records ---- */

static uint32_t state_crc(const kt_recorder *r)
{
    return kt_crc32(0, r->state, r->interface->state_bytes);
}

static kt_status whole_state(kt_recorder *r, uint8_t why)
{
    const uint32_t bytes = r->interface->state_bytes;
    r->since = 0;
    begin(r, STATE, 1 + bytes);
    put(r, &why, 1);
    put(r, r->state, bytes);
    return end(r);
}

/* Which model it is, and the state: what a replay needs that begins here. */
static kt_status start(kt_recorder *r, uint8_t why)
{
    const kt_model_interface *const interface = r->interface;
    uint8_t name[NAME] = {0};
    for (int i = 0; i < NAME - 1 && interface->name[i] != 0; i++) {
        name[i] = (uint8_t)interface->name[i];
    }
    begin(r, HEADER, MODEL);
    put(r, interface->base_hash, 8);
    put_number(r, interface->state_bytes);
    put_number(r, interface->input_bytes);
    put_number(r, interface->target_values);
    put_number(r, r->every);
    put(r, name, sizeof name);
    (void)end(r);
    return whole_state(r, why);
}

/* Behind a record: the state again where half of the ring has gone by since it was written. With what kt_recorder_open asks of the pages the one
 * before is still there when this one is whole. */
static kt_status finish(kt_recorder *r)
{
    const kt_status status = end(r);
    return status != KT_OK || r->since < r->flash->pages / 2 ? status : start(r, AGAIN);
}

static uint32_t sample_bytes(const kt_recorder *r)
{
    return r->interface->input_bytes + 4 * r->interface->target_values;
}

static void put_sample(kt_recorder *r, const int8_t *input, const kt_target *target)
{
    put(r, input, r->interface->input_bytes);
    if (target != NULL && r->interface->target_values > 0) {
        put(r, target->values, 4 * r->interface->target_values);
    }
}

static int32_t label_of(const kt_recorder *r, const kt_target *target)
{
    return target == NULL || r->interface->target_values > 0 ? 0 : target->label;
}

/* What is known of the state behind a step: nothing, but for each `every`-th. */
static uint32_t checked(kt_recorder *r)
{
    r->steps++;
    return r->steps % r->every == 0 ? state_crc(r) : 0;
}

kt_status kt_recorder_open(kt_recorder *recorder, const kt_flash *flash, const kt_model_interface *interface,
                           const void *state, uint32_t every)
{
    const uint32_t word = flash->word_bytes;
    int found = 0;
    memset(recorder, 0, sizeof *recorder);
    recorder->interface = interface;
    recorder->state = state;
    recorder->every = every < 1 ? 1 : every;
    recorder->failed = 1; /* until all is as it must be */
    if ((uintptr_t)flash->base % KT_ALIGNMENT != 0 || word < 1 || word > ALIGNED || (word & (word - 1)) != 0 ||
        flash->page_bytes < 2 * KT_RECORDER_HEADER || flash->page_bytes % KT_RECORDER_HEADER != 0 || flash->page_bytes >= UINT16_MAX ||
        flash->pages < LEAST_PAGES || flash->pages > UINT32_MAX / 2 / flash->page_bytes || every < 1) {
        return KT_ERROR_ARGUMENT;
    }
    if (interface->train_step == NULL) {
        return KT_ERROR_UNSUPPORTED;
    }
    recorder->flash = flash;
    if (interface->state_bytes > flash->pages * flash->page_bytes || sample_bytes(recorder) > flash->pages * flash->page_bytes ||
        whole(MODEL) + whole(1 + interface->state_bytes) + 2 * whole(12 + sample_bytes(recorder)) >
            (flash->pages / 2 - 2) * (flash->page_bytes - KT_RECORDER_HEADER)) {
        return KT_ERROR_FULL;
    }
    recorder->page = flash->pages - 1;
    for (uint32_t i = 0; i < flash->pages; i++) {
        const uint8_t *const page = flash->base + i * flash->page_bytes;
        if (!is_page(page)) {
            continue;
        }
        if (kt_get32(page + 8) > recorder->erasures) {
            recorder->erasures = kt_get32(page + 8);
        }
        if (!found || kt_get32(page + 4) - recorder->sequence < UINT32_C(0x80000000)) {
            recorder->sequence = kt_get32(page + 4);
            recorder->page = i;
            recorder->session = (uint16_t)(kt_get32(page + 12) >> 16);
            found = 1;
        }
    }
    recorder->session++;
    recorder->failed = 0;
    next_page(recorder, 0);
    return start(recorder, START);
}

kt_status kt_recorder_state(kt_recorder *recorder)
{
    return whole_state(recorder, SET);
}

kt_status kt_recorder_train_step(kt_recorder *recorder, const int8_t *input, const kt_target *target, float loss)
{
    begin(recorder, STEP, 12 + sample_bytes(recorder));
    put_number(recorder, (uint32_t)label_of(recorder, target));
    put_float(recorder, loss);
    put_number(recorder, checked(recorder));
    put_sample(recorder, input, target);
    return finish(recorder);
}

kt_status kt_recorder_apply(kt_recorder *recorder)
{
    begin(recorder, APPLY, 4);
    put_number(recorder, state_crc(recorder));
    return finish(recorder);
}

kt_status kt_recorder_set_learning_rate(kt_recorder *recorder, float learning_rate)
{
    begin(recorder, RATE, 4);
    put_float(recorder, learning_rate);
    return finish(recorder);
}

kt_status kt_recorder_remember(kt_recorder *recorder, const int8_t *input, const kt_target *target)
{
    begin(recorder, REMEMBERED, 8 + sample_bytes(recorder));
    put_number(recorder, (uint32_t)label_of(recorder, target));
    put_number(recorder, state_crc(recorder));
    put_sample(recorder, input, target);
    return finish(recorder);
}

kt_status kt_recorder_replay_step(kt_recorder *recorder, float loss)
{
    begin(recorder, REPLAYED, 8);
    put_float(recorder, loss);
    put_number(recorder, checked(recorder));
    return finish(recorder);
}

kt_status kt_recorder_add_class(kt_recorder *recorder, const int8_t *input, int32_t label)
{
    begin(recorder, CLASS, 8 + recorder->interface->input_bytes);
    put_number(recorder, (uint32_t)label);
    put_number(recorder, state_crc(recorder));
    put(recorder, input, recorder->interface->input_bytes);
    return finish(recorder);
}
