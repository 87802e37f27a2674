"""ONNX in QDQ and QOperator form (full INT8) to Graph.

Every operator of the core stands between DequantizeLinear and QuantizeLinear; the three become one integer node.
QOperator form is read as what it stands for. Accepted beyond that: FLOAT32 inputs and outputs (the graph is the INT8 core
between them), uint8 activations (held 128 lower inside), float biases, an open batch, weights in float in front of their own
QuantizeLinear, 1-D convolutions and pools (an image of width 1), normalisations that nothing fused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import CompileError, ModelError
from ..ir.graph import Graph
from ..ir.operator import reads_onnx
from .onnx_affine import AFFINE, affine
from .onnx_file import Operator
from .onnx_fold import FOLDED, folded
from .onnx_functions import binary
from .onnx_model import Model
from .onnx_ops import FORMAT_OPERATORS
from .onnx_ports import declare_input, output_of
from .onnx_reader import OnnxReader
from .onnx_shapes import Handler
from .onnx_tensors import EXPORT_AGAIN
from .qdq import AnyValue

_STEPS = {
    "RNN": "products and a state",
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), "a mean, a variance and a root"),
}
"""Operators whose inside no quantiser of ONNX gives scales."""
STEPS_HINT = "convert the model that it was made from with TFLiteConverter, which gives every step a scale, to a .tflite file"


def load(data: bytes, name: str, origin: str, folder: Path | None = None) -> Graph:
    """Read a model. folder: where files with its weights may lie. Raises ModelError, with all reasons, for anything that is not a
    well-formed, fully quantised INT8 model."""
    try:
        model = Model(data, folder)
        return _convert(model, OnnxReader(name, origin, model))
    except ModelError:
        raise
    except CompileError as error:
        raise ModelError(origin, [error]) from None


def _convert(model: Model, v: OnnxReader) -> Graph:
    """Operators, in file order, to nodes. What is refused does not end the reading: ModelError names all reasons."""
    attempt = v.b.refusals.attempt
    handlers: dict[str, Handler] = {**{name: cls.read_onnx for name, cls in reads_onnx().items()}, **FORMAT_OPERATORS}
    if not model.inputs:
        raise CompileError("the graph", "has no inputs", EXPORT_AGAIN)
    for refused in model.refused:
        v.b.refusals.add(refused)
    for port in model.inputs:
        with attempt():
            declare_input(v, port)
        if port.name not in v.known:
            v.lost.add(port.name)
    for op in model.operators:
        with attempt():
            _convert_operator(v, op, handlers)
        v.lost.update(name for name in op.outputs if name and name not in v.known)
    outputs: list[str] = []
    for name in model.outputs:
        with attempt():
            outputs.append(output_of(v, name))
    if not v.b.nodes and not v.b.refusals:
        raise CompileError("the graph", "computes nothing", EXPORT_AGAIN)
    v.b.notes += model.notes
    return v.b.finish(outputs)


def _convert_operator(v: OnnxReader, op: Operator, handlers: Mapping[str, Handler]) -> None:
    """What an operator computes, under the names of its results."""
    if not op.outputs:
        raise CompileError(op.where, "has no results", EXPORT_AGAIN)
    if op.kind not in handlers and op.kind not in FOLDED and op.kind not in AFFINE:
        raise _unknown(op, handlers)
    result: AnyValue | Sequence[AnyValue] | None = folded(v, op) or binary(v, op) or affine(v, op)
    if result is None:
        if op.kind not in handlers:
            raise _unknown(op, handlers)
        result = handlers[op.kind](v, op)
    results = result if isinstance(result, Sequence) else [result]
    if len(results) < len(op.outputs) and any(op.outputs[len(results) :]) and op.kind != "Dropout":
        raise CompileError(op.where, f"has {len(op.outputs)} results", EXPORT_AGAIN)
    v.known.update({name: x for name, x in zip(op.outputs, results, strict=False) if name})


def _unknown(op: Operator, handlers: Iterable[str]) -> CompileError:
    if op.kind in _STEPS:
        return CompileError(op.where, f"operator {op.kind} computes {_STEPS[op.kind]} in FLOAT32, without a scale between them", STEPS_HINT)
    return CompileError(op.where, f"operator {op.kind} is not supported", f"supported are {', '.join(sorted({*handlers, *AFFINE}))}")
