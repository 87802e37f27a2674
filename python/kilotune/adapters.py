"""Adapters: the trained part of a model as a small file.

Layout, as the device writes it: "KTADAPT1", base hash (8 bytes), payload length (uint32), payload, CRC-32 of all before
it (uint32); integers are little-endian.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"KTADAPT1"
HEADER_BYTES = 20
CRC_BYTES = 4


@dataclass(frozen=True)
class Adapter:
    """What training changed, bound to the base model it was trained on. ValueError if data is not a whole adapter."""

    data: bytes

    def __post_init__(self) -> None:
        _check(self.data)

    @property
    def base_hash(self) -> str:
        """Hex of the 8 bytes that name the base model."""
        return self.data[8:16].hex()

    @property
    def payload(self) -> bytes:
        """The trained values, in the model's own layout."""
        return self.data[HEADER_BYTES:-CRC_BYTES]

    def __len__(self) -> int:
        return len(self.data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file; it appears whole or not at all."""
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
        try:
            with open(temporary, "xb") as file:
                file.write(self.data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Adapter:
        """Read a file; ValueError names the cause if it is truncated, damaged or something else."""
        try:
            return cls(Path(path).read_bytes())
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None


def _check(data: bytes) -> None:
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise ValueError(f"not an adapter: it starts with {data[: len(MAGIC)]!r}, not {MAGIC!r}")
    if len(data) < HEADER_BYTES + CRC_BYTES:
        raise ValueError(f"adapter truncated: {len(data)} bytes, less than its header")
    (length,) = struct.unpack_from("<I", data, HEADER_BYTES - 4)
    whole = HEADER_BYTES + length + CRC_BYTES
    if len(data) < whole:
        raise ValueError(f"adapter truncated: {len(data)} of {whole} bytes")
    if len(data) > whole:
        raise ValueError(f"adapter damaged: {len(data) - whole} bytes follow its end")
    (crc,) = struct.unpack_from("<I", data, whole - CRC_BYTES)
    actual = zlib.crc32(data[: whole - CRC_BYTES])
    if crc != actual:
        raise ValueError(f"adapter damaged: its checksum is {crc:08x}, its content gives {actual:08x}")

