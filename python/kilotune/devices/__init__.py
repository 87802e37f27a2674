"""Devices: where a built model runs. `open_device` is the door."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable
from typing import Any

from .. import boards, toolchain
from . import qemu
from .agent import AgentDevice
from .base import Device
from .errors import DeviceError
from .gate import Gate
from .history import History, TrainingInterrupted
from .host import HostDevice
from .manifest import Manifest
from .pipe import ProcessTransport
from .plausible import DataWarning
from .rehearsal import Rehearsal
from .renode import RenodeTransport
from .serial_port import BAUD, SerialTransport, ports

__all__ = ["AgentDevice", "DataWarning", "Device", "DeviceError", "Gate", "History", "Rehearsal", "TrainingInterrupted", "available", "open_device"]


def _open_host(manifest: Manifest, board: str, kernels: str | None = None, threads: int | None = None) -> Device:
    if board:
        raise _unknown(f"host:{board}")
    return HostDevice(manifest, kernels, threads)


def _open_host_agent(manifest: Manifest, board: str, sanitize: bool = False, timeout: float = 1.0) -> Device:
    if board != "host":
        raise _unknown(f"agent:{board}")
    program = toolchain.host_agent(manifest.directory, sanitize)
    transport = ProcessTransport([str(program)], "agent:host", patience=5.0)
    return AgentDevice(manifest, transport, "agent:host", boards.load("posix"), timeout=timeout)


def _open_qemu(manifest: Manifest, board: str, count: bool = False, timeout: float = 1.0) -> Device:
    if board not in boards.emulated():
        raise _unknown(f"qemu:{board}") if board not in boards.names() or board == "posix" else _real(manifest, board)
    description = boards.load(board)
    transport = qemu.start(description, toolchain.firmware(manifest.directory, description), count)
    return AgentDevice(manifest, transport, f"qemu:{board}", description, counting=count, timeout=timeout)


def _open_serial(manifest: Manifest, port: str, baud: int = BAUD, timeout: float = 1.0, patience: float = 10.0) -> Device:
    if not port:
        raise DeviceError("serial:", "the port is missing", f"serial:/dev/ttyACM0, for example; ports here: {', '.join(ports()) or 'none'}")
    transport = SerialTransport(port, baud)
    return AgentDevice(manifest, transport, f"serial:{port}", None, timeout=timeout, hello_deadline=patience)


def _open_renode(manifest: Manifest, board: str, timeout: float = 1.0) -> Device:
    description = boards.in_renode().get(board)
    if description is None:
        raise _unknown(f"renode:{board}")
    transport = RenodeTransport(description, toolchain.firmware(manifest.directory, description))
    return AgentDevice(manifest, transport, f"renode:{board}", description, counting=False, timeout=timeout)


_KINDS: dict[str, Callable[..., Device]] = {
    "host": _open_host,
    "agent": _open_host_agent,
    "qemu": _open_qemu,
    "renode": _open_renode,
    "serial": _open_serial,
}


def available() -> list[str]:
    """All names that open_device knows."""
    emulated = [*(f"qemu:{name}" for name in boards.emulated()), *(f"renode:{name}" for name in boards.in_renode())]
    return ["host", "agent:host", *emulated, "serial:PORT"]


def _real(manifest: Manifest, board: str) -> DeviceError:
    hint = f"on the board itself: kilotune flash {manifest.directory} --board {board}, then the device serial:PORT"
    return DeviceError(f"qemu:{board}", "QEMU does not emulate this board", hint)


def _unknown(name: str) -> DeviceError:
    near = difflib.get_close_matches(name, available(), n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return DeviceError(name, "there is no device of this name", f"{hint}devices: {', '.join(available())}")


def open_device(build_dir: str | os.PathLike[str], name: str = "host", **options: Any) -> Device:
    """The model of a build directory on a device, compiled first if need be.

    "host": in this process (options kernels="portable", for the C that cores without instructions of their own run instead of that for the
    vectors of this computer; threads=1 for inference of one sample after the other; all with the same bits).
    "agent:host": the agent as a process (option sanitize=True).
    "qemu:BOARD": the agent on an emulated board (option count=True makes stats() count instructions).
    "renode:NAME": the same in Renode, which counts nothing.
    "serial:PORT": a board on a serial port that runs the agent of this build (options baud=115200, patience=seconds to
    wait for its greeting).
    All but the host take timeout=seconds.
    """
    kind, _, board = name.partition(":")
    opener = _KINDS.get(kind)
    if opener is None:
        raise _unknown(name)
    known = list(inspect.signature(opener).parameters)[2:]
    for option in options:
        if option not in known:
            raise DeviceError(name, f"the device has no option {option!r}", f"its options: {', '.join(known) or 'none'}")
    return opener(Manifest.load(build_dir), board, **options)
