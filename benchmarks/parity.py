"""The state after 50 training steps, as a hash: the same on this computer and on every emulated core, model by model and method by method.

    make parity

Exit code 1 where a core differs. `--write FILE` keeps the tables as Markdown.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lossy_link import LossyTransport
from numpy.typing import NDArray
from prose import wrapped
from rich.console import Console
from rich.table import Table
from scenarios import DATA

import kilotune as kt
from kiloc.peft import Method
from kilotune import boards, firmware_file, toolchain
from kilotune.devices.agent import AgentDevice
from kilotune.devices.manifest import Manifest
from kilotune.devices.pipe import ProcessTransport

STEPS = 50
RATE = 0.1

CORES: dict[str, tuple[str, ...]] = {
    "cortex-m0": ("microbit", "microbit-1m"),
    "cortex-m3": ("mps2-an385",),
    "cortex-m4": ("mps2-an386",),
    "cortex-m7": ("mps2-an500",),
    "cortex-m23": ("mps2-an505-m23",),
    "cortex-m33": ("mps2-an505",),
    "cortex-m55": ("mps3-an547",),
    "rv32imc": ("riscv32-virt",),
}
"""Core -> boards to try in this order: the micro:bit has 16 KB, and ARMv6-M code runs on no other machine as such."""

METHODS: dict[str, list[Method]] = {
    "bias": [kt.BiasOnly()],
    "head": [kt.Head()],
    "lora": [kt.LoRA(rank=4, layers="all")],
    "bias+lora": [kt.BiasOnly(), kt.LoRA(rank=2, layers="last:3", alpha=3.0)],
    "full": [kt.Full()],
    "sparse": [kt.SparseUpdate(fraction=0.3)],
    "scale-shift": [kt.ScaleShift()],
    "adapter": [kt.BottleneckAdapter(width=4, layers="all")],
    "full+scale": [kt.Full(layers="last:2"), kt.ScaleShift()],
    "new-head": [kt.Head(classes=4), kt.BiasOnly()],
    "together": [kt.BiasOnly(), kt.LoRA(rank=2, layers="all"), kt.ScaleShift(), kt.BottleneckAdapter(width=2, layers="last:2")],
}


ACCUMULATE = {"head": 2, "bias+lora": 2, "full+scale": 2}
"""Samples an update, 1 for the others: those update within the step and keep no accumulators."""


@dataclass(frozen=True)
class Material:
    """A model and STEPS samples from another domain than it was made in."""

    model: kt.Model
    x: NDArray[np.float32]
    y: NDArray[np.int32]


def _gas(data: Path) -> Material:
    d = np.load(data / "sets" / "gas_drift.npz")
    rows = np.flatnonzero(d["batch"] == 4)[:STEPS]
    return Material(kt.load(data / "models" / "gas_mlp_int8.tflite"), d["x"][rows].astype(np.float32), d["y"][rows].astype(np.int32))


def _ecg(data: Path) -> Material:
    d = np.load(data / "sets" / "ecg_mitbih.npz")
    rows = np.flatnonzero(d["record"] == 106)[: 5 * STEPS : 5]
    raw = d["x"][rows].astype(np.float32)
    x = ((raw - np.median(raw, axis=1, keepdims=True)) / 200)[..., None, None]
    return Material(kt.load(data / "models" / "ecg_cnn_int8.tflite"), x, d["y"][rows].astype(np.int32))


def _fsdd(data: Path) -> Material:
    d = np.load(data / "sets" / "fsdd_mfcc.npz")
    rows = np.flatnonzero(d["speaker"] == "nicolas")[:: 500 // STEPS][:STEPS]
    return Material(kt.load(data / "models" / "fsdd_dscnn_int8.tflite"), d["x"][rows].astype(np.float32)[..., None], d["y"][rows].astype(np.int32))


MODELS: dict[str, Callable[[Path], Material]] = {"gas_mlp": _gas, "ecg_cnn": _ecg, "fsdd_dscnn": _fsdd}


@dataclass(frozen=True)
class Outcome:
    """What one device ended with; equal outcomes are equal bits."""

    start: bytes
    losses: tuple[float, ...]
    state: bytes
    outputs: bytes
    """Of the first samples, inferred by the trained model."""

    @property
    def hash(self) -> str:
        """First 8 hex digits of the SHA-256 of state, losses and outputs."""
        total = hashlib.sha256(self.state + np.float64(self.losses).tobytes() + self.outputs)
        return total.hexdigest()[:8]


def make(material: Material, method: str, folder: Path) -> kt.Build:
    """The build that is compared; with momentum in one method, so that the moments are too."""
    y = _labels(material, method)
    optimizer = kt.SGD(lr=RATE, momentum=0.9 if method == "bias" else 0.0)
    given = {"accumulate": ACCUMULATE.get(method, 1), "calibration": (material.x, y), "measure": False}
    return kt.build(material.model, folder, method=METHODS[method], optimizer=optimizer, **given)


def _labels(material: Material, method: str) -> NDArray[np.int32]:
    """A replacing head has four classes."""
    return material.y % 4 if method == "new-head" else material.y


def trained(build: kt.Build, material: Material, method: str, device: str) -> Outcome:
    """STEPS training steps on one device."""
    y, accumulate = _labels(material, method), ACCUMULATE.get(method, 1)
    with build.open(device) as opened:
        start, losses = opened.state(), []
        for i in range(STEPS):
            losses.append(opened.train_step(material.x[i], y[i]))
            if (i + 1) % accumulate == 0:
                opened.apply()
        return Outcome(start, tuple(losses), opened.state(), np.asarray(opened.infer(material.x[:5])).tobytes())


def on_core(build: kt.Build, material: Material, method: str, core: str) -> tuple[str, Outcome] | None:
    """(board, outcome) of the first board of the core with enough memory; None where no board has it."""
    for board in CORES[core]:
        try:
            return board, trained(build, material, method, f"qemu:{board}")
        except kt.DeviceError as error:
            if "does not fit" not in error.what:
                raise
    return None


@dataclass(frozen=True)
class Row:
    """One model trained by one method: the host's hash, and each core's with its board."""

    model: str
    method: str
    host: str
    cores: dict[str, tuple[str, str] | None]

    @property
    def equal(self) -> bool:
        return all(found is not None and found[1] == self.host for found in self.cores.values())


def rows(models: list[str], methods: list[str]) -> Iterator[Row]:
    """The table, row by row."""
    for model in models:
        material = MODELS[model](DATA)
        for method in methods:
            with tempfile.TemporaryDirectory() as folder:
                build = make(material, method, Path(folder) / "build")
                host = trained(build, material, method, "host")
                if host.state == host.start:
                    raise SystemExit(f"{model}, {method}: training changed nothing")
                found = {core: on_core(build, material, method, core) for core in CORES}
                yield Row(model, method, host.hash, {core: (f[0], f[1].hash) if f else None for core, f in found.items()})


def cell(row: Row, core: str) -> str:
    """`=` where the core has the host's bits, with a mark where that took the larger board."""
    found = row.cores[core]
    if found is None:
        return "does not fit"
    board, value = found
    return ("=" if value == row.host else f"DIFFERS: {value}") + (" *" if board != CORES[core][0] else "")


