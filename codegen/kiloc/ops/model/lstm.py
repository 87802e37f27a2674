"""UNIDIRECTIONAL_SEQUENCE_LSTM: a long short-term memory over the rows of a sequence, int8 with a cell of 16 bits.

    z[k] = clamp16(requantize(W[k] (x - z_x) + b[k])) + clamp16(requantize(U[k] (h - z_h))), in 2^-12     k: input, forget, cell, output gate
    i, f, o = logistic(z), g = tanh(z), in 2^-15                                                            (`_table16.py`)
    c = clamp16(requantize(f c)) + clamp16(requantize(i g)), limited to +-cell_clip where there is one
    h = clamp8(requantize(o tanh(c)) + z_h)                                                                 one row of the result

Every sum saturates at 16 bits. Source: TensorFlow Lite Micro's kernel for int8 activations and an int16 cell. h and c are what the operator
keeps from call to call. Where it has no operands for them, each call is a whole sequence, which begins with h = z_h (a real 0) and c = 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import frexp
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...errors import CompileError
from ...ir.binding import TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, NoGradient, Op, register
from ...ir.types import Quantization, TensorType
from .._sums import exact_matmul, output_scales
from .._table16 import logistic16, sigmoid_table, tanh16

if TYPE_CHECKING:
    from ...autodiff import GradientBuilder
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...frontend.tflite_file import Tensor
    from ...ir.graph import Node

GATE_SCALE = 2.0**-12
UNIT = 2.0**-15
"""Of gates, and of the tanh of a cell."""
CELL_POWERS = range(-24, 1)
LONGEST_SUM = (2**31 - 1) // (128 * 255)

_FIELDS = ("FusedActivationFunction", "CellClip", "ProjClip", "TimeMajor")
_TANH = 4
_ABSENT = {
    **dict.fromkeys((9, 10, 11), "peephole weights"),
    **dict.fromkeys((16, 17), "a projection"),
    **dict.fromkeys(range(20, 24), "layer normalisation"),
}
_INPUTS = 24
AGAIN = "export a Keras LSTM with its default activations"


def clamp16(x: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(x, -(2**15), 2**15 - 1)


class Step(NamedTuple):
    """One step of the sequence, [N, units] each: the gates i, f, g, o, the cell before and behind, its tanh, and the result."""

    gates: tuple[Array, Array, Array, Array]
    before: Array
    cell: Array
    tanh: Array
    hidden: Array


@register
@dataclass(frozen=True)
class Lstm(Op):
    """cell_power: the scale of the cell is 2^cell_power; cell_clip: in its codes, 0 for none. Rows of weights: gate by gate."""

    mnemonic: ClassVar[str] = "lstm"
    operands: ClassVar[tuple[str, ...]] = ("x", "weights", "recurrent", "bias")
    optional: ClassVar[tuple[str, ...]] = ("hidden", "cell")
    kept: ClassVar[tuple[str, ...]] = ("hidden", "cell")
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"UNIDIRECTIONAL_SEQUENCE_LSTM": 3}, "UnidirectionalSequenceLSTMOptions", _FIELDS)

    cell_power: int = -12
    cell_clip: int = 0

    def check(self, t: NodeTypes) -> str | None:
        w, u, y = t.type("weights").shape, t.type("recurrent").shape, t.result()
        units = u[1] if len(u) == 2 else 0
        if len(w) != 2 or w[0] != u[0] or u[0] != 4 * units or units == 0 or t.type("bias").shape != (w[0],):
            return f"weights {w}, recurrent weights {u} and bias {t.type('bias').shape} are not four gates"
        if t.type("x").size % w[1] or y.size != t.type("x").size // w[1] * units:
            return f"turns {t.type('x').shape} into {y.shape} with weights {w}"
        if max(w[1], units) > LONGEST_SUM:
            return f"sums of {max(w[1], units)} products may leave int32"
        if self.cell_power not in CELL_POWERS:
            return f"the scale of the cell is 2^{self.cell_power}, not between 2^{CELL_POWERS[0]} and 1"
        if t.has("hidden") != t.has("cell"):
            return "keeps a hidden state or a cell, but not both"
        if t.has("hidden"):
            hidden, cell = t.type("hidden"), t.type("cell")
            if hidden.quantization != y.quantization or hidden.size != units:
                return f"the hidden state {hidden} is no row of the result {y}"
            if (cell.dtype, cell.size) != ("int16", units) or cell.scale != 2.0**self.cell_power:
                return f"the cell {cell} is not {units} values of int16 with scale 2^{self.cell_power}"
        return None

    # -- meaning --------------------------------------------------------------------------------------
    def units(self, t: NodeTypes) -> int:
        return t.type("recurrent").shape[1]

    def steps_of(self, t: NodeTypes) -> int:
        """Rows of a sequence."""
        return t.type("x").size // t.type("weights").shape[1]

    def multipliers(self, t: NodeTypes, operand: str) -> tuple[nm.Ints, nm.Ints]:
        """Of each gate, from sums over the rows of x ("weights") or of the hidden state ("recurrent") to 2^-12."""
        source = t.type("x") if operand == "weights" else t.result()
        return nm.quantize_multipliers(output_scales(source, t.type(operand), 4 * self.units(t))[:: self.units(t)] / GATE_SCALE)

    def products(self, t: NodeTypes) -> tuple[nm.Ints, nm.Ints]:
        """(multipliers, shifts) of f c and i g in units of the cell, and of o tanh(c) in those of the result."""
        cell = 2.0**self.cell_power
        return nm.quantize_multipliers(np.array([UNIT * cell / cell, UNIT * UNIT / cell, UNIT * UNIT / t.result().scale]))

    def tanh_shift(self) -> tuple[int, int]:
        """(factor, right shift) from units of the cell to those of `tanh16`."""
        shift = 12 + self.cell_power
        return (3 << shift, 0) if shift >= 0 else (3, -shift)

    def _sums(self, e: Environment, operand: str, rows: Array) -> Array:
        """Of rows [..., K] the part of every gate, [..., 4 units]."""
        total = exact_matmul(rows, e.array(operand).T)
        if operand == "weights":
            total = nm.saturate32(total + e.wide("bias"))
        multiplier, shift = self.multipliers(e, operand)
        return clamp16(nm.requantize(total, np.repeat(multiplier, self.units(e)), np.repeat(shift, self.units(e))))

    def steps(self, e: Environment) -> Iterator[Step]:
        """The steps of a batch of sequences."""
        units, zero = self.units(e), e.result().zero_point
        x = e.wide("x").reshape(e.array("x").shape[0], -1, e.type("weights").shape[1]) - e.type("x").zero_point
        hidden = e.wide("hidden").reshape(1, units) if e.has("hidden") else np.full((1, units), zero, np.int64)
        cell = e.wide("cell").reshape(1, units) if e.has("cell") else np.zeros((1, units), np.int64)
        for row in self._sums(e, "weights", x).transpose(1, 0, 2):
            before = np.broadcast_to(cell, (len(row), units))
            z = clamp16(row + self._sums(e, "recurrent", hidden - zero))
            step = self.step(e, z, before)
            yield step
            hidden, cell = step.hidden, step.cell

    def step(self, t: NodeTypes, z: Array, before: Array) -> Step:
        """What sums z of the gates make of a cell."""
        (forget, into, out), shifts = self.products(t)
        i, f, g, o = (tanh16(3 * part) if k == 2 else logistic16(3 * part) for k, part in enumerate(np.split(z, 4, -1)))
        cell = clamp16(clamp16(nm.requantize(f * before, forget, shifts[0])) + clamp16(nm.requantize(i * g, into, shifts[1])))
        if self.cell_clip:
            cell = np.clip(cell, -self.cell_clip, self.cell_clip)
        factor, shift = self.tanh_shift()
        tanh = tanh16((cell * factor + ((1 << shift) >> 1)) >> shift)
        hidden = np.clip(nm.requantize(o * tanh, out, shifts[2]) + t.result().zero_point, -128, 127)
        return Step((i, f, g, o), before, cell, tanh, hidden)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        y = np.stack([step.hidden for step in self.steps(e)], 1)
        return (y.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        if not e.has("hidden"):
            return {}
        *_, last = self.steps(e)
        shapes = {o: e.type(o).shape for o in self.kept}
        return {"hidden": last.hidden.astype(np.int8).reshape(shapes["hidden"]), "cell": last.cell.astype(np.int16).reshape(shapes["cell"])}

    def gradient(self, b: GradientBuilder, node: Node, dy: str) -> dict[str, str]:
        raise NoGradient("the gradient through time is not there yet")

    def macs(self, t: NodeTypes) -> int:
        return self.steps_of(t) * (t.type("weights").size + t.type("recurrent").size)

    # -- C --------------------------------------------------------------------------------------------
    def fields(self, t: NodeTypes, n: Names) -> dict[str, Field]:
        """Members of `kt_lstm_params`."""
        units, depth = self.units(t), t.type("weights").shape[1]
        factor, shift = self.tanh_shift()
        fields: dict[str, Field] = {
            "steps": self.steps_of(t),
            "depth": depth,
            "units": units,
            "input_offset": -t.type("x").zero_point,
            "hidden_zero": t.result().zero_point,
            "weights": Argument(n.inputs["weights"]),
            "recurrent": Argument(n.inputs["recurrent"]),
        }
        for name, (multiplier, places) in (
            ("gate", self.multipliers(t, "weights")), ("recurrent", self.multipliers(t, "recurrent")), ("product", self.products(t))
        ):  # fmt: skip
            fields |= {f"{name}_multiplier": tuple(int(m) for m in multiplier), f"{name}_shift": tuple(int(s) for s in places)}
        return fields | {"tanh_factor": factor, "tanh_shift": shift, "cell_clip": self.cell_clip, "sigmoid": sigmoid_table()}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        kept: tuple[Argument | str, ...] = tuple(Argument(n.inputs[o]) if t.has(o) else "NULL" for o in self.kept)
        arguments = (Argument(n.inputs["x"]), Argument(n.inputs["bias"]), *kept, Argument(n.outputs[0]), Scratch())
        scratch = -(-2 * self.units(t) // 4) * 4
        return KernelCall("kt_lstm_s8", "kt_lstm_params", self.fields(t, n), arguments, scratch, source="kernels/recurrent/lstm.c")

    # -- files ----------------------------------------------------------------------------------------
    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        o = r.options(op)
        for position, what in _ABSENT.items():
            if op.input(position) is not None:
                raise CompileError(op.where, f"an LSTM with {what}, which TensorFlow Lite Micro does not run", AGAIN)
        if len(op.inputs) != _INPUTS or o["FusedActivationFunction"] != _TANH or o["ProjClip"] > 0:
            what = f"an LSTM of {len(op.inputs)} inputs, activation {o['FusedActivationFunction']} and projection clip {o['ProjClip']:g}"
            raise CompileError(op.where, what, AGAIN)
        x, batch = op.input(0), 1 if o["TimeMajor"] else 0
        if x is None or len(x.shape) != 3 or x.shape[batch] not in (1, -1):
            raise CompileError(op.where, f"an LSTM over {None if x is None else x.shape}", "export the model with a batch of 1")
        hidden, cell, y = op.input(18), op.input(19), r.activation_type(op.outputs[0])
        if hidden is None or cell is None or not hidden.variable or not cell.variable:
            raise CompileError(op.where, "an LSTM without variable tensors for its hidden state and its cell", "export the model again")
        if hidden.index in r.known or cell.index in r.known or hidden.index == cell.index:
            raise CompileError(op.where, "an LSTM that shares its hidden state or its cell", "export the model with one of each")
        hidden_type, cell_type = r.activation_type(hidden), r.activation_type(cell, "int16")
        power = frexp(cell_type.scale)[1] - 1
        if cell_type.scale != 2.0**power or power not in CELL_POWERS:
            raise CompileError(op.where, f"the scale {cell_type.scale:g} of the cell is no power of two between 2^{CELL_POWERS[0]} and 1", AGAIN)
        if hidden_type.quantization != y.quantization:
            raise CompileError(op.where, "the hidden state has another scale than the result", "export the model again")
        name = r.name(op, "lstm")
        constants = _gates(r, op, name, hidden_type.size)
        clip = int(min(max(o["CellClip"] / cell_type.scale, 0), 2**15 - 1))
        first = np.full(hidden_type.shape, hidden_type.zero_point, np.int8)
        kept = {
            "hidden": r.b.stream(f"{name}.hidden", hidden_type, first, hidden.name),
            "cell": r.b.stream(f"{name}.cell", cell_type, np.zeros(cell_type.shape, np.int16), cell.name),
        }
        r.emit(op, cls(power, clip), {**constants, **kept}, name=name)

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        units, y = self.units(w.types(node)), w.graph.type(node.outputs[0])
        inputs = [w.operand(node)]
        scales = {o: w.graph.type(node.inputs[o]).channel_scales for o in ("weights", "recurrent")}
        for operand, label in (("weights", "input"), ("recurrent", "recurrent")):
            inputs += [w.part(node, operand, f"{label}_{k}", k * units, units, Quantization((scales[operand][k * units],))) for k in range(4)]
        inputs += [-1] * 3
        bias = [float(np.float32(w.graph.type(node.inputs["x"]).scale) * np.float32(s)) for s in scales["weights"][::units]]
        inputs += [w.part(node, "bias", f"bias_{k}", k * units, units, Quantization((bias[k],))) for k in range(4)]
        hidden = TensorType((1, units), "int8", y.quantization)
        cell = TensorType((1, units), "int16", Quantization((2.0**self.cell_power,)))
        inputs += [-1, -1, w.variable(f"{node.name}/hidden", hidden), w.variable(f"{node.name}/cell", cell), *([-1] * 4)]
        clip = self.cell_clip * 2.0**self.cell_power
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
    if t is None or t.data is None or t.dtype != "INT8" or t.data.ndim != 2 or t.data.shape[0] != units:
        raise CompileError(op.where, f"input {position} is no constant INT8 matrix of {units} rows (coupled gates are not supported)", AGAIN)
    q = r.quantization(t)
    if len(q.scale) != 1 or q.zero_point != 0:
        raise CompileError(t.where, "weights of a gate need one scale and zero point 0", "export the model again")
    return t.data, q.per_tensor
