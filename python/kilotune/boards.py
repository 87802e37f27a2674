"""Boards: what boards/<family>/<board>/board.toml says, checked."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kiloc import CORES

from . import resources
from .errors import DeviceError


@dataclass(frozen=True)
class Region:
    """One region of the linker script."""

    name: str
    origin: int
    size: int


@dataclass(frozen=True)
class Counter:
    """What kt_board_ticks counts: `per_tick` of `counts` ("instructions", "cycles" or "nanoseconds")."""

    counts: str
    per_tick: float


@dataclass(frozen=True)
class Emulator:
    """How to emulate the board. `options` are always given; `counting` make its counter exact."""

    program: str
    machine: str
    options: tuple[str, ...]
    counting: tuple[str, ...]


@dataclass(frozen=True)
class Renode:
    """How Renode emulates the board: the device's name after `renode:`, and the script that starts it, in renode/."""

    name: str
    script: Path


@dataclass(frozen=True)
class Upload:
    """A program that writes firmware to the board, and the arguments that name it: a configuration, or a chip."""

    tool: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Flash:
    """What is erased together, in bytes, and how often it may be."""

    erase_bytes: int
    erase_cycles: int


UPLOAD_TOOLS = ("openocd", "pyocd")
HOST = "host"
"""The core of a board that is a process on this computer."""


@dataclass(frozen=True)
class SlowMemory:
    """Memory beside the linker's, for `kt_port_page_in` and `kt_port_page_out`, which `source` defines.

    size: bytes, 0: what the computer has. cost: MACs that the processor does in the time of one byte's way in or out.
    """

    source: Path
    origin: int
    size: int
    cost: float


@dataclass(frozen=True)
class Board:
    """One board. `sources` and `linker_script` are absolute; a host "board" has no linker script."""

    name: str
    title: str
    folder: Path
    core: str
    fpu: str | None
    flags: tuple[str, ...]
    clock_hz: int | None
    sources: tuple[Path, ...]
    linker_script: Path | None
    memories: tuple[Region, ...]
    counter: Counter
    emulator: Emulator | None
    serial: Mapping[str, Any]
    slow_memory: SlowMemory | None = None
    uploads: tuple[Upload, ...] = ()
    platformio: Mapping[str, str] | None = None
    """"platform" and "board" as PlatformIO names them."""
    renode: Renode | None = None
    nanojoules: float | None = None
    """An instruction takes so much energy: a figure for plans, not measured."""
    flash: Flash | None = None


def _key(name: str) -> str:
    return name.lower().replace("_", "-")


def _folders() -> dict[str, Path]:
    return _found(os.environ.get("KILOTUNE_BOARDS", ""))


@cache
def _found(own: str) -> dict[str, Path]:
    """Name -> folder, of the package's boards and of those in $KILOTUNE_BOARDS (as FOLDER/board.toml below it)."""
    folders: dict[str, Path] = {}
    if own and not Path(own).is_dir():
        raise DeviceError(own, "KILOTUNE_BOARDS names no folder", "it holds one folder a board, with board.toml, board.c and link.ld")
    added = sorted(Path(own).rglob("board.toml")) if own else []
    for path in [*sorted(resources.boards().glob("*/*/board.toml")), *added]:
        name = _key(str(_parse(path).get("name", path.parent.name)))
        if name in folders:
            raise DeviceError(str(path), f"the name {name!r} is taken by {folders[name]}", "give the board another name")
        folders[name] = path.parent
    return folders


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeviceError(str(path), f"the board's description cannot be read: {error}") from error


def names() -> list[str]:
    """Names of all boards, sorted."""
    return sorted(_folders())


def emulated() -> list[str]:
    """Names of the boards that QEMU emulates, sorted."""
    return [name for name in names() if load(name).emulator is not None]


def in_renode() -> dict[str, Board]:
    """Name after `renode:` -> board, of those that Renode emulates."""
    return {b.renode.name: b for b in map(load, names()) if b.renode is not None}


