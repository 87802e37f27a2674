"""Graph to ONNX in QDQ form: the inverse of `frontend/onnx.py`, for inference graphs.

Every operator stands between DequantizeLinear and QuantizeLinear. Interface and shapes are the graph's (channels last); windows run channels
first, as ONNX has them, with a Transpose of the int8 tensor where the order changes. Runtimes that compute in float round otherwise than
TensorFlow Lite Micro, by a step here and there; `frontend/onnx.py` reads the file back to the same integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..errors import CompileError
from ..ir.graph import STREAM, Graph, Node
from ..ir.types import TensorType
from ..ir.verify import verify
from ..ops._window import Window
from ..ops.model.embedding import tokens_of

OPSET, IR_VERSION = 13, 8
_IR_VERSIONS = {18: 9, 21: 10}
"""From these opsets on."""
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_ELEMENTS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
"""Of inputs and outputs."""
_SINCE = {"HardSwish": 14, "LayerNormalization": 17, "Gelu": 20}
"""Opsets of operators that are later than the others."""
INT16_SINCE = 21
"""The opset from which QuantizeLinear and DequantizeLinear have int16."""
AXES_AS_INPUT = 18
"""The opset from which ReduceMean has its axes as an input."""
_CLIPS = {"relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}


def write(graph: Graph) -> bytes:
    """The model as an .onnx file. Raises CompileError for what the format cannot hold."""
    verify(graph)
    writer = OnnxWriter(graph)
    for name in (*graph.inputs, *graph.outputs):
        if graph.type(name).dtype not in _ELEMENTS:
            hint = "only inference graphs can be written" if name not in (*graph.model_inputs, *graph.outputs) else "write a .tflite file"
            raise CompileError(name, f"is an input or output of type {graph.type(name).dtype}", hint)
    for name in graph.inputs:
        writer.order[name] = "last"
    for node in graph.nodes:
        if node.phase == "forward" and node.op.onnx is None and node.op.tflite is not None:
            what = f"{node.op.mnemonic.upper()} has no counterpart with scales in .onnx files"
            raise CompileError(node.origin or node.name, what, "write a .tflite file")
        if node.phase != "forward" or node.op.onnx is None or set(node.inputs) - set(node.op.required(node.inputs)) - set(node.op.kept):
            what = f"{node.op.mnemonic.upper()} with {', '.join(node.inputs)} belongs to training"
            raise CompileError(node.origin or node.name, what, "write the base model, or merge what was trained first")
        node.op.write_onnx(writer, node)
    return writer.finished()


@dataclass
class OnnxWriter:
    """Collects nodes and initialisers. A value of the graph is an int8 tensor; `order` says which order of axes its own name has."""

    graph: Graph
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    order: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    opset: int = OPSET

    def finished(self) -> bytes:
        def port(name: str) -> Any:
            element = TensorProto.INT64 if name in tokens else _ELEMENTS[self.graph.type(name).dtype]
            return helper.make_tensor_value_info(name, element, self.graph.type(name).shape)

        tokens = tokens_of(self.graph)

        outputs = [self.last(name) for name in self.graph.outputs]
        renamed = dict(zip(outputs, self.graph.outputs, strict=True))
        renamed |= {name: f"{name}/first" for last, name in zip(outputs, self.graph.outputs, strict=True) if last != name}
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(n, n) for n in names]
        if self.opset >= AXES_AS_INPUT:
            self._axes_as_inputs()
        ports = [port(n) for n in self.graph.inputs], [port(n) for n in self.graph.outputs]
        body = helper.make_graph(self.nodes, self.graph.name, *ports, list(self.constants.values()))
        version = max((v for since, v in _IR_VERSIONS.items() if self.opset >= since), default=IR_VERSION)
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="kilotune", ir_version=version)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def _axes_as_inputs(self) -> None:
        for node in self.nodes:
            axes = next((a for a in node.attribute if a.name == "axes"), None)
            if node.op_type == "ReduceMean" and axes is not None:
                node.input.append(self.integers(f"{node.output[0]}/axes", axes.ints))
                node.attribute.remove(axes)

    # -- tensors --------------------------------------------------------------------------------------
    def constant(self, name: str, data: NDArray[Any]) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(data, order="C"), name)
        return name

    def emit(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.opset = max(self.opset, _SINCE.get(kind, OPSET))
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}/{kind}", **attributes))
        return output

    def scale(self, name: str, type_: TensorType) -> list[str]:
        """Scale and zero point of an activation."""
        self.opset = max(self.opset, INT16_SINCE if type_.dtype == "int16" else OPSET)
        scale = self.constant(f"{name}/scale", np.array(type_.scale, np.float32))
        return [scale, self.constant(f"{name}/zero_point", np.array(type_.zero_point, type_.dtype))]

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
        if self.graph.values[name].kind == STREAM:
            what = f"reads {name}, kept from call to call, for which .onnx files have no operator"
            raise CompileError(node.origin or node.name, what, "keep the file that it was read from")
        if name not in self.order:
            raise CompileError(node.origin or node.name, f"{name} is a constant where an activation is expected", "fold constants first")
        return name

    def operand_or_constant(self, node: Node, operand: str) -> str:
        """The int8 tensor of an operand, channels last; a constant is written down."""
        name = node.inputs[operand]
        value = self.graph.values[name]
        if value.kind != "constant" or value.data is None:
            return self.last(self.operand(node, operand))
        return self.constant(f"{node.name}/{operand}", value.data)

    def integers(self, name: str, values: Iterable[int]) -> str:
        return self.constant(name, np.array([int(v) for v in values], np.int64))

    def moved(self, node: Node, tensor: str) -> None:
        """A result whose codes are those of the operands: `tensor` is the value, channels last."""
        self.emit("Identity", [tensor], node.outputs[0])
        self.order[node.outputs[0]] = "last"

    def real(self, node: Node, name: str, tensor: str) -> str:
        """DequantizeLinear in front of a node, one for a value that is read twice; tensor: the value in the order that the node wants."""
        output = f"{node.name}/{tensor}"
        if output not in self.known:
            self.known.add(output)
            self.emit("DequantizeLinear", [tensor, *self.scale(name, self.graph.type(name))], output)
        return output

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

    # -- operators ------------------------------------------------------------------------------------
    def elementwise(self, node: Node, kind: str = "") -> None:
        """An operator whose inputs are its operands, in this order and all in the order of axes that the first has; its attribute `activation`
        becomes the clamp behind it. kind: what the format calls it, where that is not the first name of its binding."""
        assert node.op.onnx is not None
        names = [node.inputs[operand] for operand in node.op.operands]
        shapes, constant = {self.graph.type(name).shape for name in names}, any(self.graph.values[name].kind == "constant" for name in names)
        order = "last" if len(shapes) > 1 or constant else self.order[self.operand(node)]
        reals = []
        for operand, name in zip(node.op.operands, names, strict=True):
            tensor = self.operand_or_constant(node, operand) if order == "last" else self._ordered(self.operand(node, operand), order)
            reals.append(self.real(node, name, tensor))
        kind = kind or node.op.onnx.operators[0]
        real = self.emit(kind, reals, f"{node.name}/{kind.lower()}")
        self.result(node, real, order, getattr(node.op, "activation", "none"))

    def embedded(self, node: Node) -> None:
        """Gather of a dequantised table's rows by an input, which holds the numbers of tokens."""
        table, name = self.graph.values[node.inputs["table"]], node.inputs["x"]
        if table.data is None or name not in self.graph.inputs:
            raise CompileError(node.origin or node.name, f"chooses rows by {name}, which is computed", "keep the file that it was read from")
        inputs = [self.constant(f"{node.name}/table", table.data), *self.scale(f"{node.name}/table", table.type)]
        real = self.emit("DequantizeLinear", inputs, f"{node.name}/table/real")
        self.result(node, self.emit("Gather", [real, name], f"{node.name}/rows", axis=0), "last")

    def window_attributes(self, window: Window) -> dict[str, Any]:
        return {"kernel_shape": window.kernel, "strides": window.stride, "pads": window.pad}

    def convolution(self, node: Node, window: Window, activation: str, axes: tuple[int, ...], group: int) -> None:
        """Conv. axes: the order of the weights' axes that has the output channels in front and the window behind."""
        x = self.operand(node)
        inputs = [self.real(node, x, self.first(x)), *self.weights(node, lambda data: data.transpose(axes))]
        attributes = {**self.window_attributes(window), "dilations": window.dilation, "group": group}
        self.result(node, self.emit("Conv", inputs, f"{node.name}/conv", **attributes), "first", activation)

    def reshaped(self, node: Node, real: str, shape: tuple[int, ...]) -> str:
        """What a node computed, in another shape."""
        return self.emit("Reshape", [real, self.constant(f"{node.name}/shape", np.array(shape, np.int64))], f"{node.name}/shaped")
