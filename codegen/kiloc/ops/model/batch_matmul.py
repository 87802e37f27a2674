"""BATCH_MATMUL: the product of two int8 activations, or of one and a constant, over their last two axes.

y = clamp(requantize(sum (x - z_x) (other - z_other), s_x s_other / s_y) + z_y), rounded twice. Source: TensorFlow Lite reference kernel BatchMatMul.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from .._activation import far_apart
from ..backward._gradient import Real, RequantizedGradient
from ..backward.gradient_mask import masked
from ._movement import moved

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

LONGEST_SUM = (2**31 - 1) // (255 * 255)
"""Products that an int32 sum surely holds."""


@dataclass(frozen=True)
class Factor:
    """One operand of a product as the kernel walks over it: a matrix [rows, depth] for each batch, stored as it is or the other way round."""

    shape: tuple[int, ...]
    turned: bool

    @property
    def batches(self) -> int:
        return prod(self.shape[:-2])

    @property
    def rows(self) -> int:
        return self.shape[-1] if self.turned else self.shape[-2]

    @property
    def depth(self) -> int:
        return self.shape[-2] if self.turned else self.shape[-1]

    def steps(self, batches: int) -> tuple[int, int, int]:
        """Elements from one batch, row and index of the sum to the next; one batch for all stays where it is."""
        batch = 0 if self.batches == 1 and batches > 1 else self.shape[-1] * self.shape[-2]
        return (batch, 1, self.shape[-1]) if self.turned else (batch, self.shape[-1], 1)

    def matrix(self, a: NDArray[Any]) -> NDArray[Any]:
        """[N, batches, rows, depth] of an array that has a batch axis in front or, of a constant, one of 1."""
        a = a.reshape(-1, prod(self.shape[1:-2]), *self.shape[-2:])
        return a.swapaxes(2, 3) if self.turned else a


@register
@dataclass(frozen=True)
class BatchMatMul(Op):
    """turn_x, turn_other: the operand's last two axes change places first (adj_x and adj_y of files)."""

    mnemonic: ClassVar[str] = "batch_matmul"
    operands: ClassVar[tuple[str, ...]] = ("x", "other")
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"BATCH_MATMUL": 2}, "BatchMatMulOptions", ("AdjX", "AdjY"))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(also=("MatMul",))
    oracle: ClassVar[str] = "tflite-micro"

    turn_x: bool = False
    turn_other: bool = False

    def factors(self, t: NodeTypes) -> tuple[Factor, Factor]:
        """x with its rows, and the other operand with its columns as rows."""
        return Factor(t.type("x").shape, self.turn_x), Factor(t.type("other").shape, not self.turn_other)

    def result_shape(self, t: NodeTypes) -> tuple[int, ...]:
        x, other = self.factors(t)
        return (*(t.type("x") if x.batches >= other.batches else t.type("other")).shape[:-2], x.rows, other.rows)

    def check(self, t: NodeTypes) -> str | None:
        shapes = t.type("x").shape, t.type("other").shape
        if min(map(len, shapes)) < 3:
            return f"multiplies {shapes[0]} and {shapes[1]}"
        x, other = self.factors(t)
        if x.depth != other.depth or (x.batches != other.batches and 1 not in (x.batches, other.batches)):
            return f"multiplies {shapes[0]} and {shapes[1]}, which do not fit"
        if x.depth > LONGEST_SUM:
            return f"sums {x.depth} products; an int32 sum holds {LONGEST_SUM}"
        if t.result().size != prod(self.result_shape(t)):
            return f"result is {t.result().shape}, expected {self.result_shape(t)}"
        return far_apart(self.multiplier(t)[1])

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        product = np.float64(t.type("x").scale) * np.float64(t.type("other").scale)
        return nm.quantize_multiplier(float(product / np.float64(t.result().scale)))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        x, other = (f.matrix(e.wide(o) - e.type(o).zero_point) for f, o in zip(self.factors(e), self.operands, strict=True))
        y = nm.requantize(np.matmul(x, other.swapaxes(2, 3)), *self.multiplier(e)) + e.result().zero_point
        return (np.clip(y, -128, 127).astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def macs(self, t: NodeTypes) -> int:
        return t.result().size * self.factors(t)[0].depth

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        g, found = masked(b, node, dy, -128, 127), {}
        for operand, factor in (("x", "other"), ("other", "x")):
            if b.wants(node.inputs[operand]):
                op = BatchMatMulGradient(operand, self.turn_x, self.turn_other, t.type(operand).shape, self.result_shape(t))
                found[operand] = b.add(op, {"g": g, "factor": node.inputs[factor]}, f"{node.name}.d_{operand}")[0]
        return found

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        x, other = self.factors(t)
        batches, (multiplier, shift) = max(x.batches, other.batches), self.multiplier(t)
        offsets = (-t.type("x").zero_point, -t.type("other").zero_point)
        fields: dict[str, Field] = {
            "product": product_fields(batches, x.rows, other.rows, (1, x.depth), (x.steps(batches), other.steps(batches)), offsets),
            "output_offset": t.result().zero_point,
            "multiplier": multiplier,
            "shift": shift,
            "clamp": (-128, 127),
        }
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["other"]), Argument(n.outputs[0]))
        return KernelCall("kt_batch_matmul_s8", "kt_batch_matmul_params", fields, arguments, source="kernels/matmul/batch_matmul.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        x, other, o = op.input(0), op.input(1), r.options(op)
        if x is None or other is None or min(len(x.shape), len(other.shape)) < 2:
            raise CompileError(op.where, "needs two matrices", "export the model again")
        flat = 2 in (len(x.shape), len(other.shape))
        values, _ = moved(r, op, [x, other], [0] if flat else [])
        r.emit(op, cls(bool(o["AdjX"]), bool(o["AdjY"])), dict(zip(cls.operands, values, strict=True)))

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        inputs = [w.operand_or_constant(node, o) for o in self.operands]
        w.emit(node, "BATCH_MATMUL", inputs, AdjX=self.turn_x, AdjY=self.turn_other)

    # -- .onnx ----------------------------------------------------------------------------------------
    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> AnyValue:
        """MatMul of two activations. What the file has transposed in front of it is multiplied the other way round instead."""
        if op.kind != "MatMul":
            raise CompileError(op.where, f"operator {op.kind} is not supported on two activations", "use MatMul")
        found = [r.activation(op, i) for i in (0, 1)]
        ranks = [x.index.ndim for x in found]
        if min(ranks) < 2 or found[0].index.shape[-1] != found[1].index.shape[-2]:
            raise CompileError(op.where, f"multiplies {found[0].index.shape} and {found[1].index.shape}", "export the model again")
        turns, inputs = [], {}
        for name, x in zip(cls.operands, found, strict=True):
            turned = not r.is_ordered(x.index) and r.is_ordered(x.index.swapaxes(-1, -2))
            index = x.index.swapaxes(-1, -2) if turned else x.index
            shape = (1, *index.shape) if index.ndim == 2 else r.batched(index.shape)
            turns.append(turned)
            inputs[name] = r.arrange(x, index, shape, op.where)
        try:
            batches = np.broadcast_shapes(found[0].index.shape[:-2], found[1].index.shape[:-2])
        except ValueError:
            raise CompileError(op.where, f"multiplies {found[0].index.shape} and {found[1].index.shape}", "export the model again") from None
        result = (*batches, found[0].index.shape[-2], found[1].index.shape[-1])
        r.check_size(op, result)
        shape = (1, *result) if len(result) == 2 else r.batched(result)
        return r.result(op, "matmul", lambda _: cls(*turns), inputs, shape, r.positions(result), clamps=False)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        reals = []
        known: dict[str, str] = {}
        for operand, turned in zip(self.operands, (self.turn_x, self.turn_other), strict=True):
            name = node.inputs[operand]
            real = known.get(name) or w.real(node, name, w.operand_or_constant(node, operand))
            known[name], rank = real, len(w.graph.type(name).shape)
            order = [*range(rank - 2), rank - 1, rank - 2]
            reals.append(w.emit("Transpose", [real], f"{node.name}/{operand}_turned", perm=order) if turned else real)
        real = w.emit("MatMul", reals, f"{node.name}/product")
        w.result(node, w.reshaped(node, real, w.graph.type(node.outputs[0]).shape), "last")


def product_fields(
    batches: int, rows: int, columns: int, depth: tuple[int, int], steps: tuple[tuple[int, ...], tuple[int, ...]], offsets: tuple[int, int]
) -> dict[str, Field]:
    """Members of kt_matmul. steps: {batch, row, index of the sum}, or with an index over batches in front of the last."""
    (x, other) = ((s[0], s[1], 0, s[2]) if len(s) == 3 else s for s in steps)
    return {"batches": batches, "rows": rows, "columns": columns, "depth": depth, "x": x, "other": other, "offset": offsets}


@register
@dataclass(frozen=True)
class BatchMatMulGradient(RequantizedGradient):
    """The gradient to one operand of a product. factor: the other one."""

    mnemonic: ClassVar[str] = "batch_matmul_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "factor")

    of: str = "x"
    turn_x: bool = False
    turn_other: bool = False
    x_shape: tuple[int, ...] = ()
    y_shape: tuple[int, ...] = ()

    def shape(self, t: NodeTypes) -> tuple[int, ...]:
        return self.x_shape

    def unit(self, t: NodeTypes) -> float:
        return t.type("g").scale * t.type("factor").scale

    def factors(self, t: NodeTypes) -> tuple[tuple[str, Factor], tuple[str, Factor]]:
        """The operands whose rows are the rows, and the columns, of the gradient as it is stored."""
        if self.of == "x":
            g, factor, turned = Factor(self.y_shape, False), Factor(t.type("factor").shape, self.turn_other), self.turn_x
        else:
            g, factor, turned = Factor(self.y_shape, True), Factor(t.type("factor").shape, not self.turn_x), not self.turn_other
        found = ("g", g), ("factor", factor)
        return found[::-1] if turned else found

    def _product(self, t: NodeTypes, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        left, right = (f.matrix(arrays[name]) for name, f in self.factors(t))
        total = np.matmul(left, right.swapaxes(2, 3))
        total = total.sum(1) if prod(self.x_shape[1:-2]) == 1 else total
        return np.asarray(total.reshape(-1, *self.x_shape[1:]))

    def accumulator(self, e: Environment) -> NDArray[np.int64]:
        return np.asarray(self._product(e, {"g": e.wide("g"), "factor": e.wide("factor") - e.type("factor").zero_point}), np.int64)

    def evaluate_real(self, e: Environment) -> tuple[Real]:
        t = e.type("factor")
        factor = (e.array("factor").astype(np.float64) - t.zero_point) * t.scale
        return (np.asarray(self._product(e, {"g": e.array("g"), "factor": factor}), np.float64),)

    def macs(self, t: NodeTypes) -> int:
        left, right = (f for _, f in self.factors(t))
        return max(left.batches, right.batches) * left.rows * right.rows * left.depth

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        (left_name, left), (right_name, right) = self.factors(t)
        batches = max(left.batches, right.batches)
        steps: tuple[tuple[int, ...], tuple[int, ...]] = left.steps(batches), right.steps(batches)
        outer = 1
        if prod(self.x_shape[:-2]) == 1:  # one for all batches: their gradients are added
            outer, batches = batches, 1
            steps = (0, steps[0][1], steps[0][0], steps[0][2]), (0, steps[1][1], steps[1][0], steps[1][2])
        offset = {"g": 0, "factor": -t.type("factor").zero_point}
        fields: dict[str, Field] = {
            "product": product_fields(batches, left.rows, right.rows, (outer, left.depth), steps, (offset[left_name], offset[right_name])),
            "shift": self.shift,
        }
        arguments = (Argument(n.inputs[left_name]), Argument(n.inputs[right_name]), Argument(n.outputs[0]))
        source = "kernels/matmul/batch_matmul_gradient.c"
        return KernelCall("kt_batch_matmul_gradient_s8", "kt_batch_matmul_gradient_params", fields, arguments, source=source)