SIZES = ("gas_mlp", "bias+lora")
"""The build whose firmware is measured."""


def sizes(folder: Path) -> list[list[str]]:
    """Bytes on every board: the model with its runtime, what agent and board add, and the share of the board's memories."""
    build, lines = make(MODELS[SIZES[0]](DATA), SIZES[1], folder / "build"), []
    for board in [b for b in map(boards.load, boards.names()) if b.linker_script]:
        library = toolchain.measure(build.directory, "cortex-m0plus" if board.core == "cortex-m0" else board.core)
        used = firmware_file.memory_use(toolchain.firmware(build.directory, board), board)
        agent = used["FLASH"].used - library["flash"]
        shares = [f"{u.used:,} of {u.size:,}" for u in (used["FLASH"], used["RAM"])]
        lines.append([board.core, board.name, f"{library['code']:,}", f"{library['constants']:,}", f"{agent:,}", *shares])
    return sorted(lines)


def lossy_frames(folder: Path, requests: int = 10_000) -> list[str]:
    """Train through a line that loses and damages bytes, until so many requests were answered; what happened, as lines."""
    material = MODELS["ecg_cnn"](DATA)
    build = make(material, "bias", folder / "build")
    manifest = Manifest.load(build.directory)
    line = LossyTransport(ProcessTransport([str(toolchain.host_agent(build.directory))], "agent:host", patience=5.0), 0, 0.001)
    with AgentDevice(manifest, line, "agent:host", boards.load("posix"), timeout=0.005) as lossy, build.open("host") as host:
        steps = 0
        while lossy.link.requests < requests:
            for device in (lossy, host):
                device.train_step(material.x[steps % STEPS], material.y[steps % STEPS])
                device.apply()
            steps += 1
        same = lossy.state() == host.state()
        damage = ", ".join(f"{kind} {count:,}" for kind, count in sorted(line.damage.items()))
        counts = f"{lossy.link.requests:,} requests ({steps:,} steps, as many updates) took {lossy.link.retries:,} retries ({damage})"
    return [counts, "The state is the host's: nothing was lost, nothing was done twice" if same else "THE STATE DIFFERS from the host's"]


def markdown(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines))


def show(title: str, header: list[str], lines: list[list[str]]) -> str:
    """Print a table; the same as Markdown."""
    table: Any = Table(*(name.replace(" (", "\n(") for name in header), title=title)
    for line in lines:
        table.add_row(*line)
    Console(width=150).print(table)
    return f"## {title}\n\n{markdown(header, lines)}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--write", type=Path, help="file for the tables as Markdown")
    given = parser.parse_args()
    lines, differ = [], 0
    for row in rows(given.models, given.methods):
        differ += not row.equal
        lines.append([row.model, row.method, row.host, *(cell(row, core) for core in CORES)])
        print("  ".join(lines[-1]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        firmware, link = sizes(Path(folder)), lossy_frames(Path(folder))
    header = ["model", "method", "host", *(f"{core} ({names[0]})" for core, names in CORES.items())]
    note = "`=`: state, losses and outputs are the host's, bit for bit. `*`: on microbit-1m, because the micro:bit's 16 KB are too few."
    text = show(f"Bits after {STEPS} training steps", header, lines) + f"\n{wrapped(note)}\n\n"
    header = ["core", "board", "model: code", "model: constants", "agent and board", "flash", "RAM, with the stack"]
    text += show(f"Bytes of the firmware with {SIZES[0]}, {SIZES[1]}", header, firmware)
    text += "\n## A lossy line\n\n" + wrapped(". ".join(link)) + ".\n"
    print(note, *link, sep="\n")
    if given.write:
        about = wrapped(f"Printed by `make parity` on {datetime.date.today()}. Each hash is of state, losses and outputs after training.") + "\n"
        given.write.write_text(f"# Parity\n\n{about}\n{text}", encoding="utf-8")
    return 1 if differ or "DIFFERS" in link[1] else 0


if __name__ == "__main__":
    raise SystemExit(main())
