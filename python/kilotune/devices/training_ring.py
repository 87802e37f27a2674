"""The log that firmware writes by itself: a ring of flash pages (`kt/recorder.h`), read as the log of a training.

Contents of its records, little-endian; a sample is the inputs' bytes, then the target's values as float32, and a CRC of 0 is none:

    1 HEADER    base hash (8 bytes), bytes of the state, of a sample's inputs, values of a target, steps between two checks (u32 each), name (32)
    2 STATE     why (u8: 0 it is the first, 1 it was set, 2 the ring needs it again), the whole state
    4 STEP      label (i32), loss (float32), CRC of the state behind it (u32), the sample
    5 APPLY     CRC of the state behind it (u32)
    6 RATE      learning rate (float32)
   11 REMEMBER  label (i32), CRC of the state behind it (u32), the sample
   12 REPLAY    loss (float32), CRC of the state behind it (u32)
   13 CLASS     label (i32), CRC of the state behind it (u32), the inputs

What lies in front of the first whole state is passed over: nothing says what it was trained on.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .errors import DeviceError
from .training_log import Kind, Log, Record, Why

MAGIC: Final = b"KTR1"
_PAGE = struct.Struct("<4sIIHHIII")
_HEADER_BYTES: Final = 32
_HEAD = struct.Struct("<BI")
_MODEL = struct.Struct("<8sIIII32s")
_ALIGNED, _ALL = 8, 0xFFFF
_FIELDS: Final = {
    Kind.HEADER: _MODEL.size, Kind.STATE: 5, Kind.STEP: 12, Kind.APPLY: 4, Kind.RATE: 4, Kind.REMEMBER: 8, Kind.REPLAY: 8, Kind.CLASS: 8
}  # fmt: skip
"""Bytes that the content of a record has at least: without its sample, and of a state the layout."""


@dataclass(frozen=True)
class _Page:
    sequence: int
    erasures: int
    rest: int
    session: int
    payload: bytes


def is_ring(path: str | os.PathLike[str]) -> bool:
    """Whether a file is the flash of a recorder: a page of one begins in it."""
    try:
        return next(_pages(Path(path).read_bytes()), None) is not None
    except OSError:
        return False


def read_ring(path: str | os.PathLike[str]) -> Log:
    """The log in the bytes of a recorder's flash, in all sessions that are there. Raises DeviceError where no whole state is."""
    found = _newest_run(sorted(_pages(Path(path).read_bytes()), key=lambda page: page.sequence))
    records, torn = [], ""
    for stream, start in _sessions(found):
        more, torn = _records(stream, start)
        records += more
    models = [r.content for r in records if r.kind == Kind.HEADER]
    first = next((i for i, r in enumerate(records) if r.kind == Kind.STATE), None)
    if first is None or not models:
        hint = "read all of its pages out, or record again: the first record is a state"
        raise DeviceError(str(path), "the ring holds no whole state that a training could be repeated from", hint)
    base, state_bytes, input_bytes, target_values, every, name = _MODEL.unpack_from(models[-1])
    header: dict[str, Any] = {
        "model": name.rstrip(b"\0").decode(errors="replace"), "device": "firmware", "base_hash": base.hex(),
        "state_layout": int.from_bytes(records[first].content[1:5], "little"), "state_bytes": state_bytes,
        "input_bytes": input_bytes, "target_values": target_values, "every": every, "erasures": found[-1].erasures,
    }  # fmt: skip
    return Log(Path(path), header, tuple(_as_log(records[first:])), torn)


def _pages(data: bytes) -> Iterator[_Page]:
    at = data.find(MAGIC)
    while at >= 0:
        if at + _HEADER_BYTES <= len(data):
            _, sequence, erasures, rest, session, size, _pages_of_ring, crc = _PAGE.unpack_from(data, at)
            if zlib.crc32(data[at : at + _PAGE.size - 4]) == crc:
                yield _Page(sequence, erasures, rest, session, data[at + _HEADER_BYTES : at + size])
        at = data.find(MAGIC, at + 1)


def _newest_run(pages: list[_Page]) -> list[_Page]:
    """The pages up to the newest one between which none is missing."""
    first = next((i for i in range(len(pages) - 1, 0, -1) if pages[i].sequence != pages[i - 1].sequence + 1), 0)
    return pages[first:]


def _sessions(pages: list[_Page]) -> Iterator[tuple[bytes, int]]:
    """Records of each session one behind the other, and where the first whole one begins."""
    for session in dict.fromkeys(page.session for page in pages):
        mine = [page for page in pages if page.session == session]
        skipped = next((i for i, page in enumerate(mine) if page.rest != _ALL), len(mine))
        if skipped < len(mine):
            yield b"".join(page.payload for page in mine[skipped:]), mine[skipped].rest


def _records(data: bytes, at: int) -> tuple[list[Record], str]:
    """The whole records from a place on, and what is wrong behind them."""
    found: list[Record] = []
    while at + _HEAD.size <= len(data) and data[at] != 0xFF:
        kind, length = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if kind not in _FIELDS or end + 4 > len(data):
            return found, f"it ends in the middle of record {len(found) + 1} of its last session"
        if struct.unpack_from("<I", data, end)[0] != zlib.crc32(data[at:end]):
            return found, f"record {len(found) + 1} of its last session is damaged: its CRC is another"
        if length < _FIELDS[Kind(kind)]:
            return found, f"record {len(found) + 1} of its last session is damaged: it is too short"
        found.append(Record(Kind(kind), data[at + _HEAD.size : end]))
        at = -(-(end + 4) // _ALIGNED) * _ALIGNED
    return found, ""


def _as_log(records: list[Record]) -> Iterator[Record]:
    """As `Device.record` writes them: samples apart, each once."""
    known: dict[bytes, int] = {}

    def sample(content: bytes) -> Iterator[Record]:
        digest = hashlib.sha256(content).digest()
        if digest not in known:
            known[digest] = len(known)
            yield Record(Kind.SAMPLE, digest + content)

    for i, record in enumerate(records):
        content = record.content
        size = {Kind.STEP: 12, Kind.REMEMBER: 8, Kind.CLASS: 8}.get(record.kind)
        if record.kind == Kind.STATE and i == 0:
            yield Record(Kind.STATE, bytes([Why.START]) + content[1:])
        elif size is not None:
            yield from sample(content[size:])
            number = struct.pack("<I", known[hashlib.sha256(content[size:]).digest()])
            yield Record(record.kind, number + content[:size])
        elif record.kind != Kind.HEADER:
            yield record
