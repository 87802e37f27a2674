"""Write the agent with a model to a board, through the tool that its board.toml names."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import boards, firmware_file, toolchain
from .boards import Board, Upload
from .errors import DeviceError

_SECONDS = 180
_INSTALL = {
    "openocd": "on Debian: apt install openocd",
    "pyocd": "pip install 'kilotune[flash]'",
    "platformio": "pip install 'kilotune[flash]'",
}
_PROGRAMS = {"openocd": ("openocd",), "pyocd": ("pyocd",), "platformio": ("pio", "platformio")}
TOOLS = tuple(_PROGRAMS)


@dataclass(frozen=True)
class Flashed:
    """What was written: the image, with which tool, and the share of the board's memories."""

    board: str
    elf: Path
    tool: str
    command: tuple[str, ...]
    memory: dict[str, firmware_file.Use]


def _uploads(board: Board) -> list[Upload]:
    """The ways to flash a board, best first: PlatformIO comes last, as it may download what it needs."""
    known = list(board.uploads)
    if board.platformio is not None:
        known.append(Upload("platformio", (board.platformio["platform"], board.platformio["board"])))
    return known


def _chosen(board: Board, tool: str | None) -> tuple[Upload, str]:
    """The first tool of the board that is installed, and its program."""
    known = _uploads(board)
    if not known:
        what = "no tool flashes this board: it has no [upload] in its board.toml"
        remedy = f"it is emulated: --device qemu:{board.name}" if board.emulator else "boards/README.md says what to add"
        raise DeviceError(board.name, what, remedy)
    wanted = [u for u in known if tool in (None, u.tool)]
    if not wanted:
        raise DeviceError(board.name, f"{tool} does not flash this board", f"tools for it: {', '.join(u.tool for u in known)}")
    for upload in wanted:
        for name in _PROGRAMS[upload.tool]:
            program = shutil.which(name)
            if program is not None:
                return upload, program
    missing = ", ".join(u.tool for u in wanted)
    hints = "; ".join(dict.fromkeys(f"{u.tool}: {_INSTALL[u.tool]}" for u in wanted))
    raise DeviceError(board.name, f"none of the tools that flash this board is on PATH: {missing}", hints)


def _platformio_project(board: Board, upload: Upload, elf: Path, folder: Path) -> None:
    """A project whose program is built already: `pio run -t nobuild -t upload` writes it."""
    platform, name = upload.arguments
    (folder / "platformio.ini").write_text(f"[env:{board.name}]\nplatform = {platform}\nboard = {name}\n", encoding="utf-8")
    built = folder / ".pio" / "build" / board.name
    built.mkdir(parents=True)
    shutil.copyfile(elf, built / "firmware.elf")
    for suffix, kind in ((".bin", "binary"), (".hex", "ihex")):
        toolchain.convert(elf, built / f"firmware{suffix}", kind)


def _command(board: Board, upload: Upload, program: str, elf: Path, folder: Path) -> list[str]:
    if upload.tool == "openocd":
        return [program, *upload.arguments, "-c", f"program {{{elf}}} verify reset exit"]
    if upload.tool == "pyocd":
        return [program, "flash", "--no-wait", *upload.arguments, str(elf)]
    _platformio_project(board, upload, elf, folder)
    return [program, "run", "--project-dir", str(folder), "--environment", board.name, "--target", "nobuild", "--target", "upload"]


def _run(board: Board, upload: Upload, command: Sequence[str]) -> None:
    """Run the tool; where it fails, say what it looked for and what it said."""
    where = f"{board.name}, {upload.tool}"
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise DeviceError(where, f"{upload.tool} did not end within {_SECONDS} seconds", "plug the board in again and try once more") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.communicate()
    if process.returncode == 0:
        return
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if "error" in line.lower() or "no connected" in line.lower() or "not" in line.lower().split()] or lines
    looked = f"looked for a debug probe and the board as `{' '.join([upload.tool, *upload.arguments])}` describes them"
    others = [u.tool for u in _uploads(board) if u.tool != upload.tool]
    first = "PlatformIO downloads its platform once: it needs the network; " if any("HTTPClientError" in line for line in told) else ""
    hint = f"{first}connect the board by USB{f', or try --tool {others[0]}' if others else ''}"
    raise DeviceError(where, f"{upload.tool} could not write the firmware: {told[0] if told else 'it says nothing'} ({looked})", hint)


def flash(build_dir: str | os.PathLike[str], board: Board | str, *, tool: str | None = None, elf: str | os.PathLike[str] | None = None) -> Flashed:
    """Write the agent with the model of a build directory to a board.

    tool: one of TOOLS; None takes the first of the board's that is installed. elf: a firmware of one's own instead of the agent, checked
    for the board's core and memory. DeviceError where it does not fit, a tool or a probe is missing, or writing fails.
    """
    board = boards.load(board) if isinstance(board, str) else board
    upload, program = _chosen(board, tool)
    image = toolchain.firmware(build_dir, board) if elf is None else Path(elf).absolute()
    firmware_file.check(image, board)
    with tempfile.TemporaryDirectory() as scratch:
        command = _command(board, upload, program, image, Path(scratch))
        _run(board, upload, command)
    return Flashed(board.name, image, upload.tool, tuple(command), firmware_file.memory_use(image, board))
