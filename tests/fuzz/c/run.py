"""Fuzzing of what devices take from outside: `python tests/fuzz/c/run.py --minutes 5`, or `make fuzz MINUTES=5`.

Each target is a C file of this folder, compiled with clang's libFuzzer and its address and undefined-behaviour sanitizers. It starts from a few
seeds that are made here and from the folder `finds`: inputs in hex that failed once, and that the tests run again. What fails now is minimised
and put there.
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from golden.reference import samples, tiny  # noqa: E402

import kilotune as kt  # noqa: E402
from kiloc.emit.adapter_table import Entry  # noqa: E402
from kiloc.export import tflite  # noqa: E402
from kiloc.peft import Method  # noqa: E402
from kilotune import boards, resources, toolchain  # noqa: E402
from kilotune.devices.agent import Command  # noqa: E402
from kilotune.devices.manifest import Manifest  # noqa: E402

FINDS = HERE / "finds"
CHECKS = "-fsanitize=fuzzer,address,undefined,float-cast-overflow"
FLAGS = ("-std=c99", "-O1", "-g", "-ffp-contract=off", "-Wno-unused-function", CHECKS, "-fno-sanitize-recover=all")
METHODS: list[Method] = [kt.LoRA(rank=2, layers="first,second"), kt.BiasOnly()]
MEMORY = ("-rss_limit_mb=0", "-malloc_limit_mb=512")
"""Allocations are limited, not resident memory: of that the sanitizers' shadow takes gigabytes where the kernel gives it huge pages."""
LARGEST_INPUT = 4096


@dataclass(frozen=True)
class Target:
    """A program to fuzz, and what it starts from."""

    compile: Callable[[Path], Path]
    """Into a folder; returns the program."""
    seeds: Callable[[Path], Sequence[bytes]]
    """Made of what `compile` left in the folder."""


# ---- Programs ----


def _run(command: Sequence[str | Path], where: str) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{where} does not compile:\n{done.stderr[-3000:]}")


def _linked(folder: Path, sources: Sequence[Path], include: Sequence[Path], objects: Sequence[Path] = ()) -> Path:
    paths = [f"-I{path}" for path in include]
    _run(["clang", *FLAGS, *paths, *sources, *objects, "-o", folder / "program"], sources[0].name)
    return folder / "program"


def _with_core(source: str) -> Callable[[Path], Path]:
    """With the runtime's adapters alone."""
    core = [resources.runtime() / "src" / "core" / f"{name}.c" for name in ("adapter", "adapter_pool", "adapter_slots")]
    return lambda folder: _linked(folder, [HERE / source, *core], [resources.runtime() / "include"])


def _model(folder: Path) -> kt.Model:
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    return kt.load(folder / "tiny.tflite")


def _files(build: kt.Build) -> tuple[list[Path], list[Path]]:
    """Sources and include folders of a build."""
    sources, include = ([build.directory / name for name in build.manifest[what]] for what in ("sources", "include"))
    return sources, include


def _states(methods: list[Method], optimizer: kt.SGD | kt.Adam | kt.Lion, storage: str, accumulate: int) -> Callable[[Path], Path]:
    def compile_it(folder: Path) -> Path:
        options = {"optimizer": optimizer, "storage": storage, "accumulate": accumulate, "measure": False}
        sources, include = _files(kt.build(_model(folder), folder / "build", method=methods, **options))  # type: ignore[arg-type]
        return _linked(folder, [HERE / "states.c", *sources], include)

    return compile_it


def _frames(train: bool) -> Callable[[Path], Path]:
    """The agent: around a build that trains, or one with slots, a self test and rollback protection. Both have a pool."""

    def compile_it(folder: Path) -> Path:
        test = (samples(tiny(), 3), np.array([0, 1, 2]))
        slots = kt.AdapterOptions(resident=2, slots=True, rollback_protection=True, self_test=test, permitted=3)
        options = kt.AdapterOptions(resident=2) if train else slots
        build = kt.build(_model(folder), folder / "build", method=METHODS, train=train, adapters=options, measure=False)
        objects = []
        for unit in toolchain._agent_units(Manifest.load(build.directory), boards.load("posix"), ()):
            if unit.source.name != "board.c":
                source = {"agent.c": HERE / "frames.c", "kt_adapters.c": HERE / "forgetful_flash.c"}.get(unit.source.name, unit.source)
                objects.append(folder / f"{unit.source.stem}.o")
                include = [f"-I{path}" for path in (*unit.include, resources.agent())]
                _run(["clang", *FLAGS, *unit.flags, *include, "-c", source, "-o", objects[-1]], source.name)
        return _linked(folder, *_files(build), objects)

    return compile_it


