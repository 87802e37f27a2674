"""What keeps a device alive has one meaning everywhere: drift, the guard, training in slices, the store over resets and the threshold on boards."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from golden.reference import samples, tiny
from gradients.graphs import Maker

import kilotune as kt
from kiloc.export import tflite
from kilotune.drift import DriftReference

from .board_programs import BOARDS, printed_on

SAMPLES, DAYS = 120, 10
OK, FLASH, SELF_TEST = 0, 15, 16


def crc(rows: Iterable[bytes]) -> int:
    found = 0
    for row in rows:
        found = zlib.crc32(row, found)
    return found


@pytest.mark.qemu
def test_days_are_the_same_everywhere(tmp_path: Path, qemu: str, arm_gcc: str, riscv_gcc: str) -> None:
    """The program on this computer gives what Python says of drift and threshold; two cores give what it gives, in all of it."""
    second = Maker("second", (1, 8), 3)
    graphs = {"tiny": tiny(), "second": second.finish(second.dense(second.dense("input", "narrow", 3, "relu"), "wide", 8))}
    options: dict[str, dict[str, object]] = {
        "tiny": {"method": [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()], "optimizer": kt.SGD(lr=0.1), "slice_instructions": 2000},
        "second": {"method": kt.ScaleShift(), "loss": kt.MeanSquaredError(target="input")},
    }
    builds = {}
    for name, graph in graphs.items():
        (tmp_path / f"{name}.tflite").write_bytes(tflite.write(graph))
        model, given = kt.load(tmp_path / f"{name}.tflite"), options[name]
        builds[name] = kt.build(model, tmp_path / name, calibration=samples(graph, 32), target="cortex-m4", measure=False, **given)  # type: ignore[arg-type]
    x = np.random.default_rng(3).integers(-50, 50, (SAMPLES, 8)).astype(np.int8)
    x[60:] += 40
    with builds["tiny"].open() as device:
        reference = DriftReference.of(device, x[:40], threshold=6.0)
    reference.save(tmp_path / "tiny_drift.h", "tiny")
    rows = ",\n".join(f"{{{', '.join(map(str, row))}}}" for row in x)
    (tmp_path / "days.h").write_text(
        f"#include <stdint.h>\n\nenum {{ SAMPLES = {SAMPLES}, DAYS = {DAYS} }};\nstatic const int8_t days_x[SAMPLES][8] = {{\n{rows}}};\n"
    )

    def run(board: str) -> list[tuple[str, int]]:
        folders, source = [b.directory for b in builds.values()], Path(__file__).parent / "days.c"
        text = printed_on(board, folders, source, tmp_path, [f"-I{tmp_path}"])
        return [(name, int(n)) for name, n in (line.split() for line in text.splitlines())]

    found = run("posix")
    for board in BOARDS:
        assert run(board) == found, board

    said = {name: [n for each, n in found if each == name] for name, _ in found}
    assert said["guard"] == [OK, SELF_TEST, OK] and said["back"] == [1] and said["save"] == [OK, FLASH]
    assert said["after"][0] < said["before"][0] and said["load"] == [OK] * 8 and {*said["init"], *said["open"]} == {OK}
    first, adapted = said["state"][0], said["state"][3]
    assert said["state"] == [first] * 3 + [adapted] * 8 and first != adapted, "resets lose nothing, what was worse or torn is not kept"
    threshold, expected, raised = kt.Threshold(2.0, memory=30), list[bytes](), 0
    with builds["second"].open() as device:
        for row in x:
            loss = device.train_step(row)
            raised += int(threshold.alarms(loss)[0])
            threshold.learn(loss)
            expected.append(threshold.to_bytes())
    assert (said["scores"], said["alarms"]) == ([crc(expected)], [raised]) and raised > 0
