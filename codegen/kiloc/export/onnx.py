"""Graph to ONNX in QDQ form: the inverse of `frontend/onnx.py`, for inference graphs.

Every operator stands between DequantizeLinear and QuantizeLinear. Interface and shapes are the graph's (channels last); windows run channels
first, as ONNX has them, with a Transpose of the int8 tensor where the order changes. Runtimes that compute in float round otherwise than
TensorFlow Lite Micro, by a step here and there; `frontend/onnx.py` reads the file back to the same integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ir.types import TensorType
from ..ir.verify import verify
from ..ops._window import Window
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

OPSET, IR_VERSION = 13, 8
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_CLIPS = {"relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}


def write(graph: Graph) -> bytes:
    """The model as an .onnx file. Raises CompileError for what the format cannot hold."""
    verify(graph)
    writer = _Writer(graph)
    for name in graph.inputs:
        if graph.type(name).dtype != "int8":
            raise CompileError(name, f"is an input of type {graph.type(name).dtype}", "only inference graphs can be written")
        writer.order[name] = "last"
    for node in graph.nodes:
        method = _METHODS.get(type(node.op))
        if node.phase != "forward" or method is None or set(node.inputs) - set(node.op.operands):
            what = f"{node.op.mnemonic.upper()} with {', '.join(node.inputs)} belongs to training"
            raise CompileError(node.origin or node.name, what, "write the base model, or merge what was trained first")
        method(writer, node)
    return writer.finished()


@dataclass
class _Writer:
    """Collects nodes and initialisers. A value of the graph is an int8 tensor; `order` says which order of axes its own name has."""

    graph: Graph
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    order: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def finished(self) -> bytes:
        def port(name: str) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.INT8, self.graph.type(name).shape)

        outputs = [self.last(name) for name in self.graph.outputs]
        renamed = dict(zip(outputs, self.graph.outputs, strict=True))
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(n, n) for n in names]
        ports = [port(n) for n in self.graph.inputs], [port(n) for n in self.graph.outputs]
        body = helper.make_graph(self.nodes, self.graph.name, *ports, list(self.constants.values()))
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="kilotune", ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    # -- tensors --------------------------------------------------------------------------------------
    def constant(self, name: str, data: NDArray[Any]) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(data, order="C"), name)
        return name

    def emit(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}/{kind}", **attributes))
        return output

    def scale(self, name: str, type_: TensorType) -> list[str]:
        """Scale and zero point of an activation."""
        scale = self.constant(f"{name}/scale", np.array(type_.scale, np.float32))
        return [scale, self.constant(f"{name}/zero_point", np.array(type_.zero_point, np.int8))]

    def _ordered(self, name: str, order: str) -> str:
        """The int8 tensor of a value with its channels first or last."""
        if len(self.graph.type(name).shape) != 4 or self.order[name] == order:
            return name
        other = f"{name}/channels_{order}"
        if other not in self.known:
            self.known.add(other)
            self.emit("Transpose", [name], other, perm=TO_FIRST if order == "first" else TO_LAST)
        return other

    def first(self, name: str) -> str:
        return self._ordered(name, "first")

    def last(self, name: str) -> str:
        return self._ordered(name, "last")

    def operand(self, node: Node, operand: str = "x") -> str:
        name = node.inputs[operand]
        if name not in self.order:
            raise CompileError(node.origin or node.name, f"{name} is a constant where an activation is expected", "fold constants first")
        return name

    def real(self, node: Node, name: str, tensor: str) -> str:
        """DequantizeLinear in front of a node; tensor: the value in the order that the node wants."""
        return self.emit("DequantizeLinear", [tensor, *self.scale(name, self.graph.type(name))], f"{node.name}/{tensor}")

    def result(self, node: Node, real: str, order: str, activation: str = "none") -> None:
        """What a node computed, clamped and quantised."""
        name = node.outputs[0]
        if activation == "relu":
            real = self.emit("Relu", [real], f"{node.name}/relu")
        elif activation in _CLIPS:
            limits = [self.constant(f"{node.name}/{k}", np.array(v, np.float32)) for k, v in zip(("low", "high"), _CLIPS[activation], strict=True)]
            real = self.emit("Clip", [real, *limits], f"{node.name}/clip")
        self.emit("QuantizeLinear", [real, *self.scale(name, self.graph.type(name))], name)
        self.order[name] = order

    def weights(self, node: Node, arrange: Callable[[NDArray[Any]], NDArray[Any]]) -> list[str]:
        """Dequantised weights, output channels in front, and bias."""
        x, w = self.graph.type(node.inputs["x"]), self.graph.type(node.inputs["weights"])
        scales = np.array(w.channel_scales, np.float32)
        found = []
        for operand, data_scale in (("weights", scales), ("bias", np.float32(x.scale) * scales)):
            value = self.graph.values[node.inputs[operand]]
            if value.kind != "constant" or value.data is None:
                raise CompileError(node.origin or node.name, f"{value.name} is trainable", "write the base model, or merge what was trained first")
            data = arrange(value.data) if operand == "weights" else value.data
            name, along = f"{node.name}/{operand}", {} if len(scales) == 1 else {"axis": 0}
            inputs = [self.constant(name, data), self.constant(f"{name}/scale", data_scale if along else data_scale[0])]
            zero = np.zeros(len(scales) if along else (), data.dtype)
            found.append(self.emit("DequantizeLinear", [*inputs, self.constant(f"{name}/zero_point", zero)], f"{name}/real", **along))
        return found


def _window_attributes(window: Window) -> dict[str, Any]:
    return {"kernel_shape": window.kernel, "strides": window.stride, "pads": window.pad}


def _conv(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    x, depthwise = w.operand(node), isinstance(op, DepthwiseConv2D)
    axes, group = ((3, 0, 1, 2), w.graph.type(x).shape[3]) if depthwise else ((0, 3, 1, 2), 1)
    inputs = [w.real(node, x, w.first(x)), *w.weights(node, lambda data: data.transpose(axes))]
    attributes = {**_window_attributes(op.window), "dilations": op.window.dilation, "group": group}
    w.result(node, w.emit("Conv", inputs, f"{node.name}/conv", **attributes), "first", op.activation)


def _fully_connected(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, FullyConnected)
    x, y, weights = w.operand(node), node.outputs[0], w.graph.type(node.inputs["weights"])
    tensor = w.last(x)
    if len(w.graph.type(x).shape) != 2 or w.graph.type(x).shape[1] != weights.shape[1]:
        tensor = w.emit("Reshape", [tensor, w.constant(f"{node.name}/rows", np.array([-1, weights.shape[1]], np.int64))], f"{node.name}/flat")
    real = w.emit("Gemm", [w.real(node, x, tensor), *w.weights(node, lambda data: data)], f"{node.name}/gemm", transB=1)
    shape = w.graph.type(y).shape
    if len(shape) != 2:
        real = w.emit("Reshape", [real, w.constant(f"{node.name}/shape", np.array(shape, np.int64))], f"{node.name}/shaped")
    w.result(node, real, "last", op.activation)


def _add(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Add)
    x, other = w.operand(node), w.operand(node, "other")
    order = w.order[x]
    inputs = [w.real(node, x, x), w.real(node, other, w._ordered(other, order))]
    if x == other:
        inputs[1] = inputs[0]
        w.nodes.pop()
    w.result(node, w.emit("Add", inputs, f"{node.name}/sum"), order, op.activation)


def _pool(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Pool2D)
    if op.window.dilation != (1, 1):
        raise CompileError(node.origin or node.name, f"a pool with dilation {op.window.dilation}", "only pools without are written")
    x = w.operand(node)
    kind = "MaxPool" if isinstance(op, MaxPool2D) else "AveragePool"
    real = w.emit(kind, [w.real(node, x, w.first(x))], f"{node.name}/pool", **_window_attributes(op.window))
    w.result(node, real, "first", op.activation)


def _mean(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Mean)
    x, y = w.operand(node), w.graph.type(node.outputs[0]).shape
    real = w.emit("ReduceMean", [w.real(node, x, w.last(x))], f"{node.name}/mean", axes=op.axes, keepdims=0)
    dropped = tuple(d for i, d in enumerate(w.graph.type(x).shape) if i not in op.axes)
    if y != dropped:
        real = w.emit("Reshape", [real, w.constant(f"{node.name}/shape", np.array(y, np.int64))], f"{node.name}/shaped")
    w.result(node, real, "last")


def _pad(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Pad)
    x, (top, left, bottom, right) = w.operand(node), op.pad
    type_ = w.graph.type(x)
    amounts = w.constant(f"{node.name}/pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    filler = w.constant(f"{node.name}/value", np.array(np.float32(type_.scale) * (op.value - type_.zero_point), np.float32))
    w.result(node, w.emit("Pad", [w.real(node, x, w.first(x)), amounts, filler], f"{node.name}/padded"), "first")


def _requantize(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Requantize)
    x = w.operand(node)
    w.result(node, w.real(node, x, x), w.order[x], op.activation)


def _reshape(w: _Writer, node: Node) -> None:
    y = node.outputs[0]
    shape = w.constant(f"{node.name}/shape", np.array(w.graph.type(y).shape, np.int64))
    w.emit("Reshape", [w.last(w.operand(node)), shape], y)
    w.order[y] = "last"


def _softmax(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Softmax)
    if op.beta != 1:
        raise CompileError(node.origin or node.name, f"SOFTMAX with beta {op.beta}", "ONNX knows 1 only: write a .tflite file")
    x = w.operand(node)
    w.result(node, w.emit("Softmax", [w.real(node, x, w.last(x))], f"{node.name}/softmax", axis=-1), "last")


def _transpose(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, Transpose)
    w.emit("Transpose", [w.last(w.operand(node))], node.outputs[0], perm=op.permutation)
    w.order[node.outputs[0]] = "last"


_METHODS: Mapping[type, Callable[[_Writer, Node], None]] = {
    Add: _add, AveragePool2D: _pool, Conv2D: _conv, DepthwiseConv2D: _conv, FullyConnected: _fully_connected, MaxPool2D: _pool,
    Mean: _mean, Pad: _pad, Requantize: _requantize, Reshape: _reshape, Softmax: _softmax, Transpose: _transpose,
}  # fmt: skip

WRITABLE = frozenset(_METHODS)
"""The operators that the format has: every forward operator."""
