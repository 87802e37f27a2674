"""Frames of the agent's link (examples/agent/README.md), the host's side."""

from __future__ import annotations

import struct
import zlib


def stuff(data: bytes) -> bytes:
    """COBS: the same data without a zero byte."""
    out = bytearray()
    start, more = 0, True
    while more:
        end = data.find(0, start, start + 254)
        run = data[start:end] if end >= 0 else data[start : start + 254]
        out += bytes([len(run) + 1]) + run
        start += len(run)
        if len(run) < 254 and start < len(data):
            start += 1
        else:
            more = start < len(data)
    return bytes(out)


def unstuff(data: bytes) -> bytes | None:
    """The reverse of `stuff`; None if data is not COBS."""
    out = bytearray()
    start = 0
    while start < len(data):
        code = data[start]
        block = data[start + 1 : start + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return None
        out += block
        start += code
        if code != 255 and start < len(data):
            out.append(0)
    return bytes(out)


def encode(content: bytes) -> bytes:
    """A frame as it is sent, with the zero bytes around it."""
    return b"\0" + stuff(content + struct.pack("<I", zlib.crc32(content))) + b"\0"


def decode(received: bytes) -> bytes | None:
    """The content of what arrived between two zero bytes; None if it is damaged or no frame at all."""
    plain = unstuff(received)
    if plain is None or len(plain) < 6 or zlib.crc32(plain[:-4]) != struct.unpack("<I", plain[-4:])[0]:
        return None
    return plain[:-4]
