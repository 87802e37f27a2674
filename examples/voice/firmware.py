"""The firmware of this folder around a build named voice: made by CMake, run on an emulated board, fed with recordings."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import kilotune as kt
from kilotune import boards

HERE = Path(__file__).resolve().parent
SECONDS = 600

Recordings = NDArray[np.int16]


@dataclass(frozen=True)
class Heard:
    """words: [N] of the recordings. front_end, model: [N] ticks of the board's counter. state: CRC-32 at the end."""

    words: NDArray[np.int64]
    front_end: NDArray[np.int64]
    model: NDArray[np.int64]
    state: int


def made(build: kt.Build, board: str, folder: Path) -> Path:
    """The linked firmware for a board."""
    b = boards.load(board)
    definitions = {
        "CMAKE_TOOLCHAIN_FILE": HERE.parents[1] / "cmake" / "arm-none-eabi.cmake", "KILOTUNE_CPU": b.core, "MODEL": build.directory.resolve(),
        "BOARD": b.folder,
    }  # fmt: skip
    commands = [["cmake", "-S", str(HERE), "-B", str(folder), *(f"-D{k}={v}" for k, v in definitions.items())], ["cmake", "--build", str(folder)]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return next(path for path in (folder / "firmware", folder / "firmware.elf") if path.is_file())


def asked(samples: Recordings) -> bytes:
    """What word each recording is."""
    return b"".join(b"p" + row.astype("<i2").tobytes() for row in samples)


def taught(samples: Recordings, labels: NDArray[np.int32], times: int) -> bytes:
    """That each recording is a word, to be learned so many times."""
    lessons = [b"l" + bytes([int(label)]) + row.astype("<i2").tobytes() for row, label in zip(samples, labels, strict=True)]
    return b"".join(lessons) + b"t" + bytes([times])


def run(program: Path, board: str, sent: bytes, count: bool = False) -> Heard:
    """What the firmware answers to all of that. count: ticks follow instructions."""
    emulator = boards.load(board).emulator
    assert emulator is not None
    quiet = ("-display", "none", "-monitor", "none", "-serial", "stdio")
    options = (*emulator.options, *(emulator.counting if count else ()))
    process = subprocess.Popen(
        [emulator.program, "-M", emulator.machine, *options, *quiet, "-kernel", str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(sent + b"sq")
        process.stdin.flush()
        lines = []
        while (line := process.stdout.readline().decode().strip()) != "end":
            if not line:
                raise SystemExit(f"{board} ended without an answer")
            lines.append(line)
    finally:
        process.kill()
        process.wait()
    rows = np.array([[int(n) for n in line.split()[1:]] for line in lines if line.startswith("word")], np.int64).reshape(-1, 3)
    return Heard(rows[:, 0], rows[:, 1], rows[:, 2], int(lines[-1].split()[1]))
