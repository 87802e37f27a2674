"""Between steps every byte of the arena that no value holds is overwritten: the results stay, so nothing reads what is dead."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kilotune as kt
from kiloc import pipeline
from kiloc.options import Options
from kiloc.peft import Method
from kiloc.plan.slice import Slice
from kilotune.building import write_build

CASES: dict[str, tuple[str, list[Method], dict[str, Any]]] = {
    "bias": ("kws_dscnn_int8", [kt.BiasOnly()], {}),
    "lora, recomputed": ("kws_dscnn_int8", [kt.LoRA(rank=4, layers="last:4")], {"ram": 27000}),
    "residual": ("ic_resnet8_int8", [kt.BiasOnly(), kt.LoRA(rank=2, layers="last:3")], {}),
    "stripes": ("person_detect_int8", [kt.BiasOnly(layers="last:1")], {"ram": 28000}),
    "input and result": ("kws_dscnn_int8", [kt.BiasOnly(), kt.Full(layers="conv2d")], {"buffers": "arena"}),
}


def compiled(case: str, data_dir: Path) -> tuple[kt.Model, pipeline.Compilation]:
    file, methods, options = CASES[case]
    model = kt.load(data_dir / "models" / f"{file}.tflite")
    return model, pipeline.compile_graph(model.graph, Options(methods=tuple(methods), **options), "test")


def dead_ranges(part: Slice, step: int, arena: int, extra: frozenset[str]) -> list[tuple[int, int]]:
    """Runs of bytes that hold no value that a step after this one reads; extra: buffers that are said to be dead in spite of that."""
    alive = np.zeros(arena, bool)
    for b in part.plan.buffers:
        read_later = b.last + bool(set(part.graph.outputs) & set(b.values))
        if b.first <= step < read_later and not extra & set(b.values):
            start = part.plan.offsets[b.values[0]]
            alive[start : start + b.size] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[True], alive, [True]]).astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def poisoned(text: str, function: str, part: Slice, arena: int, extra: frozenset[str] = frozenset()) -> str:
    """The C of a model; between the steps of one of its functions every byte that no value holds is overwritten."""
    number = {n.name: i for i, n in enumerate(part.plan.steps)}
    start = text.index(f"kt_status {function}(")
    end = text.index("\n}\n", start)
    lines, fills, made = [], "", False
    for line in text[start:end].split("\n"):
        named = re.search(r"/\* step \d+: (.+?) \*/", line)
        if named:
            ranges = dead_ranges(part, number[named.group(1)], arena, extra)
            fills = "".join(f" memset(arena + {first}, 0xA5, {count});" for first, count in ranges)
        lines.append(line)
        made = made or bool(re.search(r"    kt_(merge|repack)_", line))  # weights for the call behind it, which stands in brackets
        if fills and (line == "    }" if made else re.search(r"\);(?: /\* step .*)?$", line) and "in_arena(" not in line):
            lines[-1], fills, made = line + fills, "", False
    assert not fills
    return text[:start] + "\n".join(lines) + text[end:]


def opened(model: kt.Model, c: pipeline.Compilation, folder: Path, extra: frozenset[str] | None) -> Any:
    """The host device of a compilation; extra: None leaves the code as it is."""
    if extra is not None:
        assert c.train is not None
        file = f"{model.name}.c"
        text = poisoned(c.files[file], f"{model.name}_train_step", c.train, c.train.plan.arena_bytes, extra)
        text = poisoned(text, f"{model.name}_infer", c.infer, c.infer.plan.arena_bytes)
        c = replace(c, files={**c.files, file: text})
    return write_build(model, c, folder, measure=False).open("host")


def trained(device: Any) -> tuple[bytes, list[float], Any]:
    rng = np.random.default_rng(0)
    manifest = device.manifest
    x = rng.integers(-128, 128, (3, *manifest.inputs[0].shape[1:])).astype(np.int8)
    losses = []
    for i, sample in enumerate(x):
        losses.append(device.train_step(sample, i % manifest.classes))
        device.apply()
    return device.state(), losses, device.infer(x)


@pytest.mark.parametrize("case", CASES)
def test_dead_bytes_are_never_read(case: str, data_dir: Path, tmp_path: Path) -> None:
    model, c = compiled(case, data_dir)
    results = []
    for folder, extra in (("usual", None), ("poisoned", frozenset[str]())):
        with opened(model, c, tmp_path / folder, extra) as device:
            results.append(trained(device))
    (state, losses, y), (state_, losses_, y_) = results
    assert state == state_ and losses == losses_ and np.array_equal(y, y_)
    assert (tmp_path / "poisoned" / f"{model.name}.c").read_text().count("0xA5") > len(c.context.infer.steps)


def test_a_live_value_called_dead_is_noticed(data_dir: Path, tmp_path: Path) -> None:
    """The same with one saved value that is still read: the results must change, or the test above could not fail."""
    model, c = compiled("bias", data_dir)
    assert c.train is not None
    masks = frozenset(v for b in c.train.plan.buffers for v in b.values if v == "conv2d.mask")
    assert masks
    with opened(model, c, tmp_path / "usual", None) as usual, opened(model, c, tmp_path / "broken", masks) as broken:
        assert trained(usual)[0] != trained(broken)[0]
