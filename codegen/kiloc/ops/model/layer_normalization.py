"""LayerNormalization of .onnx files: (x - mean) / sqrt(variance + epsilon) gamma + beta over rows of int8 or int16 values, in integers.

The file gives no step inside of it a scale, so none is rounded to 8 bits: sums are exact, a normalised value has 20 bits behind the point, gamma 16
bits in all. So the result is within a step of what runtimes compute in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import OnnxBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import Quantization
from .._activation import far_apart
from .._normalization import LONGEST_ROW, NORMALIZED_BITS, epsilon_of, rows_of, shift_round_wide
from ..backward._gradient import Real, RequantizedGradient, batch
from ..backward.gradient_mask import masked

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...ir.graph import Node

GAMMA_BITS = 15
BETA_BITS = NORMALIZED_BITS - GAMMA_BITS
"""Of beta below the units of gamma."""
LARGEST_BETA = 1 << 24
"""In its units: what float32 holds exactly."""
COARSE_BITS = 12
"""Of normalised values in the gradient."""
FINER_BITS = {"int8": 0, "int16": 6}
"""That sums of the gradient have below s_g s_gamma / s_x: the steps of int16 are finer, and without them little of a gradient would be left."""


def row_check(t: NodeTypes, depth: int, epsilon: float) -> str | None:
    x = t.type("x")
    if not 1 <= depth <= LONGEST_ROW or x.size % depth or t.type("gamma").shape != (depth,) or t.type("gamma").dtype != "int16":
        return f"normalises rows of {depth} of {x.shape}; rows of up to {LONGEST_ROW} are supported"
    if epsilon_of(epsilon, depth, x.scale) is None:
        return f"epsilon {epsilon} of rows of {depth} values with scale {x.scale}"
    return None


@register
@dataclass(frozen=True)
class LayerNormalization(Op):
    """depth: of a row. gamma [depth]: int16; beta [depth]: int32, in units of gamma / 2^BETA_BITS."""

    mnemonic: ClassVar[str] = "layer_normalization"
    operands: ClassVar[tuple[str, ...]] = ("x", "gamma", "beta")
    element_types: ClassVar[tuple[str, ...]] = ("int8", "int16")
    in_place: ClassVar[str | None] = "x"
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("LayerNormalization",))
    oracle: ClassVar[str] = "onnxruntime"

    depth: int = 1
    epsilon: float = 1e-5

    def check(self, t: NodeTypes) -> str | None:
        if t.type("x").size != t.result().size or t.type("beta").shape != (self.depth,):
            return f"turns {t.type('x').shape} into {t.result().shape} with a beta of {t.type('beta').shape}"
        if t.result().dtype != "int8":
            return f"gives {t.result().dtype}; its result is int8"
        return row_check(t, self.depth, self.epsilon) or far_apart(self.multiplier(t)[1])

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        return nm.quantize_multiplier(float(np.float64(t.type("gamma").scale) / 2**BETA_BITS / np.float64(t.result().scale)))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        epsilon = epsilon_of(self.epsilon, self.depth, e.type("x").scale)
        assert epsilon is not None
        rows = rows_of(e.wide("x").reshape(e.array("x").shape[0], -1, self.depth), epsilon)
        total = nm.saturate32(shift_round_wide(rows.normalized * e.wide("gamma"), GAMMA_BITS) + e.wide("beta"))
        y = nm.requantize(total, *self.multiplier(e)) + e.result().zero_point
        return (np.clip(y, -128, 127).astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        op = LayerNormalizationGradient(b.types(node).type("x").shape, self.depth, self.epsilon)
        g = masked(b, node, dy, -128, 127)
        return {"x": b.add(op, {"g": g, **{o: node.inputs[o] for o in ("x", "gamma")}}, f"{node.name}.dx")[0]}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        multiplier, shift = self.multiplier(t)
        more: dict[str, Field] = {"multiplier": multiplier, "shift": shift, "output_offset": t.result().zero_point}
        fields = {**row_fields(t, n, self.depth, self.epsilon), **more}
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["beta"]), Argument(n.outputs[0]))
        return row_kernel(t, "kt_layer_normalization", fields, arguments)

    # -- files ----------------------------------------------------------------------------------------
    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        """Rows stay as they lie in the graph where gamma and beta can take their order."""
        x = r.activation(op)
        axis = r.checked_axes(op, [op.int_of("axis", -1)], x.index.ndim)[0] if x.index.ndim else 0
        extents = x.index.shape[axis:]
        depth = int(np.prod(extents))
        if not 1 <= depth <= LONGEST_ROW:
            raise CompileError(op.where, f"normalises rows of {depth} values", f"rows of up to {LONGEST_ROW} are supported")
        order = r.column_order(x.index.reshape(-1, depth))
        value, shape, index = x.value, r.type(x).shape, x.index
        if order is None:
            shape = r.batched(x.index.shape)
            value, index = r.arrange(x, x.index, shape, op.where), r.positions(x.index.shape)
            order = r.positions((depth,))
        gamma, beta = np.empty(depth), np.empty(depth)
        gamma[order] = r.reals(op, 1, extents).ravel()
        beta[order] = r.reals(op, 2, extents).ravel() if op.input(2) else 0.0
        name = r.next_name(cls.mnemonic)
        unit = cls.unit(gamma, beta)
        constants = {
            "gamma": r.b.constant(r.b.unique(f"{name}.gamma"), np.rint(gamma / unit).astype(np.int16), Quantization((unit,)), op.input(1)),
            "beta": r.b.constant(r.b.unique(f"{name}.beta"), _beta_codes(beta, unit), Quantization((unit / 2**BETA_BITS,)), op.input(2)),
        }
        epsilon = float(np.float32(op.float_of("epsilon", 1e-5)))
        return r.result(op, cls.mnemonic, lambda _: cls(depth, epsilon), {"x": value, **constants}, shape, index, clamps=False)

    @staticmethod
    def unit(gamma: NDArray[np.float64], beta: NDArray[np.float64]) -> float:
        """The power of two that gamma is held in: its largest one has up to 15 bits, and beta is exact in float32."""
        largest = max(float(np.abs(gamma).max()) / 32767, float(np.abs(beta).max()) * 2**BETA_BITS / LARGEST_BETA, 2.0**-100)
        return float(2.0 ** np.ceil(np.log2(largest)))

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        x = w.operand(node)
        shape = w.graph.type(x).shape
        rows = w.integers(f"{node.name}/row", (-1, self.depth))
        flat = w.emit("Reshape", [w.real(node, x, w.last(x)), rows], f"{node.name}/rows")
        reals = []
        for operand in ("gamma", "beta"):
            value = w.graph.values[node.inputs[operand]]
            assert value.data is not None
            reals.append(w.constant(f"{node.name}/{operand}", (value.data.astype(np.float64) * value.type.scale).astype(np.float32)))
        found = w.emit("LayerNormalization", [flat, *reals], f"{node.name}/normalized", axis=-1, epsilon=self.epsilon)
        w.result(node, w.reshaped(node, found, shape), "last")


def _beta_codes(beta: NDArray[np.float64], unit: float) -> NDArray[np.int32]:
    return np.asarray(np.rint(beta / unit * 2**BETA_BITS).astype(np.int32))


def row_fields(t: NodeTypes, n: Names, depth: int, epsilon: float) -> dict[str, Field]:
    found = epsilon_of(epsilon, depth, t.type("x").scale)
    assert found is not None
    return {
        "rows": t.type("x").size // depth, "depth": depth, "epsilon": found[0], "epsilon_shift": found[1], "gamma": Argument(n.inputs["gamma"])
    }  # fmt: skip


def row_kernel(t: NodeTypes, name: str, fields: dict[str, Field], arguments: tuple[Argument, ...]) -> KernelCall:
    """The form of a kernel for the element type of x."""
    end, file = ("_s16", "_s16.c") if t.type("x").dtype == "int16" else ("_s8", ".c")
    return KernelCall(f"{name}{end}", f"{name}_params", fields, arguments, source=f"kernels/normalization/{name.removeprefix('kt_')}{file}")


@register
@dataclass(frozen=True)
class LayerNormalizationGradient(RequantizedGradient):
    """(depth h - sum h - n sum(h n)) / (depth sqrt(variance + epsilon)), saturated at int32. h: g times 8 bits of gamma; n: the normalised x."""

    mnemonic: ClassVar[str] = "layer_normalization_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "x", "gamma")
    element_types: ClassVar[tuple[str, ...]] = LayerNormalization.element_types
    in_place: ClassVar[str | None] = "g"

    x_shape: tuple[int, ...] = ()
    depth: int = 1
    epsilon: float = 1e-5

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def check(self, t: NodeTypes) -> str | None:
        return row_check(t, self.depth, self.epsilon)

    def unit(self, t: NodeTypes) -> float:
        return float(t.type("g").scale * t.type("gamma").scale / t.type("x").scale) * 2.0 ** -FINER_BITS[t.type("x").dtype]

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        epsilon = epsilon_of(self.epsilon, self.depth, e.type("x").scale)
        assert epsilon is not None
        rows = rows_of(batch(e, "x", -1, self.depth), epsilon)
        coarse = nm.shift_round(rows.normalized, NORMALIZED_BITS - COARSE_BITS)
        h = batch(e, "g", -1, self.depth) * nm.shift_round(e.wide("gamma"), 8)
        product = shift_round_wide((h * coarse).sum(-1, keepdims=True), COARSE_BITS)
        rest = (self.depth * h - h.sum(-1, keepdims=True) - shift_round_wide(product * coarse, COARSE_BITS)) * rows.root
        below = 30 - FINER_BITS[e.type("x").dtype] + rows.halvings
        return nm.saturate32(shift_round_wide(rest, below)).reshape(-1, *self.x_shape[1:])

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        t = e.type("x")
        x = (batch(e, "x", -1, self.depth) - t.zero_point) * np.float64(t.scale)
        deviation = np.sqrt(x.var(-1, keepdims=True) + self.epsilon)
        n = (x - x.mean(-1, keepdims=True)) / np.maximum(deviation, 1e-30)
        h = np.asarray(batch(e, "g", -1, self.depth), np.float64) * (e.array("gamma") * np.float64(e.type("gamma").scale))
        dx = (h - h.mean(-1, keepdims=True) - n * (h * n).mean(-1, keepdims=True)) / np.maximum(deviation, 1e-30)
        return (dx.reshape(-1, *self.x_shape[1:]),)

    def macs(self, t: NodeTypes) -> int:
        return 3 * t.type("g").size

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**row_fields(t, n, self.depth, self.epsilon), "shift": self.shift}
        arguments = (Argument(n.inputs["g"]), Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return row_kernel(t, "kt_layer_normalization_gradient", fields, arguments)
