"""A gated recurrent unit of 8-bit rows with a state of 16 bits: its steps.

    a[k] = clamp16(requantize(W[k] (x - z_x) + b[k])), u[k] = clamp16(requantize(U[k] (y - z_y))), in 2^-12     k: update, reset, new
    z, r = logistic(a + u), in 2^-15                                                                           (`_table16.py`)
    v    = clamp16(u[new] + inner)
    n    = tanh(a[new] + r v), in 2^-15
    h    = n + z (h_before - n), in 2^-15
    y    = clamp8(requantize(h) + z_y)                                                                         one row of the result

With LoRA b[k] is saturate32(b[k] + B[k] u), where u = A x is LORA_DOWN's result and the product is brought to units of the sums over x as in
`model/_linear.py`.

Every sum saturates at 16 bits. The product reads the state as the row of y that it was rounded to; what carries it on keeps all of its bits, so
that a state which changes by less than a step of y does change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .. import numerics as nm
from ..ir.kernel_call import Argument, Field
from ..ir.operator import Array, Environment, Names, NodeTypes
from ._lstm import GATE_SCALE, UNIT, clamp16
from ._sums import addend, addend_multipliers, exact_matmul, output_scales
from ._table16 import logistic16, sigmoid_table, tanh16

GATES = 3
LORA_OPERANDS = ("lora_u", "lora_b", "lora_b_exponent", "lora_range")


class Step(NamedTuple):
    """One step of the sequence, [N, units] each: the gates z, r, n, what r multiplies, the state before and behind, and the result."""

    gates: tuple[Array, Array, Array]
    inner: Array
    before: Array
    state: Array
    hidden: Array


def units_of(t: NodeTypes) -> int:
    return t.type("recurrent").shape[1]


def steps_of(t: NodeTypes) -> int:
    """Rows of a sequence."""
    return t.type("x").size // t.type("weights").shape[1]


def multipliers(t: NodeTypes, operand: str) -> tuple[nm.Ints, nm.Ints]:
    """Of each gate, from sums over the rows of x ("weights") or of the result ("recurrent") to 2^-12."""
    source, units = t.type("x") if operand == "weights" else t.result(), units_of(t)
    return nm.quantize_multipliers(output_scales(source, t.type(operand), GATES * units)[::units] / GATE_SCALE)


def lora_multipliers(t: NodeTypes, factor: float) -> tuple[nm.Ints, nm.Ints]:
    """Of each gate, from products B u to sums over x. factor: alpha / rank."""
    units = units_of(t)
    multiplier, shift = addend_multipliers(t.type("weights"), GATES * units, factor)
    return multiplier[::units], shift[::units]


def result_multiplier(t: NodeTypes) -> tuple[int, int]:
    return nm.quantize_multiplier(float(UNIT / np.float64(t.result().scale)))


def halved(x: Array) -> Array:
    """x / 2^15, ties towards plus infinity."""
    return np.asarray((x + (1 << 14)) >> 15)


def _sums(e: Environment, operand: str, rows: Array, lora_scale: float = 1.0) -> list[Array]:
    total = exact_matmul(rows, e.array(operand).T)
    if operand == "weights":
        total = nm.saturate32(total + _start(e, lora_scale))
    multiplier, shift = multipliers(e, operand)
    units = units_of(e)
    return np.split(clamp16(nm.requantize(total, np.repeat(multiplier, units), np.repeat(shift, units))), GATES, -1)


def _start(e: Environment, lora_scale: float) -> Array:
    """What sums over x start from: the bias, of which LoRA makes another one for each row."""
    if not e.has("lora_u"):
        return e.wide("bias")
    u = e.array("lora_u").reshape(len(e.array("x")), -1, e.type("lora_b").shape[1])
    multiplier, shift = (np.repeat(m, units_of(e)) for m in lora_multipliers(e, lora_scale))
    added = addend(exact_matmul(u, e.array("lora_b").T), multiplier, shift + e.wide("lora_range") + e.wide("lora_b_exponent"))
    return nm.saturate32(added + e.wide("bias"))


def steps(e: Environment, lora_scale: float) -> Iterator[Step]:
    """The steps of a batch of sequences, which begin from 0 where there are no operands `hidden` and `state`. lora_scale: alpha / rank."""
    units, zero = units_of(e), e.result().zero_point
    x = e.wide("x").reshape(e.array("x").shape[0], -1, e.type("weights").shape[1]) - e.type("x").zero_point
    state = e.wide("state").reshape(1, units) if e.has("state") else np.zeros((len(x), units), np.int64)
    hidden = e.wide("hidden").reshape(1, units) if e.has("hidden") else np.full((len(x), units), zero, np.int64)
    rows = _sums(e, "weights", x, lora_scale)
    for number in range(x.shape[1]):
        a, u = [part[:, number] for part in rows], _sums(e, "recurrent", hidden - zero)
        z, r = (logistic16(3 * clamp16(a[k] + u[k])) for k in (0, 1))
        inner = clamp16(u[2] + e.wide("inner"))
        n = tanh16(3 * clamp16(a[2] + halved(r * inner)))
        after = clamp16(n + halved(z * (state - n)))
        hidden = np.clip(nm.requantize(after, *result_multiplier(e)) + zero, -128, 127)
        yield Step((z, r, n), inner, state, after, hidden)
        state = after


def fields(t: NodeTypes, n: Names) -> dict[str, Field]:
    """Members of `kt_gru_params`."""
    multiplier, shift = result_multiplier(t)
    found: dict[str, Field] = {
        "steps": steps_of(t),
        "depth": t.type("weights").shape[1],
        "units": units_of(t),
        "input_offset": -t.type("x").zero_point,
        "hidden_zero": t.result().zero_point,
        "weights": Argument(n.inputs["weights"]),
        "recurrent": Argument(n.inputs["recurrent"]),
        "inner": Argument(n.inputs["inner"]),
    }
    for name, operand in (("gate", "weights"), ("recurrent", "recurrent")):
        m, s = multipliers(t, operand)
        found |= {f"{name}_multiplier": tuple(int(v) for v in m), f"{name}_shift": tuple(int(v) for v in s)}
    return found | {"output_multiplier": multiplier, "output_shift": shift, "sigmoid": sigmoid_table()}


def lora_fields(t: NodeTypes, factor: float) -> dict[str, Field]:
    """Members of `kt_gru_lora`."""
    multiplier, shift = lora_multipliers(t, factor)
    return {"rank": t.type("lora_b").shape[1], "multiplier": tuple(int(v) for v in multiplier), "shift": tuple(int(v) for v in shift)}


def lora_arguments(n: Names) -> tuple[Argument, ...]:
    return tuple(Argument(n.inputs[o]) for o in LORA_OPERANDS)
