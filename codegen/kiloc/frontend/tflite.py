"""TensorFlow Lite flatbuffers (full INT8) to Graph.

Known oddities that are accepted: a batch of -1, RESHAPE without options or to a shape that operators compute from constants, a bias whose
quantized_dimension is out of range, FLOAT32 inputs and outputs behind QUANTIZE and DEQUANTIZE (the graph is the INT8 core between them).
UINT8, INT16 and INT32 inputs and outputs stay what they are: QUANTIZE is a node like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from ..errors import CompileError, ModelError
from ..ir.graph import Graph
from ..ir.operator import Op, reads_tflite
from ..ir.types import RANGES, Quantization, TensorType
from ..ops._window import Window, same_padding
from .build import QUANTIZE_HINT, GraphBuilder, checked_quantization
from .limits import RANK, check_size, checked_window
from .names import layer_name
from .refusals import Consequence
from .tflite_constants import fold, reshaped
from .tflite_file import Operator, Tensor, read
from .tflite_variables import Variables, initial_values

ACTIVATIONS = tuple(RANGES)
"""Element types of what may come in and go out. Between QUANTIZE and QUANTIZE operators compute with int8, unless they say otherwise."""
_ACTIVATIONS = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6"}


def load(data: bytes, name: str, origin: str) -> Graph:
    """Read a model. Raises ModelError, with all reasons, for anything that is not a well-formed, fully quantised INT8 model."""
    file = read(data, origin)
    return TFLiteReader(name, origin, file.operators, file.once).convert(file.inputs, file.outputs)


class TFLiteReader:
    """Turns operators, in file order, into nodes. The public methods below `convert` are for the operators' `read_tflite`."""

    def __init__(self, name: str, origin: str, operators: list[Operator], once: list[Operator]) -> None:
        self.b = GraphBuilder(name, origin)
        self.operators = operators
        self.producer = {t.index: op for op in operators for t in op.outputs}
        self.known: dict[int, str] = {}
        self.entries: set[int] = set()
        """What the caller makes of FLOAT32 inputs."""
        self.lost: set[int] = set()
        """What is missing because of something that was refused."""
        self.counts: dict[str, int] = {}
        self.variables = Variables()
        with self.b.refusals.attempt():
            self.variables.initial = initial_values(once)

    # -- the whole graph ------------------------------------------------------------------------------
    def convert(self, inputs: list[Tensor], outputs: list[Tensor]) -> Graph:
        """The graph. What is refused does not end the reading: ModelError names all reasons."""
        attempt = self.b.refusals.attempt
        if not inputs or not outputs:
            raise ModelError(self.b.origin, [CompileError("the graph", "has no inputs or no outputs", "export the model again")])
        ends: list[Tensor] = []
        for t in outputs:
            with attempt():
                ends.append(self._integer_end(t))
        for t in inputs:
            with attempt():
                self._declare_input(t)
            if t.index not in self.known:
                self.lost.add(t.index)
        if any(t.dtype == "FLOAT32" for t in (*inputs, *outputs)):
            self.b.refusals.check(self.b.origin)  # a float model: each of its operators would be refused
        skipped = self._float_tail(outputs)
        for op in self.operators:
            if op.index not in skipped and not self._is_entry(op):
                with attempt():
                    self._convert(op)
                self._stand_in(op)
        results: list[str] = []
        for t in ends:
            with attempt():
                results.append(self.value(t, "the graph's output"))
        with attempt():
            results = self.variables.finish(self, results)
        return self.b.finish(results)

    def _integer_end(self, t: Tensor) -> Tensor:
        """The integer tensor behind a float output."""
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
        if t.index in self.known:
            raise CompileError(t.where, "is an input twice", "export the model again")
        if t.dtype != "FLOAT32":
            self.known[t.index] = self.b.input(self.activation_type(t, *ACTIVATIONS), t.name)
            return
        users = [op for op in self.operators if any(i is not None and i.index == t.index for i in op.inputs)]
        cores = [op.outputs[0] for op in users if op.kind == "QUANTIZE" and op.outputs]
        if not users or len(cores) < len(users):
            raise CompileError(t.where, "the model computes in FLOAT32", QUANTIZE_HINT)
        type_ = self.activation_type(cores[0], *ACTIVATIONS)
        if any(self.activation_type(core, *ACTIVATIONS) != type_ for core in cores):
            raise CompileError(t.where, "is quantised in different ways", "export the input with one scale")
        if any(core.index in self.known for core in cores):
            raise CompileError(t.where, "is quantised to what is an input already", "export the model again")
        self.b.notes.append("the FLOAT32 input is quantised by the caller (the scale is in the manifest)")
        value = self.b.input(type_, t.name)
        self.known.update((core.index, value) for core in cores)
        self.known[t.index] = value
        self.entries.update(core.index for core in cores)

    def _stand_in(self, op: Operator) -> None:
        """Values for results that a refused operator does not give, so that what follows is read too."""
        for t in op.outputs:
            if self.b.refusals and t.index not in self.known and t.data is None:
                try:
                    self.known[t.index] = self.b.stand_in(self.activation_type(t, *ACTIVATIONS), t.name)
                except CompileError:
                    self.lost.add(t.index)

    # -- values ---------------------------------------------------------------------------------------
    def value(self, t: Tensor | None, where: str) -> str:
        """The graph's value of an activation of the file."""
        if t is not None and t.index in self.lost:
            raise Consequence(where)
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

    def reshaped(self, op: Operator) -> tuple[int, ...]:
        """The shape of a result that is its operand under another shape: the file's, or where that is not fixed the one that input 1 says."""
        x, t, given = op.input(0), op.outputs[0], op.input(1)
        known = t.shape and min(t.shape[1:], default=1) > 0 and t.shape[0] >= -1
        if not known and op.kind == "RESHAPE" and x is not None and given is not None and given.data is not None:
            wanted, size = self.integers(op, 1), prod(self.shape(x))
            try:
                t.shape = reshaped(wanted, size)
            except ValueError as error:
                raise CompileError(op.where, str(error), "export the model with fixed shapes and a batch of 1") from None
        return self.shape(t)

    def rows_first(self, t: Tensor) -> bool:
        """Whether the tensor lacks a batch axis, as after RESHAPE to [rows, depth]: the graph puts one in front."""
        return bool(t.shape) and t.shape[0] > 1

    def activation_type(self, t: Tensor, *dtypes: str) -> TensorType:
        """The type in the graph of a tensor with one scale, of one of these element types: of int8 where none is named."""
        dtype, allowed = t.dtype.lower(), dtypes or ("int8",)
        if dtype not in allowed:
            raise CompileError(t.where, *_refused_type(t.dtype, allowed))
        quantization = checked_quantization(t.where, t.scales, t.zero_points, None, dtype)
        if len(quantization.scale) != 1:
            raise CompileError(t.where, "an activation with one scale a channel", "export the model again")
        return TensorType(self.shape(t), dtype, quantization)

    def name(self, op: Operator, kind: str, result: int = 0) -> str:
        """A name for the node of an operator: the layer's in the file, or the kind with a number."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        weights = [i.name for i in op.inputs[1:] if i is not None and i.data is not None]
        return self.b.unique(layer_name([*weights, op.outputs[result].name], f"{kind}_{self.counts[kind]}"))

    def weights(
        self, op: Operator, name: str, channels: int, layout: Callable[[NDArray[Any]], NDArray[Any]] = lambda d: d, axis: int = 0,
        biases: tuple[str, ...] = ("INT32",),
    ) -> dict[str, str]:  # fmt: skip
        """Constants of a layer: weights in the layout of the operator, and a bias (zeros of the first type where there is none)."""
        w = op.inputs[1]
        if w is None or w.data is None or w.dtype != "INT8":
            raise CompileError(op.where, "needs constant INT8 weights", QUANTIZE_HINT)
        q = checked_quantization(w.where, w.scales, w.zero_points, axis)
        if q.zero_point != 0:
            raise CompileError(w.where, f"weights have zero point {q.zero_point}", "export with symmetric weights")
        if len(q.scale) not in (1, channels):
            raise CompileError(w.where, f"{len(q.scale)} scales for {channels} channels", "export the model again")
        bias = op.inputs[2] if len(op.inputs) > 2 else None
        data: NDArray[Any] = np.zeros(channels, biases[0].lower())
        if bias is not None:
            if bias.data is None or bias.dtype not in biases or bias.data.size != channels:
                raise CompileError(op.where, f"needs a constant {' or '.join(biases)} bias of {channels} values", "export the model again")
            data = bias.data.reshape(-1)
        return {
            "weights": self.b.constant(f"{name}.weights", layout(w.data), q, w.name),
            "bias": self.b.constant(f"{name}.bias", data, None, bias.name if bias else ""),
        }

    def quantization(self, t: Tensor, axis: int | None = None) -> Quantization:
        """Scales and zero point of a tensor, refused where arithmetic on them would be meaningless."""
        return checked_quantization(t.where, t.scales, t.zero_points, axis, t.dtype.lower())

    def kept(self, op: Operator, position: int) -> Tensor:
        """An input that the operator alone keeps from call to call."""
        t = op.input(position)
        if t is None or not t.variable or t.data is not None:
            raise CompileError(op.where, f"input {position} is no variable tensor, which keeps its state", "export the model again")
        if t.index in self.producer or sum(t is i for other in self.operators for i in other.inputs) > 1:
            raise CompileError(t.where, "keeps the state of an operator, and another one uses it", "export the model again")
        return t

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

    def is_constant(self, op: Operator, position: int) -> bool:
        t = op.input(position)
        return t is not None and t.data is not None and t.index not in self.known

    def operand(self, op: Operator, position: int, name: str, dtype: str = "int8") -> str:
        """An operand that stretches to the result: an activation, or a constant tensor with one scale, which becomes a value of this name.

        A constant gets axes of 1 in front until it has as many as the result.
        """
        t = op.input(position)
        if t is None or t.data is None or not self.is_constant(op, position):
            return self.value(t, op.where)
        if t.dtype != dtype.upper():
            raise CompileError(t.where, f"is a constant of type {t.dtype}; only {dtype.upper()} is supported here", QUANTIZE_HINT)
        quantization = checked_quantization(t.where, t.scales, t.zero_points, None, dtype)
        if len(quantization.scale) != 1:
            raise CompileError(t.where, "a constant operand with one scale a channel", "export the model again")
        check_size(t.where, t.data.shape)
        rank, shape = len(self.shape(op.outputs[0])), list(t.data.shape)
        while len(shape) > rank - 1 and shape[0] == 1:
            shape.pop(0)
        return self.b.constant(self.b.unique(name), t.data.reshape((1,) * (rank - len(shape)) + tuple(shape)), quantization, t.name)

    # -- operators ------------------------------------------------------------------------------------
    def _convert(self, op: Operator) -> None:
        if fold(op):
            return
        first = op.input(0)
        bound = reads_tflite("" if first is None else first.dtype.lower())
        if op.kind not in bound:
            raise CompileError(op.where, f"operator {op.kind} is not supported", f"supported are {', '.join(sorted(bound))}")
        binding = bound[op.kind].tflite
        if not op.outputs and binding is not None and op.kind not in binding.several:
            raise CompileError(op.where, "has no results", "export the model again")
        for i, t in enumerate(op.outputs):
            if t.index in self.known or t.data is not None or any(t is other for other in op.outputs[:i]):
                raise CompileError(op.where, f"its result {t.where} is computed twice, or a constant", "export the model again")
        bound[op.kind].read_tflite(self, op)

    def emit(self, op: Operator, node: Op, inputs: Mapping[str, str] | None = None, label: str = "", name: str = "") -> None:
        """Add the node of an operator with one result. inputs: the values of its operands; x is the file's first input where it is not among them.

        label: what nodes without a name in the file are called and numbered by, the mnemonic where it is left out; name: the name itself.
        """
        if len(op.outputs) != 1:
            raise CompileError(op.where, f"has {len(op.outputs)} results", "export the model again")
        name = name or self.name(op, label or node.mnemonic)
        operands = dict(inputs or {})
        if "x" not in operands:
            operands = {"x": self.value(op.input(0), op.where), **operands}
        for value in operands.values():
            v = self.b.values[value]
            if v.kind in ("input", "activation") and v.type.dtype not in node.element_types:
                raise CompileError(op.where, *_refused_type(v.type.dtype.upper(), node.element_types))
        result = self.activation_type(op.outputs[0], *node.element_types)
        self.known[op.outputs[0].index] = self.b.node(name, node, operands, result, op.where)

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

    def checked_window(self, op: Operator, window: Window, image: tuple[int, ...]) -> Window:
        """The window, refused where it asks for more than an image [1, H, W, C] has use for."""
        return checked_window(op.where, window, image)

    def convolution_window(self, op: Operator, w: NDArray[Any]) -> Window:
        """The window that weights [.., KH, KW, ..] slide over."""
        if w.ndim != 4 or w.size == 0:
            raise CompileError(op.where, f"weights of shape {w.shape}", "export the model again")
        o = self.options(op)
        return self.window(op, (w.shape[1], w.shape[2]), (o["DilationHFactor"], o["DilationWFactor"]))


def _refused_type(dtype: str, allowed: tuple[str, ...]) -> tuple[str, str]:
    """Cause and remedy of an element type that an operator does not compute with."""
    if dtype == "FLOAT32":
        return "computes in FLOAT32", QUANTIZE_HINT
    what = f"has type {dtype} where only {' or '.join(a.upper() for a in allowed)} is computed"
    if dtype == "UINT8":
        return f"{what}: the quantisation of TensorFlow 1, with asymmetric weights", (
            "convert the original model again to full INT8; UINT8 is taken as input and output, with QUANTIZE between it and the INT8 inside"
        )
    return what, "export the model with INT8 activations: supported_ops = [TFLITE_BUILTINS_INT8]"
