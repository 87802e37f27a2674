"""The log of a device's training: a file of records, each with a CRC, so that one that was cut off is read up to the cut.

A file is MAGIC, then records: kind (u8), length of the content (u32), content, CRC-32 of kind, length and content (u32). Little-endian.

    1 HEADER   JSON: which build and device, and how much is recorded
    2 STATE    why (u8: see `Why`), the whole state
    3 SAMPLE   SHA-256 (32 bytes), inputs, target values: once each; no more than the hash where samples are not recorded
    4 STEP     number of the sample (u32), label (i32), loss (float32), CRC of the state behind it (u32), then CRCs of its kernels (u32 each)
    5 APPLY    CRC of the state behind it (u32)
    6 RATE     learning rate (float32)
    7 RESET    CRC of the state behind it (u32)
    8 ADAPTER  CRC of the state behind it (u32), the file that was loaded
    9 INFER    number of the sample (u32), CRC of the state behind it (u32): of a model that keeps a state from call to call
   10 END      number of records before it (u32): the log was closed, and not cut off
   11 REMEMBER number of the sample (u32), label (i32), CRC of the state behind it (u32): offered to a replay buffer
   12 REPLAY   loss (float32), CRC of the state behind it (u32): a step on a sample of the buffer
   13 CLASS    number of the sample (u32), label (i32), CRC of the state behind it (u32): a class that was added

A CRC of 0 in bytes that say "unchecked" has no meaning: `every` of the header says which steps are checked, by their number from 1.
"""

from __future__ import annotations

import enum
import json
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DeviceError

MAGIC = b"kilotune log 1\n"
FORMAT = 1
_HEAD = struct.Struct("<BI")
_LONGEST = 1 << 28
"""Bytes of a record: more is damage."""


class Kind(enum.IntEnum):
    """What a record is of."""

    HEADER = 1
    STATE = 2
    SAMPLE = 3
    STEP = 4
    APPLY = 5
    RATE = 6
    RESET = 7
    ADAPTER = 8
    INFER = 9
    END = 10
    REMEMBER = 11
    REPLAY = 12
    CLASS = 13


class Why(enum.IntEnum):
    """Why a whole state was recorded: it is the first, somebody set it, or it changed without a call that is recorded."""

    START = 0
    SET = 1
    CHANGED = 2


@dataclass(frozen=True)
class Record:
    """kind and content, as the module says."""

    kind: Kind
    content: bytes


@dataclass(frozen=True)
class Log:
    """A log as far as it is whole. torn: what is wrong behind its last whole record, "" where it was closed."""

    path: Path
    header: dict[str, Any]
    records: tuple[Record, ...]
    torn: str


class Writer:
    """Appends records to a file, each written through at once: what a crash leaves is readable up to its last record."""

    def __init__(self, path: str | os.PathLike[str], header: dict[str, Any]) -> None:
        try:
            self._file: BinaryIO = Path(path).open("wb")  # noqa: SIM115 (open from record to record)
        except OSError as error:
            raise DeviceError(str(path), f"the log cannot be written: {error.strerror}", "choose another file") from None
        self.count = 0
        self._file.write(MAGIC)
        self.add(Kind.HEADER, json.dumps({"format": FORMAT} | header).encode())

    def add(self, kind: Kind, content: bytes) -> None:
        """Append a record."""
        head = _HEAD.pack(kind, len(content))
        self._file.write(head + content + struct.pack("<I", zlib.crc32(content, zlib.crc32(head))))
        self._file.flush()
        self.count += 1

    def close(self) -> None:
        """Say that the log is whole."""
        if not self._file.closed:
            self.add(Kind.END, struct.pack("<I", self.count))
            self._file.close()


LOGS = "Device.record(path) and `kilotune train --record FILE` write one, and kt/recorder.h does in flash: read all pages of its ring out"
"""Where logs come from."""


def read_log(path: str | os.PathLike[str]) -> Log:
    """Raises DeviceError for what is no log, or one of another version; one that is cut off or damaged is read up to there."""
    where = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DeviceError(where, f"the log cannot be read: {error.strerror}", "check the path") from None
    if not data.startswith(MAGIC):
        raise DeviceError(where, "this is no log of a training", LOGS)
    records, torn = _records(data)
    try:
        if not records or records[0].kind != Kind.HEADER:
            raise ValueError(torn or "it has no header")
        header = json.loads(records[0].content)
        if header["format"] != FORMAT:
            raise ValueError(f"it is in format {header['format']!r}, this version reads {FORMAT}")
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(where, f"the log is damaged at its beginning: {error}", "copy it from the device again") from None
    return Log(Path(path), header, tuple(r for r in records[1:] if r.kind != Kind.END), torn)


def _records(data: bytes) -> tuple[list[Record], str]:
    """The whole records of a file, and what is wrong behind them."""
    found: list[Record] = []
    at = len(MAGIC)
    while at < len(data):
        if found and found[-1].kind == Kind.END:
            return found, f"there are {len(data) - at} bytes behind its end"
        if len(data) - at < _HEAD.size:
            return found, f"it ends in the middle of record {len(found) + 1}"
        kind, length = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if length > _LONGEST or kind not in set(Kind):
            return found, f"record {len(found) + 1} is damaged"
        if end + 4 > len(data):
            return found, f"it ends in the middle of record {len(found) + 1}"
        if struct.unpack_from("<I", data, end)[0] != zlib.crc32(data[at:end]):
            return found, f"record {len(found) + 1} is damaged: its CRC is another"
        found.append(Record(Kind(kind), data[at + _HEAD.size : end]))
        at = end + 4
    return found, "" if found and found[-1].kind == Kind.END else "it was not closed"
