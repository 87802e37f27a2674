"""TensorFlow Lite flatbuffers (full INT8) to Graph.

Known oddities that are accepted: a batch of -1 in shape_signature, RESHAPE without options, a bias whose
quantized_dimension is out of range, FLOAT32 inputs and outputs behind QUANTIZE and DEQUANTIZE (the graph is the INT8
core between them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.operator import Op, reads_tflite
from ..ir.types import TensorType
from ..ops._window import Window, same_padding
from .build import QUANTIZE_HINT, GraphBuilder, checked_quantization
from .limits import RANK, check_size, checked_window
from .names import layer_name
from .tflite_file import Operator, Tensor, read
from .tflite_variables import Variables, initial_values

_ACTIVATIONS = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6"}


def load(data: bytes, name: str, origin: str) -> Graph:
    """Read a model. Raises CompileError for anything that is not a well-formed, fully quantised INT8 model."""
    file = read(data, origin)
    try:
        return TFLiteReader(name, origin, file.operators, file.once).convert(file.inputs, file.outputs)
    except CompileError as error:
        raise CompileError(f"{origin}: {error.where}", error.what, error.hint) from None


class TFLiteReader:
    """Turns operators, in file order, into nodes. The public methods below `convert` are for the operators' `read_tflite`."""

    def __init__(self, name: str, origin: str, operators: list[Operator], once: list[Operator]) -> None:
        self.b = GraphBuilder(name, origin)
        self.operators = operators
        self.producer = {t.index: op for op in operators for t in op.outputs}
        self.known: dict[int, str] = {}
        self.entries: set[int] = set()
        """What the caller makes of FLOAT32 inputs."""
        self.counts: dict[str, int] = {}
        self.variables = Variables(initial_values(once))

    # -- the whole graph ------------------------------------------------------------------------------
    def convert(self, inputs: list[Tensor], outputs: list[Tensor]) -> Graph:
        if not inputs or not outputs:
            raise CompileError("the graph", "has no inputs or no outputs", "export the model again")
        ends = [self._integer_end(t) for t in outputs]
        skipped = self._float_tail(outputs)
        for t in inputs:
            self._declare_input(t)
        for op in self.operators:
            if op.index not in skipped and not self._is_entry(op):
                self._convert(op)
        return self.b.finish(self.variables.finish(self, [self.value(t, "the graph's output") for t in ends]))

    def _integer_end(self, t: Tensor) -> Tensor:
        """The INT8 tensor behind a float output."""
        seen: set[int] = set()
        while t.dtype == "FLOAT32":
            op = self.producer.get(t.index)
            if op is None or not op.inputs or op.inputs[0] is None or t.index in seen:
                raise CompileError(t.where, "the model computes in FLOAT32", QUANTIZE_HINT)
            seen.add(t.index)
            t = op.inputs[0]
        return t

    def _float_tail(self, outputs: list[Tensor]) -> set[int]:
        """Operators after the INT8 core: DEQUANTIZE and what follows it."""
        tail: set[int] = set()
        for t in outputs:
            while t.dtype == "FLOAT32":
                op = self.producer[t.index]
                if op.kind != "DEQUANTIZE" and op.index not in tail:
                    self.b.notes.append(f"{op.kind} on FLOAT32 after the INT8 core is left to the caller")
                tail.add(op.index)
                assert op.inputs[0] is not None
                t = op.inputs[0]
        return tail

    def _is_entry(self, op: Operator) -> bool:
        return op.kind == "QUANTIZE" and bool(op.outputs) and op.outputs[0].index in self.entries

    def _declare_input(self, t: Tensor) -> None:
        core = t
        if t.dtype == "FLOAT32":
            users = [op for op in self.operators if any(i is not None and i.index == t.index for i in op.inputs)]
            if len(users) != 1 or users[0].kind != "QUANTIZE" or not users[0].outputs:
                raise CompileError(t.where, "the model computes in FLOAT32", QUANTIZE_HINT)
            core = users[0].outputs[0]
            self.b.notes.append("the FLOAT32 input is quantised by the caller (the scale is in the manifest)")
            self.entries.add(core.index)
        if core.index in self.known:
            raise CompileError(t.where, "is an input twice", "export the model again")
        self.known[core.index] = self.b.input(self.activation_type(core), t.name)

    # -- values ---------------------------------------------------------------------------------------
    def value(self, t: Tensor | None, where: str) -> str:
        """The graph's value of an activation of the file."""
        if t is None or t.index not in self.known:
            what = "an input is missing" if t is None else f"{t.where} is used before it is computed"
            if t is not None and t.data is not None:
                what = f"{t.where} is a constant where an activation is expected"
                raise CompileError(where, what, "only weights, biases, paddings and axes may be constant")
            raise CompileError(where, what, "export the model again")
        return self.known[t.index]

    def shape(self, t: Tensor) -> tuple[int, ...]:
        """The shape in the graph, with a batch of 1 in front."""
        shape = (1, *t.shape[1:]) if t.shape and t.shape[0] in (-1, 0) else t.shape
        if self.rows_first(t):  # no batch axis
            shape = (1, *shape)
        if not shape or any(d < 1 for d in shape):
            raise CompileError(t.where, f"dynamic shape {t.shape}", "export the model with fixed shapes and a batch of 1")
        check_size(t.where, shape)
        return shape

    def rows_first(self, t: Tensor) -> bool:
        """Whether the tensor lacks a batch axis, as after RESHAPE to [rows, depth]: the graph puts one in front."""
        return bool(t.shape) and t.shape[0] > 1

    def activation_type(self, t: Tensor) -> TensorType:
        """The type in the graph of an int8 tensor with one scale."""
        if t.dtype != "INT8":
            raise CompileError(t.where, f"has type {t.dtype}; only INT8 activations are supported", QUANTIZE_HINT)
        quantization = checked_quantization(t.where, t.scales, t.zero_points, None)
        if len(quantization.scale) != 1:
            raise CompileError(t.where, "an activation with one scale a channel", "export the model again")
        return TensorType(self.shape(t), "int8", quantization)

    def name(self, op: Operator, kind: str, result: int = 0) -> str:
        """A name for the node of an operator: the layer's in the file, or the kind with a number."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        weights = [i.name for i in op.inputs[1:] if i is not None and i.data is not None]
        return self.b.unique(layer_name([*weights, op.outputs[result].name], f"{kind}_{self.counts[kind]}"))

    def weights(
        self, op: Operator, name: str, channels: int, layout: Callable[[NDArray[Any]], NDArray[Any]] = lambda d: d, axis: int = 0
    ) -> dict[str, str]:
        """Constants of a layer: weights in the layout of the operator, and a bias (zeros where there is none)."""
        w = op.inputs[1]
        if w is None or w.data is None or w.dtype != "INT8":
            raise CompileError(op.where, "needs constant INT8 weights", QUANTIZE_HINT)
        q = checked_quantization(w.where, w.scales, w.zero_points, axis)
        if q.zero_point != 0:
            raise CompileError(w.where, f"weights have zero point {q.zero_point}", "export with symmetric weights")
        if len(q.scale) not in (1, channels):
            raise CompileError(w.where, f"{len(q.scale)} scales for {channels} channels", "export the model again")
        bias = op.inputs[2] if len(op.inputs) > 2 else None
        data = np.zeros(channels, np.int32)
        if bias is not None:
            if bias.data is None or bias.dtype != "INT32" or bias.data.size != channels:
                raise CompileError(op.where, f"needs a constant INT32 bias of {channels} values", "export the model again")
            data = bias.data.reshape(-1)
        return {
            "weights": self.b.constant(f"{name}.weights", layout(w.data), q, w.name),
            "bias": self.b.constant(f"{name}.bias", data, None, bias.name if bias else ""),
        }

    def constant(self, op: Operator, position: int) -> NDArray[Any]:
        """The data of an input that must be constant."""
        t = op.input(position)
        if t is None or t.data is None:
            raise CompileError(op.where, f"input {position} must be a constant", "export the model with fixed shapes")
        return t.data

    def integers(self, op: Operator, position: int) -> list[int]:
        """Axes, amounts and permutations."""
        data = self.constant(op, position)
        if data.dtype.kind != "i" or data.size > 2 * RANK:
            raise CompileError(op.where, f"input {position} is a {data.dtype} of shape {data.shape}", "export the model again")
        return [int(i) for i in data.ravel()]

    # -- operators ------------------------------------------------------------------------------------
    def _convert(self, op: Operator) -> None:
        bound = reads_tflite()
        if op.kind not in bound:
            raise CompileError(op.where, f"operator {op.kind} is not supported", f"supported are {', '.join(sorted(bound))}")
        binding = bound[op.kind].tflite
        if len(op.outputs) != 1 and binding is not None and op.kind not in binding.several:
            raise CompileError(op.where, f"has {len(op.outputs)} results", "export the model again")
        for i, t in enumerate(op.outputs):
            if t.index in self.known or t.data is not None or any(t is other for other in op.outputs[:i]):
                raise CompileError(op.where, f"its result {t.where} is computed twice, or a constant", "export the model again")
        bound[op.kind].read_tflite(self, op)

    def emit(self, op: Operator, node: Op, inputs: Mapping[str, str] | None = None, label: str = "", name: str = "") -> None:
        """Add the node of an operator with one result. Its operand x is the file's first input; inputs: the values of the others.

        label: what nodes without a name in the file are called and numbered by, the mnemonic where it is left out; name: the name itself.
        """
        name = name or self.name(op, label or node.mnemonic)
        operands = {"x": self.value(op.input(0), op.where), **(inputs or {})}
        self.known[op.outputs[0].index] = self.b.node(name, node, operands, self.activation_type(op.outputs[0]), op.where)

    def elementwise(self, op: Operator, kind: type[Op]) -> None:
        """Add the node of an operator whose inputs are its operands, in this order; its attribute `activation` is the fused activation."""
        first, *others = kind.operands
        assert first == "x", f"{kind.mnemonic}: the first operand is called x"
        inputs = {name: self.value(op.input(i), op.where) for i, name in enumerate(others, 1)}
        attributes = {"activation": self.activation(op)} if "activation" in kind.__dataclass_fields__ else {}
        self.emit(op, kind(**attributes), inputs)

    def options(self, op: Operator) -> Mapping[str, Any]:
        """The `fields` of the operator's binding, as the file has them."""
        if op.options is None:
            raise CompileError(op.where, "its options are missing", "export the model again")
        return op.options

    def activation(self, op: Operator) -> str:
        """The fused activation: "none", "relu", "relu6", "relu_n1_to_1"."""
        code = self.options(op)["FusedActivationFunction"]
        if code not in _ACTIVATIONS:
            raise CompileError(op.where, f"fused activation {code} is not supported", "use none, RELU, RELU6 or RELU_N1_TO_1")
        return _ACTIVATIONS[code]

    def image(self, op: Operator) -> tuple[int, ...]:
        """The shape [1, H, W, C] of an operator's input."""
        x = op.input(0)
        if x is None or len(x.shape) != 4:
            raise CompileError(op.where, "needs a 4-dimensional input", "export the model again")
        if self.rows_first(x):
            raise CompileError(op.where, f"a leading axis of {x.shape[0]}", "export the model with a batch of 1")
        return self.shape(x)

    def check_size(self, op: Operator, shape: tuple[int, ...]) -> None:
        """Refuses a tensor without elements, or with more than any microcontroller holds."""
        check_size(op.where, shape)

    def window(self, op: Operator, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Window:
        """The window of a convolution or pool, with the stride and padding of its options."""
        o, image = self.options(op), self.image(op)
        stride = (o["StrideH"], o["StrideW"])
        if min(*stride, *kernel, *dilation) < 1:
            raise CompileError(op.where, f"kernel {kernel}, stride {stride}, dilation {dilation}", "export the model again")
        if o["Padding"] not in (tflite.Padding.SAME, tflite.Padding.VALID):
            raise CompileError(op.where, f"padding {o['Padding']} is not supported", "use SAME or VALID")
        pad = (0, 0, 0, 0)
        if o["Padding"] == tflite.Padding.SAME:
            top, bottom = same_padding(image[1], kernel[0], stride[0], dilation[0])
            left, right = same_padding(image[2], kernel[1], stride[1], dilation[1])
            pad = (top, left, bottom, right)
        return checked_window(op.where, Window(kernel, stride, pad, dilation), image)

    def convolution_window(self, op: Operator, w: NDArray[Any]) -> Window:
        """The window that weights [.., KH, KW, ..] slide over."""
        if w.ndim != 4 or w.size == 0:
            raise CompileError(op.where, f"weights of shape {w.shape}", "export the model again")
        o = self.options(op)
        return self.window(op, (w.shape[1], w.shape[2]), (o["DilationHFactor"], o["DilationWFactor"]))
