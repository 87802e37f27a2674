"""ONNX in QDQ form (full INT8) to Graph.

Every operator of the core stands between DequantizeLinear and QuantizeLinear; the three become one integer node.
Accepted beyond that: FLOAT32 inputs and outputs (the graph is the INT8 core between them), uint8 activations inside
(held 128 lower), float biases, a symbolic batch, weights in float in front of their own QuantizeLinear, 1-D convolutions
and pools (an image of width 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.operator import reads_onnx
from ..ir.types import Quantization, TensorType
from ..ops.model.requantize import Requantize
from ..ops.model.softmax import Softmax
from .build import QUANTIZE_HINT
from .onnx_affine import AFFINE, affine, own_range
from .onnx_file import DEQUANTIZE, LAYOUT, QUANTIZE, Operator, Port
from .onnx_fold import FOLDED, folded
from .onnx_model import Model
from .onnx_ops import FORMAT_OPERATORS
from .onnx_reader import OnnxReader
from .onnx_shapes import Handler
from .onnx_tensors import EXPORT_AGAIN
from .qdq import Activation, AnyValue, Pending, positions


def load(data: bytes, name: str, origin: str, folder: Path | None = None) -> Graph:
    """Read a model. folder: where files with its weights may lie. Raises CompileError for anything that is not a well-formed, fully
    quantised INT8 model."""
    try:
        model = Model(data, folder)
        return _convert(model, OnnxReader(name, origin, model))
    except CompileError as error:
        raise CompileError(f"{origin}: {error.where}", error.what, error.hint) from None


def _convert(model: Model, v: OnnxReader) -> Graph:
    """Operators, in file order, to nodes."""
    handlers: dict[str, Handler] = {**{name: cls.read_onnx for name, cls in reads_onnx().items()}, **FORMAT_OPERATORS}
    for op in model.operators:
        if op.kind not in handlers and op.kind not in FOLDED and op.kind not in AFFINE:
            raise _unknown(op, handlers)
    if not model.inputs:
        raise CompileError("the graph", "has no inputs", EXPORT_AGAIN)
    for port in model.inputs:
        _declare_input(v, port)
    for op in model.operators:
        _convert_operator(v, op, handlers)
    outputs = [_output(v, name) for name in model.outputs]
    if not v.b.nodes:
        raise CompileError("the graph", "computes nothing", EXPORT_AGAIN)
    v.b.notes += model.notes
    return v.b.finish(outputs)


def _convert_operator(v: OnnxReader, op: Operator, handlers: Mapping[str, Handler]) -> None:
    """What an operator computes, under the names of its results."""
    if not op.outputs:
        raise CompileError(op.where, "has no results", EXPORT_AGAIN)
    result: AnyValue | Sequence[AnyValue] | None = folded(v, op) or affine(v, op)
    if result is None:
        if op.kind not in handlers:
            raise _unknown(op, handlers)
        result = handlers[op.kind](v, op)
    results = result if isinstance(result, Sequence) else [result]
    if len(results) < len(op.outputs) and any(op.outputs[len(results) :]) and op.kind != "Dropout":
        raise CompileError(op.where, f"has {len(op.outputs)} results", EXPORT_AGAIN)
    v.known.update({name: x for name, x in zip(op.outputs, results, strict=False) if name})


def _unknown(op: Operator, handlers: Iterable[str]) -> CompileError:
    return CompileError(op.where, f"operator {op.kind} is not supported", f"supported are {', '.join(sorted({*handlers, *AFFINE}))}")


def _declare_input(v: OnnxReader, port: Port) -> None:
    if port.dtype not in ("int8", "float32"):
        hint = "quantise with activation_type=QuantType.QInt8" if port.dtype == "uint8" else QUANTIZE_HINT
        raise CompileError(port.where, f"has type {port.dtype}; inputs are int8, or float32 in front of {QUANTIZE}", hint)
    shape = port.fixed_shape()
    found = _entry_parameters(v, port)
    if any(q != found[0] for q in found):
        raise CompileError(port.where, "is quantised in different ways", "export the input with one scale")
    if port.dtype == "float32":
        v.b.notes.append("the FLOAT32 input is quantised by the caller (the scale is in the manifest)")
    value = v.b.input(TensorType(shape, "int8", found[0]), port.name)
    v.known[port.name] = Activation(value, positions(shape), port.dtype)


def _entry_parameters(v: OnnxReader, port: Port) -> list[Quantization]:
    """What the first QuantizeLinear or DequantizeLinear behind an input say, across operators that keep the scale."""
    entry = DEQUANTIZE if port.dtype == "int8" else QUANTIZE
    found: list[Quantization] = []
    names, pending = {port.name}, [port.name]
    for name in pending:
        for op in v.model.consumers(name):
            if op.kind == entry and op.input(0) == name:
                found.append(v.parameters(op)[0])
            elif op.kind in LAYOUT | {"MaxPool", "Pad"} and op.input(0) == name:
                pending += [n for n in op.outputs if n not in names]
                names.update(op.outputs)
            elif op.kind not in ("Shape", "Size"):
                raise CompileError(op.where, f"takes the {port.dtype} input '{port.name}' without {entry}", QUANTIZE_HINT)
    if not found:
        raise CompileError(port.where, f"no {entry} says how the input is quantised", QUANTIZE_HINT)
    return found


def _output(v: OnnxReader, name: str) -> str:
    where = f"tensor '{name}'"
    found = v.value(name, "the graph's output")
    if isinstance(found, Pending) and (q := own_range(v, found)):
        v.b.notes.append(f"{found.origin.kind} at the output has no scale in the file: {q.per_tensor:.6g} holds every result")
        found = Activation(v.emitted(found, q), found.index, "float32")
    x = v.settled(found, where)
    if x.dtype == "uint8":
        raise CompileError(where, "the output is uint8", "quantise with activation_type=QuantType.QInt8")
    if x.dtype == "float32":
        x = _without_rescaling(v, x)
    shape = x.index.shape
    return v.arrange(x, x.index, shape if shape and shape[0] == 1 else (1, *shape), where)


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
