"""The layer table of an adapter: what its payload holds, in order. The bytes are those of the file (runtime/include/kt/adapter.h)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Parameter
from ..options import AdapterOptions
from ..passes.narrowed_training import Limits
from ..peft import method_of, roles
from ..plain_text import plain
from .c_names import Code, c_array, c_string
from .channel_limits import channel_limits
from .context import CAdapter
from .state_layout import state_layout

HEADER_BYTES, CRC_BYTES = 128, 4
DIGEST_BYTES, SIGNATURE_BYTES = 32 + CRC_BYTES, 96 + CRC_BYTES
"""Sections of the file that may follow the payload, with their CRC."""
METHODS_BYTES = 60

PARTS = {"value": 0, "exponent": 0x40, "range": 0x80}
"""What an entry holds of a trained tensor: its codes (or int32 values), their power of two, or that of the inner tensor."""

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
    """What a tensor is to an adapter, which its method declares."""
    role = "bias" if parameter.storage == "int32" else parameter.name.removeprefix(f"{parameter.layer}.")
    if role not in roles():
        method = method_of(parameter.method).__name__
        hint = f"add it to the roles of {method}, or name the tensor <layer>.<role>: roles are {', '.join(roles())}"
        raise CompileError(f"method {method}", f"trains {parameter.name!r}, which is no role of an adapter", hint)
    return role


def layers_of(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.layer for e in entries))


def write_table(entries: Sequence[Entry]) -> bytes:
    """Entries and the names of their layers, filled up so that what follows the table's CRC is aligned to 8."""
    layers = layers_of(entries)
    rows = [struct.pack(ENTRY, layers.index(e.layer), roles()[e.role].code | PARTS[e.part], DTYPES[e.dtype], e.rows, e.columns) for e in entries]
    table = b"".join(rows) + b"".join(name.encode() + b"\0" for name in layers)
    return table + bytes((4 - len(table)) % 8)


def read_table(table: bytes, entries: int, layers: int) -> tuple[Entry, ...]:
    """The entries of a table. ValueError where it is none."""
    names = [part.decode() for part in table[entries * ENTRY_BYTES :].split(b"\0")[:layers]]
    known_roles = {role.code: name for name, role in roles().items()}
    parts, dtypes = ({code: name for name, code in known.items()} for known in (PARTS, DTYPES))
    found = []
    for i in range(entries):
        layer, role, dtype, rows, columns = struct.unpack_from(ENTRY, table, i * ENTRY_BYTES)
        known = layer < len(names) == layers and role & 0x3F in known_roles and role & 0xC0 in parts and dtype in dtypes
        if not known or rows * columns == 0:
            raise ValueError(f"entry {i} of its layer table is unknown")
        found.append(Entry(names[layer], known_roles[role & 0x3F], parts[role & 0xC0], dtypes[dtype], rows, columns))
    return tuple(found)


def _text(entries: Sequence[Entry], table: bytes) -> Code:
    """The table as elements of a C array: a line an entry, then the names."""
    end = len(entries) * ENTRY_BYTES
    rows = [table[i : i + ENTRY_BYTES] for i in range(0, end, ENTRY_BYTES)]
    lines = [f"{', '.join(map(str, row))}, /* {plain(e.name)} */" for row, e in zip(rows, entries, strict=True)]
    return Code("\n    ".join([*lines, c_array(np.frombuffer(table[end:], np.uint8))]))


def file_bytes(table_bytes: int, payload_bytes: int) -> int:
    """Of a file with digest and signature."""
    return HEADER_BYTES + table_bytes + CRC_BYTES + -(-payload_bytes // 4) * 4 + CRC_BYTES + DIGEST_BYTES + SIGNATURE_BYTES


def slot_bytes(payload_bytes: int) -> int:
    """Of one resident adapter: its values, aligned to 8."""
    return -(-payload_bytes // 8) * 8


def describe(graph: Graph, methods: str, options: AdapterOptions, limits: Sequence[Limits] = ()) -> CAdapter:
    """What the generated code says of the adapters that a graph takes. limits: on their values."""
    entries = entries_of(graph)
    table, layers, key = write_table(entries), layers_of(entries), options.public_key
    assert key is None or isinstance(key, bytes), "files of keys are read before"
    return CAdapter(
        methods=c_string(methods.encode(errors="replace")[:METHODS_BYTES].decode(errors="ignore").encode()),
        table=_text(entries, table),
        table_bytes=len(table),
        comment=f"{len(entries)} values of {len(layers)} layers",
        entries=len(entries),
        layers=len(layers),
        file_bytes=file_bytes(len(table), sum(e.bytes for e in entries)),
        public_key=c_array(np.frombuffer(key, np.uint8)) if key else Code(),
        ascending=options.rollback_protection,
        resident=options.resident,
        slot_bytes=slot_bytes(sum(e.bytes for e in entries)),
        test_inputs=Code() if options.self_test is None else c_array(np.asarray(options.self_test[0], np.int8)),
        test_labels=Code() if options.self_test is None else c_array(np.asarray(options.self_test[1], np.int32)),
        test_samples=0 if options.self_test is None else len(options.self_test[1]),
        test_permitted=options.permitted,
        private=options.private_updates,
        limits=channel_limits(graph, limits),
    )
