"""The layer table of an adapter: what is written is read again, what is none is refused, and the sizes are those of the bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from golden.reference import tiny

import kilotune as kt
from kiloc.emit.adapter_table import (
    ENTRY_BYTES,
    METHODS_BYTES,
    Entry,
    describe,
    entries_of,
    file_bytes,
    layers_of,
    read_table,
    slot_bytes,
    write_table,
)
from kiloc.emit.state_layout import state_layout
from kiloc.ir.graph import Graph, Parameter, Value
from kiloc.ir.types import TensorType
from kiloc.options import AdapterOptions, Options
from kiloc.peft import Method, roles
from kiloc.pipeline import compile_graph

PARTS = ("value", "exponent", "range")


def drawn(rng: np.random.Generator) -> tuple[Entry, ...]:
    layers = ["dense", "größer", "a", "conv_2d.3"][: rng.integers(1, 5)]
    return tuple(
        Entry(layer, str(rng.choice(list(roles()))), str(rng.choice(PARTS)), str(rng.choice(["int8", "int32"])), *map(int, rng.integers(1, 70000, 2)))
        for layer in layers
        for _ in range(rng.integers(1, 4))
    )


def test_what_is_written_is_read_again() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        entries = drawn(rng)
        table, layers = write_table(entries), layers_of(entries)
        assert read_table(table, len(entries), len(layers)) == entries
        assert len(table) % 8 == 4 and len(table) - len(entries) * ENTRY_BYTES - sum(len(n.encode()) + 1 for n in layers) < 8
        assert table.startswith(struct.pack("<H", 0)) and table.endswith(b"\0")
    assert ENTRY_BYTES == 12, "as kt/adapter.h has it"


def test_bytes_of_an_entry_as_the_header_of_the_runtime_says() -> None:
    entries = (
        Entry("a", "bias", "value", "int32", 1, 5),
        Entry("bc", "lora_b", "exponent", "int8", 258, 3),
        Entry("bc", "gain", "range", "int8", 1, 1),
    )
    table = write_table(entries)
    assert table[:36] == bytes([0, 0, 1, 2, 1, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0x43, 1, 2, 1, 0, 0, 3, 0, 0, 0, 1, 0, 0x85, 1, 1, 0, 0, 0, 1, 0, 0, 0])
    assert table[36:] == b"a\0bc\0" + bytes(3)
    assert [e.bytes for e in entries] == [20, 774, 1] and layers_of(entries) == ("a", "bc")
    assert [e.name for e in entries] == ["a.bias", "bc.lora_b.exponent", "bc.gain.range"]


ONE = write_table([Entry("layer", "delta", "exponent", "int32", 2, 3)])


def changed(at: int, *values: int) -> bytes:
    return ONE[:at] + bytes(values) + ONE[at + len(values) :]


@pytest.mark.parametrize(
    "table",
    [
        changed(0, 1),
        changed(0, 255, 255),
        changed(2, 0x40),
        changed(2, 0x49),
        changed(2, 0xC4),
        changed(3, 0),
        changed(3, 3),
        changed(4, 0),
        changed(8, 0),
    ],
    ids=["layer 1 of 1", "layer 65535", "role 0", "role 9", "two parts", "type 0", "type 3", "no rows", "no columns"],
)
def test_an_unknown_entry_is_refused(table: bytes) -> None:
    assert read_table(ONE, 1, 1)[0].bytes == 24
    with pytest.raises(ValueError, match=r"^entry 0 of its layer table is unknown$"):
        read_table(table, 1, 1)


def test_a_second_entry_is_looked_at_too_and_names_must_be_there() -> None:
    two = write_table([Entry("layer", "delta", "value", "int8", 2, 3)] * 2)
    with pytest.raises(ValueError, match="entry 1"):
        read_table(two[:14] + b"\x09" + two[15:], 2, 1)
    with pytest.raises(ValueError, match="entry 0"):
        read_table(b"\0\0\4\1\2\0\0\0\3\0\0\0only", 1, 2)
    for layers in (0, 9):
        with pytest.raises(ValueError, match="entry 0"):
            read_table(two, 2, layers)
    with pytest.raises(struct.error):
        read_table(two[:23], 2, 1)


def test_sizes_of_files_and_slots() -> None:
    """header 128, table, CRC, payload filled to 4, CRC, digest 32, CRC, key and signature 96, CRC."""
    assert [file_bytes(4, n) for n in (0, 1, 4, 5)] == [276, 280, 280, 284]
    assert file_bytes(12, 4) - file_bytes(4, 4) == 8
    assert [slot_bytes(n) for n in (0, 1, 7, 8, 9)] == [0, 8, 8, 8, 16]


# ---- Of a graph ----


def graph_of(methods: list[Method], storage: str = "block16") -> Graph:
    return compile_graph(tiny(), Options(tuple(methods), storage=storage), "0").graph


def test_entries_of_a_graph_are_its_state_in_order() -> None:
    graph = graph_of([kt.LoRA(rank=2, layers="first"), kt.BiasOnly("second")])
    entries = entries_of(graph)
    assert sum(e.bytes for e in entries) == sum(v.type.bytes for v in state_layout(graph).adapter)
    found = {e.name: (e.dtype, e.rows, e.columns) for e in entries}
    assert found["second.bias"] == ("int32", 1, 8)
    assert found["first.lora_a"] == ("int8", 2, 8) and found["first.lora_b"] == ("int8", 10, 2)
    assert found["first.lora_a.exponent"] == ("int8", 1, 1) or found["first.lora_a.exponent"][1:] == (1, 1)
    assert [e.dtype for e in entries] == sorted((e.dtype for e in entries), key="int32 int8".split().index), "the widest first"


def test_tensors_of_any_rank_are_rows_and_columns() -> None:
    """A vector is one row, a tensor of four axes has its first as rows."""
    shapes = {"v": (7,), "m": (3, 5), "t": (4, 2, 2, 3)}
    values = {n: Value(n, TensorType(s, "int8"), "trainable", np.zeros(s, np.int8)) for n, s in shapes.items()}
    parameters = tuple(
        Parameter(f"layer.{role}", "layer", "", "block8", {"value": n}) for n, role in zip(values, ("gain", "lora_a", "delta"), strict=True)
    )
    entries = entries_of(Graph("g", values, (), (), (), parameters))
    assert [(e.role, e.rows, e.columns) for e in entries] == [("gain", 1, 7), ("lora_a", 3, 5), ("delta", 4, 12)]


def test_what_the_generated_code_says_of_its_adapters() -> None:
    graph = graph_of([kt.BiasOnly()])
    entries = entries_of(graph)
    plain = describe(graph, "bias", AdapterOptions())
    table = write_table(entries)
    numbers = [int(n) for line in plain.table.split("\n") for n in line.split("/*")[0].replace(",", " ").split()]
    assert bytes(numbers) == table and plain.table_bytes == len(table)
    lines = plain.table.split("\n")
    assert len(lines) >= len(entries) + 1 and all(f"/* {e.name} */" in line for e, line in zip(entries, lines, strict=False))
    assert plain.comment == "3 values of 3 layers" and (plain.entries, plain.layers) == (3, 3)
    payload = sum(e.bytes for e in entries)
    assert plain.slot_bytes == slot_bytes(payload) and plain.file_bytes == file_bytes(len(table), payload)
    assert (plain.public_key, plain.test_inputs, plain.test_labels, plain.test_samples) == ("", "", "", 0)
    assert (plain.ascending, plain.resident, plain.test_permitted, plain.methods) == (False, 0, 0, '"bias"')


def test_options_of_a_build_reach_the_generated_code() -> None:
    test = np.arange(-8, 8, dtype=np.int8).reshape(2, 8), np.array([2, 0])
    options = AdapterOptions(bytes(range(32)), rollback_protection=True, resident=3, self_test=test, permitted=1)
    found = describe(graph_of([kt.BiasOnly()]), "a" * 59 + "ö", options)
    read = [[int(n) for n in text.replace(",", " ").split()] for text in (found.public_key, found.test_inputs, found.test_labels)]
    assert read == [list(range(32)), list(range(-8, 8)), [2, 0]]
    assert (found.ascending, found.resident, found.test_samples, found.test_permitted) == (True, 3, 2, 1)
    assert found.methods == f'"{"a" * 59}"' and METHODS_BYTES == 60, "cut to 60 bytes, never within a character"
    assert describe(graph_of([kt.BiasOnly()]), "b" * 61, AdapterOptions()).methods == f'"{"b" * 60}"'
    quoted = describe(graph_of([kt.BiasOnly()]), 'a"b\\c\udc80', AdapterOptions()).methods
    assert quoted == r'"a\042b\134c\077"', "it stands within quotes of C"


def test_names_of_layers_end_no_comment_of_the_table() -> None:
    values = {"v": Value("v", TensorType((4,), "int8"), "trainable", np.zeros(4, np.int8))}
    graph = Graph("g", values, (), (), (), (Parameter("a*/b\n.gain", "a*/b\n", "", "block8", {"value": "v"}),))
    (first, names) = describe(graph, "", AdapterOptions()).table.split("\n    ")
    assert first.endswith(", /* a_.b_.gain */")
    assert bytes(int(n) for n in names.replace(",", " ").split())[:7] == b"a*/b\n\0\0"[:7]


def test_a_tensor_that_no_method_names_is_refused() -> None:
    """Its place is named, and the roles that there are; a bias is known by its storage, whatever it is called."""
    values = {"v": Value("v", TensorType((4,), "int32"), "trainable", np.zeros(4, np.int32))}

    def role(name: str, storage: str) -> str:
        return entries_of(Graph("g", values, (), (), (), (Parameter(name, "layer", "bias", storage, {"value": "v"}),)))[0].role

    assert role("layer.odd", "int32") == "bias" and role("layer.gain", "block8") == "gain"
    with pytest.raises(kt.CompileError, match=r"trains 'layer\.odd', which is no role of an adapter") as caught:
        role("layer.odd", "block8")
    assert "method BiasOnly" in str(caught.value) and ", ".join(roles()) in str(caught.value)


def test_a_rank_does_not_name_another_base() -> None:
    """Adapters of every rank and width fit the same base: what names it leaves out that extent, and no other."""

    def base(*methods: Method) -> list[int]:
        return compile_graph(tiny(), Options(methods), "0").context.base_hash

    for make in (lambda n: kt.LoRA(rank=n, layers="all"), lambda n: kt.BottleneckAdapter(width=n, layers="first")):
        assert base(make(1)) == base(make(3))
    assert base(kt.LoRA(rank=1, layers="first")) != base(kt.LoRA(rank=1, layers="second"))
