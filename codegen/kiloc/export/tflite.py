"""Graph to TensorFlow Lite flatbuffer: the inverse of `frontend/tflite.py`, for inference graphs.

What is written computes the same integers in TensorFlow Lite Micro. The file does not say how FULLY_CONNECTED rounds:
that is a matter of the interpreter ("twice" in TensorFlow Lite Micro, "once" in LiteRT).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ir.types import Quantization, TensorType
from ..ir.verify import verify
from ..ops._window import Window, same_padding
from ..ops.model.add import Add
from ..ops.model.average_pool_2d import AveragePool2D, Pool2D
from ..ops.model.conv_2d import Conv2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.fully_connected import FullyConnected
from ..ops.model.max_pool_2d import MaxPool2D
from ..ops.model.mean import Mean
from ..ops.model.pad import Pad
from ..ops.model.requantize import Requantize
from ..ops.model.reshape import Reshape
from ..ops.model.softmax import Softmax
from ..ops.model.transpose import Transpose

SCHEMA_VERSION = 3
ALIGNMENT = 16
"""Of constant data, as the schema demands: interpreters read it in place."""

_TYPES = {"int8": tflite.TensorType.INT8, "int32": tflite.TensorType.INT32}
_ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}
_RELU = {"none": "QUANTIZE", "relu": "RELU", "relu6": "RELU6", "relu_n1_to_1": "RELU_N1_TO_1"}
_VERSIONS = {
    "ADD": 2, "AVERAGE_POOL_2D": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "MAX_POOL_2D": 2, "MEAN": 2, "PAD": 2,
    "PADV2": 2, "QUANTIZE": 2, "RELU": 2, "RELU6": 2, "RELU_N1_TO_1": 1, "RESHAPE": 1, "SOFTMAX": 2, "TRANSPOSE": 2,
}  # fmt: skip
"""The first version of each operator that knows int8; per-channel FULLY_CONNECTED is version 12."""


@dataclass(frozen=True)
class _Tensor:
    name: str
    type: TensorType
    data: NDArray[np.generic] | None = None


@dataclass(frozen=True)
class _Operator:
    """An operator with its options: the name of the schema's table and the fields that are set."""

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: str
    fields: dict[str, Any]


def write(graph: Graph) -> bytes:
    """The model as a .tflite file. Raises CompileError for what the format cannot hold."""
    verify(graph)
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.add(node)
    return _serialise(writer)


