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
from ..ir.types import TensorType
from ..ops._window import Window, same_padding
from ..ops.model.add import Add
from ..ops.model.average_pool_2d import AveragePool2D
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
from .build import QUANTIZE_HINT, GraphBuilder, checked_quantization
from .limits import RANK, check_size, checked_window
from .names import layer_name
from .tflite_file import Operator, Tensor, read

_ACTIVATIONS = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6"}

def load(data: bytes, name: str, origin: str) -> Graph:
    """Read a model. Raises CompileError for anything that is not a well-formed, fully quantised INT8 model."""
    file = read(data, origin)
    try:
        return _Converter(name, origin, file.operators).convert(file.inputs, file.outputs)
    except CompileError as error:
        raise CompileError(f"{origin}: {error.where}", error.what, error.hint) from None


class _Converter:
    """Turns operators, in file order, into nodes."""

    def __init__(self, name: str, origin: str, operators: list[Operator]) -> None:
        self.b = GraphBuilder(name, origin)
        self.operators = operators
        self.producer = {t.index: op for op in operators for t in op.outputs}
        self.known: dict[int, str] = {}
        self.entries: set[int] = set()
        """What the caller makes of FLOAT32 inputs."""
        self.counts: dict[str, int] = {}

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
        return self.b.finish([self._value(t, "the graph's output") for t in ends])

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
        self.known[core.index] = self.b.input(self._activation_type(core), t.name)

    # -- values ---------------------------------------------------------------------------------------
    def _value(self, t: Tensor | None, where: str) -> str:
        if t is None or t.index not in self.known:
            what = "an input is missing" if t is None else f"{t.where} is used before it is computed"
            if t is not None and t.data is not None:
                what = f"{t.where} is a constant where an activation is expected"
                raise CompileError(where, what, "only weights, biases, paddings and axes may be constant")
            raise CompileError(where, what, "export the model again")
        return self.known[t.index]

    def _shape(self, t: Tensor) -> tuple[int, ...]:
        shape = (1, *t.shape[1:]) if t.shape and t.shape[0] in (-1, 0) else t.shape
        if self._rows_first(t):  # no batch axis
            shape = (1, *shape)
        if not shape or any(d < 1 for d in shape):
            raise CompileError(t.where, f"dynamic shape {t.shape}", "export the model with fixed shapes and a batch of 1")
        if len(shape) == 4 and shape[0] != 1:
            raise CompileError(t.where, f"a leading axis of {shape[0]}", "export the model with a batch of 1")
        check_size(t.where, shape)
        return shape

    def _rows_first(self, t: Tensor) -> bool:
        """Whether the tensor lacks a batch axis, as after RESHAPE to [rows, depth]: the graph puts one in front."""
        return bool(t.shape) and len(t.shape) < 4 and t.shape[0] > 1

    def _activation_type(self, t: Tensor) -> TensorType:
        if t.dtype != "INT8":
            raise CompileError(t.where, f"has type {t.dtype}; only INT8 activations are supported", QUANTIZE_HINT)
        quantization = checked_quantization(t.where, t.scales, t.zero_points, None)
        if len(quantization.scale) != 1:
            raise CompileError(t.where, "an activation with one scale a channel", "export the model again")
        return TensorType(self._shape(t), "int8", quantization)

    def _name(self, op: Operator, kind: str) -> str:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        weights = [i.name for i in op.inputs[1:] if i is not None and i.data is not None]
        return self.b.unique(layer_name([*weights, op.outputs[0].name], f"{kind}_{self.counts[kind]}"))

    def _weights(
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

    def _constant(self, op: Operator, position: int) -> NDArray[Any]:
        t = op.input(position)
        if t is None or t.data is None:
            raise CompileError(op.where, f"input {position} must be a constant", "export the model with fixed shapes")
        return t.data

    def _integers(self, op: Operator, position: int) -> list[int]:
        """Axes, amounts and permutations."""
        data = self._constant(op, position)
        if data.dtype.kind != "i" or data.size > 2 * RANK:
            raise CompileError(op.where, f"input {position} is a {data.dtype} of shape {data.shape}", "export the model again")
        return [int(i) for i in data.ravel()]

    # -- operators ------------------------------------------------------------------------------------
    def _convert(self, op: Operator) -> None:
        if op.kind not in _OPERATORS:
            raise CompileError(op.where, f"operator {op.kind} is not supported", f"supported are {', '.join(sorted(_OPERATORS))}")
        if len(op.outputs) != 1:
            raise CompileError(op.where, f"has {len(op.outputs)} results", "export the model again")
        if op.outputs[0].index in self.known or op.outputs[0].data is not None:
            raise CompileError(op.where, f"its result {op.outputs[0].where} is computed twice, or a constant", "export the model again")
        _OPERATORS[op.kind](self, op)

    def _emit(self, op: Operator, kind: str, node: Any, inputs: dict[str, str] | None = None, name: str = "") -> None:
        name = name or self._name(op, kind)
        operands = {"x": self._value(op.input(0), op.where), **(inputs or {})}
        self.known[op.outputs[0].index] = self.b.node(name, node, operands, self._activation_type(op.outputs[0]), op.where)

    def _options(self, op: Operator) -> Mapping[str, Any]:
        if op.options is None:
            raise CompileError(op.where, "its options are missing", "export the model again")
        return op.options

    def _activation(self, op: Operator) -> str:
        code = self._options(op)["FusedActivationFunction"]
        if code not in _ACTIVATIONS:
            raise CompileError(op.where, f"fused activation {code} is not supported", "use none, RELU, RELU6 or RELU_N1_TO_1")
        return _ACTIVATIONS[code]

    def _image(self, op: Operator) -> tuple[int, ...]:
        """The shape [1, H, W, C] of an operator's input."""
        x = op.input(0)
        if x is None or len(x.shape) != 4:
            raise CompileError(op.where, "needs a 4-dimensional input", "export the model again")
        return self._shape(x)

    def _window(self, op: Operator, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Window:
        o, image = self._options(op), self._image(op)
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

    def _convolution_window(self, op: Operator, w: NDArray[Any]) -> Window:
        if w.ndim != 4 or w.size == 0:
            raise CompileError(op.where, f"weights of shape {w.shape}", "export the model again")
        o = self._options(op)
        return self._window(op, (w.shape[1], w.shape[2]), (o["DilationHFactor"], o["DilationWFactor"]))

    def _conv_2d(self, op: Operator) -> None:
        w = self._constant(op, 1)
        window, activation, name = self._convolution_window(op, w), self._activation(op), self._name(op, "conv")
        self._emit(op, "conv", Conv2D(activation=activation, window=window), self._weights(op, name, w.shape[0]), name)

    def _depthwise_conv_2d(self, op: Operator) -> None:
        w = self._constant(op, 1)
        window, activation, name = self._convolution_window(op, w), self._activation(op), self._name(op, "depthwise")
        if self._image(op)[3] == 1:  # one input channel: an ordinary convolution
            constants = self._weights(op, name, w.shape[3], lambda d: d.transpose(3, 1, 2, 0))
            self._emit(op, "depthwise", Conv2D(activation=activation, window=window), constants, name)
            return
        constants = self._weights(op, name, w.shape[3], axis=3)
        self._emit(op, "depthwise", DepthwiseConv2D(window, activation), constants, name)

    def _fully_connected(self, op: Operator) -> None:
        w, layout = self._constant(op, 1), self._options(op)["WeightsFormat"]
        if w.ndim != 2 or w.size == 0 or layout != 0:
            raise CompileError(op.where, f"weights of shape {w.shape} in format {layout}", "export with default weights")
        name = self._name(op, "fc")
        self._emit(op, "fc", FullyConnected(activation=self._activation(op)), self._weights(op, name, w.shape[0]), name)

    def _add(self, op: Operator) -> None:
        other = {"other": self._value(op.input(1), op.where)}
        self._emit(op, "add", Add(activation=self._activation(op)), other)

    def _pool(self, op: Operator, kind: str, cls: type[AveragePool2D] | type[MaxPool2D]) -> None:
        o = self._options(op)
        window = self._window(op, (o["FilterHeight"], o["FilterWidth"]))
        self._emit(op, kind, cls(window, self._activation(op)))

    def _average_pool_2d(self, op: Operator) -> None:
        self._pool(op, "average_pool", AveragePool2D)

    def _max_pool_2d(self, op: Operator) -> None:
        self._pool(op, "max_pool", MaxPool2D)

    def _mean(self, op: Operator) -> None:
        x = op.input(0)
        if x is None or not x.shape:
            raise CompileError(op.where, "needs an input with axes", "export the model again")
        rank, given = len(x.shape), self._integers(op, 1)
        if not given or any(not -rank <= a < rank for a in given):
            raise CompileError(op.where, f"reduces axes {given} of {rank}", "export the model again")
        self._emit(op, "mean", Mean(tuple(sorted({a % rank + self._rows_first(x) for a in given}))))

    def _pad(self, op: Operator) -> None:
        x, given = op.input(0), self._integers(op, 1)
        amounts = [given[i : i + 2] for i in range(0, len(given), 2)]
        if x is None or len(given) != 8 or any(amounts[0]) or any(amounts[3]) or min(given) < 0:
            raise CompileError(op.where, f"pads {amounts}; only height and width of NHWC are supported", "pad in the convolution")
        height, width = self._image(op)[1:3]
        (top, bottom), (left, right) = amounts[1], amounts[2]
        check_size(op.where, (1, height + top + bottom, width + left + right, self._image(op)[3]))
        self._emit(op, "pad", Pad((top, left, bottom, right), self._fill(op, x)))

    def _fill(self, op: Operator, x: Tensor) -> int:
        """The code that a border holds: one of the input's scale."""
        zero = self._activation_type(x).zero_point
        if op.input(2) is None:
            return zero
        value = self._constant(op, 2)
        if value.size != 1 or value.dtype != np.int8:
            raise CompileError(op.where, f"pads with a {value.dtype} of shape {value.shape}", "pad with one int8 value")
        return int(value.ravel()[0])

    def _reshape(self, op: Operator) -> None:
        self._emit(op, "reshape", Reshape(self._shape(op.outputs[0])))

    def _softmax(self, op: Operator) -> None:
        self._emit(op, "softmax", Softmax(float(self._options(op)["Beta"])))

    def _quantize(self, op: Operator) -> None:
        self._emit(op, "quantize", Requantize())

    def _relu(self, op: Operator) -> None:
        self._emit(op, "relu", Requantize("relu"))

    def _relu6(self, op: Operator) -> None:
        """TensorFlow Lite Micro clamps in the input's scale and ignores the result's: LiteRT computes something else."""
        x = op.input(0)
        if x is not None and self._activation_type(x).quantization != self._activation_type(op.outputs[0]).quantization:
            what = "input and result have different scales, for which TensorFlow Lite Micro computes something else than LiteRT"
            raise CompileError(op.where, what, "fuse it into the layer before it, or export with one scale")
        self._emit(op, "relu6", Requantize("relu6"))

    def _relu_n1_to_1(self, op: Operator) -> None:
        self._emit(op, "relu_n1_to_1", Requantize("relu_n1_to_1"))

    def _transpose(self, op: Operator) -> None:
        x, permutation = op.input(0), tuple(self._integers(op, 1))
        if x is None or sorted(permutation) != list(range(len(x.shape))) or not permutation:
            raise CompileError(op.where, f"permutation {permutation} does not fit its input", "export the model again")
        if self._rows_first(x):
            permutation = (0, *(p + 1 for p in permutation))
        self._emit(op, "transpose", Transpose(permutation))


_OPERATORS: dict[str, Callable[[_Converter, Operator], None]] = {
    "ADD": _Converter._add,
    "AVERAGE_POOL_2D": _Converter._average_pool_2d,
    "CONV_2D": _Converter._conv_2d,
    "DEPTHWISE_CONV_2D": _Converter._depthwise_conv_2d,
    "EXPAND_DIMS": _Converter._reshape,
    "FULLY_CONNECTED": _Converter._fully_connected,
    "MAX_POOL_2D": _Converter._max_pool_2d,
    "MEAN": _Converter._mean,
    "PAD": _Converter._pad,
    "PADV2": _Converter._pad,
    "QUANTIZE": _Converter._quantize,
    "RELU": _Converter._relu,
    "RELU6": _Converter._relu6,
    "RELU_N1_TO_1": _Converter._relu_n1_to_1,
    "RESHAPE": _Converter._reshape,
    "SOFTMAX": _Converter._softmax,
    "SQUEEZE": _Converter._reshape,
    "TRANSPOSE": _Converter._transpose,
}
"""What is supported, by the name of the operator in the file."""
