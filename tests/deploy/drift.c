/* drift.c: reads samples and outputs, prints what kt_drift says of each; "learn" is at the sample that the third argument names. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tiny_drift.h"

int main(int count, char **arguments)
{
    static int8_t input[4096], output[256];
    FILE *const inputs = fopen(arguments[1], "rb"), *const outputs = fopen(arguments[2], "rb");
    const long learn = atol(arguments[3]);
    const size_t values = (size_t)tiny_drift_reference.groups * tiny_drift_reference.group_values, classes = tiny_drift_reference.classes;
    kt_drift drift;
    (void)count;
    kt_drift_init(&drift, &tiny_drift_reference);
    for (long i = 0; fread(input, 1, values, inputs) == values && fread(output, 1, classes, outputs) == classes; i++) {
        if (i == learn) {
            kt_drift_learn(&drift, 20);
        }
        const uint32_t flags = kt_drift_update(&drift, &tiny_drift_reference, input, i % 7 == 3 ? NULL : output);
        printf("%" PRIu32 " %" PRId32 " %" PRId32 " %" PRId32 " %" PRId32 "\n", flags, drift.last[0], drift.last[1], drift.cusum[0], drift.cusum[1]);
    }
    printf("%" PRId32 " %" PRId32 " %" PRId32 " %" PRId32 "\n", drift.usual[0].mean, drift.usual[0].deviation, drift.usual[1].mean,
           drift.usual[1].deviation);
    return 0;
}
