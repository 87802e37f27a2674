/* Firmware of one's own: a digit classifier that learns how a changed sensor sees, on the device, and says so on the serial port. */
#include "console.h"
#include "kt_board.h"
#include "training.h"

#ifndef PIO_UNIT_TESTING /* `pio test` brings a main() of its own */

#define EPOCHS 8

static void report(const char *when)
{
    print(when);
    print_number((uint32_t)training_correct());
    print(" correct\n");
}

int main(void)
{
    kt_board_init();
    if (training_start() != 0) {
        print("the model does not start\n");
        return 1;
    }
    report("before: ");
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        print("epoch ");
        print_number((uint32_t)epoch);
        print(": loss ");
        print_number(training_epoch());
        print(" / 1000\n");
    }
    report("after: ");
    print("state ");
    print_hex(training_state_crc());
    print("\nDONE\n");
    return 0;
}

#endif
