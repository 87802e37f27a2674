"""Inputs and results in the arena: the bits of a build that leaves them with the caller, and C that writes and reads them in place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from deploy.programs import compiled, run
from golden.reference import image
from gradients.graphs import Maker

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation
from kiloc.ops.model.add import Add
from kiloc.peft import Method
from kilotune.cli import main

CASES: dict[str, tuple[str, list[Method], dict[str, Any]]] = {
    "kws": ("kws_dscnn_int8", [kt.BiasOnly(), kt.LoRA(rank=2, layers="last:2"), kt.Full(layers="conv2d")], {}),
    "residual": ("ic_resnet8_int8", [kt.BiasOnly()], {}),
    "reconstruction": ("ad01_int8", [kt.BiasOnly()], {"loss": kt.MeanSquaredError(target="input")}),
    "recomputed": ("kws_dscnn_int8", [kt.LoRA(rank=4, layers="last:4")], {"ram": 27000}),
}


def build(case: str, data_dir: Path, folder: Path, buffers: str) -> kt.Build:
    file, methods, options = CASES[case]
    model = kt.load(data_dir / "models" / f"{file}.tflite")
    return kt.build(model, folder / buffers, method=methods, buffers=buffers, name="model", measure=False, **options)


def trained(build: kt.Build, device: str) -> tuple[bytes, list[float], bytes]:
    shape, classes = build.manifest["inputs"][0]["shape"][1:], build.manifest["classes"]
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (3, *shape)).astype(np.int8)
    with build.open(device) as opened:
        losses = [opened.train_step(sample, i % classes if classes else None) for i, sample in enumerate(x)]
        return opened.state(), losses, np.asarray(opened.infer(x)).tobytes()


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_as_with_buffers_of_the_caller(case: str, data_dir: Path, tmp_path: Path) -> None:
    usual, inside = (build(case, data_dir, tmp_path, b) for b in ("caller", "arena"))
    assert trained(usual, "host") == trained(inside, "host")
    assert usual.manifest["base_hash"] == inside.manifest["base_hash"], "adapters of one fit the other"
    shape = inside.manifest["inputs"][0]["shape"]
    assert inside.report["memory"]["infer_arena"] >= max(usual.report["memory"]["infer_arena"], int(np.prod(shape)))


@pytest.mark.parametrize("device", ["agent:host", pytest.param("qemu:mps2-an386", marks=pytest.mark.qemu)])
def test_the_same_bits_on_every_device(device: str, data_dir: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if device.startswith("qemu"):
        request.getfixturevalue("qemu")
    inside = build("kws", data_dir, tmp_path, "arena")
    assert trained(inside, "host") == trained(inside, device)


def two_of_each() -> Graph:
    """Two inputs of different size that meet in a sum, and a result before and after it."""
    m = Maker("pair", (1, 8), 3)
    second = m.b.input(activation((1, 5), 1 / 64, 3), "second")
    y = m.dense("input", "left", 6)
    z = m.dense(second, "right", 6)
    both = m.b.node("both", Add(), {"x": y, "other": z}, activation((1, 6), 0.05, 0), "both")
    return m.b.finish([m.dense(both, "head", 3), z])


PROGRAM = """
#include <stdio.h>
#include "pair.h"
static uint64_t arena[(PAIR_ARENA_BYTES_INFER + 7) / 8];
int main(int count, char **names)
{
    pair_model m;
    FILE *const from = fopen(names[1], "rb"), *const to = fopen(names[2], "wb");
    if (count != 3 || from == NULL || to == NULL || pair_init(&m, arena, sizeof arena, NULL, 0) != KT_OK)
        return 1;
    while (fread(pair_input(&m), 1, PAIR_INPUT_BYTES, from) == PAIR_INPUT_BYTES &&
           fread(pair_input_2(&m), 1, PAIR_INPUT_2_BYTES, from) == PAIR_INPUT_2_BYTES) {
        if (pair_infer(&m) != KT_OK)
            return 2;
        fwrite(pair_output(&m), 1, PAIR_OUTPUT_BYTES, to);
        fwrite(pair_output_2(&m), 1, PAIR_OUTPUT_2_BYTES, to);
    }
    return (uint8_t *)pair_output(&m) != (uint8_t *)arena + PAIR_OUTPUT_OFFSET || fclose(to) != 0;
}
"""


def test_firmware_writes_and_reads_the_arena(tmp_path: Path) -> None:
    """Two inputs and two results, without a copy; the results are those of the table that devices use, and of the usual build."""
    path = tmp_path / "pair.tflite"
    path.write_bytes(tflite.write(two_of_each()))
    usual, inside = (kt.build(kt.load(path), tmp_path / b, buffers=b, measure=False) for b in ("caller", "arena"))
    rng = np.random.default_rng(1)
    x = [rng.integers(-128, 128, (4, n)).astype(np.int8) for n in (8, 5)]
    expected = []
    for b in (usual, inside):
        with b.open("host") as device:
            expected.append([np.asarray(y) for y in device.infer(x)])
    assert all(np.array_equal(a, b) for a, b in zip(*expected, strict=True)) and len(expected[0]) == 2
    (tmp_path / "in").write_bytes(np.concatenate(x, 1).tobytes())
    run(compiled(inside, PROGRAM, tmp_path), tmp_path / "in", tmp_path / "out")
    found = np.frombuffer((tmp_path / "out").read_bytes(), np.int8).reshape(4, -1)
    assert np.array_equal(found, np.concatenate(expected[0], 1)) and found.std() > 10


def test_the_command_and_what_it_refuses(tmp_path: Path) -> None:
    path = tmp_path / "image.tflite"
    path.write_bytes(tflite.write(image()))
    command = ["build", str(path), "-o", str(tmp_path / "b"), "--method", "bias", "--loss", "mse"]
    done = CliRunner().invoke(main, [*command, "--buffers", "arena", "--json"])
    assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["options"]["buffers"] == "arena"
    header = (tmp_path / "b" / "image.h").read_text()
    assert "#define IMAGE_INPUT_OFFSET 0 " in header and "kt_status image_infer(image_model *m);" in header
    with pytest.raises(kt.CompileError, match="unknown buffers") as caught:
        kt.build(kt.load(path), tmp_path / "c", buffers="arenas")
    assert "did you mean 'arena'?" in caught.value.hint and not (tmp_path / "c").exists()
