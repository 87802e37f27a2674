"""Replay buffers whose entries firmware keeps in a flash: as on this computer, over power cuts and a state that is older than the flash."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from golden.reference import samples, tiny
from gradients.graphs import Maker

import kilotune as kt
from kiloc.export import tflite

from .board_programs import BOARDS, printed_on

SAMPLES, FILLED, STEPS = 24, 16, 40
PAGE = 17
"""KT_ERROR_PAGE."""


@pytest.mark.qemu
def test_entries_in_flash_are_the_same_everywhere(tmp_path: Path, qemu: str, arm_gcc: str, riscv_gcc: str) -> None:
    """Two models of a program share the flash: inputs in four bits, staged in the state, and latents that go from the arena and back."""
    second = Maker("second", (1, 8), 3)
    graphs = {"tiny": tiny(), "second": second.finish(second.dense(second.dense("input", "narrow", 7, "relu"), "last", 3))}
    options: dict[str, dict[str, object]] = {
        "tiny": {
            "method": [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()],
            "replay": kt.Replay(11, "class_balanced", memory="slow", bits=4),
            "slice_instructions": 2000,
        },
        "second": {"method": kt.Head(), "replay": kt.Replay(5, memory="slow")},
    }
    builds = {}
    for name, graph in graphs.items():
        (tmp_path / f"{name}.tflite").write_bytes(tflite.write(graph))
        model = kt.load(tmp_path / f"{name}.tflite")
        builds[name] = kt.build(model, tmp_path / name, calibration=samples(graph, 32), target="cortex-m4", measure=False, **options[name])  # type: ignore[arg-type]
    x, labels = samples(tiny(), SAMPLES, 3), np.random.default_rng(1).integers(0, 3, SAMPLES)
    rows = ",\n".join(f"{{{', '.join(map(str, row))}}}" for row in x)
    (tmp_path / "slow_replay.h").write_text(
        f"#include <stdint.h>\n\nenum {{ SAMPLES = {SAMPLES}, FILLED = {FILLED}, STEPS = {STEPS} }};\n"
        f"static const int8_t slow_x[SAMPLES][8] = {{\n{rows}}};\n"
        f"static const int32_t slow_labels[SAMPLES] = {{{', '.join(map(str, labels))}}};\n"
    )

    def run(board: str) -> list[tuple[str, int]]:
        source = Path(__file__).parent / "slow_replay.c"
        text = printed_on(board, [b.directory for b in builds.values()], source, tmp_path, [f"-I{tmp_path}"])
        return [(name, int(n)) for name, n in (line.split() for line in text.splitlines())]

    found = run("posix")
    for board in BOARDS:
        assert run(board) == found, board
    said = {name: [n for each, n in found if each == name] for name, _ in found}
    with builds["tiny"].open() as device, builds["second"].open() as other:
        for i in range(FILLED):
            device.remember(x[i : i + 1], labels[i : i + 1])
            other.remember(x[i : i + 1], labels[i : i + 1])
            other.replay_step()
        for _ in range(STEPS):
            device.replay_step()
        assert said["second"] == [zlib.crc32(other.state())] and said["state"][0] == zlib.crc32(device.state())
    assert said["status"] == [0, 0, 0] and said["cut"] == [PAGE]
    assert [n + m for n, m in zip(said["trained"], said["refused"], strict=True)] == [STEPS] * 4 and said["changed"] == [0] * 4
    assert said["refused"] == [0, 1, 0, 1], "an entry that was cut off, or is another's, is found once, and trains nothing"
    full, torn, again, older = said["held"]
    assert full == again == 11 and 0 < older < torn < 11, "what is whole stays, and what is offered later fills the rest"
