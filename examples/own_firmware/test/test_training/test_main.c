/* What must hold on every board: the model starts, learns the samples, and ends with the same state each time. */
#include "console.h"
#include "kt_board.h"
#include "training.h"

static uint32_t tests, failures;

/* One line of Unity's format: FILE:LINE:NAME:PASS, or :FAIL: and why. */
static void result(int line, const char *name, int passed, const char *why)
{
    print("test_main.c:");
    print_number((uint32_t)line);
    print(":");
    print(name);
    print(passed ? ":PASS" : ":FAIL: ");
    print(passed ? "" : why);
    print("\n");
    tests++;
    failures += !passed;
}

static uint32_t trained(int epochs)
{
    uint32_t loss = 0;

    training_start();
    while (epochs-- > 0)
        loss = training_epoch();
    return loss;
}

int main(void)
{
    kt_board_init();
    result(__LINE__, "starts", training_start() == 0, "the memory is too small or misaligned");

    const int before = training_correct();
    const uint32_t first = trained(1), last = trained(8);
    result(__LINE__, "loss_falls", last < first, "the loss did not fall");
    result(__LINE__, "learns", training_correct() > before, "no more samples are correct than before");

    const uint32_t state = training_state_crc();
    trained(8);
    result(__LINE__, "repeats", training_state_crc() == state, "the second training ended with another state");

    print("\n-----------------------\n");
    print_number(tests);
    print(" Tests ");
    print_number(failures);
    print(" Failures 0 Ignored\n");
    print(failures == 0 ? "OK\n" : "FAIL\n");
    return 0;
}
