"""Adapters that a device keeps: a pool in memory by name, and two slots in flash that are updated over the air."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from .errors import DeviceError

NAME_BYTES = 24
Request = Callable[[int, bytes], bytes]
"""(command, data) -> data of the answer; DeviceError for a status that is not 0."""

STORE, SELECT, REMOVE, LIST, UPDATE_BEGIN, UPDATE_WRITE, UPDATE_HASH, UPDATE_INSTALL, REBOOT, UPDATE_ABANDON = range(18, 28)
RECORD = 32
"""Bytes in front of a file in its slot: runtime/include/kt/adapter_slots.h."""


@dataclass(frozen=True)
class Update:
    """What an update sent: bytes that went over the line, and those that an earlier try had left."""

    sent: int
    kept: int


def fnv1a(data: bytes) -> int:
    """32-bit FNV-1a, as the device computes it of its flash."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


class StoredAdapters:
    """The commands of examples/agent/kt_adapters.c."""

    def __init__(self, request: Request, chunk: int) -> None:
        self.request = request
        self.chunk = (chunk - 4) // 32 * 32
        """A multiple of every word that flash is written in."""

    # ---- The pool ----

    def store(self, length: int, name: str | None) -> None:
        """Keep the file that lies in the device's adapter area."""
        self.request(STORE, struct.pack("<I", length) + _name(name or ""))

    def select(self, name: str | None) -> None:
        self.request(SELECT, _name(name or ""))

    def remove(self, name: str) -> None:
        self.request(REMOVE, _name(name))

    def names(self) -> tuple[list[str], str | None]:
        """All names, and the active one."""
        found: list[str] = []
        active, index = None, 0
        while True:
            answer = self.request(LIST, struct.pack("<I", index))
            rows = [answer[i : i + 1 + NAME_BYTES] for i in range(0, len(answer) - 4, 1 + NAME_BYTES)]
            for row in rows:
                found.append(row[1:].rstrip(b"\0").decode(errors="replace"))
                active = found[-1] if row[0] else active
            after = struct.unpack("<I", answer[-4:])[0]
            if after == index or not rows:
                return found, active
            index = after

    # ---- The slots ----

    def begin(self, data: bytes) -> Update:
        """Start an update, or go on with one that was cut off: pages that have arrived are kept."""
        kept = self._arrived(data)
        try:
            self.request(UPDATE_BEGIN, struct.pack("<II", len(data), kept))
        except DeviceError:
            if not kept:
                raise
            kept = 0
            self.request(UPDATE_BEGIN, struct.pack("<II", len(data), 0))
        return Update(0, kept)

    def _arrived(self, data: bytes) -> int:
        """Bytes in front that the inactive slot holds already, in whole pages."""
        page = struct.unpack("<II", self.request(UPDATE_HASH, struct.pack("<II", 0, 0)))[1]
        start, end = 0, page - RECORD
        while end < len(data):
            if struct.unpack("<II", self.request(UPDATE_HASH, struct.pack("<II", start, end)))[0] != fnv1a(data[start:end]):
                break
            start, end = end, end + page
        return start

    def write(self, data: bytes, start: int) -> int:
        """Send everything from `start` on; returns the bytes sent."""
        for at in range(start, len(data), self.chunk):
            self.request(UPDATE_WRITE, struct.pack("<I", at) + data[at : at + self.chunk])
        return len(data) - start

    def install(self) -> None:
        """Check, self test, record: the new adapter is active, or the old one stays."""
        self.request(UPDATE_INSTALL, b"")

    def abandon(self) -> None:
        """Give up the update under way, if there is one; what has arrived stays where it is, for a later one to go on with."""
        self.request(UPDATE_ABANDON, b"")

    def reboot(self) -> None:
        """What is in memory is forgotten; the adapter in flash becomes active."""
        self.request(REBOOT, b"")


def _name(name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > NAME_BYTES or b"\0" in encoded:
        raise ValueError(f"the name {name!r} has {len(encoded)} bytes: at most {NAME_BYTES} fit, and no zero")
    return encoded.ljust(NAME_BYTES, b"\0")