def overview() -> list[dict[str, Any]]:
    """One entry a board that firmware is linked for: board, title, core, memory, serial, device, tools."""
    return [
        {
            "board": b.name,
            "title": b.title,
            "core": b.core,
            "memory": {m.name: m.size for m in b.memories},
            "serial": str(b.serial.get("port", "")),
            "device": f"qemu:{b.name}" if b.emulator else "serial:PORT",
            "tools": [u.tool for u in b.uploads] + (["platformio"] if b.platformio else []),
        }
        for b in map(load, names())
        if b.linker_script
    ]


def load(name: str) -> Board:
    """The board of this name; DeviceError with the nearest names if there is none."""
    folder = _folders().get(_key(name))
    if folder is None:
        near = difflib.get_close_matches(_key(name), names(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"boards: {', '.join(names())}"
        raise DeviceError(name, "there is no board of this name", hint)
    return read(folder)


def read(folder: Path) -> Board:
    """The board described by folder/board.toml."""
    path = folder / "board.toml"
    return _Reader(path, _parse(path)).board()


class _Reader:
    """Turns a parsed board.toml into a Board, naming what is missing, mistyped or unknown."""

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self.path = path
        self.data = data

    def fail(self, what: str) -> DeviceError:
        return DeviceError(str(self.path), what, "compare with boards/qemu/mps2_an386/board.toml")

    def take(self, table: dict[str, Any], name: str, kind: type, where: str = "", default: Any = None) -> Any:
        value = table.pop(name, default)
        if value is None and default is None and name not in _OPTIONAL:
            raise self.fail(f"{where}{name} is missing")
        accepted = (int, float) if kind is float else kind
        if value is not None and (not isinstance(value, accepted) or isinstance(value, bool)):
            raise self.fail(f"{where}{name} must be {_KINDS[kind]}, not {value!r}")
        return value

    def texts(self, table: dict[str, Any], name: str, where: str = "", default: Any = None) -> tuple[str, ...]:
        values = self.take(table, name, list, where, default)
        if not all(isinstance(v, str) for v in values):
            raise self.fail(f"{where}{name} must be a list of strings")
        return tuple(values)

    def done(self, table: dict[str, Any], where: str = "") -> None:
        if table:
            raise self.fail(f"unknown entry {where}{sorted(table)[0]}")

    def file(self, name: str) -> Path:
        root = resources.boards() if name.startswith("common/") else self.path.parent
        if not (root / name).is_file():
            raise self.fail(f"there is no file {root / name}")
        return root / name

    def memories(self, data: dict[str, Any]) -> tuple[Region, ...]:
        found = []
        for name, table in self.take(data, "memory", dict, default={}).items():
            found.append(Region(name, self.take(table, "origin", int, f"memory.{name}."), self.take(table, "size", int, f"memory.{name}.")))
            self.done(table, f"memory.{name}.")
        return tuple(found)

    def slow_memory(self, data: dict[str, Any]) -> SlowMemory | None:
        table = data.pop("slow_memory", None)
        if table is None:
            return None
        where = "slow_memory."
        origin, size = (self.take(table, name, int, where, default=0) for name in ("origin", "size"))
        cost = float(self.take(table, "cost", float, where, default=1.0))
        if not 0 <= cost < 1e9:
            raise self.fail(f"{where}cost is {cost}, not a number of MACs a byte")
        result = SlowMemory(self.file(self.take(table, "source", str, where)), origin, size, cost)
        self.done(table, where)
        return result

    def energy(self, data: dict[str, Any]) -> float | None:
        table = data.pop("energy", None)
        if table is None:
            return None
        value = float(self.take(table, "nanojoules_per_instruction", float, "energy."))
        if not 0 < value < 1e6:
            raise self.fail(f"energy.nanojoules_per_instruction is {value}, not a number above 0")
        self.done(table, "energy.")
        return value

    def flash(self, data: dict[str, Any]) -> Flash | None:
        table = data.pop("flash", None)
        if table is None:
            return None
        found = [self.take(table, name, int, "flash.") for name in ("erase_bytes", "erase_cycles")]
        if min(found) < 1:
            raise self.fail("flash.erase_bytes and flash.erase_cycles must be at least 1")
        self.done(table, "flash.")
        return Flash(*found)

    def emulator(self, data: dict[str, Any]) -> Emulator | None:
        table = data.pop("emulator", None)
        if table is None:
            return None
        where = "emulator."
        result = Emulator(
            self.take(table, "program", str, where),
            self.take(table, "machine", str, where),
            self.texts(table, "options", where, default=[]),
            self.texts(table, "counting", where, default=[]),
        )
        self.done(table, where)
        return result

    def uploads(self, data: dict[str, Any]) -> tuple[Upload, ...]:
        table = self.take(data, "upload", dict, default={})
        found = tuple(Upload(tool, self.texts(table, tool, "upload.")) for tool in list(table) if tool in UPLOAD_TOOLS)
        self.done(table, "upload.")
        return found

    def platformio(self, data: dict[str, Any]) -> Mapping[str, str] | None:
        table = data.pop("platformio", None)
        if table is None:
            return None
        found = {name: self.take(table, name, str, "platformio.") for name in ("platform", "board")}
        self.done(table, "platformio.")
        return found

    def renode(self, data: dict[str, Any], board: str) -> Renode | None:
        table = data.pop("renode", None)
        if table is None:
            return None
        name, script = self.take(table, "name", str, "renode.", default=_key(board)), self.take(table, "script", str, "renode.")
        self.done(table, "renode.")
        path = self.path.parent / script if (self.path.parent / script).is_file() else resources.renode() / script
        if not path.is_file():
            raise self.fail(f"there is no file {path}")
        return Renode(name, path)

    def check_core(self, board: Board) -> None:
        """The flags stand in board.toml for build systems that do not read kilotune's table of cores, and must agree with it."""
        if board.core == HOST:
            return
        if board.core not in CORES:
            raise self.fail(f"cpu.core is {board.core!r}, which is none of {', '.join(CORES)}")
        expected = CORES[board.core].flags(board.fpu)
        if board.flags != expected:
            raise self.fail(f"cpu.flags are {list(board.flags)}; {board.core} with the FPU {board.fpu or 'none'} takes {list(expected)}")

    def board(self) -> Board:
        data, name = self.data, str(self.data.get("name", ""))
        cpu = self.take(data, "cpu", dict)
        counter = self.take(data, "counter", dict)
        script = self.take(data, "linker_script", str)
        board = Board(
            name=self.take(data, "name", str),
            title=self.take(data, "title", str),
            folder=self.path.parent,
            core=self.take(cpu, "core", str, "cpu."),
            fpu=self.take(cpu, "fpu", str, "cpu."),
            flags=self.texts(cpu, "flags", "cpu."),
            clock_hz=self.take(cpu, "clock_hz", int, "cpu."),
            sources=tuple(self.file(name) for name in self.texts(data, "sources")),
            linker_script=self.file(script) if script else None,
            memories=self.memories(data),
            counter=Counter(self.take(counter, "counts", str, "counter."), float(self.take(counter, "per_tick", float, "counter."))),
            emulator=self.emulator(data),
            serial=self.take(data, "serial", dict),
            slow_memory=self.slow_memory(data),
            uploads=self.uploads(data),
            platformio=self.platformio(data),
            renode=self.renode(data, name),
            nanojoules=self.energy(data),
            flash=self.flash(data),
        )
        self.done(cpu, "cpu.")
        self.done(counter, "counter.")
        self.check_core(board)
        self.done(data)
        return board


_OPTIONAL = {"fpu", "clock_hz", "linker_script"}
_KINDS = {str: "a string", int: "an integer", float: "a number", list: "a list", dict: "a table"}
