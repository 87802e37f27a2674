"""Bytes of stack that the calls of a model may take at most, as the report says, beside what they took under QEMU.

    make bench-stack

The agent paints the stack, makes a call and looks how far down it was written; what lies there of the agent's own frames, above the call, is taken
off. Each call is made with several random inputs and labels, and the deepest counts. The ratio is the bound to what was measured: 1.00 says that
some input reaches the bound. A dash is a call that takes less than the agent's own function that paints, so that it leaves no trace. Exception
frames are in neither: no timer runs out while a call is counted.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import speed
from numpy.typing import NDArray
from prose import wrapped
from rich.console import Console

import kilotune as kt
from kilotune import toolchain
from kilotune.stack import Code, Program

BOARDS = {
    "cortex-m0plus": ("microbit", "microbit-1m"),
    "cortex-m3": ("mps2-an385",),
    "cortex-m4": ("mps2-an386",),
    "cortex-m55": ("mps3-an547",),
    "rv32imc": ("riscv32-virt",),
}
"""Core -> boards to try in this order; the micro:bit has a Cortex-M0, which runs the same instructions."""

LORA = (kt.BiasOnly(), kt.LoRA(rank=4, layers="all"))
BUILDS: dict[str, dict[str, Any]] = {
    "inference": {},
    "bias": {"method": kt.BiasOnly(), "accumulate": 2},
    "bias + LoRA r=4 all": {"method": LORA},
    "full": {"method": (kt.Full(), kt.BiasOnly())},
    "adapters only": {"method": LORA, "train": False},
}
MODELS = ("kws_dscnn", "gas_mlp")
COMMANDS = {
    "infer": "infer", "train_step": "train", "apply": "apply",
    "resume": "resume", "adapter_export": "export_adapter", "adapter_load": "load_adapter",
}  # fmt: skip
"""Call of a model -> the agent's function that makes it."""
SAMPLES = 2


@dataclass(frozen=True)
class Row:
    """A call: bytes at most, and bytes that it took; None where that is less than painting can see."""

    call: str
    bound: int | None
    measured: int | None

    @property
    def ratio(self) -> float | None:
        return None if self.bound is None or not self.measured else self.bound / self.measured


class AgentFrames:
    """What lies on the stack above the model's functions when the agent calls them."""

    def __init__(self, build: kt.Build, board: str) -> None:
        elf = toolchain.firmware(build.directory, board)
        self._code = Code(elf, toolchain.disassembly(elf))
        self._program = Program(self._code, {})
        self._name = str(build.manifest["name"])

    def above(self, call: str) -> int:
        """Bytes from where the agent begins to count down to the entry of the model's function."""
        return self._marker() + self._to_pointer(COMMANDS[call]) + self._in_table(call)

    def unseen(self) -> int:
        """Bytes that are not painted: of the function that paints, and what it leaves below itself."""
        paints = self._program.bodies("measure_start")[0]
        return self._marker() + paints.depth + 32

    def _marker(self) -> int:
        """Of the word where counting begins, above the stack pointer: `add r0, sp, #n` before the call of measure_start, on RISC-V
        `addi a0,sp,n`."""
        start = self._code.entries("measure_start")[0]
        call = next(at for at, i in self._code.instructions.items() if i.operation in ("bl", "jal") and i.operands.startswith(f"{start:x} <"))
        before = sorted(at for at in self._code.instructions if call - 32 < at < call)
        found = [re.match(r"(?:r0, ?|a0,)sp(?:, #(\d+)|,(\d+))?$", self._code.instructions[at].operands) for at in before]
        return next(int(match[1] or match[2] or 0) for match in reversed(found) if match)

    def _to_pointer(self, function: str) -> int:
        """Bytes of the agent's function at its call through the model's table, which start_model may make for it."""
        through = {at for at in self._code.entries("start_model")}
        for body in self._program.bodies(function):
            if body.pointers:
                return max(body.pointers)
            for depth, target in body.calls:
                if target in through:
                    return depth + self._to_pointer("start_model")
        raise KeyError(function)

    def _in_table(self, call: str) -> int:
        """Bytes of the function in the model's table when it calls the model's own."""
        own = self._code.entries(f"{self._name}_{call}")
        return max(depth for body in self._program.bodies(call) for depth, target in body.calls if target in own)


