"""Graph to TensorFlow Lite flatbuffer: the inverse of `frontend/tflite.py`, for inference graphs.

What is written computes the same integers in TensorFlow Lite Micro. The file does not say how FULLY_CONNECTED rounds:
that is a matter of the interpreter ("twice" in TensorFlow Lite Micro, "once" in LiteRT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import STREAM, Graph, Node
from ..ir.operator import NodeTypes, Op
from ..ir.types import Quantization, TensorType
from ..ir.verify import node_types, verify
from ..ops._window import Window, same_padding
from ..ops.model.pad import Pad

SCHEMA_VERSION = 3
ALIGNMENT = 16
"""Of constant data, as the schema demands: interpreters read it in place."""

_TYPES = {
    "int8": tflite.TensorType.INT8, "uint8": tflite.TensorType.UINT8, "int16": tflite.TensorType.INT16, "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
}  # fmt: skip
_ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}


@dataclass(frozen=True)
class _Tensor:
    name: str
    type: TensorType
    data: NDArray[np.generic] | None = None
    variable: bool = False


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
    writer = TFLiteWriter(graph)
    for node in graph.nodes:
        writer.add(node)
    return _serialise(writer)


@dataclass
class TFLiteWriter:
    """Collects tensors and operators in file order."""

    graph: Graph
    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.graph.inputs:
            value = self.graph.values[name]
            if name not in self.graph.model_inputs:
                raise CompileError(name, f"is an input of type {value.type.dtype}", "only inference graphs can be written")
            self.index[name] = self.tensor(name, value.type)

    def add(self, node: Node) -> None:
        where = node.origin or node.name
        if node.phase != "forward" or node.op.tflite is None or set(node.inputs) - set(node.op.required(node.inputs)) - set(node.op.kept):
            raise CompileError(where, f"{node.op.mnemonic.upper()} with {', '.join(node.inputs)} belongs to training", "write the base model")
        node.op.write_tflite(self, node)

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

    def part(self, node: Node, operand: str, label: str, first: int, count: int, quantization: Quantization) -> int:
        """Rows of an operand that must be constant, as a tensor of their own."""
        whole = self.constant(node, operand, label, quantization)
        data = self.tensors.pop(whole).data
        assert data is not None
        data = data[first : first + count]
        return self.tensor(f"{node.name}/{label}", TensorType(data.shape, str(data.dtype), quantization), data)

    def variable(self, name: str, type_: TensorType) -> int:
        """A tensor that the interpreter keeps from call to call, 0 at first."""
        index = self.tensor(name, type_)
        self.tensors[index] = replace(self.tensors[index], variable=True)
        return index

    def types(self, node: Node) -> NodeTypes:
        return node_types(self.graph, node)

    def operand(self, node: Node, operand: str = "x") -> int:
        name = node.inputs[operand]
        if self.graph.values[name].kind == STREAM:
            raise CompileError(
                node.origin or node.name, f"reads {name}, kept from call to call, which is not written yet", "keep the file that it was read from"
            )
        if name not in self.index:
            raise CompileError(node.origin or node.name, f"{name} is a constant where an activation is expected", "fold constants first")
        return self.index[name]

    def operand_or_constant(self, node: Node, operand: str) -> int:
        """An operand that is an activation or a constant with a scale of its own."""
        value = self.graph.values[node.inputs[operand]]
        return self.operand(node, operand) if value.kind != "constant" else self.constant(node, operand, operand, value.type.quantization)

    def emit(
        self, node: Node, kind: str, inputs: Sequence[int], *, label: str = "", version: int = 0, table: str | None = None, **fields: Any
    ) -> None:
        """The operator of a node, with its result. label: how the result's tensor is called behind the node's name; version, table: others
        than the binding's; fields: of the table of options, by the schema's names."""
        binding, result = node.op.tflite, node.outputs[0]
        assert binding is not None
        self.index[result] = self.tensor(f"{node.name}/{label or kind.title()}", self.graph.type(result))
        table = binding.options(kind)[0] if table is None else table
        self.operators.append(_Operator(kind, version or binding.operators[kind], tuple(inputs), (self.index[result],), table, fields))

    def elementwise(self, node: Node) -> None:
        """An operator whose inputs are its operands, in this order; its attribute `activation` is the fused activation."""
        binding = node.op.tflite
        assert binding is not None
        self.require_shape(node)
        fields: dict[str, Any] = self.activation(node.op.activation) if hasattr(node.op, "activation") else {}
        self.emit(node, next(iter(binding.operators)), [self.operand(node, operand) for operand in node.op.operands], **fields)

    def activation(self, name: str) -> dict[str, Any]:
        """The field of a fused activation."""
        return {"FusedActivationFunction": _ACTIVATIONS[name]}

    def require_shape(self, node: Node) -> None:
        """Refuses a node that gives its operand another shape, which the format's operator cannot."""
        x, y = self.graph.type(node.inputs["x"]).shape, self.graph.type(node.outputs[0]).shape
        if x != y:
            raise CompileError(node.origin or node.name, f"turns {x} into {y}", "put a RESHAPE after it")

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

    def window_fields(self, window: Window, padding: int) -> dict[str, Any]:
        """Padding and stride, as options of convolutions and pools name them."""
        return {"Padding": padding, "StrideH": window.stride[0], "StrideW": window.stride[1]}

    def convolution_fields(self, window: Window, padding: int) -> dict[str, Any]:
        return {**self.window_fields(window, padding), "DilationHFactor": window.dilation[0], "DilationWFactor": window.dilation[1]}

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

    def intermediate(self, name: str, kind: str, inputs: Sequence[int], type_: TensorType, op: Op, **fields: Any) -> int:
        """One of several operators that make a node; returns its result."""
        assert op.tflite is not None
        y = self.tensor(name, type_)
        self.operators.append(_Operator(kind, op.tflite.operators[kind], tuple(inputs), (y,), op.tflite.options(kind)[0], fields))
        return y

    def border(self, name: str, x: int, type_: TensorType, pad: tuple[int, int, int, int], value: int) -> int:
        """A PAD operator in front of another one; returns its result."""
        n, h, w, c = type_.shape
        result = TensorType((n, h + pad[0] + pad[2], w + pad[1] + pad[3], c), type_.dtype, type_.quantization)
        kind, inputs, table = self.padding(name, x, result, pad, value)
        assert Pad.tflite is not None
        y = self.tensor(name, result)
        self.operators.append(_Operator(kind, Pad.tflite.operators[kind], inputs, (y,), table, {}))
        return y

    def padding(self, name: str, x: int, result: TensorType, pad: tuple[int, int, int, int], value: int) -> tuple[str, tuple[int, ...], str]:
        """(operator, inputs, options): PAD fills with the zero point, PADV2 with any value."""
        top, left, bottom, right = pad
        amounts = self.indices(f"{name}/paddings", (0, 0, top, bottom, left, right, 0, 0), (4, 2))
        if value == result.zero_point:
            return "PAD", (x, amounts), "PadOptions"
        filler = self.tensor(f"{name}/value", TensorType((1,), "int8", result.quantization), np.array([value], np.int8))
        return "PADV2", (x, amounts, filler), "PadV2Options"


# -- flatbuffer ---------------------------------------------------------------------------------------
def _serialise(w: TFLiteWriter) -> bytes:
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
        "IsVariable": t.variable,
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
