"""Drift detection: C gives the numbers of Python, a shift raises its flag, what stays the same does not, and the guard takes back what is worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.drift import CONFIDENCE, INPUT, DriftDetector, DriftReference

from .programs import compiled, run, runtime_program


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("drift")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    return kt.build(kt.load(folder / "tiny.tflite"), folder / "build", method=kt.BiasOnly(), optimizer=kt.SGD(lr=0.3), measure=False)


def test_c_and_python_agree(build: kt.Build, tmp_path: Path) -> None:
    """Usual samples, shifted ones, extremes, and what is learned in between."""
    rng = np.random.default_rng(1)
    x = rng.integers(-40, 40, (300, 8)).astype(np.int8)
    x[120:200] += 30
    x[250:] = rng.choice([-128, 127], (50, 8))
    with build.open() as device:
        reference = DriftReference.of(device, x[:100], threshold=6.0)
        outputs = device.infer(x)
    reference.save(tmp_path / "tiny_drift.h", "tiny")
    (tmp_path / "x").write_bytes(x.tobytes())
    (tmp_path / "y").write_bytes(np.ascontiguousarray(outputs).tobytes())
    detector, expected = DriftDetector(reference), []
    for i in range(300):
        if i == 210:
            detector.learn(20)
        flags = detector.update(x[i], None if i % 7 == 3 else outputs[i])
        expected.append([flags, *detector.last, *detector.cusum])
    expected.append([n for usual in detector.usual for n in (usual.mean, usual.deviation)])
    printed = run(runtime_program("drift.c", tmp_path, ("drift",), (f"-I{tmp_path}",)), tmp_path / "x", tmp_path / "y", "210")
    assert [[int(n) for n in line.split()] for line in printed.splitlines()] == expected
    flagged = [bool(row[0] & INPUT) for row in expected[:300]]
    assert not any(flagged[:120]) and flagged[140] and not any(flagged[210:230])


def test_what_stays_the_same_raises_nothing_and_what_changes_does(build: kt.Build) -> None:
    rng = np.random.default_rng(2)
    usual = np.clip(rng.normal(0, 20, (2200, 8)), -128, 127).astype(np.int8)
    with build.open() as device:
        reference, outputs = DriftReference.of(device, usual[:200]), device.infer(usual)
        detector = DriftDetector(reference)
        assert [detector.update(x, o) for x, o in zip(usual[200:], outputs[200:], strict=True)] == [0] * 2000
        detector = DriftDetector(reference)
        unsure = np.zeros((60, 3), np.int8)
        assert detector.update(usual[0], unsure[0]) == 0
        assert [detector.update(x, o) for x, o in zip(usual[:60], unsure, strict=True)][-1] & CONFIDENCE
        with pytest.raises(ValueError, match="32 or more"):
            DriftReference.of(device, usual[:31])
        with pytest.raises(ValueError, match="threshold"):
            DriftReference.of(device, usual[:40], threshold=0.0)


GUARD = """
#include <stdio.h>
#include <string.h>
#include "kt/guard.h"
#include "tiny.h"

static uint64_t arena[TINY_ARENA_BYTES_TRAIN / 8 + 1], state[TINY_STATE_BYTES / 8 + 1], adapter[TINY_ADAPTER_BYTES / 8 + 1];
static int8_t x[20 * TINY_INPUT_BYTES];
static int32_t right[20], wrong[20];

static void train(tiny_model *m, const int32_t *labels, int steps)
{
    for (int i = 0; i < steps; i++) {
        const kt_target target = {labels[i % 20], NULL};
        tiny_train_step(m, x + i % 20 * TINY_INPUT_BYTES, &target, NULL);
    }
}

int main(int count, char **arguments)
{
    int8_t output[TINY_OUTPUT_BYTES];
    tiny_model m;
    FILE *const file = fopen(arguments[1], "rb");
    if (count != 2 || fread(x, 1, sizeof x, file) != sizeof x) return 1;
    fclose(file);
    tiny_init(&m, arena, sizeof arena, state, sizeof state);
    for (int i = 0; i < 20; i++) {
        tiny_infer(&m, x + i * TINY_INPUT_BYTES, output);
        right[i] = tiny_argmax_output(output);
        wrong[i] = (right[i] + 1) % 3;
    }
    static const kt_self_test test = {x, right, 20, 1};
    kt_guard guard = {.interface = &tiny_interface, .model = &m, .test = &test, .output = output, .adapter = adapter};
    printf("%d ", kt_guard_end(&guard));
    printf("%d ", kt_guard_begin(&guard));
    train(&m, right, 40);
    printf("%d %u %u ", kt_guard_end(&guard), guard.before, guard.after);
    size_t bytes = tiny_adapter_export(&m, adapter, sizeof adapter);
    static uint8_t good[TINY_ADAPTER_BYTES], now[TINY_ADAPTER_BYTES];
    memcpy(good, adapter, bytes);
    kt_guard_begin(&guard);
    train(&m, wrong, 200);
    const int status = kt_guard_end(&guard);
    tiny_adapter_export(&m, now, sizeof now);
    printf("%d %d %u %d", status, guard.after > guard.before + 1, guard.taken_back, memcmp(good, now, bytes));
    return 0;
}
"""


def test_the_guard_takes_back(build: kt.Build, tmp_path: Path) -> None:
    """What is no worse stays; training on wrong labels is undone, byte for byte. 13: nothing was begun; 16: worse."""
    (tmp_path / "x").write_bytes(samples(tiny(), 20).tobytes())
    assert run(compiled(build, GUARD, tmp_path), tmp_path / "x") == "13 0 0 0 0 16 1 1 0"
