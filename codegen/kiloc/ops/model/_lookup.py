"""Operators of one int8 tensor whose result is looked up in a table of 256 codes, and their gradient, by a table of slopes.

An operator is its function: `codes` says what TensorFlow Lite computes, bit for bit, `slope` what its derivative is in real numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import Quantization, TensorType
from ..backward._gradient import Real, RequantizedGradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node

FINITE = float(np.finfo(np.float32).max)
CODES = np.arange(-128, 128)
SOURCE = "kernels/elementwise/lookup.c"

Ints = NDArray[np.int64]
Slopes = NDArray[np.float64]


@dataclass(frozen=True)
class Lookup(Op):
    """y = table[x + 128]. A field of an operator is an attribute of files: `alpha`."""

    in_place: ClassVar[str | None] = "x"
    oracle: ClassVar[str] = "tflite-micro"
    fixed: ClassVar[Quantization | None] = None
    """The one scale and zero point that the result has in all files, of a function that never leaves that range; else results saturate, and
    gradients stop there."""

    # -- what an operator defines ---------------------------------------------------------------------
    def codes(self, x: TensorType, y: TensorType) -> Ints:
        """Results [256] of the codes -128 .. 127 of x, before they saturate."""
        raise NotImplementedError(self.mnemonic)

    def slope(self, x: Slopes) -> Slopes:
        """The derivative at real values of x."""
        raise NotImplementedError(self.mnemonic)

    def refuses(self, x: TensorType, y: TensorType) -> str | None:
        """What is wrong with scales and zero points."""
        return None

    # -- the operator ---------------------------------------------------------------------------------
    def table(self, x: TensorType, y: TensorType) -> Ints:
        return _table(self, x, y)

    def check(self, t: NodeTypes) -> str | None:
        x, y = t.type("x"), t.result()
        if x.size != y.size:
            return f"result is {y.shape}, expected {x.shape}"
        if self.fixed is not None and (y.zero_point != self.fixed.zero_point or abs(y.scale / self.fixed.per_tensor - 1) > 1e-4):
            return f"its result must have scale {self.fixed.per_tensor} and zero point {self.fixed.zero_point}"
        if 255 * x.scale > FINITE:
            return f"its values of scale {x.scale} leave float32"
        return self.refuses(x, y)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = self.table(e.type("x"), e.result())[e.wide("x") + 128]
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        stops = self.fixed is None and not b.is_logits(node.outputs[0])
        op = LookupGradient(self, t.type("x").shape, t.result().scale, t.result().zero_point, stops)
        return {"x": b.add(op, {"g": dy, "x": node.inputs["x"]}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        table = Table("table", "int8_t", self.table(t.type("x"), t.result()).astype(np.int8))
        fields: dict[str, Field] = {"size": t.result().size, "table": table}
        return KernelCall("kt_lookup_s8", "kt_lookup_params", fields, (Argument(n.inputs["x"]), Argument(n.outputs[0])), source=SOURCE)

    # -- files ----------------------------------------------------------------------------------------
    @classmethod
    def attributes_of(cls, options: Any) -> dict[str, Any]:
        """The fields, from the options of a .tflite file."""
        return {"alpha": float(options["Alpha"])} if "alpha" in cls.__dataclass_fields__ else {}

    def options(self) -> dict[str, Any]:
        """The options of a .tflite file."""
        return {"Alpha": self.alpha} if hasattr(self, "alpha") else {}

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        assert cls.tflite is not None
        r.emit(op, cls(**(cls.attributes_of(r.options(op)) if cls.tflite.fields else {})))

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        assert self.tflite is not None
        w.require_shape(node)
        w.emit(node, next(iter(self.tflite.operators)), (w.operand(node),), **self.options())

    @classmethod
    def of_onnx(cls, op: OnnxOperator) -> Lookup:
        """The operator of a node of an .onnx file."""
        return cls(**({"alpha": op.float_of("alpha", cls().alpha)} if "alpha" in cls.__dataclass_fields__ else {}))  # type: ignore[attr-defined]

    def onnx_attributes(self) -> dict[str, Any]:
        return {"alpha": self.alpha} if hasattr(self, "alpha") else {}

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        return r.function(op, cls.of_onnx(op))

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        assert self.onnx is not None
        x, kind = w.operand(node), self.onnx.operators[0]
        real = w.emit(kind, [w.real(node, x, x)], f"{node.name}/{kind.lower()}", **self.onnx_attributes())
        w.result(node, real, w.order[x])


def looked_up(function: Any, x: TensorType, y: TensorType) -> Ints:
    """The codes of a function that TensorFlow Lite evaluates in float32 for every code, rounded ties away from zero."""
    real = np.float32(x.scale) * (CODES - x.zero_point).astype(np.float32)
    with np.errstate(over="ignore"):
        found = np.asarray(function(real), np.float32) * (np.float32(1) / np.float32(y.scale))
    rounded = np.sign(found) * np.floor(np.abs(found.astype(np.float64)) + 0.5)
    return np.asarray(np.clip(rounded, -(2.0**30), 2.0**30).astype(np.int64) + y.zero_point)


@lru_cache(1024)
def _table(op: Lookup, x: TensorType, y: TensorType) -> Ints:
    """Each once: a build asks for it at every stage."""
    found = np.clip(op.codes(x, y), -128, 127)
    found.flags.writeable = False
    return found


@register
@dataclass(frozen=True)
class LookupGradient(RequantizedGradient):
    """g slope[x + 128], slopes as int8 in units of the steepest / 127; where `stops`, 0 where the result stands at an end of its range.

    of: the operator; result_scale, result_zero_point: of its result.
    """

    mnemonic: ClassVar[str] = "lookup_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "x")
    in_place: ClassVar[str | None] = "g"

    of: Op | None = None
    x_shape: tuple[int, ...] = ()
    result_scale: float = 1.0
    result_zero_point: int = 0
    stops: bool = True

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def slopes(self, x: TensorType) -> Slopes:
        """Of the codes -128 .. 127 of x, in real numbers."""
        assert isinstance(self.of, Lookup)
        y = TensorType(x.shape, "int8", Quantization((self.result_scale,), self.result_zero_point))
        found = self.of.slope((CODES - x.zero_point) * np.float64(x.scale))
        results = self.of.table(x, y)
        return np.where(self.stops & ((results <= -128) | (results >= 127)), 0.0, found)

    def table(self, x: TensorType) -> tuple[Ints, float]:
        """The slopes as int8, and their unit."""
        slopes = self.slopes(x)
        unit = float(np.abs(slopes).max()) / 127 or 1.0
        return np.floor(slopes / unit + 0.5).astype(np.int64), unit

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * self.table(t.type("x"))[1]

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        x = e.wide("x") + 128
        return np.asarray(e.wide("g").reshape(x.shape) * self.table(e.type("x"))[0][x])

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        x = e.wide("x") + 128
        return (np.asarray(e.array("g").reshape(x.shape) * self.slopes(e.type("x"))[x]),)

    def macs(self, t: NodeTypes) -> int:
        return t.type("g").size

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        table = Table("slopes", "int8_t", self.table(t.type("x"))[0].astype(np.int8))
        fields: dict[str, Field] = {"size": t.type("g").size, "slopes": table, "shift": self.shift}
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_lookup_gradient_s8", "kt_lookup_gradient_params", fields, arguments, source="kernels/elementwise/lookup_gradient.c")