# ---- Seeds ----


def _adapter(sequence: int = 7) -> kt.Adapter:
    """One of the model of tests/deploy/hostile.h."""
    rows = [
        ("one", "bias", "int32", 1, 3), ("one", "lora_a", "int8", 2, 5), ("two", "lora_b", "int8", 4, 2),
        ("two", "delta", "int8", 3, 3), ("one", "adapter_down", "int8", 2, 4), ("two", "adapter_up", "int8", 6, 2),
    ]  # fmt: skip
    entries = [Entry(layer, role, "value", dtype, n, m) for layer, role, dtype, n, m in rows]
    return kt.Adapter.make(bytes(range(1, 9)), "lora r=2 all", entries, bytes(range(59)), "mine", sequence)


def _adapter_seeds(_: Path) -> list[bytes]:
    signed = _adapter().with_signature(bytes([9]) + bytes(31), lambda message: b"\x5a" * 64).data
    signed = signed[:-100] + b"\x5a" * 96 + signed[-4:]
    return [bytes([how]) + data for how in (0, 3, 11, 19) for data in (_adapter().data, _adapter().data[:-36])] + [bytes([7]) + signed]


def _slot_seeds(_: Path) -> list[bytes]:
    """Updates one after the other: whole, in chunks, given up, taken up again, over planted records."""
    send, install = bytes([6]), bytes([7, 4])
    whole = b"".join(bytes([1, i, i, 0]) + send + install for i in (1, 2, 3))
    chunks = bytes([1, 5, 1, 0]) + b"".join(bytes([5]) + struct.pack("<HH", at, 96) for at in (0, 96, 192)) + send + bytes([7, 2, 0])
    again = bytes([1, 5, 1, 0, 5]) + struct.pack("<HH", 0, 160) + bytes([8, 4, 1]) + send + install
    planted = bytes([10, 5, 3, 0, 1]) + struct.pack("<IH", 0xFFFFFFFF, 0) + whole
    cut = bytes([1, 9, 1, 0, 11, 20, 3]) + send + bytes([4, 2]) + send + install
    return [bytes([how]) + operations for how in (0, 3, 12, 17) for operations in (whole, chunks, again, planted, cut)]


def _state_seeds(_: Path) -> list[bytes]:
    return [bytes([1, 1]) + bytes(8), *(bytes([0, 1]) + bytes(range(8)) + bytes([fill]) * 200 for fill in (1, 127, 128, 255))]


def _frame_seeds(folder: Path) -> list[bytes]:
    """Sessions that use every command."""

    def call(command: Command, data: bytes = b"") -> bytes:
        return struct.pack("<BH", command, len(data)) + data

    with kt.open_build(folder / "build").open() as device:
        adapter = device.export_adapter().labelled("a", sequence=3).data
    hello, size, name = call(Command.HELLO, bytes(4)), struct.pack("<I", len(adapter)), b"alice".ljust(24, b"\0")
    chunks = [struct.pack("<I", at) + adapter[at : at + 480] for at in range(0, len(adapter), 480)]
    written = b"".join(call(Command.WRITE_ADAPTER, chunk) for chunk in chunks)
    sample, eight = call(Command.WRITE_INPUT, bytes(12)), struct.pack("<II", 0, 8)
    pool = call(Command.STORE_ADAPTER, size + name) + call(Command.SELECT_ADAPTER, name) + call(Command.LIST_ADAPTERS, bytes(4))
    removed = call(Command.SELECT_ADAPTER, bytes(24)) + call(Command.REMOVE_ADAPTER, name)
    update = call(Command.UPDATE_BEGIN, size + bytes(4)) + b"".join(call(Command.UPDATE_WRITE, chunk) for chunk in chunks)
    flash = update + call(Command.UPDATE_HASH, eight) + call(Command.UPDATE_INSTALL) + call(Command.REBOOT) + call(Command.UPDATE_ABANDON)
    trained = call(Command.TRAIN, bytes(4)) + call(Command.APPLY) + call(Command.SET_LEARNING_RATE, struct.pack("<f", 0.5))
    state = call(Command.READ_STATE, eight) + call(Command.WRITE_STATE, bytes(4) + b"\1\2") + call(Command.RESUME) + call(Command.RESET)
    exported = call(Command.EXPORT_ADAPTER) + call(Command.READ_ADAPTER, eight) + call(Command.LOAD_ADAPTER, size)
    read = sample + call(Command.INFER) + call(Command.READ_OUTPUT, struct.pack("<II", 0, 3)) + call(Command.STATS)
    noise = struct.pack("<BH", 255, 4) + b"\3ab\0"
    return [hello + part for part in (read + trained + state, written + pool + removed, written + flash, exported + noise + read)]


