"""Tokens of ONNX models: an integer input that chooses rows of a constant table, by Gather."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import CompileError
from ..ir.types import TensorType
from ..ops.model.embedding import LARGEST, Embedding, token_quantization
from .build import checked_quantization
from .onnx_file import DEQUANTIZE, LAYOUT, Operator, Port
from .onnx_tensors import EXPORT_AGAIN
from .qdq import Activation, positions

if TYPE_CHECKING:
    from .onnx_reader import OnnxReader
    from .onnx_values import Values

TOKENS = ("int32", "int64")
"""Element types of inputs that are tokens. In the graph they are int8."""
_HINT = "tokens are the indices of Gather on a constant table with a scale, and nothing else reads them"
_SMALLER = f"use characters, or another vocabulary of at most {LARGEST} tokens: they are held in 8 bits"


def declare_tokens(v: Values, port: Port) -> None:
    """An input of tokens as one of int8."""
    shape, rows = port.fixed_shape(), _rows(v, port)
    if rows > LARGEST:
        raise CompileError(port.where, f"chooses among {rows} rows", _SMALLER)
    value = v.b.input(TensorType(shape, "int8", token_quantization(rows)), port.name)
    v.b.notes.append(f"the {port.dtype} input of tokens is int8 here: the code of a token is its number{' - 128' if rows > LARGEST // 2 else ''}")
    v.known[port.name] = Activation(value, positions(shape), port.dtype)


def _rows(v: Values, port: Port) -> int:
    """Of the table that an input chooses from, the larger of two."""
    found: list[int] = []
    names = [port.name]
    for name in names:
        for op in v.model.consumers(name):
            if op.kind in LAYOUT and op.input(0) == name:
                names += op.outputs
            elif op.kind == "Gather" and op.input(1) == name and (table := _table(v, op.input(0))) is not None and table.ndim == 2:
                found.append(table.shape[0])
            else:
                raise CompileError(op.where, f"takes the {port.dtype} input '{port.name}'", _HINT)
    if not found or len(set(found)) > 1:
        raise CompileError(port.where, f"chooses rows of {len(found)} tables{' of several sizes' if found else ''}", _HINT)
    return found[0]


def _table(v: Values, name: str) -> np.ndarray | None:
    """A constant as the file has it, in front of its DequantizeLinear."""
    op = v.model.producer.get(name)
    return v.model.initializer(op.input(0) if op is not None and op.kind == DEQUANTIZE else name)


def embedded(r: OnnxReader, op: Operator) -> Activation | None:
    """Rows of a constant table, chosen by tokens; None for any other Gather."""
    tokens = r.known.get(op.input(1))
    if not isinstance(tokens, Activation) or tokens.dtype not in TOKENS:
        return None
    table = r.constant(op, 0)
    codes, dtype = table.data, str(table.data.dtype)
    if dtype not in ("int8", "uint8") or codes.ndim != 2 or codes.shape[1] < 1 or op.int_of("axis", 0) not in (0, -2):
        raise CompileError(op.where, f"chooses rows of a {dtype} constant of shape {codes.shape}", _HINT)
    if table.scale is None:
        behind = [o for o in r.model.consumers(op.outputs[0]) if o.kind == DEQUANTIZE]
        if not behind:
            raise CompileError(op.where, f"no {DEQUANTIZE} says how its table is quantised", EXPORT_AGAIN)
        q = r.parameters(behind[0])[0]
    elif table.scale.size != 1:
        raise CompileError(op.where, "chooses rows of a table with one scale a channel", "quantise the embedding per tensor: it is an activation")
    else:
        lower = 128 * (dtype == "uint8")
        q, dtype = checked_quantization(op.where, table.scale, table.zero_points - lower, None), "float32"
    held = (codes.astype(np.int16) - 128 * (codes.dtype == np.uint8)).astype(np.int8)
    name = r.name(Embedding.mnemonic, (table.name, op.outputs[0]))
    value = r.arrange(tokens, tokens.index, r.type(tokens).shape, op.where)
    data = r.b.constant(r.b.unique(f"{name}.table"), held, q, table.name)
    shape = (*r.type(tokens).shape, held.shape[1])
    r.check_size(op, shape)
    found = r.b.node(name, Embedding(), {"x": value, "table": data}, TensorType(shape, "int8", q), op.where)
    return Activation(found, positions((*tokens.index.shape, held.shape[1])), dtype)
