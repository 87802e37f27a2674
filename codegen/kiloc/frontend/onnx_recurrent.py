"""LSTM and GRU of ONNX files, whose inside no quantiser gives scales: here they get those that the integer operators have.

Weights become int8 with a scale for each gate, where the file has not quantised them already. The hidden state is rounded to the scale that the
file gives the result, or to 1/128, which holds every one. A call is a whole sequence, which begins from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.operator import NodeTypes, Op
from ..ir.types import Quantization
from ..ops._lstm import CELL_POWERS, GATE_SCALE, Memory
from ..ops.model.gru import Gru
from ..ops.model.lstm import Lstm
from ..ops.model.slice import Slice
from .build import checked_scales
from .onnx_file import QUANTIZE, Operator
from .onnx_tensors import EXPORT_AGAIN
from .qdq import Activation, AnyValue, Pending

if TYPE_CHECKING:
    from .onnx_reader import OnnxReader

Reals = NDArray[np.float64]
WHOLE = Quantization((1 / 128,), 0)
"""Holds every hidden state: their magnitude is below 1."""
_INT8 = 127
_LARGEST_CELL = 4
"""log2 of what the cell of an LSTM reaches at most: each step adds less than 1 to its magnitude, and beyond 16 it changes nothing."""
_LARGEST_BIAS = 2**31 - 1
_ALONE_HINT = "export a recurrent layer of one direction, over whole sequences, with its default activations"
INPUT_HINT = (
    'let the quantiser give it scales: quantize_static(op_types_to_quantize=[*QDQRegistry, *QLinearOpsRegistry, "LSTM", "GRU"]), '
    "both from onnxruntime.quantization.registry"
)


@dataclass(frozen=True)
class Recurrence:
    """What a recurrent operator of a file takes. x: a value [1, steps, depth]; weights [gates, units, depth], recurrent [gates, units, units],
    biases [2, gates, units], those of the input in front."""

    x: str
    steps: int
    weights: Reals
    recurrent: Reals
    biases: Reals

    @property
    def units(self) -> int:
        return int(self.weights.shape[1])


def lstm(r: OnnxReader, op: Operator) -> list[AnyValue]:
    """The gates of the file are i, o, f, c, those of the operator i, f, c, o."""
    if op.int_of("input_forget"):
        raise CompileError(op.where, "couples its input gate and its forget gate", _ALONE_HINT)
    s = _recurrence(r, op, 4, ("Sigmoid", "Tanh", "Tanh"), {7: "peephole weights"})
    order = [0, 2, 3, 1]
    s = replace(s, weights=s.weights[order], recurrent=s.recurrent[order], biases=s.biases[:, order])
    name = r.next_name("lstm")
    constants, unit = _weights(r, op, s, name)
    constants["bias"] = r.b.constant(r.b.unique(f"{name}.bias"), _bias(op, s.biases.sum(0), unit), None, op.input(3))
    power = max(min((s.steps - 1).bit_length(), _LARGEST_CELL) - 15, CELL_POWERS[0])
    return _results(r, op, s, Lstm(Memory(power)), constants)


def gru(r: OnnxReader, op: Operator) -> list[AnyValue]:
    """Gates: update, reset, new. The bias of the state's product stays apart for the last one, which multiplies it."""
    if not op.int_of("linear_before_reset"):
        what = "resets its state in front of the product (linear_before_reset = 0)"
        raise CompileError(op.where, what, "use the GRU of PyTorch, or that of Keras with reset_after=True")
    s = _recurrence(r, op, 3, ("Sigmoid", "Tanh"), {6: "a further state", 7: "peephole weights"})
    name = r.next_name("gru")
    constants, unit = _weights(r, op, s, name)
    outer = s.biases[0].copy()
    outer[:2] += s.biases[1, :2]
    constants["bias"] = r.b.constant(r.b.unique(f"{name}.bias"), _bias(op, outer, unit), None, op.input(3))
    inner = _bias(op, s.biases[1, 2:], np.array([GATE_SCALE]))
    constants["inner"] = r.b.constant(r.b.unique(f"{name}.inner"), inner, Quantization((GATE_SCALE,)), op.input(3))
    return _results(r, op, s, Gru(), constants)


def _recurrence(r: OnnxReader, op: Operator, gates: int, activations: Sequence[str], absent: dict[int, str]) -> Recurrence:
    """The operands of a recurrent operator. absent: inputs that it must not have, and what they are."""
    for position, what in {4: "lengths of sequences", **absent}.items():
        if op.input(position):
            raise CompileError(op.where, f"takes {what}", _ALONE_HINT)
    for position in (5, 6):
        if op.input(position) and position not in absent and np.any(r.constant(op, position).data):
            raise CompileError(op.where, "begins from a state that is not 0", _ALONE_HINT)
    given = op.attributes.get("activations")
    named = [a.decode("utf-8", "replace") if isinstance(a, bytes) else str(a) for a in given] if isinstance(given, list) else list(activations)
    direction = op.text_of("direction", "forward")
    if [a.lower() for a in named] != [a.lower() for a in activations] or direction != "forward" or "clip" in op.attributes:
        raise CompileError(op.where, f"runs {direction} with activations {', '.join(named)}, or clips its gates", _ALONE_HINT)
    x = r.value(op.input(0), op.where)
    if not isinstance(x, Activation) and not (isinstance(x, Pending) and x.exact is not None):
        raise CompileError(op.where, f"its input has no scale: there is no {QUANTIZE} in front of it", INPUT_HINT)
    x = r.settled(x, op.where)
    if x.dtype != "float32":
        raise CompileError(op.where, f"takes a tensor of type {x.dtype}", EXPORT_AGAIN)
    batch = 0 if op.int_of("layout") else 1
    if x.index.ndim != 3 or x.index.shape[batch] != 1:
        raise CompileError(op.where, f"goes over a sequence of shape {x.index.shape}", "export the model with a batch of 1")
    steps, depth = x.index.shape[1 - batch], x.index.shape[2]
    units = op.int_of("hidden_size", r.constant(op, 2).data.shape[-1] if r.constant(op, 2).data.ndim else 0)
    if not 0 < units <= 1 << 16:
        raise CompileError(op.where, f"has {units} units", EXPORT_AGAIN)
    weights, recurrent = (_matrices(r, op, position, gates, units, width) for position, width in ((1, depth), (2, units)))
    biases = r.reals(op, 3, (1, 2 * gates * units)) if op.input(3) else np.zeros((1, 2 * gates * units))
    order = x.index.reshape(1, steps, depth)
    value = r.arrange(x, order, order.shape, op.where)
    return Recurrence(value, steps, weights, recurrent, np.asarray(biases).reshape(2, gates, units))


