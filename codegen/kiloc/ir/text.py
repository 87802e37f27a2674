"""The text form of a graph: one line a value or node, readable, and exact both ways.

    graph kws "kws.tflite"
    value conv2d activation int8[1, 25, 5, 64] scale 0.0235 zero -128
    node conv2d forward conv_2d(x=input, weights=conv2d.weights, bias=conv2d.bias) -> conv2d {"activation": "relu", ...}

Scales print with 17 digits; constants follow their value as base64 of compressed bytes.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import numpy as np

from ..errors import CompileError
from .graph import Graph, Node, Parameter, Value
from .operator import REGISTRY, Op
from .types import Quantization, TensorType

OPERATOR = "operator"
"""Key of the mnemonic of an operator that is an attribute of another."""


def print_graph(graph: Graph, data: bool = True) -> str:
    """Text of a graph; without `data` constants are left out (such text does not parse back to an equal graph)."""
    lines = [f"graph {graph.name} {json.dumps(graph.origin)}"]
    lines += [f"note {json.dumps(note)}" for note in graph.notes]
    lines += [] if graph.buffers == "caller" else [f"buffers {graph.buffers}"]
    lines += [f"shared {name}" for name in sorted(graph.shared)]
    lines += [f"input {name}" for name in graph.inputs] + [f"output {name}" for name in graph.outputs]
    lines += [_value(v, data) for v in graph.values.values()]
    lines += [_node(n) for n in graph.nodes]
    lines += [f"place {name} {offset}" for name, offset in graph.offsets.items()]
    lines += [f"parameter {json.dumps([p.name, p.layer, p.method, p.storage, dict(p.values)])}" for p in graph.parameters]
    return "\n".join(lines) + "\n"


def _value(v: Value, data: bool) -> str:
    t = v.type
    text = f"value {v.name} {v.kind} {t.dtype}[{', '.join(map(str, t.shape))}]"
    if t.quantization is not None:
        q = t.quantization
        scales = " ".join(repr(s) for s in q.scale)
        text += f" scale {scales} zero {q.zero_point}" + ("" if q.axis is None else f" axis {q.axis}")
    text += f" origin {json.dumps(v.origin)}" if v.origin else ""
    if v.data is not None and data:
        text += f" data {base64.b64encode(zlib.compress(v.data.tobytes(), 9)).decode()}"
    return text


def _node(n: Node) -> str:
    operands = ", ".join(f"{o}={v}" for o, v in n.inputs.items())
    text = f"node {n.name} {n.phase} {n.op.mnemonic}({operands}) -> {', '.join(n.outputs) or 'nothing'}"
    text += f" updates {', '.join(n.updates)}" if n.updates else ""
    return f"{text} {json.dumps(_attributes(n.op))} origin {json.dumps(n.origin)}"


def _attributes(op: Any) -> dict[str, Any]:
    found = {}
    for f in fields(op):
        value = getattr(op, f.name)
        found[f.name] = {**_named(value), **_attributes(value)} if is_dataclass(value) else value
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
    shared: list[str] = []
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
            elif word == "shared":
                shared.append(rest)
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
        except (ValueError, KeyError, IndexError, TypeError, zlib.error) as error:
            raise CompileError(f"line {number}", f"cannot be read: {error}", "graph text is written by print_graph") from None
    return Graph(
        name, values, tuple(nodes), tuple(inputs), tuple(outputs), tuple(parameters), origin, tuple(notes), buffers, frozenset(shared), offsets
    )  # fmt: skip


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
        data = np.frombuffer(zlib.decompress(base64.b64decode(encoded)), dtype).reshape(shape)
    return Value(name, TensorType(shape, dtype, quantization), kind, data, origin)


def _quoted(text: str) -> tuple[Any, str]:
    """What is quoted as JSON at the start of a text, and what follows it."""
    value, end = json.JSONDecoder().raw_decode(text)
    return value, text[end:]


def _parse_node(text: str) -> Node:
    head, _, rest = text.partition(" {")
    attributes, tail = _quoted("{" + rest)
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
        json.loads(tail.removeprefix(" origin ")),
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
