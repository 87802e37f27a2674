/* An adapter's file from anybody: byte 0 says how it is given, the rest is the file. */
#include "../../deploy/hostile.h"

enum { RIGHT_CHECKSUMS = 1, RIGHT_SIZES = 2, WITH_KEY = 4, WITH_FLOOR = 8, ELSEWHERE = 16 };

static uint32_t at(const uint8_t *file, size_t length, uint32_t offset)
{
    return offset + 4 <= length ? get32(file + offset) : 0;
}

/* Checksums that fit, wherever the header says that the sections end. */
static void seal(uint8_t *file, size_t length, int sizes)
{
    if (length < 128) return;
    const uint64_t payload = 128 + (uint64_t)at(file, length, 20) + 4, digest = payload + ((uint64_t)at(file, length, 24) + 3) / 4 * 4 + 4;
    const uint64_t signature = digest + (file[6] & 1 ? 36 : 0), end = signature + (file[6] & 2 ? 100 : 0);
    const uint64_t ends[5] = {124, payload - 4, digest - 4, signature - 4, end - 4};
    uint64_t start = 0;
    uint32_t crc = 0;
    memcpy(file, "KTA\x1a\1\0", 6);
    if (sizes) memcpy(file + 8, model_hash, 8), put(file + 16, length, 4);
    for (int i = 0; i < 5 && ends[i] + 4 <= length; i++) {
        if (ends[i] + 4 <= start) continue;
        crc = kt_crc32(crc, file + start, ends[i] - start);
        put(file + ends[i], crc, 4);
        start = ends[i] + 4;
    }
}

/* What was taken is read as devices read it: copied, in place, stored, found in a region. */
static void use(const uint8_t *file, size_t length, const kt_adapter *adapter)
{
    static uint64_t memory[2 * 64 / 8];
    static kt_resident residents[3];
    static model m;
    kt_adapter_pool pool;
    uint8_t values[PAYLOAD_BYTES];
    current = "taken";
    CHECK(adapter->bytes == length && adapter->file == file && adapter->payload > adapter->table && adapter->payload + 4 <= file + length);
    kt_adapter_copy(adapter, &layout, values);
    CHECK(!adapter->in_place || memcmp(values, adapter->payload, PAYLOAD_BYTES) == 0);
    kt_pool_init(&pool, &layout, residents, 3, memory, sizeof memory);
    CHECK(kt_pool_store(&pool, "stored", file, length) == KT_OK && kt_pool_select(&pool, "stored", &interface, &m) == KT_OK);
    CHECK(memcmp(m.values, values, PAYLOAD_BYTES) == 0);
    const kt_status added = kt_pool_add(&pool, "in place", file, length);
    CHECK(added == (adapter->in_place && (uintptr_t)adapter->payload % KT_ALIGNMENT == 0 ? KT_OK : KT_ERROR_BASE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    begin();
    const int how = data[0];
    const size_t length = size - 1, shift = how & ELSEWHERE ? 4 : 0;
    uint8_t *const room = malloc(shift + length + (shift + length == 0)), *const file = room + shift; /* nothing behind the file */
    static kt_resident residents[3];
    kt_adapter_pool pool;
    kt_adapter adapter;
    memcpy(file, data + 1, length);
    if (how & RIGHT_CHECKSUMS) seal(file, length, how & RIGHT_SIZES);
    layout.public_key = how & WITH_KEY ? key : NULL, layout.verify = verify;
    layout.floor = how & WITH_FLOOR ? &lowest : NULL, lowest = 6;
    expected_signed = length - 100;
    const kt_status status = kt_adapter_open(&adapter, file, length, &layout);
    if (status == KT_OK) {
        CHECK(!(how & WITH_KEY) || (file[6] & 2));
        CHECK(!(how & WITH_FLOOR) || adapter.sequence >= 6);
        use(file, length, &adapter);
    }
    expected_signed = 0; /* of whatever lies there */
    kt_pool_init(&pool, &layout, residents, 3, NULL, 0);
    (void)kt_pool_add_region(&pool, file, length);
    free(room);
    return 0;
}
