/* Updates that arrive as constants, made private, and written as text: one number a line. */
#include "kt/private_update.h"
#include "kt_board.h"
#include "leave.h"
#include "updates.h"

static void put(int32_t value)
{
    uint8_t text[16];
    size_t at = sizeof text;
    uint32_t rest = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
    text[--at] = '\n';
    do {
        text[--at] = (uint8_t)('0' + rest % 10u);
        rest /= 10u;
    } while (rest > 0);
    if (value < 0) {
        text[--at] = '-';
    }
    kt_board_write(text + at, sizeof text - at);
}

int main(void)
{
    size_t i, j;
    kt_board_init();
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (kt_private_update(&cases[i].params, cases[i].values, SIZE) != KT_OK) {
            return leave(1);
        }
        for (j = 0; j < SIZE; j++) {
            put(cases[i].values[j]);
        }
    }
    cases[0].params.clip = 0;
    return leave(kt_private_update(&cases[0].params, cases[0].values, SIZE) == KT_ERROR_ARGUMENT ? 0 : 2);
}
