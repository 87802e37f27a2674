"""Builds for size: portable kernels with short loops, whose bits are those of the usual ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradients.graphs import Maker

import kilotune as kt
from kiloc.export import WRITERS
from kiloc.ops._window import Window
from kiloc.peft import Method

BOARDS = {"cortex-m4": "mps2-an386", "cortex-m0plus": "microbit-1m"}


def odd_sizes(folder: Path) -> kt.Model:
    """Layers whose channels, rows and ranks fill no words: what is left of them goes one by one."""
    m = Maker("odd", (1, 7, 5, 3), 3)
    y = m.conv("input", "first", 6, Window((3, 3), (1, 1), (1, 1, 1, 1)), "relu")
    y = m.depthwise(y, "depthwise", 1, Window((3, 2), (2, 1), (1, 0, 1, 1)), "relu")
    y = m.conv(y, "second", 5, Window((1, 1)), "relu")
    path = folder / "odd.tflite"
    path.write_bytes(WRITERS[".tflite"](m.finish(m.dense(y, "head", 3))))
    return kt.load(path)


def trained(build: kt.Build, device: str) -> tuple[bytes, bytes]:
    """State before and after training."""
    x = np.random.default_rng(0).integers(-128, 128, (3, *build.manifest["inputs"][0]["shape"][1:])).astype(np.int8)
    with build.open(device) as opened:
        start = opened.state()
        for i in range(len(x)):
            opened.train_step(x[i : i + 1], i)
        return start, opened.state()


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("method", "cores"),
    [([kt.BiasOnly(), kt.LoRA(rank=5, layers="all")], ("cortex-m4", "cortex-m0plus")), ([kt.Full(), kt.BiasOnly()], ("cortex-m4",))],
    ids=["lora", "full"],
)
def test_the_same_bits(method: list[Method], cores: tuple[str, ...], tmp_path: Path, qemu: Any) -> None:
    model = odd_sizes(tmp_path)
    expected = trained(kt.build(model, tmp_path / "usual", method=method, measure=False), "host")
    assert expected[0] != expected[1]
    for core in cores:
        small = kt.build(model, tmp_path / core, method=method, target=core, size=True, measure=False)
        assert trained(small, f"qemu:{BOARDS[core]}") == trained(small, "host") == expected, core
        assert "-Os" in (small.directory / "CMakeLists.txt").read_text() and small.manifest["size"]
        assert not any("packed" in step["kernel"] for step in small.report["kernels"]["train"])


def test_less_code(arm_gcc: str, tmp_path: Path) -> None:
    code = [kt.build(odd_sizes(tmp_path), tmp_path / str(n), method=kt.BiasOnly(), size=n).report["flash"]["code"] for n in (False, True)]
    assert code[1] < 0.7 * code[0]


def test_size_and_speed_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError, match=r"size=True: is asked for beside speed=True(?s:.*)leave one of them out"):
        kt.build(odd_sizes(tmp_path), tmp_path / "b", size=True, speed=True)


def test_sums_of_many_values_take_64_bits(tmp_path: Path) -> None:
    m = Maker("long", (1, 1, 1, 33000), 3)
    path = tmp_path / "long.tflite"
    path.write_bytes(WRITERS[".tflite"](m.finish(m.dense("input", "head", 3))))
    builds = [kt.build(kt.load(path), tmp_path / str(n), method=kt.LoRA(rank=2, layers="all"), size=n, measure=False) for n in (False, True)]
    defined = ["KT_LONG_SUMS" in (b.directory / "runtime" / "include" / "kt" / "target.h").read_text() for b in builds]
    assert defined == [False, True]
    assert trained(builds[0], "host") == trained(builds[1], "host")
