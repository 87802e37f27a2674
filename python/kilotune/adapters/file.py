"""The file of an adapter (.kta): the trained part of a model, bound to its base. The layout is in runtime/include/kt/adapter.h."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.emit import CRC_BYTES, DIGEST_BYTES, HEADER_BYTES, METHODS_BYTES, SIGNATURE_BYTES, Entry, layers_of, read_table, write_table

from .._version import __version__
from ..files import write_whole
from ..pictures import tables
from ..plugins import load_installed

MAGIC = b"KTA\x1a"
VERSION = 1
NAME_BYTES = 24
DIGEST, SIGNATURE = 1, 2
_HEADER = "<4sHH8sIIIHHII24s60s"
_LARGEST = 0x08000000
SignatureOf = Callable[[bytes], bytes]


@dataclass(frozen=True)
class _Parts:
    """What a file holds, checked."""

    base_hash: bytes
    sequence: int
    name: str
    methods: str
    entries: tuple[Entry, ...]
    payload: bytes
    digest: bytes | None
    public_key: bytes | None
    signature: bytes | None
    signed: bytes
    """Everything before the signature's section: what is signed."""


@dataclass(frozen=True)
class Adapter:
    """What training changed, bound to the base model it was trained on. ValueError if data is not a whole adapter."""

    data: bytes
    _parts: _Parts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parts", _parse(self.data))

    @classmethod
    def make(cls, base_hash: bytes, methods: str, entries: Sequence[Entry], payload: bytes, name: str = "", sequence: int = 0) -> Adapter:
        """An unsigned adapter of these values. base_hash: 8 bytes; payload: the values in the order of the entries, little-endian."""
        return cls(_with_digest(_unsigned(base_hash, methods, entries, payload, name, sequence)))

    @property
    def base_hash(self) -> str:
        """Hex of the 8 bytes that name the base model and how trained values are read; ranks do not count."""
        return self._parts.base_hash.hex()

    @property
    def name(self) -> str:
        """What pools call it; may be empty."""
        return self._parts.name

    @property
    def methods(self) -> str:
        """The methods that trained it, as text."""
        return self._parts.methods

    @property
    def sequence(self) -> int:
        """Grows with every release: where rollback protection is on, only a higher one replaces another."""
        return self._parts.sequence

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What the payload holds, in its order."""
        return self._parts.entries

    @property
    def payload(self) -> bytes:
        """The trained values, one behind the other."""
        return self._parts.payload

    @property
    def digest(self) -> bytes | None:
        """BLAKE2b-256 of everything before it; None in what a device wrote."""
        return self._parts.digest

    @property
    def public_key(self) -> bytes | None:
        """Of the signer, 32 bytes; None where it is not signed. Whether the signature is true says `verify`."""
        return self._parts.public_key

    @property
    def signature(self) -> bytes | None:
        """64 bytes; None where it is not signed."""
        return self._parts.signature

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is of."""
        return self._parts.signed

    def values(self) -> dict[str, NDArray[Any]]:
        """Arrays [rows, columns] by the names of the entries."""
        found: dict[str, NDArray[Any]] = {}
        offset = 0
        for e in self.entries:
            dtype = np.dtype(e.dtype).newbyteorder("<")
            found[e.name] = np.frombuffer(self.payload, dtype, e.rows * e.columns, offset).reshape(e.rows, e.columns)
            offset += e.bytes
        return found

    def labelled(self, name: str | None = None, sequence: int | None = None) -> Adapter:
        """The same values with another name or sequence number, without a signature."""
        p = self._parts
        name, sequence = p.name if name is None else name, p.sequence if sequence is None else sequence
        return Adapter.make(p.base_hash, p.methods, p.entries, p.payload, name, sequence)

    def with_digest(self) -> Adapter:
        """The same with a digest, where there is none."""
        return self if self.digest is not None else Adapter(_with_digest(self.data))

    def with_signature(self, public_key: bytes, signature_of: SignatureOf) -> Adapter:
        """The same, signed anew. signature_of: 64 bytes for the bytes to sign."""
        signed = _with_flags(self.labelled().data, DIGEST | SIGNATURE)
        section = public_key + signature_of(signed)
        return Adapter(signed + section + _crc(section, signed[-CRC_BYTES:]))

    def _repr_html_(self) -> str:
        return tables.of_adapter(self)

    def __len__(self) -> int:
        return len(self.data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file; it appears whole or not at all. CompileError where it cannot be written."""
        write_whole(path, self.data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Adapter:
        """Read a file; ValueError names the cause if it is truncated, damaged or something else."""
        load_installed()
        try:
            with open(path, "rb") as file:
                return cls(file.read(2 * _LARGEST + 4096))  # what is longer is no adapter
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None


# ---- Writing ----


def _crc(section: bytes, before: bytes = bytes(CRC_BYTES)) -> bytes:
    """The checksum of a section, continued from that of the section before: sections of two files do not go together."""
    return struct.pack("<I", zlib.crc32(section, *struct.unpack("<I", before)))


def _text(value: str, size: int, what: str) -> bytes:
    encoded = value.encode()
    if len(encoded) > size or "\0" in value:
        raise ValueError(f"{what} {value!r} has {len(encoded)} bytes: at most {size} fit, and no zero")
    return encoded


def _unsigned(base_hash: bytes, methods: str, entries: Sequence[Entry], payload: bytes, name: str, sequence: int) -> bytes:
    if not 0 <= sequence < 2**32:
        raise ValueError(f"the sequence number {sequence} is not between 0 and {2**32 - 1}")
    table, filled = write_table(entries), payload + bytes(-len(payload) % 4)
    total = HEADER_BYTES + len(table) + CRC_BYTES + len(filled) + CRC_BYTES
    sizes = (total, len(table), len(payload), len(entries), len(layers_of(entries)))
    shortened = methods.encode()[:METHODS_BYTES].decode(errors="ignore").encode()
    header = struct.pack(_HEADER, MAGIC, VERSION, 0, base_hash, *sizes, sequence, 0, _text(name, NAME_BYTES, "the name"), shortened)
    return _chained(header, table, filled)


def _chained(*sections: bytes) -> bytes:
    data, crc = b"", bytes(CRC_BYTES)
    for section in sections:
        crc = _crc(section, crc)
        data += section + crc
    return data


def _with_flags(data: bytes, flags: int) -> bytes:
    """An unsigned file with a digest where the flags ask for one, and a header that announces what they ask for."""
    present = struct.unpack_from("<H", data, 6)[0]
    body = data[HEADER_BYTES : len(data) - (DIGEST_BYTES if present & DIGEST else 0)]
    table = body[: struct.unpack_from("<I", data, 20)[0]]
    filled = body[len(table) + CRC_BYTES : -CRC_BYTES]
    sections = (DIGEST_BYTES if flags & DIGEST else 0) + (SIGNATURE_BYTES if flags & SIGNATURE else 0)
    header = bytearray(data[: HEADER_BYTES - CRC_BYTES])
    struct.pack_into("<H", header, 6, flags)
    struct.pack_into("<I", header, 16, HEADER_BYTES + len(body) + sections)
    start = _chained(bytes(header), table, filled)
    digest = hashlib.blake2b(start, digest_size=32).digest()
    return start + digest + _crc(digest, start[-CRC_BYTES:]) if flags & DIGEST else start


def _with_digest(data: bytes) -> bytes:
    return _with_flags(data, DIGEST)


# ---- Reading ----


def _parse(data: bytes) -> _Parts:
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise ValueError(f"not an adapter: it starts with {data[: len(MAGIC)]!r}, not {MAGIC!r}")
    if len(data) < HEADER_BYTES:
        raise ValueError(f"adapter truncated: {len(data)} bytes, less than its header")
    _, version, flags, base_hash, total, table, payload, entries, layers, sequence, reserved, name, methods = struct.unpack_from(_HEADER, data)
    if version != VERSION:
        raise ValueError(f"adapter in version {version} of the format: this is kilotune {__version__}, which reads version {VERSION}")
    if _crc(data[: HEADER_BYTES - CRC_BYTES]) != data[HEADER_BYTES - CRC_BYTES : HEADER_BYTES]:
        raise ValueError("adapter damaged: the checksum of its header does not fit")
    sections = [table, -(-payload // 4) * 4, *([DIGEST_BYTES - CRC_BYTES] if flags & DIGEST else [])]
    sections += [SIGNATURE_BYTES - CRC_BYTES] if flags & SIGNATURE else []
    whole = HEADER_BYTES + sum(sections) + CRC_BYTES * len(sections)
    if flags > 3 or reserved or max(table, payload) > _LARGEST or whole != total:
        raise ValueError("adapter damaged: the sizes in its header contradict each other")
    if len(data) < whole:
        raise ValueError(f"adapter truncated: {len(data)} of {whole} bytes")
    if len(data) > whole:
        raise ValueError(f"adapter damaged: {len(data) - whole} bytes follow its end")
    found, ends = _sections(data, sections)
    return _checked(data, found, ends, flags, _Raw(base_hash, sequence, name, methods, entries, layers, payload))


@dataclass(frozen=True)
class _Raw:
    """Fields of the header."""

    base_hash: bytes
    sequence: int
    name: bytes
    methods: bytes
    entries: int
    layers: int
    payload: int


def _sections(data: bytes, sizes: Sequence[int]) -> tuple[list[bytes], list[int]]:
    """The sections behind the header, and where each starts."""
    found: list[bytes] = []
    starts, at = [], HEADER_BYTES
    for size in sizes:
        section = data[at : at + size]
        if _crc(section, data[at - CRC_BYTES : at]) != data[at + size : at + size + CRC_BYTES]:
            what = ("layer table", "payload", "digest or signature", "signature")[len(found)]
            raise ValueError(f"adapter damaged: the checksum of its {what} does not fit")
        found.append(section)
        starts.append(at)
        at += size + CRC_BYTES
    return found, starts


def _checked(data: bytes, sections: list[bytes], starts: list[int], flags: int, raw: _Raw) -> _Parts:
    digest = sections[2] if flags & DIGEST else None
    if digest is not None and hashlib.blake2b(data[: starts[2]], digest_size=32).digest() != digest:
        raise ValueError("adapter damaged: its digest does not fit its content")
    signed = sections[-1] if flags & SIGNATURE else None
    try:
        entries = read_table(sections[0], raw.entries, raw.layers)
        name, methods = (part.rstrip(b"\0").decode() for part in (raw.name, raw.methods))
    except (struct.error, ValueError) as error:
        raise ValueError(f"adapter damaged: {error}") from None
    if sum(e.bytes for e in entries) != raw.payload or write_table(entries) != sections[0]:
        raise ValueError("adapter damaged: its layer table does not fit its payload")
    return _Parts(
        raw.base_hash, raw.sequence, name, methods, entries, sections[1][: raw.payload], digest,
        signed[:32] if signed else None, signed[32:] if signed else None, data[: starts[-1]] if signed else data,
    )  # fmt: skip
