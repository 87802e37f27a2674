"""Inputs and outputs of ONNX models as those of a graph. uint8 stays what it is at the ends, and is held 128 lower inside."""

from __future__ import annotations

from dataclasses import replace

from ..errors import CompileError
from ..ir.types import Quantization, TensorType
from ..ops.model.requantize import Requantize
from ..ops.model.softmax import Softmax
from .build import QUANTIZE_HINT
from .onnx_affine import own_range
from .onnx_embedding import TOKENS, declare_tokens
from .onnx_file import DEQUANTIZE, LAYOUT, MOVES, QUANTIZE, RECURRENT, Port
from .onnx_reader import OnnxReader
from .onnx_recurrent import INPUT_HINT
from .qdq import Activation, Pending, positions


def declare_input(v: OnnxReader, port: Port) -> None:
    if port.name in v.known:
        raise CompileError(port.where, "is an input twice", "export the model again")
    if port.dtype in TOKENS:
        declare_tokens(v, port)
        return
    if port.dtype not in ("int8", "uint8", "float32"):
        hint = f"end the model with {DEQUANTIZE} of int8 or uint8, or with a FLOAT32 input in front of {QUANTIZE}"
        raise CompileError(port.where, f"has type {port.dtype}; inputs are int8, uint8, float32 in front of {QUANTIZE}, or tokens", hint)
    shape = port.fixed_shape() if not _is_sequence(v, port) else (1, *port.fixed_shape(1))
    found = _entry_parameters(v, port)
    if any(q != found[0] for q in found):
        raise CompileError(port.where, "is quantised in different ways", "export the input with one scale")
    q, dtype = found[0]
    if port.dtype == "float32":
        v.b.notes.append("the FLOAT32 input is quantised by the caller (the scale is in the manifest)")
    elif port.dtype != dtype:
        raise CompileError(port.where, f"has type {port.dtype} and is dequantised as {dtype}", "export the model again")
    if port.dtype == "uint8":
        whole = v.b.input(TensorType(shape, "uint8", replace(q, zero_point=q.zero_point + 128)), port.name)
        value = v.b.node(v.name("quantize"), Requantize(), {"x": whole}, TensorType(shape, "int8", q), port.where)
    else:
        value = v.b.input(TensorType(shape, "int8", q), port.name)
    v.known[port.name] = Activation(value, positions(shape[-len(port.shape) :]), port.dtype)


def _is_sequence(v: OnnxReader, port: Port) -> bool:
    """An input [steps, 1, depth] of a recurrent model is one sequence, not a batch of several."""
    return len(port.shape) == 3 and port.shape[0] != 1 and isinstance(port.shape[0], int) and any(op.kind in RECURRENT for op in v.model.operators)


def _entry_parameters(v: OnnxReader, port: Port) -> list[tuple[Quantization, str]]:
    """What the first QuantizeLinear or DequantizeLinear behind an input say, across operators that keep the scale."""
    entry = QUANTIZE if port.dtype == "float32" else DEQUANTIZE
    found: list[tuple[Quantization, str]] = []
    names, pending = {port.name}, [port.name]
    for name in pending:
        for op in v.model.consumers(name):
            if op.kind == entry and op.input(0) == name:
                found.append(v.parameters(op))
            elif op.kind in LAYOUT | MOVES | {"Pad"} and op.input(0) == name:
                pending += [n for n in op.outputs if n not in names]
                names.update(op.outputs)
            elif op.kind not in ("Shape", "Size"):
                hint = INPUT_HINT if op.kind in RECURRENT else QUANTIZE_HINT
                raise CompileError(op.where, f"takes the {port.dtype} input '{port.name}' without {entry}", hint)
    if not found:
        raise CompileError(port.where, f"no {entry} says how the input is quantised", QUANTIZE_HINT)
    return found


def output_of(v: OnnxReader, name: str) -> str:
    where = f"tensor '{name}'"
    found = v.value(name, "the graph's output")
    if isinstance(found, Pending) and (q := own_range(v, found)):
        v.b.notes.append(f"{found.origin.kind} at the output has no scale in the file: {q.per_tensor:.6g} holds every result")
        found = Activation(v.emitted(found, q), found.index, "float32")
    x = v.settled(found, where)
    if x.dtype == "float32":
        x = _without_rescaling(v, x)
    shape = x.index.shape
    value = v.arrange(x, x.index, shape if shape and shape[0] == 1 else (1, *shape), where)
    if x.dtype != "uint8":
        return value
    type_ = v.b.values[value].type
    q = v.quantization(x)
    whole = replace(type_, dtype="uint8", quantization=replace(q, zero_point=q.zero_point + 128))
    return v.b.node(v.name("quantize"), Requantize(), {"x": value}, whole, where)


def _without_rescaling(v: OnnxReader, x: Activation) -> Activation:
    """A FLOAT32 output straight from a softmax: the caller scales it anyway, so the softmax's own scale does."""
    last = v.b.nodes[-1] if v.b.nodes else None
    before = next((n for n in reversed(v.b.nodes) if n.name == last.inputs["x"]), None) if last else None
    if last is None or before is None or last.name != x.value or not isinstance(last.op, Requantize) or not isinstance(before.op, Softmax):
        return x
    v.b.nodes.pop()
    del v.b.values[x.value]
    v.b.notes.append(f"the output has the scale of {before.name}, 1/256, not the file's")
    return Activation(before.name, x.index, x.dtype)
