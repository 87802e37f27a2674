"""Damage to TensorFlow Lite files that knows where their fields lie: numbers, offsets, lengths and vtables, overwritten in place."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

INTEGERS = (-(2**31), -129, -2, -1, 0, 1, 2, 3, 4, 7, 64, 127, 128, 255, 1000, 4096, 65535, 65536, 2**24, 2**28, 2**31 - 1)
POINTS = (-(2**63), -(2**31), -129, -128, -1, 0, 1, 127, 128, 255, 2**31, 2**63 - 1)
REALS = (float("nan"), float("inf"), float("-inf"), -1.0, -0.0, 0.0, 1e-45, 1e-39, 1.2e-38, 1e-20, 1e-6, 0.5, 1.0, 1e6, 1e20, 3e38)
FORMATS = {"int8": "<b", "int32": "<i", "int64": "<q", "float32": "<f", "offset": "<I", "length": "<I", "table": "<i", "slot": "<H"}

# Slots of the tables that a reader follows: a name, and whether it is a scalar, a vector of them, a table or a vector of tables.
SCHEMA: dict[str, dict[int, str]] = {
    "Model": {1: "[OperatorCode]", 2: "[SubGraph]", 4: "[Buffer]"},
    "OperatorCode": {0: "int8", 1: "[int8]", 3: "int32"},
    "SubGraph": {0: "[Tensor]", 1: "[int32]", 2: "[int32]", 3: "[Operator]"},
    "Tensor": {0: "[int32]", 1: "int8", 2: "int32", 3: "[int8]", 4: "Quantization", 7: "[int32]"},
    "Quantization": {2: "[float32]", 3: "[int64]", 6: "int32"},
    "Operator": {0: "int32", 1: "[int32]", 2: "[int32]", 3: "int8", 4: "Options"},
    "Options": dict.fromkeys(range(6), "int32"),
    "Buffer": {0: "[int8]"},
}
LONGEST = 64
"""Elements of a vector that are worth a site each."""


@dataclass(frozen=True)
class Site:
    """A number of the file. group: what it belongs to, such as "Tensor.0"; numbers of one group are exchanged."""

    kind: str
    at: int
    group: str


def sites(data: bytes) -> list[Site]:
    """Every field of a sound file."""
    found = [Site("offset", 0, "root")]
    found += _table(data, struct.unpack_from("<I", data, 0)[0], "Model")
    return [s for s in found if s.at + struct.calcsize(FORMATS[s.kind]) <= len(data)]


def _table(data: bytes, at: int, name: str) -> Iterator[Site]:
    vtable = at - struct.unpack_from("<i", data, at)[0]
    yield Site("table", at, "vtables")
    size = struct.unpack_from("<H", data, vtable)[0]
    yield from (Site("slot", vtable + i, f"{name} slots") for i in range(0, size, 2))
    for slot, kind in SCHEMA[name].items():
        entry = 4 + 2 * slot
        offset = struct.unpack_from("<H", data, vtable + entry)[0] if entry < size else 0
        if offset:
            yield from _field(data, at + offset, kind, f"{name}.{slot}")


def _field(data: bytes, at: int, kind: str, group: str) -> Iterator[Site]:
    if kind in FORMATS:
        yield Site(kind, at, group)
        return
    target = at + struct.unpack_from("<I", data, at)[0]
    yield Site("offset", at, "offsets")
    if not kind.startswith("["):
        yield from _table(data, target, kind)
        return
    yield Site("length", target, "lengths")
    inner, count = kind.strip("[]"), struct.unpack_from("<I", data, target)[0]
    width = struct.calcsize(FORMATS.get(inner, "<I"))
    for i in range(min(count, LONGEST)):
        yield from _field(data, target + 4 + i * width, inner, group)


def mutated(data: bytes, where: list[Site], r: random.Random) -> bytes:
    """One to three changes."""
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        if r.random() < 0.85:
            _overwrite(changed, where, r)
        else:
            changed = _damaged(changed, r)
    return bytes(changed)


def _overwrite(changed: bytearray, where: list[Site], r: random.Random) -> None:
    group = r.choice(sorted({s.group for s in where}))
    alike = [s for s in where if s.group == group]
    site = r.choice(alike)
    form = FORMATS[site.kind]
    if site.at + struct.calcsize(form) > len(changed):
        return
    old, other = struct.unpack_from(form, changed, site.at)[0], r.choice(alike)
    if r.random() < 0.3 and other.kind == site.kind and other.at + struct.calcsize(form) <= len(changed):
        value = struct.unpack_from(form, changed, other.at)[0]
    elif site.kind == "float32":
        value = r.choice(REALS)
    elif site.kind == "int64":
        value = r.choice(POINTS)
    elif site.kind == "offset" and r.random() < 0.5:
        value = old + other.at - site.at
    else:
        value = r.choice((*INTEGERS, old + 1, old - 1, 2 * old, r.randrange(len(changed))))
    bits = 8 * struct.calcsize(form)
    if site.kind != "float32":
        value %= 1 << bits
        value -= (1 << bits) if form[1].islower() and value >> (bits - 1) else 0
    struct.pack_into(form, changed, site.at, value)


def _damaged(changed: bytearray, r: random.Random) -> bytearray:
    """Bytes changed, cut off, cut out, doubled or moved."""
    at, run = r.randrange(max(len(changed), 1)), r.choice((1, 2, 4, 8, 64))
    kind = r.randrange(5)
    if kind == 0:
        for i in range(at, min(at + run, len(changed))):
            changed[i] = r.randrange(256)
    elif kind == 1:
        del changed[at:]
    elif kind == 2:
        del changed[at : at + run]
    elif kind == 3:
        changed[at:at] = changed[at : at + run]
    else:
        start = r.randrange(max(len(changed), 1))
        changed[at : at + run] = changed[start : start + len(changed[at : at + run])]
    return changed
