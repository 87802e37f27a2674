"""UNIDIRECTIONAL_SEQUENCE_LSTM: a long short-term memory over the rows of a sequence, int8 with a cell of 16 bits.

`_lstm.py` says what it computes. Its hidden state and its cell are what the operator keeps from call to call. Where it has no operands for them,
each call is a whole sequence, which begins from 0. Its weights may have trained deltas beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import frexp, inf
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, NoGradient, Op, register
from ...ir.types import Quantization, TensorType
from .._lstm import CELL_POWERS, DELTA_OPERANDS, DELTAS, LONGEST_SUM, Memory
from .._window import Window
from ..backward._through_time import room_for, sums_to_operands
from ..backward.lstm_gradient import LstmGradient
from ..backward.parameter_gradient import WeightGradient

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.onnx import OnnxWriter
    from ...export.tflite import TFLiteWriter
    from ...frontend.onnx_file import Operator as OnnxOperator
    from ...frontend.onnx_reader import OnnxReader
    from ...frontend.qdq import AnyValue
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...frontend.tflite_file import Tensor
    from ...ir.graph import Node

_FIELDS = ("FusedActivationFunction", "CellClip", "ProjClip", "TimeMajor")
_TANH = 4
_ABSENT = {
    **dict.fromkeys((9, 10, 11), "peephole weights"),
    **dict.fromkeys((16, 17), "a projection"),
    **dict.fromkeys(range(20, 24), "layer normalisation"),
}
_INPUTS = 24
AGAIN = "export a Keras LSTM with its default activations"


@register
@dataclass(frozen=True)
class Lstm(Op):
    mnemonic: ClassVar[str] = "lstm"
    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "recurrent", "bias")
    optional: ClassVar[tuple[str, ...]] = ("hidden", "cell", *DELTA_OPERANDS)
    kept: ClassVar[tuple[str, ...]] = ("hidden", "cell")
    oracle: ClassVar[str] = "tflite-micro"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"UNIDIRECTIONAL_SEQUENCE_LSTM": 3}, "UnidirectionalSequenceLSTMOptions", _FIELDS)

    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("LSTM",))

    memory: Memory = field(default_factory=Memory)

    def check(self, t: NodeTypes) -> str | None:
        w, u, y = t.type("weights").shape, t.type("recurrent").shape, t.result()
        units = u[1] if len(u) == 2 else 0
        if len(w) != 2 or w[1] < 1 or w[0] != u[0] or u[0] != 4 * units or units == 0 or t.type("bias").shape != (w[0],):
            return f"weights {w}, recurrent weights {u} and bias {t.type('bias').shape} are not four gates"
        if t.type("x").size % w[1] or y.size != t.type("x").size // w[1] * units:
            return f"turns {t.type('x').shape} into {y.shape} with weights {w}"
        if max(w[1], units) > LONGEST_SUM:
            return f"sums of {max(w[1], units)} products may leave int32"
        if self.memory.cell_power not in CELL_POWERS:
            return f"the scale of the cell is 2^{self.memory.cell_power}, not between 2^{CELL_POWERS[0]} and 1"
        if t.has("hidden") != t.has("cell"):
            return "keeps a hidden state or a cell, but not both"
        if t.has("hidden"):
            hidden, cell = t.type("hidden"), t.type("cell")
            if hidden.quantization != y.quantization or hidden.size != units:
                return f"the hidden state {hidden} is no row of the result {y}"
            if (cell.dtype, cell.size) != ("int16", units) or cell.scale != 2.0**self.memory.cell_power:
                return f"the cell {cell} is not {units} values of int16 with scale 2^{self.memory.cell_power}"
        return None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = np.stack([step.hidden for step in self.memory.steps(e)], 1)
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        if not e.has("hidden"):
            return {}
        *_, last = self.memory.steps(e)
        shapes = {o: e.type(o).shape for o in self.kept}
        return {"hidden": last.hidden.astype(np.int8).reshape(shapes["hidden"]), "cell": last.cell.astype(np.int16).reshape(shapes["cell"])}

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        t = b.types(node)
        if t.has("hidden"):
            raise NoGradient("it keeps its state from call to call")
        operands = {"g": dy, "y": node.outputs[0], **node.inputs}
        op = LstmGradient(self.memory, room_for(b.constant(node.inputs["recurrent"])))
        dz = b.add(op, operands, f"{node.name}.dz")[0]
        if t.has("delta"):
            self._delta_gradients(b, node, dz)
        return sums_to_operands(b, node, dz, self.memory.steps_of(t))

    def _delta_gradients(self, b: GradientBuilder, node: Node, dz: str) -> None:
        """dV = sum over steps of dz x^T, dV_h = sum of dz h^T: the rows of y, each met by the step behind it."""
        t, steps, rows = b.types(node), self.memory.steps_of(b.types(node)), self.memory.units(b.types(node)) * 4
        for operand, source, window in (("weights", "x", Window((1, 1))), ("recurrent", "y", Window((1, 1), pad=(1, 0, -1, 0)))):
            x = node.outputs[0] if source == "y" else node.inputs["x"]
            op = WeightGradient(window, (steps, 1, t.type(operand).shape[1]), (steps, 1, rows), b.type_of(x).scale)
            chosen = {"rows": node.inputs["delta_rows"]} if t.has("delta_rows") else {}
            b.accumulate(node, DELTAS[operand], op, {"g": dz, "x": x, **chosen})

    def macs(self, t: NodeTypes) -> int:
        return self.memory.steps_of(t) * sum(t.type(o).size for o in ("weights", "recurrent", *DELTAS.values()) if t.has(o))

    # -- C --------------------------------------------------------------------------------------------
    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        kept: tuple[Argument | str, ...] = tuple(Argument(n.inputs[o]) if t.has(o) else "NULL" for o in self.kept)
        ends = (Argument(n.outputs[0]), Scratch())
        scratch = -(-2 * self.memory.units(t) // 4) * 4
        if not t.has("delta"):
            arguments = (Argument(n.inputs["x"]), Argument(n.inputs["bias"]), *kept, *ends)
            return KernelCall("kt_lstm_s8", "kt_lstm_params", self.memory.fields(t, n), arguments, scratch, source="kernels/recurrent/lstm.c")
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["bias"]), *kept, *(Argument(n.inputs[o]) for o in DELTA_OPERANDS[:4]), *ends)
        fields: dict[str, Field] = {"layer": self.memory.fields(t, n), "delta": self.memory.delta_fields(t, n)}
        return KernelCall("kt_lstm_delta_s8", "kt_lstm_delta_params", fields, arguments, scratch, source="kernels/recurrent/lstm_delta.c")

    # -- files ----------------------------------------------------------------------------------------
    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        o = r.options(op)
        for position, what in _ABSENT.items():
            if op.input(position) is not None:
                raise CompileError(op.where, f"an LSTM with {what}, which TensorFlow Lite Micro does not run", AGAIN)
        if len(op.inputs) != _INPUTS or o["FusedActivationFunction"] != _TANH or not o["ProjClip"] <= 0:
            what = f"an LSTM of {len(op.inputs)} inputs, activation {o['FusedActivationFunction']} and projection clip {o['ProjClip']:g}"
            raise CompileError(op.where, what, AGAIN)
        x, batch = op.input(0), 1 if o["TimeMajor"] else 0
        if x is None or len(x.shape) != 3 or x.shape[batch] not in (1, -1):
            raise CompileError(op.where, f"an LSTM over {None if x is None else x.shape}", "export the model with a batch of 1")
        hidden, cell, y = r.kept(op, 18), r.kept(op, 19), r.activation_type(op.outputs[0])
        hidden_type, cell_type = r.activation_type(hidden), r.activation_type(cell, "int16")
        power = frexp(cell_type.scale)[1] - 1
        if cell_type.scale != 2.0**power or power not in CELL_POWERS:
            raise CompileError(op.where, f"the scale {cell_type.scale:g} of the cell is no power of two between 2^{CELL_POWERS[0]} and 1", AGAIN)
        if hidden_type.quantization != y.quantization:
            raise CompileError(op.where, "the hidden state has another scale than the result", "export the model again")
        name = r.name(op, "lstm")
        constants = _gates(r, op, name, hidden_type.size)
        clip = o["CellClip"] / cell_type.scale
        if not (clip <= 0 or 1 <= clip < inf):
            raise CompileError(op.where, f"a cell clip of {o['CellClip']:g}", "export the model again")
        first = np.full(hidden_type.shape, hidden_type.zero_point, np.int8)
        kept = {
            "hidden": r.b.stream(f"{name}.hidden", hidden_type, first, hidden.name),
            "cell": r.b.stream(f"{name}.cell", cell_type, np.zeros(cell_type.shape, np.int16), cell.name),
        }
        r.emit(op, cls(Memory(power, int(min(max(clip, 0), 2**15 - 1)))), {**constants, **kept}, name=name)

    @classmethod
    def read_onnx(cls, r: OnnxReader, op: OnnxOperator) -> list[AnyValue]:
        return r.lstm(op)

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        raise CompileError(node.origin or node.name, "is an LSTM, whose cell has no scale in .onnx files", "write a .tflite file")

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        units, y = self.memory.units(w.types(node)), w.graph.type(node.outputs[0])
        inputs = [w.operand(node)]
        scales = {o: w.graph.type(node.inputs[o]).channel_scales for o in ("weights", "recurrent")}
        for operand, label in (("weights", "MatMul"), ("recurrent", "MatMul_1")):
            inputs += [w.part(node, operand, f"{label}_{k}", k * units, units, Quantization((scales[operand][k * units],))) for k in range(4)]
        inputs += [-1] * 3
        bias = [float(np.float32(w.graph.type(node.inputs["x"]).scale) * np.float32(s)) for s in scales["weights"][::units]]
        inputs += [w.part(node, "bias", f"BiasAdd_{k}", k * units, units, Quantization((bias[k],))) for k in range(4)]
        hidden = TensorType((1, units), "int8", y.quantization)
        cell = TensorType((1, units), "int16", Quantization((2.0**self.memory.cell_power,)))
        inputs += [-1, -1, w.variable(f"{node.name}/hidden", hidden), w.variable(f"{node.name}/cell", cell), *([-1] * 4)]
        clip = self.memory.cell_clip * 2.0**self.memory.cell_power
        w.emit(node, "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, FusedActivationFunction=_TANH, CellClip=clip)


def _gates(r: TFLiteReader, op: TFLiteOperator, name: str, units: int) -> dict[str, str]:
    """The constants of four gates, one below the other."""
    found: dict[str, str] = {}
    for operand, first in (("weights", 1), ("recurrent", 5)):
        parts = [_matrix(r, op, first + k, units) for k in range(4)]
        if len({w.shape for w, _ in parts}) > 1 or (operand == "recurrent" and parts[0][0].shape != (units, units)):
            raise CompileError(op.where, f"gates with weights of {', '.join(str(w.shape) for w, _ in parts)}", "export the model again")
        scales = tuple(scale for _, scale in parts for _ in range(units))
        origin = op.inputs[first]
        assert origin is not None
        data = np.concatenate([w for w, _ in parts])
        found[operand] = r.b.constant(f"{name}.{operand}", data, Quantization(scales, 0, 0), origin.name)
    biases: list[Tensor] = []
    for position in range(12, 16):
        t = op.input(position)
        if t is None or t.data is None or t.dtype != "INT32" or t.data.size != units:
            raise CompileError(op.where, f"input {position} is no constant INT32 bias of {units} values", AGAIN)
        biases.append(t)
    data = np.concatenate([t.data.reshape(-1) for t in biases if t.data is not None])
    return {**found, "bias": r.b.constant(f"{name}.bias", data, None, biases[0].name)}


def _matrix(r: TFLiteReader, op: TFLiteOperator, position: int, units: int) -> tuple[NDArray[np.int8], float]:
    """Weights of one gate [units, K], and their scale."""
    t = op.input(position)
    if t is None or t.data is None or t.dtype != "INT8" or t.data.ndim != 2 or t.data.shape[0] != units or t.data.size == 0:
        raise CompileError(op.where, f"input {position} is no constant INT8 matrix of {units} rows (coupled gates are not supported)", AGAIN)
    q = r.quantization(t)
    if len(q.scale) != 1 or q.zero_point != 0:
        raise CompileError(t.where, "weights of a gate need one scale and zero point 0", "export the model again")
    return t.data, q.per_tensor
