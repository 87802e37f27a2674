"""TensorFlow Lite flatbuffers (full INT8) to Graph.

Known oddities that are accepted: a batch of -1 in shape_signature, RESHAPE without options, a bias whose
quantized_dimension is out of range, FLOAT32 inputs and outputs behind QUANTIZE and DEQUANTIZE (the graph is the INT8
core between them).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
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
from .names import layer_name

_OPERATORS = {v: k for k, v in vars(tflite.BuiltinOperator).items() if not k.startswith("_")}
_TYPES = {v: k for k, v in vars(tflite.TensorType).items() if not k.startswith("_")}
_DTYPES = {"INT8": np.int8, "INT32": np.int32, "FLOAT32": np.float32, "INT64": np.int64}
_ACTIVATIONS = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6"}
_DAMAGED = (struct.error, IndexError, ValueError, TypeError, KeyError, OverflowError, AttributeError, MemoryError, UnicodeDecodeError)


@dataclass
class Tensor:
    """A tensor as the file has it; `data` where it is constant."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: NDArray[np.float64]
    zero_points: NDArray[np.int64]
    axis: int
    data: NDArray[Any] | None

    @property
    def where(self) -> str:
        return f"tensor {self.index} '{self.name}'"


@dataclass
class Operator:
    """An operator as the file has it; a missing optional input is None."""

    index: int
    kind: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: Any

    @property
    def where(self) -> str:
        name = self.outputs[0].name if self.outputs else ""
        return f"operator {self.index} {self.kind} '{name}'"


def load(data: bytes, name: str, origin: str) -> Graph:
    """Read a model. Raises CompileError for anything that is not a well-formed, fully quantised INT8 model."""
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise CompileError(origin, "not a TensorFlow Lite file (its identifier 'TFL3' is missing)", "pass a .tflite or .onnx model")
    try:
        reader = _Reader(data)
        operators, inputs, outputs = reader.operators(), reader.tensors("Inputs"), reader.tensors("Outputs")
    except CompileError:
        raise
    except _DAMAGED as error:
        raise CompileError(origin, f"the file is damaged or truncated ({error})", "copy or export the model again") from None
    try:
        return _Converter(name, origin, operators).convert(inputs, outputs)
    except CompileError as error:
        raise CompileError(f"{origin}: {error.where}", error.what, error.hint) from None
    except _DAMAGED as error:
        raise CompileError(origin, f"the file is inconsistent ({error})", "copy or export the model again") from None


