"""Damage to TensorFlow Lite files as a careless writer does it: sound flatbuffers whose tables say something senseless.

Where `flatbuffer_mutations.py` overwrites numbers in place, here tables get other operators, fields that they did not have, inputs that come later
(cycles), dims, scales, zero points, constants, subgraphs, buffers that say to lie elsewhere.
"""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

INTEGERS = (-(2**31), -129, -2, -1, 0, 1, 2, 3, 4, 7, 8, 64, 127, 128, 255, 4096, 65536, 2**24, 2**31 - 1)
WIDE = (-(2**63), -(2**31), *INTEGERS, 2**40, 2**63 - 1)
REALS = (float("nan"), float("inf"), -1.0, -0.0, 0.0, 1e-45, 1e-39, 1.2e-38, 1e-20, 1e-6, 0.5, 1.0, 1e6, 3e38)
NAMES = (b"", b"nowhere", b"a/b;c", b"\xff\xfe", b"*/ \\\n", b"x" * 5000, b"../../secret")
KINDS = sorted(value for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_"))
TYPES = sorted(value for name, value in vars(schema.TensorType).items() if not name.startswith("_"))
TABLES = sorted(value for name, value in vars(schema.BuiltinOptions).items() if not name.startswith("_"))


def restructured(data: bytes, r: random.Random) -> bytes | None:
    """One to three changes; None where the format has no room for what they would write."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(data), 0))
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        change = r.choice((_kind, _wire, _wire, _shape, _tensor, _quantization, _constant, _constant, _options, _arrange, _model, _anything))
        with suppress(IndexError, TypeError, AttributeError, ValueError):  # of what an earlier change has taken away
            change(model, r)
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except (struct.error, TypeError, ValueError, OverflowError, AttributeError, flatbuffers.builder.OffsetArithmeticError):
        return None
    return bytes(builder.Output())


def _graph(model: Any, r: random.Random) -> Any:
    return r.choice(model.subgraphs)


def _some(values: Any, r: random.Random) -> Any:
    return r.choice(list(values)) if values is not None and len(values) else None


def _kind(model: Any, r: random.Random) -> None:
    code = _some(model.operatorCodes, r)
    if code is not None:
        code.builtinCode = r.choice(KINDS)
        code.deprecatedBuiltinCode = r.choice((min(code.builtinCode, 127), min(code.builtinCode, 127), 0, 127))
        code.version = r.choice((1, 1, 2, 5, 100))
        code.customCode = r.choice((None, None, *NAMES))


def _wire(model: Any, r: random.Random) -> None:
    """An operator reads or writes another tensor: one that comes later, a constant, none, or one that is not there."""
    graph = _graph(model, r)
    op = _some(graph.operators, r)
    owner, field = (op, r.choice(("inputs", "outputs"))) if op is not None and r.random() < 0.85 else (graph, r.choice(("inputs", "outputs")))
    given = getattr(owner, field)
    values = [] if given is None else [int(i) for i in given]
    index = r.choice((r.randrange(len(graph.tensors)), r.randrange(len(graph.tensors)), -1, len(graph.tensors), 2**31 - 1)) if graph.tensors else 0
    kind = r.randrange(4)
    if kind == 0:
        values.insert(r.randrange(len(values) + 1), index)
    elif kind == 1 and values:
        del values[r.randrange(len(values))]
    elif values:
        values[r.randrange(len(values))] = index
    setattr(owner, field, values)


def _shape(model: Any, r: random.Random) -> None:
    tensor = _some(_graph(model, r).tensors, r)
    if tensor is None:
        return
    field = r.choice(("shape", "shape", "shapeSignature"))
    given = getattr(tensor, field)
    values = [] if given is None else [int(i) for i in given]
    kind = r.randrange(4)
    if kind == 0:
        values.insert(r.randrange(len(values) + 1), r.choice((1, 1, *INTEGERS)))
    elif kind == 1 and values:
        del values[r.randrange(len(values))]
    elif kind == 2:
        r.shuffle(values)
    elif values:
        values[r.randrange(len(values))] = r.choice(INTEGERS)
    setattr(tensor, field, values)


def _tensor(model: Any, r: random.Random) -> None:
    tensor = _some(_graph(model, r).tensors, r)
    if tensor is None:
        return
    kind = r.randrange(5)
    if kind == 0:
        tensor.type = r.choice(TYPES)
    elif kind == 1:
        tensor.buffer = r.choice((0, r.randrange(len(model.buffers)), len(model.buffers), 2**32 - 1))
    elif kind == 2:
        tensor.name = r.choice((None, *NAMES))
    elif kind == 3:
        tensor.isVariable = not tensor.isVariable
    else:
        tensor.sparsity = schema.SparsityParametersT()
        tensor.sparsity.traversalOrder = [r.choice(INTEGERS) for _ in range(r.randrange(4))]
        tensor.sparsity.blockMap = [r.choice(INTEGERS)]


def _quantization(model: Any, r: random.Random) -> None:
    tensor = _some(_graph(model, r).tensors, r)
    if tensor is None:
        return
    if tensor.quantization is None or r.random() < 0.1:
        tensor.quantization = None if tensor.quantization is not None else schema.QuantizationParametersT()
    q = tensor.quantization
    if q is None:
        return
    kind = r.randrange(5)
    scales = [] if q.scale is None else [float(s) for s in q.scale]
    points = [] if q.zeroPoint is None else [int(z) for z in q.zeroPoint]
    if kind == 0:
        q.quantizedDimension = r.choice(INTEGERS)
    elif kind == 1:
        q.scale = scales[: r.randrange(len(scales) + 1)] or None
    elif kind == 2:
        q.scale, q.zeroPoint = scales * r.choice((2, 3, 50)), points
    elif kind == 3:
        q.scale = [r.choice(REALS) if i == 0 or r.random() < 0.1 else s for i, s in enumerate(scales or [1.0])]
    else:
        q.zeroPoint = [r.choice(WIDE) for _ in points or [0]]


def _constant(model: Any, r: random.Random) -> None:
    """Axes, amounts, shapes and weights: other words, other lengths, or a place outside of the table."""
    buffer = _some([b for b in model.buffers if b.data is not None and len(b.data)] or model.buffers, r)
    if buffer is None:
        return
    data = bytearray() if buffer.data is None else bytearray(bytes(np.asarray(buffer.data, np.uint8)))
    kind = r.randrange(5)
    if kind < 2 and len(data) >= 4:
        struct.pack_into("<i", data, r.randrange(len(data) // 4) * 4, r.choice(INTEGERS))
    elif kind == 2:
        del data[r.randrange(len(data) + 1) :]
    elif kind == 3:
        data = data * r.choice((2, 3))
    else:
        buffer.offset, buffer.size = (r.choice([w for w in WIDE if w >= 0]) for _ in range(2))
    buffer.data = list(data)


def _options(model: Any, r: random.Random) -> None:
    """Fields of an operator's options, those of another one, or none."""
    ops = [op for graph in model.subgraphs for op in graph.operators or ()]
    op, other = _some(ops, r), _some(ops, r)
    if op is None:
        return
    kind = r.randrange(6)
    if kind == 0:
        op.builtinOptions, op.builtinOptionsType = None, 0
    elif kind == 1:
        op.builtinOptions, op.builtinOptionsType = other.builtinOptions, other.builtinOptionsType
    elif kind == 2:
        op.builtinOptionsType = r.choice(TABLES)
    elif op.builtinOptions is not None:
        _field(op.builtinOptions, r)
    if r.random() < 0.1:
        op.opcodeIndex = r.choice((0, len(model.operatorCodes) - 1, len(model.operatorCodes), 2**31))


def _field(table: Any, r: random.Random) -> None:
    """One field of any table, by what it holds."""
    name = r.choice(sorted(vars(table)))
    value = getattr(table, name)
    if isinstance(value, bool):
        setattr(table, name, not value)
    elif isinstance(value, int | np.integer):
        setattr(table, name, r.choice((*INTEGERS, int(value) + 1, int(value) - 1)))
    elif isinstance(value, float | np.floating):
        setattr(table, name, r.choice(REALS))
    elif isinstance(value, bytes | str):
        setattr(table, name, r.choice(NAMES))
    elif value is not None:
        setattr(table, name, None if r.random() < 0.3 else list(value)[: r.randrange(4)] if hasattr(value, "__len__") else value)


def _arrange(model: Any, r: random.Random) -> None:
    """Operators or tensors taken out, doubled or moved."""
    graph = _graph(model, r)
    values = graph.operators if r.random() < 0.7 else graph.tensors
    if values is None or not len(values):
        return
    at, kind = r.randrange(len(values)), r.randrange(4)
    element = values[at]
    if kind != 1:
        del values[at]
    if kind != 0:
        values.insert(r.randrange(len(values) + 1), element)
    if kind == 3:
        r.shuffle(values)


def _model(model: Any, r: random.Random) -> None:
    """Version, subgraphs, lists that are missing."""
    kind, graph = r.randrange(6), _graph(model, r)
    if kind == 0:
        model.version = r.choice((0, 1, 2, 3, 4, 2**32 - 1))
    elif kind == 1:
        model.subgraphs.append(graph)
    elif kind == 2:
        model.subgraphs.reverse()
    elif kind == 3:
        setattr(graph, r.choice(("inputs", "outputs", "operators", "tensors")), None)
    elif kind == 4:
        setattr(model, r.choice(("operatorCodes", "buffers", "description")), None)
    else:
        graph.name = r.choice(NAMES)


def _anything(model: Any, r: random.Random) -> None:
    """A field of a table that a walk down from the model ends in."""
    found: Any = model
    while True:
        inner = [v for v in vars(found).values() if hasattr(v, "__dict__")]
        inner += [e for v in vars(found).values() if isinstance(v, list) and v and hasattr(v[0], "__dict__") for e in (r.choice(v),)]
        if not inner or r.random() < 0.25:
            _field(found, r)
            return
        found = r.choice(inner)
