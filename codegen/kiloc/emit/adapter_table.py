"""The layer table of an adapter: what its payload holds, in order. The bytes are those of the file (runtime/include/kt/adapter.h)."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Parameter
from .c_names import c_array
from .context import CAdapter
from .state_layout import state_layout

HEADER_BYTES, CRC_BYTES = 128, 4
DIGEST_BYTES, SIGNATURE_BYTES = 32 + CRC_BYTES, 96 + CRC_BYTES
"""Sections of the file that may follow the payload, with their CRC."""
METHODS_BYTES = 60

@dataclass(frozen=True)
class AdapterOptions:
    """What a build asks of the adapters that it takes.

    public_key: 32 bytes, or the path of a key file; an adapter must be signed with the secret key that belongs to it, and no state is
    taken from outside. None: adapters are checked for damage, not for origin. rollback_protection: in a slot, only an adapter with a
    higher sequence number replaces another, and one with a lower number is taken nowhere. resident: adapters that wait in memory beside
    the active one; they count in the RAM budget. slots: two in flash, for updates over the air. self_test: samples [N, ...] and labels
    that stay in the firmware; an update that makes more than `permitted` of them wrong that were right is not taken.
    """

    public_key: bytes | str | os.PathLike[str] | None = None
    rollback_protection: bool = False
    resident: int = 0
    slots: bool = False
    self_test: tuple[NDArray[Any], NDArray[Any]] | None = field(default=None, compare=False)
    permitted: int = 0


ROLES = {"bias": 1, "lora_a": 2, "lora_b": 3, "delta": 4, "gain": 5, "adapter_down": 6, "adapter_up": 7}
PARTS = {"value": 0, "exponent": 0x40, "range": 0x80}
"""What an entry holds of a trained tensor: its codes (or int32 values), their power of two, or that of the inner tensor."""
RANK_AXIS = {"lora_a": 0, "lora_b": 1, "adapter_down": 0, "adapter_up": 1}
"""The extent that is a rank or a width: an adapter with fewer adds zeros there."""

DTYPES = {"int8": 1, "int32": 2}
WIDTHS = {"int8": 1, "int32": 4}
ENTRY = "<HBBII"
ENTRY_BYTES = struct.calcsize(ENTRY)


@dataclass(frozen=True)
class Entry:
    """One value of the payload: `rows` x `columns` of `dtype`. A tensor of more axes has its first as rows."""

    layer: str
    role: str
    part: str
    dtype: str
    rows: int
    columns: int

    @property
    def bytes(self) -> int:
        return self.rows * self.columns * WIDTHS[self.dtype]

    @property
    def name(self) -> str:
        """As a person reads it: "conv2d.lora_a", "conv2d.lora_a.exponent"."""
        return f"{self.layer}.{self.role}" + ("" if self.part == "value" else f".{self.part}")


def entries_of(graph: Graph) -> tuple[Entry, ...]:
    """The entries of a graph's adapters, in the order of the state."""
    owners = {value: (p, role) for p in graph.parameters for role, value in p.values.items() if role in PARTS}
    found = []
    for value in state_layout(graph).adapter:
        parameter, part = owners[value.name]
        rows = value.type.shape[0] if len(value.type.shape) > 1 else 1
        found.append(Entry(parameter.layer, _role(parameter), part, value.type.dtype, rows, value.type.size // rows))
    return tuple(found)


def _role(parameter: Parameter) -> str:
    return "bias" if parameter.storage == "int32" else parameter.name.removeprefix(f"{parameter.layer}.")


def layers_of(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.layer for e in entries))


def write_table(entries: Sequence[Entry]) -> bytes:
    """Entries and the names of their layers, filled up so that what follows the table's CRC is aligned to 8."""
    layers = layers_of(entries)
    rows = [struct.pack(ENTRY, layers.index(e.layer), ROLES[e.role] | PARTS[e.part], DTYPES[e.dtype], e.rows, e.columns) for e in entries]
    table = b"".join(rows) + b"".join(name.encode() + b"\0" for name in layers)
    return table + bytes((4 - len(table)) % 8)


def read_table(table: bytes, entries: int, layers: int) -> tuple[Entry, ...]:
    """The entries of a table. ValueError where it is none."""
    names = [part.decode() for part in table[entries * ENTRY_BYTES :].split(b"\0")[:layers]]
    roles, parts, dtypes = ({code: name for name, code in known.items()} for known in (ROLES, PARTS, DTYPES))
    found = []
    for i in range(entries):
        layer, role, dtype, rows, columns = struct.unpack_from(ENTRY, table, i * ENTRY_BYTES)
        known = layer < len(names) == layers and role & 0x3F in roles and role & 0xC0 in parts and dtype in dtypes
        if not known or rows * columns == 0:
            raise ValueError(f"entry {i} of its layer table is unknown")
        found.append(Entry(names[layer], roles[role & 0x3F], parts[role & 0xC0], dtypes[dtype], rows, columns))
    return tuple(found)


def _text(entries: Sequence[Entry], table: bytes) -> str:
    """The table as elements of a C array: a line an entry, then the names."""
    end = len(entries) * ENTRY_BYTES
    rows = [table[i : i + ENTRY_BYTES] for i in range(0, end, ENTRY_BYTES)]
    lines = [f"{', '.join(map(str, row))}, /* {e.name} */" for row, e in zip(rows, entries, strict=True)]
    return "\n    ".join([*lines, c_array(np.frombuffer(table[end:], np.uint8))])


def file_bytes(table_bytes: int, payload_bytes: int) -> int:
    """Of a file with digest and signature."""
    return HEADER_BYTES + table_bytes + CRC_BYTES + -(-payload_bytes // 4) * 4 + CRC_BYTES + DIGEST_BYTES + SIGNATURE_BYTES


def slot_bytes(payload_bytes: int) -> int:
    """Of one resident adapter: its values, aligned to 8."""
    return -(-payload_bytes // 8) * 8


def describe(graph: Graph, methods: str, options: AdapterOptions) -> CAdapter:
    """What the generated code says of the adapters that a graph takes."""
    entries = entries_of(graph)
    table, layers, key = write_table(entries), layers_of(entries), options.public_key
    assert key is None or isinstance(key, bytes), "files of keys are read before"
    return CAdapter(
        methods=methods.encode()[:METHODS_BYTES].decode(errors="ignore").replace("\\", "/").replace('"', "'"),
        table=_text(entries, table),
        table_bytes=len(table),
        comment=f"{len(entries)} values of {len(layers)} layers",
        entries=len(entries),
        layers=len(layers),
        file_bytes=file_bytes(len(table), sum(e.bytes for e in entries)),
        public_key=c_array(np.frombuffer(key, np.uint8)) if key else "",
        ascending=options.rollback_protection,
        resident=options.resident,
        slot_bytes=slot_bytes(sum(e.bytes for e in entries)),
        test_inputs="" if options.self_test is None else c_array(np.asarray(options.self_test[0], np.int8)),
        test_labels="" if options.self_test is None else c_array(np.asarray(options.self_test[1], np.int32)),
        test_samples=0 if options.self_test is None else len(options.self_test[1]),
        test_permitted=options.permitted,
    )
