"""What the operators of a QDQ model share: finding operands, giving them the order they need, quantising results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.types import Quantization, TensorType
from ..ops.model.requantize import Requantize
from ..ops.model.reshape import Reshape
from ..ops.model.transpose import Transpose
from .build import QUANTIZE_HINT, GraphBuilder, checked_quantization, checked_scales
from .names import layer_name
from .onnx_file import DEQUANTIZE, LAYOUT, MOVES, QUANTIZE, TAKE_INT16, Operator
from .onnx_functions import chosen, clip
from .onnx_model import Model
from .onnx_tensors import EXPORT_AGAIN
from .qdq import Activation, AnyValue, Constant, Index, Pending, activation_name, held, is_ordered, transposition
from .refusals import Consequence

SCALE_HINT = (
    "give every result a scale: onnxruntime.quantization.quantize_static(quant_format=QuantFormat.QDQ) without nodes_to_exclude, "
    "behind shape_inference.quant_pre_process, which fuses BatchNormalization into convolutions and, from opset 17 on, layer normalisations"
)


class Values:
    """The tensors known so far, by the file's names, and the graph they end up in."""

    def __init__(self, name: str, origin: str, model: Model) -> None:
        self.b = GraphBuilder(name, origin)
        self.model = model
        self.known: dict[str, AnyValue] = {}
        self.lost: set[str] = set()
        """What is missing because of something that was refused."""
        self._counts: dict[str, int] = {}
        self._arranged: dict[tuple[str, tuple[int, ...], tuple[int, ...]], str] = {}

    # -- operands -------------------------------------------------------------------------------------
    def value(self, name: str, where: str) -> AnyValue:
        """A tensor by its name in the file."""
        if name in self.lost:
            raise Consequence(where)
        if name not in self.known:
            data = self.model.initializer(name) if name else None
            if data is None:
                what = f"tensor '{name}' is used before it is computed, or its initialiser is missing" if name else "an input is missing"
                raise CompileError(where, what, EXPORT_AGAIN)
            self.known[name] = Constant(name, data)
        return self.known[name]

    def activation(self, op: Operator, position: int = 0) -> Activation:
        """An operand behind DequantizeLinear."""
        x = self.known[op.input(position)] = self.settled(self.value(op.input(position), op.where), op.where)
        if x.dtype != "float32":
            raise CompileError(op.where, f"takes '{op.input(position)}' ({x.dtype}) without {DEQUANTIZE}", QUANTIZE_HINT)
        return self._narrow(op, x)

    def _narrow(self, op: Operator, x: Activation) -> Activation:
        """x, refused where it is int16 and the operator has no form for that."""
        if self.type(x).dtype == "int16" and op.kind not in TAKE_INT16:
            what = f"takes '{op.inputs[0]}', which is int16: of that type are operands of {', '.join(sorted(TAKE_INT16))} alone"
            raise CompileError(op.where, what, "quantise it to int8 in front")
        return x

    def settled(self, x: AnyValue, where: str) -> Activation:
        """The activation itself. A result that is exact in its operand's quantisation needs no QuantizeLinear."""
        if isinstance(x, Constant):
            raise CompileError(where, f"'{x.name}' is a constant where an activation is expected", "only weights and biases may be constant")
        if isinstance(x, Activation):
            return x
        if x.exact is None:
            raise CompileError(x.origin.where, f"its result reaches {where} without {QUANTIZE}", SCALE_HINT)
        return Activation(self.emitted(x, x.exact), x.index, "float32")

    def moving(self, op: Operator, position: int = 0) -> Activation:
        """An operand of what takes some of its codes: a result without a scale takes that of the QuantizeLinear behind all of it, because
        rounding first changes nothing."""
        x = self.value(op.input(position), op.where)
        if isinstance(x, Pending) and x.exact is None and _moves(op) and len(self.model.consumers(op.input(position))) == 1:
            ahead = self._scales_ahead(op)
            if len(ahead) == 1:
                return Activation(self.emitted(x, ahead.pop()), x.index, "float32")
        return self._narrow(op, self.settled(x, op.where))

    def scale_behind(self, name: str) -> Quantization | None:
        """The one that a QuantizeLinear right behind a tensor gives it, read or not."""
        op = self.model.quantizers.get(name)
        return self.parameters(op)[0] if op else None

    def type_behind(self, name: str) -> str:
        """The element type that a QuantizeLinear right behind a tensor gives it; '' without one."""
        op = self.model.quantizers.get(name)
        return self.parameters(op)[1] if op else ""

    def _scales_ahead(self, op: Operator) -> set[Quantization]:
        """Of the QuantizeLinear behind an operator, through others that move codes; none where something else takes its result."""
        found: set[Quantization] = set()
        pending, seen = [op], {id(op)}
        for step in pending:
            for name in step.outputs:
                followers = self.model.consumers(name)
                if name in self.model.outputs or any(not _moves(f) or f.input(0) != name for f in followers):
                    return set()
                found.update(self.parameters(f)[0] for f in followers if f.kind == QUANTIZE)
                more = [f for f in followers if f.kind != QUANTIZE and id(f) not in seen]
                seen.update(map(id, more))
                pending += more
        return found

    def constant(self, op: Operator, position: int) -> Constant:
        """An operand that must be constant."""
        x = self.value(op.input(position), op.where)
        if not isinstance(x, Constant):
            raise CompileError(op.where, f"input {position} must be a constant", "export the model with fixed shapes and constant weights")
        return x

    def integers(self, op: Operator, position: int, attribute: str = "") -> list[int] | None:
        """Axes, pads and shapes: an attribute in old opsets, a constant input in new ones; None where absent."""
        if attribute and attribute in op.attributes:
            return op.ints_of(attribute)
        if not op.input(position):
            return None
        data = self.constant(op, position).data
        if data.dtype.kind not in "iu":
            raise CompileError(op.where, f"input {position} must hold integers", EXPORT_AGAIN)
        return [int(i) for i in data.ravel()]

    def type(self, x: Activation) -> TensorType:
        return self.b.values[x.value].type

    def quantization(self, x: Activation) -> Quantization:
        found = self.type(x).quantization
        assert found is not None
        return found

    # -- nodes ----------------------------------------------------------------------------------------
    def name(self, kind: str, candidates: tuple[str, ...] = ()) -> str:
        """A name for a node, from the layer's own names where they say something."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self.b.unique(layer_name(candidates, f"{kind}_{self._counts[kind]}"))

    def next_name(self, kind: str) -> str:
        """What constants of the next node of a kind begin with: its name, where the file has none that says more."""
        return f"{kind}_{self._counts.get(kind, 0) + 1}"

    def arrange(self, x: Activation, order: Index, shape: tuple[int, ...], where: str) -> str:
        """The elements of x in `order`, as a value of `shape`: itself, a view, or a transpose where there is no other way."""
        if is_ordered(order):
            return self._view(x.value, shape, where)
        source, permutation = transposition(self.type(x).shape, order.reshape(shape), where)
        key = (x.value, source, permutation)
        if key not in self._arranged:
            start = self._view(x.value, source, where)
            result = replace(self.type(x), shape=tuple(source[i] for i in permutation))
            self._arranged[key] = self.b.node(self.name("transpose"), Transpose(permutation), {"x": start}, result, where)
        return self._view(self._arranged[key], shape, where)

    def _view(self, value: str, shape: tuple[int, ...], where: str) -> str:
        type_ = self.b.values[value].type
        if type_.shape == shape:
            return value
        key = (value, shape, ())
        if key not in self._arranged:
            self._arranged[key] = self.b.node(self.name("reshape"), Reshape(shape), {"x": value}, replace(type_, shape=shape), where)
        return self._arranged[key]

    # -- quantisation ---------------------------------------------------------------------------------
    def parameters(self, op: Operator) -> tuple[Quantization, str]:
        """Scale and zero point of an activation, and the file's type of it."""
        scale, points, dtype = reals(self.constant(op, 1)), np.zeros(1, np.int64), "uint8"
        if op.input(2):
            dtype, points = str(self.constant(op, 2).data.dtype), self._zero_points(op)
        if dtype not in ("int8", "uint8", "int16"):
            raise CompileError(op.where, f"has type {dtype}; only int8 activations, and sums and products of int16, are supported", QUANTIZE_HINT)
        if dtype == "int16" and points.any():
            raise CompileError(op.where, f"int16 with zero point {points[0]}", "quantise int16 activations symmetrically, with zero point 0")
        if scale.size > 1 or points.size > 1:
            raise CompileError(op.where, "an activation with one scale a channel", "quantise activations per tensor")
        return checked_quantization(op.where, scale, points - 128 * (dtype == "uint8"), None, held(dtype)), dtype

    def _zero_points(self, op: Operator) -> NDArray[np.int64]:
        data = self.constant(op, 2).data if op.input(2) else np.zeros(1, np.int64)
        if data.dtype.kind not in "iu" or data.size == 0:
            raise CompileError(op.where, f"has {data.size} zero points of type {data.dtype}; only int8 is supported", QUANTIZE_HINT)
        return data.astype(np.int64).ravel()

    def emitted(self, p: Pending, q: Quantization, name: str = "", dtype: str = "int8") -> str:
        """Add the node of a pending result; what its operator cannot do (another scale or element type, a clamp) is done behind it."""
        wanted = TensorType(p.shape, dtype, q)
        if dtype == "int16" and p.dtype == "int8":
            what = f"{p.origin.kind} with a result of int16: that of sums and products of int16 alone is supported"
            raise CompileError(p.origin.where, what, "quantise its result to int8, and that to int16 behind it")
        activation = activation_name(p.low, p.high, wanted)
        result = replace(wanted, quantization=p.kept or q, dtype=p.dtype or dtype)
        split = result != wanted or activation is None or (activation != "none" and not p.clamps)
        if p.alike:
            p = replace(p, inputs={o: self.rescaled(value, q, p.origin.where) for o, value in p.inputs.items()})
        if p.program:
            p = replace(p, make=lambda _: chosen(p, q))
        value = self._node(p, result, "none" if split or activation is None else activation, name)
        if split:
            behind = clip(p.low, p.high) if activation is None else Requantize(activation)
            value = self.b.node(self.name("quantize"), behind, {"x": value}, wanted, p.origin.where)
        return value

    def rescaled(self, value: str, q: Quantization, where: str) -> str:
        """A value of the graph in another quantisation, a constant as another constant."""
        v = self.b.values[value]
        if v.type.quantization == q:
            return value
        result = replace(v.type, quantization=q)
        if v.kind != "constant" or v.data is None:
            return self.b.node(self.name("quantize"), Requantize(), {"x": value}, result, where)
        assert v.type.quantization is not None
        codes = np.rint((v.data.astype(np.float64) - v.type.zero_point) * v.type.scale / q.per_tensor) + q.zero_point
        return self.b.constant(self.b.unique(value), np.clip(codes, -128, 127).astype(np.int8), q, v.origin)

    def _node(self, p: Pending, result: TensorType, activation: str, name: str) -> str:
        layer = p.layer.with_room_for_bias() if p.layer else None
        bias = layer.bias if layer else None
        own = (layer.name, bias.name if bias else "") if layer else ()
        candidates = (*own, name, p.origin.outputs[0].removesuffix("_prequant"), p.origin.name)
        name = self.name(p.kind, tuple(c.removesuffix("_quantized") for c in candidates))
        inputs = dict(p.inputs)
        if layer:
            channels = layer.units.size
            data = bias.quantized(layer.units) if bias else np.zeros(channels)
            if not np.all(np.abs(data) <= 2**31 - 1):
                raise CompileError(p.origin.where, "its bias does not fit int32 in units of input scale * weight scale", "calibrate with other data")
            inputs["weights"] = self.b.constant(f"{name}.weights", layer.weights, layer.quantization, layer.name)
            inputs["bias"] = self.b.constant(f"{name}.bias", data.astype(np.int32), None, bias.name if bias else "")
        return self.b.node(name, p.make(activation), inputs, result, p.origin.where)

    def requantized(self, x: Activation, op: Operator) -> Pending:
        """x itself as a float result: for QuantizeLinear, Relu or Clip right behind DequantizeLinear."""
        return Pending(op, "quantize", Requantize, {"x": x.value}, self.type(x).shape, x.index, exact=self.quantization(x), dtype="")

    def dequantized_constant(self, op: Operator, x: Constant) -> Constant:
        """A constant with the scales that a QuantizeLinear or DequantizeLinear names."""
        scale = checked_scales(op.where, reals(self.constant(op, 1)))
        if op.int_of("block_size", 0) or self.constant(op, 1).data.ndim > 1 < scale.size:
            raise CompileError(op.where, "blocked quantisation is not supported", "quantise weights per tensor or per channel")
        points = self._zero_points(op)
        if points.size not in (1, scale.size):
            raise CompileError(op.where, f"{points.size} zero points and {scale.size} scales of '{x.name}'", EXPORT_AGAIN)
        if scale.size == 1:
            return replace(x, scale=scale, zero_points=points, channels=None)
        rank = x.data.ndim
        axis = checked_axes(op, [op.int_of("axis", 1)], rank)[0]
        if x.data.shape[axis] != scale.size:
            raise CompileError(op.where, f"{scale.size} scales for shape {x.data.shape} along axis {axis}", EXPORT_AGAIN)
        channels = np.broadcast_to(np.arange(scale.size).reshape([-1 if i == axis else 1 for i in range(rank)]), x.data.shape)
        return replace(x, scale=scale, zero_points=points, channels=channels)


def _moves(op: Operator) -> bool:
    """Rounding behind it gives the same as rounding in front of it."""
    return op.kind in LAYOUT | MOVES | {QUANTIZE} and (op.kind != "Resize" or op.text_of("mode", "nearest") == "nearest")


def checked_axes(op: Operator, axes: list[int], rank: int) -> list[int]:
    """Axes from 0 to rank - 1, sorted."""
    if any(not -rank <= a < rank for a in axes):
        raise CompileError(op.where, f"axes {axes} of a tensor with {rank} dimensions", EXPORT_AGAIN)
    return sorted({a % rank for a in axes})


def reals(x: Constant) -> NDArray[Any]:
    """A constant as float32 values in float64."""
    if x.data.dtype.kind != "f":
        raise CompileError(f"tensor '{x.name}'", f"has type {x.data.dtype} where numbers are expected", EXPORT_AGAIN)
    with np.errstate(over="ignore"):
        return x.data.astype(np.float32).astype(np.float64).ravel()
