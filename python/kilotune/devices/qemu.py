"""Boards emulated by QEMU, running the firmware that such a board would run."""

from __future__ import annotations

from pathlib import Path

from .. import boards, compilers
from .errors import DeviceError
from .pipe import ProcessTransport


def start(board: boards.Board, elf: Path, count: bool) -> ProcessTransport:
    """QEMU with the board's serial port on its standard input and output; count: with an exact instruction counter."""
    if board.emulator is None:
        raise DeviceError(board.name, "no emulator is known for this board", "boards/*/*/board.toml, [emulator]")
    command = [
        compilers.require_emulator(board.emulator.program),
        *("-M", board.emulator.machine, "-kernel", str(elf)),
        *("-display", "none", "-monitor", "none", "-serial", "stdio"),
        *board.emulator.options,
        *(board.emulator.counting if count else ()),
    ]
    return ProcessTransport(command, f"qemu:{board.name}")
