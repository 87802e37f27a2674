"""The program that trains a model on a few samples under QEMU and says what each kernel call of a step took.

QEMU counts exactly under `-icount`. A counter of instructions (RISC-V's minstret) shows them as they are; a counter of time (SysTick) shows how
long they took, all of them equally long: `SHIFT` makes an instruction longer than a tick, so that nothing is lost to rounding.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import CORES

from .. import boards, compilers, toolchain
from ..cache import cached, scratch_directory
from ..devices import DeviceError
from ..devices.data import packed
from ..devices.manifest import Manifest
from .marks import called, marked

SHIFT = 6
"""An instruction takes 2 to the power of this in emulated nanoseconds, where the counter counts time."""
WARM = 2
"""Steps that are not counted: updates of the first ones meet tensors of zeros."""
TIMEOUT = 900.0
"""Seconds."""
ALIGNED = "__attribute__((aligned(KT_ALIGNMENT)))"
Array = NDArray[Any]


def machine(target: str) -> boards.Board:
    """The emulated board that programs for a core are counted on: of the core itself, else of one that runs them. Of several the one with most
    memory. Raises DeviceError where there is none, or where its emulator or the compiler is missing."""
    found = [b for b in map(boards.load, boards.emulated()) if b.counter.counts == "instructions" and b.core in CORES]
    fitting = [b for b in found if CORES[b.core].family == CORES[target].family and CORES[target].architecture in CORES[b.core].runs]
    roomy = [b for b in fitting if sum(m.size for m in b.memories) >= 1 << 22]
    if not roomy:
        raise DeviceError(target, "QEMU emulates no board with this core", f"boards: {', '.join(boards.emulated())}")
    board = min(roomy, key=lambda b: (b.core != target, len(CORES[b.core].runs), b.name))
    assert board.emulator is not None
    compilers.cross_compiler(target)
    compilers.require_emulator(board.emulator.program)
    return board


def counted_calls(build_dir: str | os.PathLike[str], inputs: Sequence[Array], targets: Array | None) -> list[tuple[str, float]]:
    """Kernel and instructions of each call of a training step and its update, in their order: the mean of the steps behind the first two.

    inputs: samples [N, ...] of the model's types, one array for each of its inputs, which are trained on one after the other; N is at least 3.
    targets: class numbers int32 [N], values float32 [N, ...], or None where the loss reads the input.
    """
    manifest = Manifest.load(build_dir)
    source = (manifest.directory / f"{manifest.name}.c").read_text(encoding="utf-8")
    functions = [f"{manifest.name}_{f}" for f in ("train_step", "apply") if f"kt_status {manifest.name}_{f}(" in source]
    symbols = [symbol for function in functions for symbol in called(source, function)]
    text = '#include "count.h"\n' + marked(source, functions, lambda *_: "kt_count_begin();", lambda *_: "kt_count_end();")
    taken = _counted(manifest, text, len(symbols), inputs, targets, ())
    return list(zip(symbols, taken, strict=True))


def counted_step(build_dir: str | os.PathLike[str], inputs: Sequence[Array], targets: Array | None) -> float:
    """Instructions of a whole training step and its update, without a mark inside of them; arguments as `counted_calls` has them."""
    manifest = Manifest.load(build_dir)
    source = (manifest.directory / f"{manifest.name}.c").read_text(encoding="utf-8")
    return sum(_counted(manifest, source, 2, inputs, targets, ("-DCOUNT_WHOLE",)))


def _counted(manifest: Manifest, source: str, stretches: int, inputs: Sequence[Array], targets: Array | None, macros: tuple[str, ...]) -> list[float]:
    """Instructions of each stretch, the mean of the steps that count."""
    board = machine(manifest.target)
    with scratch_directory() as folder:
        (folder / f"{manifest.name}.c").write_text(source, encoding="utf-8")
        (folder / "samples.c").write_text(_samples(manifest, inputs, targets), encoding="utf-8")
        sources = (toolchain.COUNTING / "program.c", folder / "samples.c")
        told = (*_macros(manifest), f"-DCOUNT_STRETCHES={stretches}", *macros)
        elf = toolchain.counting_image(manifest.directory, board, folder / f"{manifest.name}.c", sources, told)
        steps = _run(board, elf, manifest.name)[WARM:]
    if not steps or any(len(step) != stretches for step in steps):
        raise DeviceError(manifest.name, f"{len(steps)} steps were counted, not of {stretches} parts each", "count on at least three samples")
    return [float(value) for value in np.mean(steps, axis=0)]


def _macros(manifest: Manifest) -> tuple[str, ...]:
    return (
        f"-DCOUNT_MODEL_HEADER=<{manifest.name}.h>",
        f"-DCOUNT_MODEL={manifest.name}_model",
        f"-DCOUNT_INTERFACE={manifest.name}_interface",
        f"-DCOUNT_ARENA_BYTES={manifest.arena_bytes}",
        f"-DCOUNT_STATE_BYTES={manifest.state_bytes}",
    )


def _samples(manifest: Manifest, inputs: Sequence[Array], targets: Array | None) -> str:
    """Samples and targets as C."""
    rows = packed(inputs, manifest.inputs).view(np.int8)
    labels = np.zeros(len(rows), np.int32) if targets is None or manifest.targets != "labels" else targets
    values = None if targets is None or manifest.targets != "values" else targets.astype(np.float32).reshape(len(rows), -1)
    lines = ['#include "count.h"', f"const unsigned kt_count_samples = {len(rows)};"]
    for i, row in enumerate(rows):
        lines.append(f"static const int8_t input_{i}[] {ALIGNED} = {{{', '.join(map(str, row.tolist()))}}};")
        if values is not None:
            lines.append(f"static const float values_{i}[] = {{{', '.join(float(v).hex() + 'f' for v in values[i])}}};")
    lines.append(f"const int8_t *const kt_count_inputs[] = {{{', '.join(f'input_{i}' for i in range(len(rows)))}}};")
    told = [f"{{{labels[i]}, {'0' if values is None else f'values_{i}'}}}" for i in range(len(rows))]
    lines.append(f"const kt_target kt_count_targets[] = {{{', '.join(told)}}};")
    return "\n".join(lines) + "\n"


def _run(board: boards.Board, elf: Path, name: str) -> list[list[int]]:
    """Instructions of every stretch of every step; from the cache where this program has run under this emulator."""
    assert board.emulator is not None
    tool = compilers.tool_of((board.emulator.program,), "qemu-system-arm")
    counting = ("-icount", f"shift={SHIFT}") if _counts_time(board) else board.emulator.counting
    command = [
        *(tool.program, "-M", board.emulator.machine, "-kernel", str(elf), "-display", "none", "-monitor", "none", "-serial", "stdio"),
        *("-semihosting-config", "enable=on,target=native", *board.emulator.options, *counting),
    ]
    key = hashlib.sha256(elf.read_bytes() + "\0".join([tool.version, board.name, *board.emulator.options, *counting]).encode()).hexdigest()[:32]

    def make(scratch: Path) -> Path:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise DeviceError(name, f"counting takes more than {TIMEOUT:.0f} s", "count a smaller model") from None
        lines = done.stdout.decode(errors="replace").splitlines()
        if not lines or lines[-1] != "done":
            raise DeviceError(name, f"the program that counts ended with {(lines or [done.stderr.decode(errors='replace').strip()])[-1]!r}")
        (scratch / "counts").write_text(json.dumps([_instructions(board, line) for line in lines if line.startswith("count ")]), encoding="ascii")
        return scratch / "counts"

    found: list[list[int]] = json.loads(cached(f"{name}-counts-{key}.json", make).read_text(encoding="ascii"))
    return found


def _instructions(board: boards.Board, line: str) -> list[int]:
    """Of a line of ticks, without what the marks take."""
    marks, *ticks = map(int, line.split()[1:])
    scale = board.counter.per_tick / (2**SHIFT if _counts_time(board) else 1)
    return [round((value - marks) * scale) for value in ticks]


def _counts_time(board: boards.Board) -> bool:
    return board.counter.per_tick != 1
