"""ADD, SUB and MUL of int16 tensors: the formulas of the int8 operators, with 15 bits in front of the point of sums instead of 20."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from .._activation import clamp_range, far_apart
from .._broadcast import aligned, broadcast, stretches
from .._wide_ranges import never_clamps
from ..backward.elementwise_gradient import SumGradient
from ..backward.gradient_mask import masked
from ._layer import WideOp, not_symmetric

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node

LEFT_SHIFT = 15


@dataclass(frozen=True)
class WideElementwise(WideOp):
    """Of operands of the result's shape kt_<symbol>_s16, of those that stretch to it kt_<symbol>_broadcast_s16."""

    operands: ClassVar[tuple[str, ...]] = ("x", "other")
    in_place: ClassVar[str | None] = "x"
    symbol: ClassVar[str] = ""
    commutes: ClassVar[bool] = True
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding()

    activation: str = "none"

    # -- what an operator defines ---------------------------------------------------------------------
    def multipliers(self, t: NodeTypes) -> tuple[tuple[int, int], ...]:
        """(multiplier, shift) of every requantisation."""
        raise NotImplementedError

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        """The result in int64 before its clamp."""
        raise NotImplementedError

    # -- the operator ---------------------------------------------------------------------------------
    def check(self, t: NodeTypes) -> str | None:
        x, other, y = t.type("x"), t.type("other"), t.result()
        if not stretches(x.shape, y.shape) or not stretches(other.shape, y.shape) or np.broadcast_shapes(x.shape, other.shape) != y.shape:
            return f"takes {x.shape} and {other.shape} for {y.shape}"
        if {x.dtype, other.dtype, y.dtype} != {"int16"}:
            return f"takes {x.dtype} and {other.dtype} for {y.dtype}"
        if broadcast(y.shape, x.shape, other.shape) is None:
            return f"stretches {x.shape} and {other.shape} along axes that alternate too often"
        return not_symmetric(x, other, y) or far_apart(*(shift for _, shift in self.multipliers(t)))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        rank = len(e.result().shape)
        y = self.compute(e, aligned(e.wide("x"), rank), aligned(e.wide("other"), rank))
        return (np.clip(y, *clamp_range(self.activation, e.result())).astype(np.int16),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["other"]), Argument(n.outputs[0]))
        x, other, y = t.type("x").shape, t.type("other").shape, t.result().shape
        pairs = self.multipliers(t)
        multiplier, shift = (tuple(part) if len(pairs) > 1 else part[0] for part in zip(*pairs, strict=True))
        row: dict[str, Field] = {"multiplier": multiplier, "shift": shift, "clamp": clamp_range(self.activation, t.result())}
        source, name = f"kernels/elementwise/{self.symbol}_s16.c", f"kt_{self.symbol}"
        if t.type("x").size == t.type("other").size == t.result().size:
            return KernelCall(f"{name}_s16", f"{name}_params", {"size": t.result().size, **row}, arguments, source=source)
        loops = broadcast(y, x, other)
        assert loops is not None
        fields: dict[str, Field] = {"row": {"size": loops.extent[-1], **row}, "shape": loops.fields("x", "other")}
        return KernelCall(f"{name}_broadcast_s16", f"{name}_broadcast_params", fields, arguments, source=source)

    # -- files ----------------------------------------------------------------------------------------
    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        constant = [position for position in (0, 1) if r.is_constant(op, position)]
        if len(op.inputs) != 2 or len(constant) == 2:
            what = "computes with two constants" if len(constant) == 2 else f"has {len(op.inputs)} inputs"
            raise CompileError(op.where, what, "export the model with constants folded")
        positions = (1, 0) if cls.commutes and constant == [0] else (0, 1)
        name = r.name(op, cls.symbol)
        operands = zip(("x", "other"), positions, strict=True)
        inputs = {operand: r.operand(op, position, f"{name}.{operand}", "int16") for operand, position in operands}
        r.emit(op, cls(r.activation(op)), inputs, name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        assert self.tflite is not None
        inputs = [w.operand_or_constant(node, operand) for operand in ("x", "other")]
        w.emit(node, next(iter(self.tflite.operators)), inputs, **w.activation(self.activation))

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        w.elementwise(node, self.symbol.capitalize())


@dataclass(frozen=True)
class WideSum(WideElementwise):
    """x + sign * other, both brought to twice the larger scale."""

    sign: ClassVar[int] = 1

    def multipliers(self, t: NodeTypes) -> tuple[tuple[int, int], ...]:
        x, other = np.float64(t.type("x").scale), np.float64(t.type("other").scale)
        common = 2 * max(x, other)
        total = common / ((1 << LEFT_SHIFT) * np.float64(t.result().scale))
        return tuple(nm.quantize_multiplier(float(r)) for r in (x / common, other / common, total))

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        first, second, last = self.multipliers(t)
        terms = nm.requantize(x << LEFT_SHIFT, *first), nm.requantize(other << LEFT_SHIFT, *second)
        return nm.requantize(terms[0] + self.sign * terms[1], *last)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        """That of the result, masked where the ranges of what is added do not show that no sum leaves int16."""
        t = b.types(node)
        if self.activation != "none" or not never_clamps(b.graph, node):
            dy = masked(b, node, dy, *clamp_range(self.activation, t.result()))
        found = {}
        for operand, sign in (("x", 1), ("other", self.sign)):
            if b.wants(node.inputs[operand]):
                alike = sign > 0 and t.type(operand).shape == t.result().shape
                found[operand] = dy if alike else b.add(SumGradient(t.type(operand).shape, sign), {"g": dy}, f"{node.name}.d_{operand}")[0]
        return found


@register
@dataclass(frozen=True)
class WideAdd(WideSum):
    mnemonic: ClassVar[str] = "wide_add"
    symbol: ClassVar[str] = "add"
    beside: ClassVar[str] = "add"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"ADD": 4}, "AddOptions", ("FusedActivationFunction",))


@register
@dataclass(frozen=True)
class WideSub(WideSum):
    mnemonic: ClassVar[str] = "wide_sub"
    symbol: ClassVar[str] = "sub"
    beside: ClassVar[str] = "sub"
    commutes: ClassVar[bool] = False
    sign: ClassVar[int] = -1
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"SUB": 5}, "SubOptions", ("FusedActivationFunction",))


@register
@dataclass(frozen=True)
class WideMul(WideElementwise):
    mnemonic: ClassVar[str] = "wide_mul"
    symbol: ClassVar[str] = "mul"
    beside: ClassVar[str] = "mul"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"MUL": 4}, "MulOptions", ("FusedActivationFunction",))

    def multipliers(self, t: NodeTypes) -> tuple[tuple[int, int], ...]:
        product = np.float64(t.type("x").scale) * np.float64(t.type("other").scale)
        return (nm.quantize_multiplier(float(product / np.float64(t.result().scale))),)

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        return nm.requantize(x * other, *self.multipliers(t)[0])