@dataclass
class _Writer:
    """Collects tensors and operators in file order."""

    graph: Graph
    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.graph.inputs:
            value = self.graph.values[name]
            if value.type.dtype != "int8":
                raise CompileError(name, f"is an input of type {value.type.dtype}", "only inference graphs can be written")
            self.index[name] = self.tensor(name, value.type)

    def add(self, node: Node) -> None:
        where = node.origin or node.name
        method = _METHODS.get(type(node.op))
        if node.phase != "forward" or method is None or set(node.inputs) - set(node.op.operands):
            raise CompileError(where, f"{node.op.mnemonic.upper()} with {', '.join(node.inputs)} belongs to training", "write the base model")
        method(self, node)

    # -- tensors --------------------------------------------------------------------------------------
    def tensor(self, name: str, type_: TensorType, data: NDArray[np.generic] | None = None) -> int:
        if type_.dtype not in _TYPES:
            raise CompileError(name, f"has type {type_.dtype}", "only int8 models can be written")
        self.tensors.append(_Tensor(name, type_, data))
        return len(self.tensors) - 1

    def indices(self, name: str, values: Sequence[int], shape: tuple[int, ...] | None = None) -> int:
        """A constant int32 tensor of axes or extents."""
        data = np.array(values, np.int32).reshape(shape or (-1,))
        return self.tensor(name, TensorType(data.shape, "int32"), data)

    def constant(self, node: Node, operand: str, label: str, quantization: Quantization | None) -> int:
        """An operand that must be constant; named so that a reader finds the layer's name in it."""
        value = self.graph.values[node.inputs[operand]]
        if value.kind != "constant" or value.data is None:
            raise CompileError(node.origin or node.name, f"{value.name} is trainable", "write the base model, or merge what was trained first")
        return self.tensor(f"{node.name}/{label}", TensorType(value.type.shape, value.type.dtype, quantization), value.data)

    def operand(self, node: Node, operand: str = "x") -> int:
        name = node.inputs[operand]
        if name not in self.index:
            raise CompileError(node.origin or node.name, f"{name} is a constant where an activation is expected", "fold constants first")
        return self.index[name]

    def emit(self, node: Node, kind: str, inputs: Sequence[int], table: str, label: str = "", version: int = 0, **fields: Any) -> None:
        """The operator of a node, with its result."""
        result = node.outputs[0]
        self.index[result] = self.tensor(f"{node.name}/{label or kind.title()}", self.graph.type(result))
        self.operators.append(_Operator(kind, version or _VERSIONS[kind], tuple(inputs), (self.index[result],), table, fields))

    # -- layers ---------------------------------------------------------------------------------------
    def weights(self, node: Node, axis: int, product: str) -> tuple[int, int]:
        """Weights and bias with the quantisation that interpreters expect."""
        x, w = self.graph.type(node.inputs["x"]), self.graph.type(node.inputs["weights"])
        scales = w.channel_scales
        along = axis if len(scales) > 1 else None
        bias = tuple(float(np.float32(x.scale) * np.float32(s)) for s in scales)
        return (
            self.constant(node, "weights", product, Quantization(scales, 0, along)),
            self.constant(node, "bias", "BiasAdd", Quantization(bias, 0, None if along is None else 0)),
        )

    def padded(self, node: Node, window: Window, border: int | None) -> tuple[int, int]:
        """(input, padding scheme) of a window; `border` fills what needs a PAD in front, None where that would change the result."""
        x = self.graph.type(node.inputs["x"])
        if window.pad == (0, 0, 0, 0):
            return self.operand(node), tflite.Padding.VALID
        (top, bottom), (left, right) = (same_padding(x.shape[1 + i], window.kernel[i], window.stride[i], window.dilation[i]) for i in (0, 1))
        if window.pad == (top, left, bottom, right):
            return self.operand(node), tflite.Padding.SAME
        if border is None:
            raise CompileError(
                node.origin or node.name, f"{node.op.mnemonic.upper()} pads {window.pad}, which is neither SAME nor VALID",
                "TensorFlow Lite's average pools know no other padding",
            )  # fmt: skip
        return self.border(f"{node.name}/pad", self.operand(node), x, window.pad, border), tflite.Padding.VALID

    def border(self, name: str, x: int, type_: TensorType, pad: tuple[int, int, int, int], value: int) -> int:
        """A PAD operator in front of another one; returns its result."""
        n, h, w, c = type_.shape
        result = TensorType((n, h + pad[0] + pad[2], w + pad[1] + pad[3], c), "int8", type_.quantization)
        kind, inputs, table = self.padding(name, x, result, pad, value)
        y = self.tensor(name, result)
        self.operators.append(_Operator(kind, _VERSIONS[kind], inputs, (y,), table, {}))
        return y

    def padding(self, name: str, x: int, result: TensorType, pad: tuple[int, int, int, int], value: int) -> tuple[str, tuple[int, ...], str]:
        """(operator, inputs, options): PAD fills with the zero point, PADV2 with any value."""
        top, left, bottom, right = pad
        amounts = self.indices(f"{name}/paddings", (0, 0, top, bottom, left, right, 0, 0), (4, 2))
        if value == result.zero_point:
            return "PAD", (x, amounts), "PadOptions"
        filler = self.tensor(f"{name}/value", TensorType((1,), "int8", result.quantization), np.array([value], np.int8))
        return "PADV2", (x, amounts, filler), "PadV2Options"


def _window_fields(window: Window, padding: int) -> dict[str, int]:
    return {"Padding": padding, "StrideH": window.stride[0], "StrideW": window.stride[1]}


def _conv_fields(window: Window, padding: int, activation: str) -> dict[str, int]:
    dilation = {"DilationHFactor": window.dilation[0], "DilationWFactor": window.dilation[1]}
    return {**_window_fields(window, padding), **dilation, "FusedActivationFunction": _ACTIVATIONS[activation]}


def _conv_2d(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Conv2D)
    x, padding = w.padded(node, op.window, w.graph.type(node.inputs["x"]).zero_point)
    inputs = (x, *w.weights(node, 0, "Conv2D"))
    w.emit(node, "CONV_2D", inputs, "Conv2DOptions", "Conv2D", **_conv_fields(op.window, padding, op.activation))