LORA, BOTH = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()], [kt.Full(), kt.BottleneckAdapter(width=2, layers="first")]
TARGETS = {
    "adapters": Target(_with_core("adapters.c"), _adapter_seeds),
    "slots": Target(_with_core("slots.c"), _slot_seeds),
    "states": Target(_states(LORA, kt.Adam(lr=0.01, state_bits=8), "block16", 4), _state_seeds),
    "states_block8": Target(_states([kt.Full()], kt.Lion(lr=0.01, state_bits=8), "block8", 2), _state_seeds),
    "states_at_once": Target(_states([kt.ScaleShift()], kt.SGD(lr=0.1, momentum=0.9), "block16", 1), _state_seeds),
    "frames": Target(_frames(train=False), _frame_seeds),
    "frames_training": Target(_frames(train=True), _frame_seeds),
}


# ---- Running ----


def prepare(name: str, folder: Path) -> Path:
    """The target's program, with `corpus` beside it: its seeds and what it once failed on."""
    program = TARGETS[name].compile(folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(TARGETS[name].seeds(folder)):
        (corpus / f"seed{i}").write_bytes(seed)
    for path in sorted(FINDS.glob(f"{name.split('_')[0]}-*.hex")):
        (corpus / path.stem).write_bytes(bytes.fromhex(path.read_text()))
    return program


def fuzz(program: Path, limits: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a target within its limits, libFuzzer's options; what fails lies beside the program, its name begins with crash, leak or timeout."""
    folder = program.parent
    command = [str(program), str(folder / "corpus"), f"-max_len={LARGEST_INPUT}", "-timeout=20", *MEMORY, f"-artifact_prefix={folder}/", *limits]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _minimised(program: Path, name: str, seconds: int) -> Path:
    """The failing input, as small as libFuzzer makes it, among the finds."""
    folder = program.parent
    found = next(p for p in sorted(folder.iterdir()) if p.name.split("-")[0] in ("crash", "leak", "timeout", "oom"))
    smaller = folder / "smaller"
    command = [str(program), "-minimize_crash=1", f"-max_total_time={seconds}", f"-exact_artifact_path={smaller}", str(found)]
    subprocess.run(command, capture_output=True, text=True, check=False)
    data = (smaller if smaller.is_file() else found).read_bytes()
    FINDS.mkdir(exist_ok=True)
    target = FINDS / f"{name.split('_')[0]}-{found.name.rpartition('-')[2][:8]}.hex"
    target.write_text("\n".join(data[i : i + 32].hex(" ") for i in range(0, len(data), 32)) + "\n")
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what devices take from outside.")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all where none is named")
    parser.add_argument("--minutes", type=float, default=1.0, help="in all, shared by the targets")
    options = parser.parse_args()
    if shutil.which("clang") is None:
        parser.error("clang is missing: on Debian, apt install clang libclang-rt-dev")
    names, failed = options.targets or list(TARGETS), 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            program = prepare(name, Path(folder))
            start = time.monotonic()
            done = fuzz(program, [f"-max_total_time={max(1, round(options.minutes * 60 / len(names)))}", "-print_final_stats=1"])
            runs = re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)
            covered = re.findall(r"cov: (\d+)", done.stderr)
            found = "" if done.returncode == 0 else f"; FAILED, {_minimised(program, name, 30)}\n{done.stderr[-2000:]}"
            counts = f"{int(runs[-1]) if runs else 0:,} inputs in {time.monotonic() - start:.0f} s, {covered[-1] if covered else 0} edges"
            print(f"{name:<16}{counts}{found}", flush=True)
            failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