def measured(build: kt.Build, board: str) -> list[Row]:
    """Every call that the agent measures, with several inputs."""
    frames, deepest = AgentFrames(build, board), dict[str, int]()
    with build.open(f"qemu:{board}", count=True) as device:
        for _ in calls(device, build.manifest):
            stats = device.stats()
            deepest[stats["call"]] = max(deepest.get(stats["call"], 0), stats["stack_bytes"])
    found = []
    for call, used in deepest.items():
        bound = build.report["stack"]["calls"][call]["bytes"]
        found.append(Row(call, bound, used - frames.above(call) if used > frames.unseen() else None))
    return found


def calls(device: kt.Device, manifest: dict[str, Any]) -> Iterator[None]:
    """Make each call of a model, one after the other."""
    rng = np.random.default_rng(0)
    for i in range(SAMPLES):
        x = [_random(rng, t) for t in manifest["inputs"]]
        given = x if len(x) > 1 else x[0]
        device.infer(given)
        yield
        if manifest["training"]:
            y = {"labels": i, "values": _random(rng, manifest["outputs"][0])[0], "input": None}[manifest["targets"]]
            device.train_step([one[0] for one in x] if len(x) > 1 else x[0][0], y)
            yield
            if manifest["accumulate"] > 1 and i + 1 == manifest["accumulate"]:
                device.apply()
                yield
    if manifest["adapter_bytes"]:
        adapter = device.export_adapter()
        yield
        device.load_adapter(adapter)
        yield
        device.set_state(device.state())
        yield


def _random(rng: np.random.Generator, tensor: dict[str, Any]) -> NDArray[np.float32]:
    """One sample in the model's own range, in real units."""
    codes = rng.integers(-128, 128, (1, *tensor["shape"][1:]))
    return ((codes - tensor["zero_point"]) * tensor["scale"]).astype(np.float32)


def fitting(build: kt.Build, core: str) -> str | None:
    """The first board of a core that has the room."""
    for board in BOARDS[core]:
        try:
            toolchain.firmware(build.directory, board)
        except kt.DeviceError as error:
            if "does not fit" not in error.what:
                raise
            continue
        return board
    return None


def rows(model: str, core: str, kind: str) -> list[Row]:
    """Of one model, core and kind of build; none where no board of the core has the room."""
    with tempfile.TemporaryDirectory() as folder:
        build = kt.build(speed.load(model), Path(folder) / "build", target=core, **BUILDS[kind])
        board = fitting(build, core)
        return measured(build, board) if board else []


def cells(model: str, core: str, kind: str, row: Row) -> list[str]:
    texts = ["-" if n is None else f"{n:,}" for n in (row.bound, row.measured)]
    return [model, kind, core.removeprefix("cortex-"), row.call, *texts, "-" if row.ratio is None else f"{row.ratio:.2f}"]


HEADINGS = ("model", "build", "core", "call", "bound", "measured", "ratio")


def table(models: Sequence[str], cores: Sequence[str]) -> list[list[str]]:
    chosen = [(model, core, kind) for model in models or MODELS for core in cores or BOARDS for kind in BUILDS]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        found = list(pool.map(rows, *zip(*chosen, strict=True)))
    return [cells(*each, row) for each, part in zip(chosen, found, strict=True) for row in part]


@click.command()
@click.option("--model", "models", multiple=True, help="Model to measure, as its file begins; all without it.")
@click.option("--core", "cores", multiple=True, type=click.Choice(list(BOARDS)), help="Core to measure; all without it.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(models: tuple[str, ...], cores: tuple[str, ...], write: Path | None) -> None:
    """Build, run and print the table; exit code 1 where a call took more than its bound."""
    found = table(models, cores)
    lines = speed.table(HEADINGS, found)
    Console(width=240, soft_wrap=True).print("\n".join(lines), markup=False, highlight=False)
    if write:
        body = wrapped((__doc__ or "").split("make bench-stack", 1)[1])
        when = f"Printed by `make bench-stack` on {datetime.date.today().isoformat()}."
        write.write_text("\n".join(["# Stack", "", when, "", body, "", *lines]).rstrip() + "\n")
    raise SystemExit(any(row[-1] != "-" and float(row[-1]) < 1 for row in found))


if __name__ == "__main__":
    main()
