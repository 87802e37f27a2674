"""What operators of two int8 tensors, element by element, have in common: shapes that stretch, a constant operand, gradients, names in files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op
from ...ir.stripe import Rows, Stripe
from .._activation import clamp_range, far_apart
from .._broadcast import aligned, broadcast, stretches
from ..backward.gradient_mask import masked

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node


@dataclass(frozen=True)
class Elementwise(Op):
    """Of an operator kt_<mnemonic>_s8 computes operands of the result's shape, kt_<mnemonic>_broadcast_s8 those that stretch to it.

    An operator with a fused activation has a field `activation`. One operand may be a constant, with an axis of 1 in front as activations have it.
    """

    operands: ClassVar[tuple[str, ...]] = ("x", "other")
    in_place: ClassVar[str | None] = "x"
    oracle: ClassVar[str] = "tflite-micro"
    commutes: ClassVar[bool] = True
    """The operands may change places."""
    clamps: ClassVar[bool] = True
    """Results are requantised and may saturate; gradients stop there."""

    # -- what an operator defines ---------------------------------------------------------------------
    def shifts(self, t: NodeTypes) -> tuple[int, ...]:
        """Of all its multipliers."""
        return ()

    def compute(self, t: NodeTypes, x: Array, other: Array) -> Array:
        """The result in int64 before its clamp, of operands without their zero points."""
        raise NotImplementedError(self.mnemonic)

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        """Members of kt_<mnemonic>_params, without the size."""
        return {}

    def operand_gradient(self, b: GradientBuilder, node: Node, g: str, operand: str) -> str:
        """The gradient of one operand."""
        raise NotImplementedError(self.mnemonic)

    # -- the operator ---------------------------------------------------------------------------------
    def check(self, t: NodeTypes) -> str | None:
        x, other, y = t.type("x").shape, t.type("other").shape, t.result().shape
        if not stretches(x, y) or not stretches(other, y) or np.broadcast_shapes(x, other) != y:
            return f"takes {x} and {other} for {y}"
        if broadcast(y, x, other) is None:
            return f"stretches {x} and {other} along axes that alternate too often"
        return far_apart(*self.shifts(t))

    def clamp(self, t: NodeTypes) -> tuple[int, int]:
        return clamp_range(getattr(self, "activation", "none"), t.result())

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        rank = len(e.result().shape)
        x, other = (aligned(e.wide(o), rank) - e.type(o).zero_point for o in ("x", "other"))
        return (np.clip(self.compute(e, x, other), *self.clamp(e)).astype(np.int8),)

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        g = masked(b, node, dy, *self.clamp(b.types(node))) if self.clamps else dy
        return {o: self.operand_gradient(b, node, g, o) for o in ("x", "other") if b.wants(node.inputs[o])}

    def height(self, t: NodeTypes) -> int:
        y = t.result().shape
        return y[1] if len(y) == 4 and t.type("x").shape == t.type("other").shape == y else 0

    def stripe(self, t: NodeTypes, rows: Rows) -> Stripe:
        return Stripe(self, dict.fromkeys(("x", "other"), (rows, self.height(t))))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["other"]), Argument(n.outputs[0]))
        x, other, y = t.type("x").shape, t.type("other").shape, t.result().shape
        name, source = f"kt_{self.mnemonic}", f"kernels/elementwise/{self.mnemonic}"
        if t.type("x").size == t.type("other").size == t.result().size:
            return KernelCall(f"{name}_s8", f"{name}_params", {"size": t.result().size, **self.fields(t)}, arguments, source=f"{source}.c")
        loops = broadcast(y, x, other)
        assert loops is not None
        fields: dict[str, Field] = {"row": {"size": loops.extent[-1], **self.fields(t)}, "shape": loops.fields("x", "other")}
        return KernelCall(
            f"{name}_broadcast_s8", f"{name}_broadcast_params", fields, arguments, source=f"{source}_broadcast.c", needs=(f"{source}.c",)
        )

    # -- files ----------------------------------------------------------------------------------------
    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        constant = [position for position in (0, 1) if r.is_constant(op, position)]
        if len(constant) == 2:
            raise CompileError(op.where, "multiplies, adds or compares two constants", "export the model with constants folded")
        if len(op.inputs) != 2:
            raise CompileError(op.where, f"has {len(op.inputs)} inputs", "export the model again")
        positions = (1, 0) if cls.commutes and constant == [0] else (0, 1)
        name = r.name(op, cls.mnemonic)
        inputs = {operand: r.operand(op, position, f"{name}.{operand}") for operand, position in zip(("x", "other"), positions, strict=True)}
        attributes = {"activation": r.activation(op)} if "activation" in cls.__dataclass_fields__ else {}
        r.emit(op, cls(**attributes), inputs, name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        assert self.tflite is not None
        inputs = [w.operand_or_constant(node, operand) for operand in ("x", "other")]
        fields = w.activation(self.activation) if hasattr(self, "activation") else {}
        w.emit(node, next(iter(self.tflite.operators)), inputs, **fields)