def _matrices(r: OnnxReader, op: Operator, position: int, gates: int, units: int, width: int) -> Reals:
    shape = r.constant(op, position).data.shape
    if shape != (1, gates * units, width):
        raise CompileError(op.where, f"input {position} has shape {shape}, not {(1, gates * units, width)}", EXPORT_AGAIN)
    return np.asarray(r.reals(op, position, shape)).reshape(gates, units, width)


def _weights(r: OnnxReader, op: Operator, s: Recurrence, name: str) -> tuple[dict[str, str], Reals]:
    """Both kinds of weights as constants, and the unit of each gate's sums over x."""
    found, scales = {}, {}
    for position, operand, matrices in ((1, "weights", s.weights), (2, "recurrent", s.recurrent)):
        codes, scales[operand] = _rounded(r, op, position, matrices)
        q = Quantization(tuple(float(v) for v in scales[operand] for _ in range(s.units)), 0, 0)
        found[operand] = r.b.constant(r.b.unique(f"{name}.{operand}"), codes, q, op.input(position))
    return found, np.float64(r.b.values[s.x].type.scale) * scales["weights"]


def _rounded(r: OnnxReader, op: Operator, position: int, matrices: Reals) -> tuple[NDArray[np.int8], Reals]:
    """Weights [gates, units, K] as int8 [gates * units, K] and the scale of each gate: the file's where it has one, else of the largest weight."""
    c = r.constant(op, position)
    if c.scale is not None and c.scale.size == 1 and c.centred().min() >= -_INT8 - 1 and c.centred().max() <= _INT8:
        scales = np.full(len(matrices), float(checked_scales(op.where, c.scale)[0]))
    else:
        largest = np.abs(matrices).max((1, 2))
        scales = checked_scales(op.where, np.where(largest > 0, largest / _INT8, 1.0).astype(np.float32).astype(np.float64))
        r.b.notes.append(f"{op.kind} '{op.name}': the weights {c.name} of the file are rounded to int8, with a scale for each gate")
    codes = np.clip(np.rint(matrices / scales[:, None, None]), -_INT8 - 1, _INT8).astype(np.int8)
    return codes.reshape(-1, matrices.shape[2]), scales


def _bias(op: Operator, real: Reals, unit: Reals) -> NDArray[np.int32]:
    """A bias [gates, units] in units of its gate."""
    found = np.rint(real / unit[:, None])
    if np.abs(found).max() > _LARGEST_BIAS:
        raise CompileError(op.where, "its bias does not fit int32 in units of input scale * weight scale", "calibrate with other data")
    return found.astype(np.int32).ravel()


def _results(r: OnnxReader, op: Operator, s: Recurrence, node: Op, constants: dict[str, str]) -> list[AnyValue]:
    """Y of all steps and Y_h of the last one. Y waits for its QuantizeLinear, unless Y_h is wanted too."""
    shape, last = (1, s.steps, s.units), op.outputs[1] if len(op.outputs) > 1 else ""
    whole = r.positions(shape)
    index = whole.reshape(1, s.steps, 1, s.units) if op.int_of("layout") else whole.reshape(s.steps, 1, 1, s.units)
    waiting = r.result(op, node.mnemonic, lambda _: node, {"x": s.x, **constants}, shape, index, clamps=False, exact=WHOLE)
    if len(op.outputs) > 2 and _is_read(r, op.outputs[2]):
        raise CompileError(op.where, "its cell is a result of its own", _ALONE_HINT)
    if not last or not _is_read(r, last):
        return [waiting, waiting, waiting]
    q = r.scale_behind(op.outputs[0]) or WHOLE
    y = r.emitted(waiting, q, op.outputs[0] or last)
    cut = Slice.along(shape, 1, s.steps - 1, 1)
    kind = cut.infer(NodeTypes({"x": r.b.values[y].type}))[0]
    end = r.b.node(r.name("last"), cut, {"x": y}, kind, op.where) if s.steps > 1 else y
    return [Activation(y, index, "float32"), *[Activation(end, r.positions((1, 1, s.units)), "float32")] * 2]


def _is_read(r: OnnxReader, name: str) -> bool:
    return bool(name) and (bool(r.model.consumers(name)) or name in r.model.outputs)
