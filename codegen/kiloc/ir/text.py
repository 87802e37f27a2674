"""The text form of a graph: one line a value or node, readable, and exact both ways.

    graph kws "kws.tflite"
    value conv2d activation int8[1, 25, 5, 64] scale 0.0235 zero -128
    node conv2d forward conv_2d(x=input, weights=conv2d.weights, bias=conv2d.bias) -> conv2d {"activation": "relu", ...}

Scales print with 17 digits; constants follow their value as base64 of compressed bytes. The brief form, for small graphs that a person
reads or writes, holds the same: constants as numbers in the order of memory (`data [1, -2]`, or `data [0] * 300`), and neither attributes
that have their default nor empty origins.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .graph import Graph, Node, Parameter, Value
from .operator import CHOSEN, REGISTRY, Op
from .types import Quantization, TensorType

OPERATOR = "operator"
"""Key of the mnemonic of an operator that is an attribute of another."""


SAME = 8
"""More numbers than these are written once in the brief form where all are the same."""


REQUESTS = ("shared", "repacked", "repeated")
"""Of a graph: how gradients to inputs should get their weights."""


def print_graph(graph: Graph, data: bool = True, brief: bool = False) -> str:
    """Text of a graph; without `data` constants are left out (such text does not parse back to an equal graph). brief: in the brief form."""
    lines = [f"graph {graph.name} {json.dumps(graph.origin)}"]
    lines += [f"note {json.dumps(note)}" for note in graph.notes]
    lines += [] if graph.buffers == "caller" else [f"buffers {graph.buffers}"]
    lines += [f"{word} {name}" for word in REQUESTS for name in sorted(getattr(graph, word))]
    lines += [f"input {name}" for name in graph.inputs] + [f"output {name}" for name in graph.outputs]
    lines += [_value(v, data, brief) for v in graph.values.values()]
    lines += [_node(n, brief) for n in graph.nodes]
    lines += [f"place {name} {offset}" for name, offset in graph.offsets.items()]
    lines += [f"parameter {json.dumps([p.name, p.layer, p.method, p.storage, dict(p.values)])}" for p in graph.parameters]
    return "\n".join(lines) + "\n"


def _value(v: Value, data: bool, brief: bool) -> str:
    t = v.type
    text = f"value {v.name} {v.kind} {t.dtype}[{', '.join(map(str, t.shape))}]"
    if t.quantization is not None:
        q = t.quantization
        scales = " ".join(repr(s) for s in q.scale)
        text += f" scale {scales} zero {q.zero_point}" + ("" if q.axis is None else f" axis {q.axis}")
    text += f" origin {json.dumps(v.origin)}" if v.origin else ""
    if v.data is not None and data:
        text += f" data {_numbers(v.data) if brief else base64.b64encode(zlib.compress(v.data.tobytes(), 9)).decode()}"
    return text


def _numbers(data: NDArray[np.generic]) -> str:
    """Every number, or of many that are the same one and how many there are."""
    flat = data.ravel()
    if flat.size > SAME and flat.tobytes() == flat[:1].tobytes() * flat.size:
        return f"{json.dumps(flat[:1].tolist())} * {flat.size}"
    return json.dumps(flat.tolist())


def _node(n: Node, brief: bool) -> str:
    operands = ", ".join(f"{o}={v}" for o, v in n.inputs.items())
    text = f"node {n.name} {n.phase} {n.op.mnemonic}({operands}) -> {', '.join(n.outputs) or 'nothing'}"
    text += f" updates {', '.join(n.updates)}" if n.updates else ""
    attributes = _attributes(n.op, brief)
    text += f" {json.dumps(attributes)}" if attributes or not brief else ""
    return f"{text} origin {json.dumps(n.origin)}" if n.origin or not brief else text


def _attributes(op: Any, brief: bool) -> dict[str, Any]:
    """brief: those alone that do not have their default."""
    found = {}
    for f in fields(op):
        value = getattr(op, f.name)
        if (brief or CHOSEN in f.metadata) and f.default is not MISSING and value == f.default:
            continue
        found[f.name] = {**_named(value), **_attributes(value, brief)} if is_dataclass(value) else value
    return found


def _named(value: Any) -> dict[str, str]:
    """What tells which operator an attribute is: of an operator that stands for another one."""
    return {OPERATOR: value.mnemonic} if isinstance(value, Op) else {}


def parse_graph(text: str) -> Graph:
    """The graph of a text. Raises CompileError naming the line that cannot be read."""
    values: dict[str, Value] = {}
    nodes: list[Node] = []
    parameters: list[Parameter] = []
    inputs: list[str] = []
    outputs: list[str] = []
    notes: list[str] = []
    requests: dict[str, list[str]] = {word: [] for word in REQUESTS}
    offsets: dict[str, int] = {}
    name, origin, buffers = "", "", "caller"
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = line.partition(" ")
        try:
            if word == "graph":
                name, _, quoted = rest.partition(" ")
                origin = json.loads(quoted)
            elif word == "note":
                notes.append(json.loads(rest))
            elif word in ("input", "output"):
                (inputs if word == "input" else outputs).append(rest)
            elif word == "buffers":
                buffers = rest
            elif word in requests:
                requests[word].append(rest)
            elif word == "place":
                placed, _, offset = rest.rpartition(" ")
                offsets[placed] = int(offset)
            elif word == "value":
                value = _parse_value(rest)
                values[value.name] = value
            elif word == "node":
                nodes.append(_parse_node(rest))
            elif word == "parameter":
                parameters.append(Parameter(*json.loads(rest)))
            elif line.strip():
                raise ValueError(f"unknown word {word!r}")
        except (ValueError, KeyError, IndexError, TypeError, OverflowError, zlib.error) as error:
            raise CompileError(f"line {number}", f"cannot be read: {error}", "graph text is written by print_graph") from None
    graph = Graph(name, values, tuple(nodes), tuple(inputs), tuple(outputs), tuple(parameters), origin, tuple(notes), buffers, offsets=offsets)
    shared, repacked, repeated = (frozenset(requests[word]) for word in REQUESTS)
    return replace(graph, shared=shared, repacked=repacked, repeated=repeated)


def _parse_value(text: str) -> Value:
    head, quoted, rest = text.partition(" origin ")
    origin, tail = _quoted(rest) if quoted else ("", text)
    head, encoded = head.partition(" data ")[0], tail.partition(" data ")[2]
    name, kind, rest = head.split(" ", 2)
    dtype, opened, rest = rest.partition("[")
    extents, closed, quantized = rest.partition("]")
    if not opened or not closed:
        raise ValueError(f"no shape in {head!r}")
    shape = tuple(int(d) for d in extents.split(",") if d.strip())
    quantization = None
    if quantized.strip():
        scales, _, points = quantized.strip().removeprefix("scale ").partition(" zero ")
        zero, _, axis = points.partition(" axis ")
        quantization = Quantization(tuple(float(s) for s in scales.split()), int(zero), int(axis) if axis else None)
    data = None
    if encoded:
        data = _data(encoded.strip(), dtype).reshape(shape)
    return Value(name, TensorType(shape, dtype, quantization), kind, data, origin)


def _data(encoded: str, dtype: str) -> NDArray[np.generic]:
    """A constant of its bytes, or of its numbers. Raises ValueError, and OverflowError for a number that the type does not hold."""
    if not encoded.startswith("["):
        return np.frombuffer(zlib.decompress(base64.b64decode(encoded)), dtype)
    listed, _, count = encoded.partition(" * ")
    numbers = json.loads(listed) * int(count or 1)
    if dtype != "float32" and not all(type(n) is int for n in numbers):
        raise ValueError(f"a constant of {dtype} holds whole numbers")
    return np.array(numbers, dtype)


def _quoted(text: str) -> tuple[Any, str]:
    """What is quoted as JSON at the start of a text, and what follows it."""
    value, end = json.JSONDecoder().raw_decode(text)
    return value, text[end:]


def _parse_node(text: str) -> Node:
    head, opened, rest = text.partition(" {")
    if opened and " origin " not in head:
        attributes, tail = _quoted("{" + rest)
    else:
        head, quoted, rest = text.partition(" origin ")
        attributes, tail = {}, f"{quoted}{rest}"
    name, phase, call = head.split(" ", 2)
    mnemonic, _, call = call.partition("(")
    operands, _, results = call.partition(") -> ")
    results, _, updates = results.partition(" updates ")
    pairs = (p.split("=", 1) for p in operands.split(", ") if p)
    names = () if results == "nothing" else tuple(results.split(", "))
    return Node(
        name,
        _parse_op(REGISTRY[mnemonic], attributes),
        {o: v for o, v in pairs},
        names,
        tuple(updates.split(", ")) if updates else (),
        phase,
        json.loads(tail.removeprefix(" origin ")) if tail else "",
    )


def _dataclass_of(hint: Any) -> Any:
    """The dataclass that a type hint names, alone or beside None."""
    return next(kind for kind in (hint, *get_args(hint)) if is_dataclass(kind))


def _parse_op(cls: Any, attributes: dict[str, Any]) -> Op:
    """An operator of its attributes. One that is a dataclass, such as a window, is of the type of its field; an operator names itself."""
    types = get_type_hints(cls)

    def restore(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(restore(name, v) for v in value)
        if not isinstance(value, dict):
            return value
        kind = REGISTRY[value[OPERATOR]] if OPERATOR in value else _dataclass_of(types[name])
        return _parse_op(kind, {k: v for k, v in value.items() if k != OPERATOR})

    return cls(**{k: restore(k, v) for k, v in attributes.items()})  # type: ignore[no-any-return]
