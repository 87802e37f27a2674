"""GRU of .onnx files, with its reset behind the product (linear_before_reset): int8 rows with a state of 16 bits. `_gru.py` says what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import CompileError
from ...ir.binding import OnnxBinding
from ...ir.kernel_call import Argument, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, NoGradient, Op, later_field, register
from .._gru import GATES, LORA_OPERANDS, fields, lora_arguments, lora_fields, steps, steps_of, units_of
from .._lstm import LONGEST_SUM
from .._sums import Image
from .._window import Window
from ..backward._through_time import room_for, sums_to_operands
from ..backward.gru_gradient import GruGradient
from .lora import lora_gradient

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
    before it; state [units]: int16. LoRA is beside the weights of the input, all gates together."""

    mnemonic: ClassVar[str] = "gru"
    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "recurrent", "bias", "inner")
    optional: ClassVar[tuple[str, ...]] = ("hidden", "state", *LORA_OPERANDS)
    kept: ClassVar[tuple[str, ...]] = ("hidden", "state")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("GRU",))
    oracle: ClassVar[str] = "onnxruntime"

    lora_scale: float = later_field(1.0)

    def window_of(self, t: NodeTypes) -> Window:
        """Rows of x are multiplied by the weights as in a fully connected layer."""
        return Window((1, 1))

    def images(self, t: NodeTypes) -> tuple[Image, Image]:
        """Input and sums over it as (steps, 1, values)."""
        rows, depth = t.type("weights").shape
        return (steps_of(t), 1, depth), (steps_of(t), 1, rows)

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
        y = np.stack([step.hidden for step in steps(e, self.lora_scale)], 1)
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        if not e.has("hidden"):
            return {}
        *_, last = steps(e, self.lora_scale)
        shapes = {o: e.type(o).shape for o in self.kept}
        return {"hidden": last.hidden.astype(np.int8).reshape(shapes["hidden"]), "state": last.state.astype(np.int16).reshape(shapes["state"])}

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        if t.has("hidden"):
            raise NoGradient("it keeps its state from call to call")
        operands = {"g": dy, "y": node.outputs[0], **{o: node.inputs[o] for o in (*self.operands, *LORA_OPERANDS) if o in node.inputs}}
        dz = b.add(GruGradient(room_for(b.constant(node.inputs["recurrent"])), lora_scale=self.lora_scale), operands, f"{node.name}.dz")[0]
        path = lora_gradient(b, node, dz, self.window_of(t), *self.images(t), self.lora_scale)
        return sums_to_operands(b, node, dz, steps_of(t), path, self.lora_scale)

    def macs(self, t: NodeTypes) -> int:
        added = t.type("lora_b").size if t.has("lora_u") else 0
        return steps_of(t) * (t.type("weights").size + t.type("recurrent").size + added)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        given: tuple[Argument | Scratch, ...] = (Argument(n.inputs["x"]), Argument(n.inputs["bias"]))
        kind, struct, members, scratch = "", "kt_gru_params", fields(t, n), 0
        if t.has("lora_u"):
            given += lora_arguments(n)
            members = {"layer": members, "lora": lora_fields(t, self.lora_scale)}
            kind, struct, scratch = "_lora", "kt_gru_lora_params", 4 * GATES * units_of(t)
        if t.has("hidden"):
            given += (Argument(n.inputs["hidden"]), Argument(n.inputs["state"]), Argument(n.outputs[0]), *([Scratch()] if scratch else []))
            return KernelCall(f"kt_gru{kind}_next_s8", struct, members, given, scratch, source=f"kernels/recurrent/gru{kind}_next.c")
        given += (Argument(n.outputs[0]), Scratch())
        scratch += -(-2 * units_of(t) // 4) * 4
        return KernelCall(f"kt_gru{kind}_s8", struct, members, given, scratch, source=f"kernels/recurrent/gru{kind}.c")

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> list[AnyValue]:
        return r.gru(op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        raise CompileError(node.origin or node.name, "is a GRU, whose state has no scale in .onnx files", "keep the file that it was read from")
