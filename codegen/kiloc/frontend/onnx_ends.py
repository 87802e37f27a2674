"""Where the INT8 core of an ONNX model begins and ends: what computes in FLOAT32, or picks a label, in front of it or behind it is left
to the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import CompileError
from .build import QUANTIZE_HINT
from .onnx_file import DEQUANTIZE, LAYOUT, QUANTIZE, Operator, Port

_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"}
_BIASES = {"Add", "BatchNormalization"}
"""What belongs to the layer in front of it."""
_PICKS = {"ArgMax", "TopK", "Cast", "ai.onnx.ml.ZipMap", "ai.onnx.ml.ArrayFeatureExtractor", "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.Normalizer"}
"""What turns scores into labels."""


_ENTRIES = {"Add", "Sub", "Mul", "Div", "Cast", "Identity"}
"""What prepares an input, element by element."""


def core_begin(port: Port, consumers: Mapping[str, Sequence[Operator]], constants: set[str], notes: list[str]) -> Port:
    """An input of the INT8 core: what scales an input of the file in front of its QuantizeLinear is noted and left to the caller."""
    path: list[Operator] = []
    name = port.name
    while len(found := consumers.get(name, ())) == 1 and found[0].kind in _ENTRIES and len(path) <= len(consumers):
        op = found[0]
        if len(op.outputs) != 1 or sum(i not in constants for i in op.inputs if i) != 1:
            return port
        path.append(op)
        name = op.outputs[0]
    if not path or not found or any(op.kind != QUANTIZE or op.input(0) != name for op in found):
        return port
    notes += [f"{op.kind} in front of the INT8 core is left to the caller" for op in path if op.kind != "Identity"]
    return replace(port, name=name, dtype="float32")


def core_end(port: Port, producer: Mapping[str, Operator], constants: set[str], notes: list[str]) -> str:
    """The last tensor of the INT8 core on the way to an output; what follows is noted and left to the caller."""
    if port.dtype in ("int8", "uint8"):
        return port.name
    path, name = _path(port, producer, constants)
    op = producer.get(name)
    picks = any(step.kind in _PICKS for step in path)
    if op is None or op.kind not in ((DEQUANTIZE, QUANTIZE) if picks else (DEQUANTIZE,)):
        raise CompileError(port.where, "the output is computed in FLOAT32", QUANTIZE_HINT)
    steps = path[::-1]
    inside = _length_of_core(steps, _is_layer(op, producer))
    for step in steps[inside:]:
        if step.kind not in LAYOUT:
            what = f"{step.kind.removeprefix('ai.onnx.ml.')} " + ("behind" if step.kind in _PICKS else "on FLOAT32 after")
            notes.append(f"{what} the INT8 core is left to the caller")
    return steps[inside - 1].outputs[0] if inside else name


def _length_of_core(steps: list[Operator], biased: bool) -> int:
    """How many of the operators behind the last tensor with a scale belong to the core: the bias of a layer, and changes of shape."""
    inside = 0
    for i, step in enumerate(steps):
        if biased and step.kind in _BIASES:
            inside = i + 1
        elif step.kind not in LAYOUT:
            break
    while inside < len(steps) and steps[inside].kind in LAYOUT:
        inside += 1
    return inside


def _path(port: Port, producer: Mapping[str, Operator], constants: set[str]) -> tuple[list[Operator], str]:
    """The operators between an output and the core, the last first, and the tensor that the first of them takes."""
    path: list[Operator] = []
    name = port.name
    while (op := producer.get(name)) is not None and op.kind not in (DEQUANTIZE, QUANTIZE) and len(path) <= len(producer):
        path.append(op)
        if op.kind in _LAYERS:
            hint = "let the quantiser give its result a scale too: its name must not be in nodes_to_exclude"
            raise CompileError(op.where, "its result reaches the output without QuantizeLinear", hint)
        operands = list(dict.fromkeys(i for i in op.inputs if i and i not in constants))
        if len(operands) != 1:
            raise CompileError(op.where, "computes in FLOAT32 on the way to the output", QUANTIZE_HINT)
        name = operands[0]
    return path, name


def _is_layer(op: Operator, producer: Mapping[str, Operator]) -> bool:
    """The DequantizeLinear stands behind a layer's QuantizeLinear."""
    quantize = producer.get(op.input(0))
    layer = producer.get(quantize.input(0)) if quantize is not None and quantize.kind == QUANTIZE else None
    return layer is not None and layer.kind in _LAYERS
