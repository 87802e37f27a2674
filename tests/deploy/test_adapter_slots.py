"""Two slots in simulated flash: after a power cut at any write the device boots with the old adapter or the new one, whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kiloc.peft import Method

from .programs import compiled, run, runtime_program

METHODS: list[Method] = [kt.LoRA(rank=2, layers="first,second"), kt.BiasOnly()]
X = samples(tiny(), 20)
GEOMETRIES = [(256, 8), (128, 4), (512, 32), (1024, 1)]
"""Bytes of a page and of a word: from flash written byte by byte to 256-bit words."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inference-only build, samples, and three adapters that say different things of them."""
    folder, rng = tmp_path_factory.mktemp("slots"), np.random.default_rng(2)
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    model = kt.load(folder / "tiny.tflite")
    training = kt.build(model, folder / "training", method=METHODS, optimizer=kt.SGD(lr=0.3), measure=False)
    kt.build(model, folder / "inference", method=METHODS, train=False, measure=False)
    (folder / "x").write_bytes(X.tobytes())
    predictions = []
    with training.open() as device:
        for i, name in enumerate("ABC"):
            device.fit(X, rng.integers(0, 3, 20), epochs=10)
            device.export_adapter().labelled(name, sequence=i + 1).save(folder / f"{name}.kta")
            predictions.append(device.predict(X))
    assert (predictions[1] != predictions[2]).any()
    return folder


@pytest.mark.parametrize(("page", "word"), GEOMETRIES)
def test_every_cut_boots_old_or_new(page: int, word: int, folder: Path, tmp_path: Path) -> None:
    """Three ways to be cut at each operation of five sequences: the first install, two replacements, one that the self test refuses, and
    the sequel of an update that was cut before. Whatever booted, the update can then be finished."""
    source = (Path(__file__).parent / "slots.c").read_text()
    program = compiled(kt.open_build(folder / "inference"), source, tmp_path, (f"-DPAGE={page}", f"-DWORD={word}"))
    cuts = int(run(program, folder / "x", *(folder / f"{name}.kta" for name in "ABC")))
    operations = -(-len(kt.Adapter.load(folder / "A.kta")) // word)
    assert cuts > 3 * 4 * operations, "too few cuts to be all"


def test_hostile_slots(tmp_path: Path) -> None:
    """Records, sizes, offsets and chunks that break one rule each, flash that fails or lies at each operation, counters that wrap."""
    assert run(runtime_program("hostile_slots.c", tmp_path)) == "passed\n"


ROLLBACK = """
#include <stdio.h>
#include <string.h>
#include "kt/adapter_slots.h"
#include "tiny.h"

static uint64_t memory[12 * 256 / 8], arena[TINY_ARENA_BYTES_INFER / 8 + 1];
static int erase(void *context, uint32_t page) { (void)context; memset((uint8_t *)memory + page * 256, 0xFF, 256); return 0; }
static int write(void *context, uint32_t at, const uint8_t *word) { (void)context; memcpy((uint8_t *)memory + at, word, 4); return 0; }

int main(int count, char **arguments)
{
    static const kt_flash flash = {(const uint8_t *)memory, 256, 12, 4, erase, write, NULL};
    static uint8_t bytes[4096];
    static tiny_model m;
    static kt_adapter_slots slots;
    tiny_init(&m, arena, sizeof arena, NULL, 0);
    kt_slots_boot(&slots, &flash, &tiny_interface, &m);
    for (int i = 1; i < count; i++) {
        FILE *const file = fopen(arguments[i], "rb");
        const uint32_t length = (uint32_t)fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        kt_update_begin(&slots, length);
        kt_update_write(&slots, 0, bytes, length);
        printf("%d ", kt_update_install(&slots, NULL, NULL));
        kt_slots_boot(&slots, &flash, &tiny_interface, &m);
    }
    return 0;
}
"""


@pytest.mark.parametrize(("protected", "statuses"), [(True, "0 9 9 0 9"), (False, "0 0 0 0 0")])
def test_an_older_adapter_is_refused_where_the_build_asks_for_it(protected: bool, statuses: str, folder: Path, tmp_path: Path) -> None:
    options = kt.AdapterOptions(rollback_protection=protected)
    model = kt.load(folder / "tiny.tflite")
    build = kt.build(model, tmp_path / "b", method=METHODS, train=False, adapters=options, measure=False)
    assert build.report["adapters"]["rollback_protection"] == protected
    order = [folder / f"{name}.kta" for name in "BABCA"]  # sequence numbers 2 1 2 3 1
    assert run(compiled(build, ROLLBACK, tmp_path), *order).strip() == statuses
