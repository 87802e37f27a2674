"""Several adapters in one firmware: by name, in flash and in memory, and switched without tearing a running inference."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kiloc.peft import Method

from .programs import compiled, run

X = samples(tiny(), 20)


def methods(rank: int) -> list[Method]:
    return [kt.LoRA(rank=rank, layers="first,second"), kt.BiasOnly()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds for training and for inference, and adapters: alice, bob, one of a lower rank, one of another base."""
    folder, rng = tmp_path_factory.mktemp("pool"), np.random.default_rng(2)
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    model, sgd = kt.load(folder / "tiny.tflite"), kt.SGD(lr=0.3)
    training = kt.build(model, folder / "training", method=methods(2), optimizer=sgd, measure=False)
    kt.build(model, folder / "inference", method=methods(2), train=False, adapters=kt.AdapterOptions(resident=2), measure=False)
    (folder / "x").write_bytes(X.tobytes())
    builds = {"alice": training, "bob": training}
    builds["lower"] = kt.build(model, folder / "low", method=methods(1), optimizer=sgd, measure=False)
    builds["foreign"] = kt.build(model, folder / "f", method=kt.Head(), optimizer=sgd, measure=False)
    for name, build in builds.items():
        with build.open() as device:
            device.fit(X, rng.integers(0, 3, 20), epochs=10)
            device.export_adapter().labelled(name).save(folder / f"{name}.kta")
    return folder


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_a_pool(kind: str, folder: Path, tmp_path: Path) -> None:
    """Add, store, select, remove; a lower rank in a slot; names that exist, full tables and slots, damage: each changes nothing."""
    options = ["-DIN_PLACE"] if kind == "inference" else []
    program = compiled(kt.open_build(folder / kind), (Path(__file__).parent / "pool.c").read_text(), tmp_path, options)
    files = [folder / f"{name}.kta" for name in ("alice", "bob", "lower", "foreign")]
    assert run(program, folder / "x", *files) == "passed\n"


SWITCH = """
#include <stdio.h>
#include <string.h>
#include "kt/adapter.h"
#include "tiny.h"

static uint64_t files[2][512], arena[TINY_ARENA_BYTES_INFER / 8 + 1];
static const void *values[2];
static tiny_model m;
static int switch_at, active;

/* Called in front of every step, as an interrupt might. */
void between_steps(int step)
{
    if (step == switch_at) {
        tiny_adapter_select(&m, values[active ^= 1]);
    }
}

int main(int count, char **arguments)
{
    static int8_t x[20 * TINY_INPUT_BYTES], expected[2][TINY_OUTPUT_BYTES], y[TINY_OUTPUT_BYTES];
    FILE *file = fopen(arguments[1], "rb");
    if (count != 4 || fread(x, 1, sizeof x, file) != sizeof x) return 2;
    fclose(file);
    tiny_init(&m, arena, sizeof arena, NULL, 0);
    for (int i = 0; i < 2; i++) {
        kt_adapter adapter;
        file = fopen(arguments[2 + i], "rb");
        if (kt_adapter_open(&adapter, files[i], fread(files[i], 1, sizeof files[i], file), &tiny_adapter_layout) != KT_OK) return 3;
        fclose(file);
        values[i] = adapter.payload;
    }
    int switches = 0, differ = 0;
    for (int sample = 0; sample < 20; sample++) {
        const int8_t *const input = x + sample * TINY_INPUT_BYTES;
        for (active = 0, switch_at = 0; active < 2; active++) {
            tiny_adapter_select(&m, values[active]);
            tiny_infer(&m, input, expected[active]);
        }
        differ += memcmp(expected[0], expected[1], sizeof y) != 0;
        active = 0;
        tiny_adapter_select(&m, values[0]);
        for (switch_at = 1; switch_at <= STEPS; switch_at++, switches++) {
            const int before = active;
            tiny_infer(&m, input, y);
            if (active == before || memcmp(y, expected[before], sizeof y) != 0) return 4;
        }
    }
    printf("%d %d\\n", switches, differ);
    return 0;
}
"""


def test_a_switch_never_tears_an_inference(folder: Path, tmp_path: Path) -> None:
    """The adapter is switched in front of every step of a running model: the inference ends with the one that it began with."""
    shutil.copytree(folder / "inference", tmp_path / "build")
    source = tmp_path / "build" / "tiny.c"
    text = source.read_text()
    start, end = text.index("kt_status tiny_infer("), text.index("return KT_OK;")
    hooked, steps = re.subn(r"^    (kt_\w+\()", r"    between_steps(++step); \1", text[start:end], flags=re.MULTILINE)
    assert steps >= 5
    hooked = hooked.replace("{\n", "{\n    int step = 0;\n", 1)
    source.write_text(text[:start] + "void between_steps(int step);\n" + hooked + text[end:])
    build = replace(kt.open_build(tmp_path / "build"), directory=tmp_path / "build")
    program = compiled(build, SWITCH, tmp_path, [f"-DSTEPS={steps}"])
    switches, differ = map(int, run(program, folder / "x", folder / "alice.kta", folder / "bob.kta").split())
    assert switches == 20 * steps and differ > 5, "the two adapters must differ for the test to say something"


def test_resident_adapters_count_in_the_budget(folder: Path, tmp_path: Path) -> None:
    """What the report says, the header says: base, active, resident; and a budget that is one byte short is refused."""
    model = kt.load(folder / "tiny.tflite")
    report = kt.open_build(folder / "inference").report
    a, memory = report["adapters"], report["memory"]
    header = (folder / "inference" / "tiny.h").read_text()
    assert f"TINY_SLOT_BYTES {a['slot']} " in header and "TINY_RESIDENT 2 " in header and f"TINY_VALUES_BYTES {a['active']} " in header
    assert a["resident_total"] == 2 * a["slot"] and a["slot"] == -(-a["active"] // 8) * 8
    need = memory["infer_arena"] + memory["state"] + 5 * a["slot"]
    options = {"method": methods(2), "train": False, "adapters": kt.AdapterOptions(resident=5), "measure": False}
    kt.build(model, tmp_path / "b", ram=need, **options)  # type: ignore[arg-type]
    with pytest.raises(kt.BudgetError) as error:
        kt.build(model, tmp_path / "b", ram=5 * a["slot"], **options)  # type: ignore[arg-type]
    least = int(re.findall(r"at least ([\d,]+) bytes", str(error.value))[0].replace(",", ""))
    assert memory["state"] + 5 * a["slot"] < least <= need
    kt.build(model, tmp_path / "b", ram=least, **options)  # type: ignore[arg-type]
    with pytest.raises(kt.BudgetError, match=f"{least:,} bytes"):
        kt.build(model, tmp_path / "b", ram=least - 1, **options)  # type: ignore[arg-type]
    assert "2 resident of" in kt.open_build(folder / "inference").report_text()
