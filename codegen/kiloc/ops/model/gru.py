"""GRU of .onnx files, with its reset behind the product (linear_before_reset): int8 rows with a state of 16 bits. `_gru.py` says what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding
from ...ir.kernel_call import Argument, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, NoGradient, Op, register
from .._gru import GATES, fields, steps, steps_of, units_of
from .._lstm import LONGEST_SUM
from ..backward._through_time import room_for, sums_to_operands
from ..backward.gru_gradient import GruGradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...ir.graph import Node


@register
@dataclass(frozen=True)
class Gru(Op):
    """A call is a whole sequence, which begins from 0; with hidden, state it is one step, which goes on from them. hidden: the row of the result
    before it; state [units]: int16."""

    mnemonic: ClassVar[str] = "gru"
    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "recurrent", "bias", "inner")
    optional: ClassVar[tuple[str, ...]] = ("hidden", "state")
    kept: ClassVar[tuple[str, ...]] = ("hidden", "state")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("GRU",))
    oracle: ClassVar[str] = "onnxruntime"

    def check(self, t: NodeTypes) -> str | None:
        w, u, y = t.type("weights").shape, t.type("recurrent").shape, t.result()
        units = u[1] if len(u) == 2 else 0
        if len(w) != 2 or w[1] < 1 or w[0] != u[0] or u[0] != GATES * units or units == 0:
            return f"weights {w} and recurrent weights {u} are not three gates"
        if t.type("bias").shape != (w[0],) or t.type("inner").shape != (units,):
            return f"biases {t.type('bias').shape} and {t.type('inner').shape} for {units} units"
        if t.type("x").size % w[1] or y.size != t.type("x").size // w[1] * units:
            return f"turns {t.type('x').shape} into {y.shape} with weights {w}"
        if max(w[1], units) > LONGEST_SUM:
            return f"sums of {max(w[1], units)} products may leave int32"
        if t.has("hidden") != t.has("state"):
            return "keeps a row of its result or a state, but not both"
        if t.has("hidden"):
            hidden, state = t.type("hidden"), t.type("state")
            if hidden.quantization != y.quantization or (hidden.size, state.size, state.dtype, steps_of(t)) != (units, units, "int16", 1):
                return f"goes on from {hidden} and {state} for {steps_of(t)} steps of {y}"
        return None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = np.stack([step.hidden for step in steps(e)], 1)
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        if not e.has("hidden"):
            return {}
        *_, last = steps(e)
        shapes = {o: e.type(o).shape for o in self.kept}
        return {"hidden": last.hidden.astype(np.int8).reshape(shapes["hidden"]), "state": last.state.astype(np.int16).reshape(shapes["state"])}

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        if t.has("hidden"):
            raise NoGradient("it keeps its state from call to call")
        operands = {"g": dy, "y": node.outputs[0], **{o: node.inputs[o] for o in self.operands}}
        dz = b.add(GruGradient(room_for(b.constant(node.inputs["recurrent"]))), operands, f"{node.name}.dz")[0]
        return sums_to_operands(b, node, dz, steps_of(t))

    def macs(self, t: NodeTypes) -> int:
        return steps_of(t) * (t.type("weights").size + t.type("recurrent").size)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        if t.has("hidden"):
            names = (*(n.inputs[o] for o in ("x", "bias", "hidden", "state")), n.outputs[0])
            arguments = tuple(Argument(name) for name in names)
            return KernelCall("kt_gru_next_s8", "kt_gru_params", fields(t, n), arguments, source="kernels/recurrent/gru_next.c")
        whole = (Argument(n.inputs["x"]), Argument(n.inputs["bias"]), Argument(n.outputs[0]), Scratch())
        scratch = -(-2 * units_of(t) // 4) * 4
        return KernelCall("kt_gru_s8", "kt_gru_params", fields(t, n), whole, scratch, source="kernels/recurrent/gru.c")

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> list[AnyValue]:
        return r.gru(op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        raise CompileError(node.origin or node.name, "is a GRU, whose state has no scale in .onnx files", "keep the file that it was read from")