def _depthwise_conv_2d(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    depth = w.graph.type(node.inputs["weights"]).shape[3] // w.graph.type(node.inputs["x"]).shape[3]
    x, padding = w.padded(node, op.window, w.graph.type(node.inputs["x"]).zero_point)
    inputs = (x, *w.weights(node, 3, "depthwise"))
    fields = {**_conv_fields(op.window, padding, op.activation), "DepthMultiplier": depth}
    w.emit(node, "DEPTHWISE_CONV_2D", inputs, "DepthwiseConv2DOptions", "depthwise", **fields)


def _fully_connected(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, FullyConnected)
    x, y, weights = w.graph.type(node.inputs["x"]), w.graph.type(node.outputs[0]), w.graph.type(node.inputs["weights"])
    if y.shape[-1] != weights.shape[0]:
        raise CompileError(node.origin or node.name, f"the result {y.shape} is not rows of {weights.shape[0]}", "put a RESHAPE after the layer")
    fields = {
        "FusedActivationFunction": _ACTIVATIONS[op.activation],
        "KeepNumDims": len(y.shape) > 2 and y.shape[:-1] == x.shape[:-1],
    }
    inputs = (w.operand(node), *w.weights(node, 0, "MatMul"))
    version = 12 if len(weights.channel_scales) > 1 else 0
    w.emit(node, "FULLY_CONNECTED", inputs, "FullyConnectedOptions", "MatMul", version, **fields)


def _add(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Add)
    inputs = (w.operand(node), w.operand(node, "other"))
    w.emit(node, "ADD", inputs, "AddOptions", "add", FusedActivationFunction=_ACTIVATIONS[op.activation])


def _pool(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Pool2D)
    largest = isinstance(op, MaxPool2D)
    x, padding = w.padded(node, op.window, -128 if largest else None)
    if op.window.dilation != (1, 1):
        raise CompileError(node.origin or node.name, f"a pool with dilation {op.window.dilation}", "TensorFlow Lite's pools have none")
    fields = {
        **_window_fields(op.window, padding),
        "FilterHeight": op.window.kernel[0],
        "FilterWidth": op.window.kernel[1],
        "FusedActivationFunction": _ACTIVATIONS[op.activation],
    }
    kind, label = ("MAX_POOL_2D", "MaxPool") if largest else ("AVERAGE_POOL_2D", "AvgPool")
    w.emit(node, kind, (x,), "Pool2DOptions", label, **fields)


def _mean(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Mean)
    x, y = w.graph.type(node.inputs["x"]).shape, w.graph.type(node.outputs[0]).shape
    kept = tuple(1 if i in op.axes else d for i, d in enumerate(x))
    dropped = tuple(d for i, d in enumerate(x) if i not in op.axes)
    if y not in (kept, dropped):
        raise CompileError(node.origin or node.name, f"the result {y} is neither {kept} nor {dropped}", "put a RESHAPE after it")
    inputs = (w.operand(node), w.indices(f"{node.name}/axes", op.axes))
    w.emit(node, "MEAN", inputs, "ReducerOptions", KeepDims=y == kept)


def _pad(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Pad)
    result = w.graph.type(node.outputs[0])
    kind, inputs, table = w.padding(node.name, w.operand(node), result, op.pad, op.value)
    w.emit(node, kind, inputs, table)


def _reshape(w: _Writer, node: Node) -> None:
    shape = w.indices(f"{node.name}/shape", w.graph.type(node.outputs[0]).shape)
    w.emit(node, "RESHAPE", (w.operand(node), shape), "ReshapeOptions")


def _softmax(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Softmax)
    _require_shape(w, node)
    w.emit(node, "SOFTMAX", (w.operand(node),), "SoftmaxOptions", Beta=op.beta)


def _requantize(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Requantize)
    _require_shape(w, node)
    w.emit(node, _RELU[op.activation], (w.operand(node),), "QuantizeOptions" if op.activation == "none" else "")


def _transpose(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Transpose)
    inputs = (w.operand(node), w.indices(f"{node.name}/permutation", op.permutation))
    w.emit(node, "TRANSPOSE", inputs, "TransposeOptions")


def _require_shape(w: _Writer, node: Node) -> None:
    x, y = w.graph.type(node.inputs["x"]).shape, w.graph.type(node.outputs[0]).shape
    if x != y:
        raise CompileError(node.origin or node.name, f"turns {x} into {y}", "put a RESHAPE after it")


_METHODS: dict[type, Callable[[_Writer, Node], None]] = {
    Add: _add, AveragePool2D: _pool, Conv2D: _conv_2d, DepthwiseConv2D: _depthwise_conv_2d, FullyConnected: _fully_connected, MaxPool2D: _pool,
    Mean: _mean, Pad: _pad, Requantize: _requantize, Reshape: _reshape, Softmax: _softmax, Transpose: _transpose,
}  # fmt: skip

WRITABLE = frozenset(_METHODS)
"""The operators that the format has: every forward operator."""


# -- flatbuffer ---------------------------------------------------------------------------------------
def _serialise(w: _Writer) -> bytes:
    """Bytes of the file: buffers, tensors, operators, subgraph, model; children before parents."""
    b = flatbuffers.Builder(1024)
    constants = [t.data for t in w.tensors if t.data is not None]
    buffers = _vector(b, [_buffer(b, None), *(_buffer(b, data) for data in constants)])
    numbers = iter(range(1, len(constants) + 1))
    tensors = _vector(b, [_tensor(b, t, 0 if t.data is None else next(numbers)) for t in w.tensors])
    kinds = list(dict.fromkeys((op.kind, op.version) for op in w.operators))
    operators = _vector(b, [_operator(b, op, kinds.index((op.kind, op.version))) for op in w.operators])
    inputs = b.CreateNumpyVector(np.array([w.index[n] for n in w.graph.inputs], np.int32))
    outputs = b.CreateNumpyVector(np.array([w.index[n] for n in w.graph.outputs], np.int32))
    fields = {"Name": b.CreateString("main"), "Tensors": tensors, "Inputs": inputs, "Outputs": outputs, "Operators": operators}
    subgraphs = _vector(b, [_table(b, "SubGraph", fields)])
    codes = _vector(b, [_code(b, kind, version) for kind, version in kinds])
    description = b.CreateString(f"{w.graph.name}, written by kilotune")
    fields = {"Version": SCHEMA_VERSION, "OperatorCodes": codes, "Subgraphs": subgraphs, "Description": description, "Buffers": buffers}
    b.Finish(_table(b, "Model", fields), file_identifier=b"TFL3")
    return bytes(b.Output())


def _table(b: Any, table: str, fields: dict[str, Any]) -> int:
    """A table of the schema with these fields set."""
    getattr(tflite, f"{table}Start")(b)
    for name, value in fields.items():
        getattr(tflite, f"{table}Add{name}")(b, value)
    return int(getattr(tflite, f"{table}End")(b))


def _vector(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _buffer(b: Any, data: NDArray[np.generic] | None) -> int:
    if data is None:
        return _table(b, "Buffer", {})
    raw = np.ascontiguousarray(data).tobytes()
    b.StartVector(1, len(raw), ALIGNMENT)
    for byte in reversed(raw):
        b.PrependByte(byte)
    return _table(b, "Buffer", {"Data": int(b.EndVector())})


def _tensor(b: Any, t: _Tensor, buffer: int) -> int:
    fields = {
        "Shape": b.CreateNumpyVector(np.array(t.type.shape, np.int32)),
        "Type": _TYPES[t.type.dtype],
        "Buffer": buffer,
        "Name": b.CreateString(t.name),
    }
    q = t.type.quantization
    if q is not None:
        quantization = {
            "Scale": b.CreateNumpyVector(np.array(q.scale, np.float32)),
            "ZeroPoint": b.CreateNumpyVector(np.full(len(q.scale), q.zero_point, np.int64)),
            "QuantizedDimension": q.axis or 0,
        }
        fields["Quantization"] = _table(b, "QuantizationParameters", quantization)
    return _table(b, "Tensor", fields)


def _operator(b: Any, op: _Operator, code: int) -> int:
    fields: dict[str, Any] = {
        "OpcodeIndex": code,
        "Inputs": b.CreateNumpyVector(np.array(op.inputs, np.int32)),
        "Outputs": b.CreateNumpyVector(np.array(op.outputs, np.int32)),
    }
    if op.table:
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, op.table)
        fields["BuiltinOptions"] = _table(b, op.table, op.fields)
    return _table(b, "Operator", fields)


def _code(b: Any, kind: str, version: int) -> int:
    number = getattr(tflite.BuiltinOperator, kind)
    return _table(b, "OperatorCode", {"DeprecatedBuiltinCode": min(number, 127), "Version": version, "BuiltinCode": number})