class _Reader:
    """Flatbuffer accessors with bounds that a damaged file cannot talk its way around."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.model = tflite.Model.GetRootAsModel(data, 0)
        if self.model.SubgraphsLength() < 1:
            raise ValueError("no subgraph")
        self.graph = self.model.Subgraphs(0)
        self._cache: dict[int, Tensor] = {}

    def _bounded(self, length: int) -> int:
        if not 0 <= length <= self.size:
            raise ValueError(f"a vector of {length} entries in {self.size} bytes")
        return length

    def tensors(self, which: str) -> list[Tensor]:
        length = self._bounded(getattr(self.graph, f"{which}Length")())
        return [self.tensor(getattr(self.graph, which)(i)) for i in range(length)]

    def tensor(self, index: int) -> Tensor:
        index = int(index)
        if index not in self._cache:
            if not 0 <= index < self._bounded(self.graph.TensorsLength()):
                raise ValueError(f"tensor {index} does not exist")
            self._cache[index] = self._read(index)
        return self._cache[index]

    def _read(self, index: int) -> Tensor:
        t = self.graph.Tensors(index)
        shape = tuple(int(t.Shape(i)) for i in range(self._bounded(t.ShapeLength())))
        q = t.Quantization()
        scales, points, axis = np.zeros(0), np.zeros(0, np.int64), 0
        if q is not None:
            scales = np.array([q.Scale(i) for i in range(self._bounded(q.ScaleLength()))], np.float64)
            points = np.array([q.ZeroPoint(i) for i in range(self._bounded(q.ZeroPointLength()))], np.int64)
            axis = int(q.QuantizedDimension())
        name = (t.Name() or b"").decode("utf-8", "replace")
        dtype = _TYPES.get(t.Type(), f"type {t.Type()}")
        return Tensor(index, name, shape, dtype, scales, points, axis, self._data(t, shape, dtype, index))

    def _data(self, t: Any, shape: tuple[int, ...], dtype: str, index: int) -> NDArray[Any] | None:
        if not 0 <= t.Buffer() < self._bounded(self.model.BuffersLength()):
            raise ValueError(f"buffer {t.Buffer()} does not exist")
        buffer = self.model.Buffers(t.Buffer())
        length = self._bounded(buffer.DataLength())
        if length == 0 or dtype not in _DTYPES:
            return None
        count = 1
        for extent in shape:
            count *= extent
        raw = buffer.DataAsNumpy().tobytes()
        if len(raw) != length or count * np.dtype(_DTYPES[dtype]).itemsize != length:
            raise ValueError(f"tensor {index} has {length} bytes of data for shape {shape}")
        return np.frombuffer(raw, _DTYPES[dtype]).reshape(shape)

    def operators(self) -> list[Operator]:
        return [self._operator(i) for i in range(self._bounded(self.graph.OperatorsLength()))]

    def _operator(self, index: int) -> Operator:
        op = self.graph.Operators(index)
        if not 0 <= op.OpcodeIndex() < self._bounded(self.model.OperatorCodesLength()):
            raise ValueError(f"operator {index} has no operator code")
        code = self.model.OperatorCodes(op.OpcodeIndex())
        kind = _OPERATORS.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "UNKNOWN")
        if kind == "CUSTOM":
            kind = f"CUSTOM:{(code.CustomCode() or b'').decode('utf-8', 'replace')}"
        inputs = [int(op.Inputs(i)) for i in range(self._bounded(op.InputsLength()))]
        outputs = [int(op.Outputs(i)) for i in range(self._bounded(op.OutputsLength()))]
        return Operator(
            index, kind, [None if i < 0 else self.tensor(i) for i in inputs], [self.tensor(i) for i in outputs], op.BuiltinOptions()
        )


class _Converter:
    """Turns operators, in file order, into nodes."""

    def __init__(self, name: str, origin: str, operators: list[Operator]) -> None:
        self.b = GraphBuilder(name, origin)
        self.operators = operators
        self.producer = {t.index: op for op in operators for t in op.outputs}
        self.known: dict[int, str] = {}
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
                tail.add(op.index)
                if op.kind != "DEQUANTIZE":
                    self.b.notes.append(f"{op.kind} on FLOAT32 after the INT8 core is left to the caller")
                assert op.inputs[0] is not None
                t = op.inputs[0]
        return tail

    def _is_entry(self, op: Operator) -> bool:
        return op.kind == "QUANTIZE" and op.outputs[0].index in self.known

    def _declare_input(self, t: Tensor) -> None:
        core = t
        if t.dtype == "FLOAT32":
            users = [op for op in self.operators if any(i is not None and i.index == t.index for i in op.inputs)]
            if len(users) != 1 or users[0].kind != "QUANTIZE":
                raise CompileError(t.where, "the model computes in FLOAT32", QUANTIZE_HINT)
            core = users[0].outputs[0]
            self.b.notes.append("the FLOAT32 input is quantised by the caller (the scale is in the manifest)")
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
        if int(np.prod(shape, dtype=np.int64)) > 1 << 26:
            raise CompileError(t.where, f"shape {shape} is beyond any microcontroller", "export the model again")
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
        t = op.inputs[position] if position < len(op.inputs) else None
        if t is None or t.data is None:
            raise CompileError(op.where, f"input {position} must be a constant", "export the model with fixed shapes")
        return t.data

    # -- operators ------------------------------------------------------------------------------------
    def _convert(self, op: Operator) -> None:
        method = getattr(self, f"_{op.kind.lower()}", None)
        if method is None:
            supported = ", ".join(sorted(n[1:].upper() for n in vars(type(self)) if n[1:].upper() in _OPERATORS.values()))
            raise CompileError(op.where, f"operator {op.kind} is not supported", f"supported are {supported}")
        if len(op.outputs) != 1:
            raise CompileError(op.where, f"has {len(op.outputs)} results", "export the model again")
        method(op)

    def _emit(self, op: Operator, kind: str, node: Any, inputs: dict[str, str] | None = None, name: str = "") -> None:
        name = name or self._name(op, kind)
        operands = {"x": self._value(op.inputs[0], op.where), **(inputs or {})}
        self.known[op.outputs[0].index] = self.b.node(name, node, operands, self._activation_type(op.outputs[0]), op.where)

    def _options(self, op: Operator, cls: Any) -> Any:
        if op.options is None:
            raise CompileError(op.where, "its options are missing", "export the model again")
        options = cls()
        options.Init(op.options.Bytes, op.options.Pos)
        return options

    def _activation(self, op: Operator, options: Any) -> str:
        code = options.FusedActivationFunction()
        if code not in _ACTIVATIONS:
            raise CompileError(op.where, f"fused activation {code} is not supported", "use none, RELU, RELU6 or RELU_N1_TO_1")
        return _ACTIVATIONS[code]

    def _window(self, op: Operator, options: Any, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Window:
        x = op.inputs[0]
        if x is None or len(x.shape) != 4 or len(self._shape(x)) != 4:
            raise CompileError(op.where, "needs a 4-dimensional input", "export the model again")
        stride = (options.StrideH(), options.StrideW())
        if min(*stride, *kernel, *dilation) < 1:
            raise CompileError(op.where, f"kernel {kernel}, stride {stride}, dilation {dilation}", "export the model again")
        pad = (0, 0, 0, 0)
        if options.Padding() == tflite.Padding.SAME:
            top, bottom = same_padding(x.shape[1], kernel[0], stride[0], dilation[0])
            left, right = same_padding(x.shape[2], kernel[1], stride[1], dilation[1])
            pad = (top, left, bottom, right)
        return Window(kernel, stride, pad, dilation)

    def _conv_2d(self, op: Operator) -> None:
        o = self._options(op, tflite.Conv2DOptions)
        w = self._constant(op, 1)
        if w.ndim != 4:
            raise CompileError(op.where, f"weights of shape {w.shape}", "export the model again")
        window = self._window(op, o, (w.shape[1], w.shape[2]), (o.DilationHFactor(), o.DilationWFactor()))
        name = self._name(op, "conv")
        self._emit(op, "conv", Conv2D(activation=self._activation(op, o), window=window), self._weights(op, name, w.shape[0]), name)

    def _depthwise_conv_2d(self, op: Operator) -> None:
        o = self._options(op, tflite.DepthwiseConv2DOptions)
        w, x = self._constant(op, 1), op.inputs[0]
        if w.ndim != 4 or x is None:
            raise CompileError(op.where, f"weights of shape {w.shape}", "export the model again")
        window = self._window(op, o, (w.shape[1], w.shape[2]), (o.DilationHFactor(), o.DilationWFactor()))
        name, activation = self._name(op, "depthwise"), self._activation(op, o)
        if x.shape[3] == 1:  # one input channel: an ordinary convolution
            constants = self._weights(op, name, w.shape[3], lambda d: d.transpose(3, 1, 2, 0))
            self._emit(op, "depthwise", Conv2D(activation=activation, window=window), constants, name)
            return
        constants = self._weights(op, name, w.shape[3], axis=3)
        self._emit(op, "depthwise", DepthwiseConv2D(window, activation), constants, name)

    def _fully_connected(self, op: Operator) -> None:
        o = self._options(op, tflite.FullyConnectedOptions)
        w = self._constant(op, 1)
        if w.ndim != 2 or o.WeightsFormat() != 0:
            raise CompileError(op.where, f"weights of shape {w.shape} in format {o.WeightsFormat()}", "export with default weights")
        name = self._name(op, "fc")
        constants = self._weights(op, name, w.shape[0])
        self._emit(op, "fc", FullyConnected(activation=self._activation(op, o)), constants, name)

    def _add(self, op: Operator) -> None:
        o = self._options(op, tflite.AddOptions)
        other = {"other": self._value(op.inputs[1] if len(op.inputs) > 1 else None, op.where)}
        self._emit(op, "add", Add(activation=self._activation(op, o)), other)

    def _pool(self, op: Operator, kind: str, cls: type[AveragePool2D] | type[MaxPool2D]) -> None:
        o = self._options(op, tflite.Pool2DOptions)
        window = self._window(op, o, (o.FilterHeight(), o.FilterWidth()))
        self._emit(op, kind, cls(window, self._activation(op, o)))

    def _average_pool_2d(self, op: Operator) -> None:
        self._pool(op, "average_pool", AveragePool2D)

    def _max_pool_2d(self, op: Operator) -> None:
        self._pool(op, "max_pool", MaxPool2D)

    def _mean(self, op: Operator) -> None:
        x = op.inputs[0]
        if x is None or not x.shape:
            raise CompileError(op.where, "needs an input with axes", "export the model again")
        axes = tuple(sorted({int(a) % len(x.shape) + self._rows_first(x) for a in self._constant(op, 1).ravel()}))
        if not axes:
            raise CompileError(op.where, "reduces no axis", "export the model again")
        self._emit(op, "mean", Mean(axes))

    def _pad(self, op: Operator) -> None:
        x = op.inputs[0]
        amounts = self._constant(op, 1).reshape(-1, 2).tolist()
        if x is None or len(amounts) != 4 or any(amounts[0]) or any(amounts[3]) or np.min(amounts) < 0:
            raise CompileError(op.where, f"pads {amounts}; only height and width of NHWC are supported", "pad in the convolution")
        value = int(self._constant(op, 2).ravel()[0]) if len(op.inputs) > 2 else self._activation_type(x).zero_point
        (top, bottom), (left, right) = amounts[1], amounts[2]
        self._emit(op, "pad", Pad((top, left, bottom, right), value))

    _padv2 = _pad

    def _reshape(self, op: Operator) -> None:
        self._emit(op, "reshape", Reshape(self._shape(op.outputs[0])))

    _squeeze = _reshape
    _expand_dims = _reshape

    def _softmax(self, op: Operator) -> None:
        self._emit(op, "softmax", Softmax(float(self._options(op, tflite.SoftmaxOptions).Beta())))

    def _quantize(self, op: Operator) -> None:
        self._emit(op, "quantize", Requantize())

    def _relu(self, op: Operator) -> None:
        self._emit(op, "relu", Requantize("relu"))

    def _relu6(self, op: Operator) -> None:
        """TensorFlow Lite Micro clamps in the input's scale and ignores the result's: LiteRT computes something else."""
        if op.inputs[0] is not None and self._activation_type(op.inputs[0]).quantization != self._activation_type(op.outputs[0]).quantization:
            what = "input and result have different scales, for which TensorFlow Lite Micro computes something else than LiteRT"
            raise CompileError(op.where, what, "fuse it into the layer before it, or export with one scale")
        self._emit(op, "relu6", Requantize("relu6"))

    def _relu_n1_to_1(self, op: Operator) -> None:
        self._emit(op, "relu_n1_to_1", Requantize("relu_n1_to_1"))

    def _transpose(self, op: Operator) -> None:
        permutation = tuple(int(p) for p in self._constant(op, 1).ravel())
        if op.inputs[0] is None or sorted(permutation) != list(range(len(op.inputs[0].shape))):
            raise CompileError(op.where, f"permutation {permutation} does not fit its input", "export the model again")
        if self._rows_first(op.inputs[0]):
            permutation = (0, *(p + 1 for p in permutation))
        self._emit(op, "transpose", Transpose(permutation))


