"""What a state from outside, or a number from outside, may not do to a build that trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite

from .programs import compiled, run

PROGRAM = """
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "tiny.h"

#define CHECK(condition) do { if (!(condition)) { printf("line %d: %s\\n", __LINE__, #condition); return 1; } } while (0)

int main(void)
{
    static uint64_t arena[TINY_ARENA_BYTES_TRAIN / 8 + 1], state[TINY_STATE_BYTES / 8 + 1];
    static int8_t x[TINY_INPUT_BYTES];
    const float wrong[] = {-1.0e-30f, -1.0f, 1.0e18f, 1.0e20f, 3.4e38f, INFINITY, -INFINITY, NAN};
    const kt_target target = {1, NULL};
    tiny_model m;
    tiny_state *const s = (tiny_state *)state;
    CHECK(tiny_init(&m, arena, sizeof arena, state, sizeof state) == KT_OK);
    CHECK(tiny_set_learning_rate(&m, 0.0f) == KT_OK && tiny_set_learning_rate(&m, 0.25f) == KT_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(tiny_set_learning_rate(&m, wrong[i]) == KT_ERROR_ARGUMENT && s->learning_rate == 0.25f);
    }
    s->accumulated = INT32_MAX - 1;
    CHECK(tiny_resume(&m, arena, sizeof arena, state, sizeof state) == KT_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(tiny_train_step(&m, x, &target, NULL) == KT_OK && s->accumulated == INT32_MAX);
    }
    CHECK(tiny_apply(&m) == KT_OK && s->accumulated == 0);
    s->accumulated = INT32_MIN;
    CHECK(tiny_train_step(&m, x, &target, NULL) == KT_OK && tiny_apply(&m) == KT_ERROR_NOT_TRAINED);
    puts("passed");
    return 0;
}
"""


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("training")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    return kt.build(kt.load(folder / "tiny.tflite"), folder / "b", method=kt.BiasOnly(), optimizer=kt.SGD(lr=0.1), accumulate=4, measure=False)


def test_counts_and_rates_that_no_training_makes(training: kt.Build, tmp_path: Path) -> None:
    """A count of accumulated samples at its largest stays there instead of overflowing; a rate outside its range is refused and not taken."""
    assert run(compiled(training, PROGRAM, tmp_path)) == "passed\n"


@pytest.mark.parametrize("place", ["host", "agent:host"])
def test_a_rate_that_is_no_rate_is_named(place: str, training: kt.Build) -> None:
    with training.open(place) as device:
        before = device.state()
        with pytest.raises(kt.DeviceError, match=r"does not permit this value[^@]*at least 0 and below 1e18"):
            device._set_learning_rate(1e20)
        assert device.state() == before
        device.fit(samples(tiny(), 4), [0, 1, 2, 0], epochs=1)
        assert device.state() != before
