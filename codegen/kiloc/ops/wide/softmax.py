"""SOFTMAX over the last axis, int16 to int16, by two tables of 513 entries with straight lines between them.

    d[c] = clamp16(requantize(x[c] - max x, s_x beta 65535 / 10) + 32767)        -10 .. 0 as all int16
    e[c] = exponential(d[c]), n = 31 - leading zeros of sum e                    in 2^-15
    y[c] = (e[c] reciprocal(sum e / 2^n) + 2^(n - 1)) >> n, in 0 .. 32767        in 2^-15

Source: TensorFlow Lite's reference kernel, whose tables are computed in float32: entries are rounded values, less half of what the straight line
to the next entry misses at its middle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.binding import TFLiteBinding
from ...ir.kernel_call import Argument, Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from ._layer import WideOp, not_symmetric

if TYPE_CHECKING:
    from ...export.tflite import TFLiteWriter
    from ...frontend.tflite import TFLiteReader
    from ...frontend.tflite_file import Operator as TFLiteOperator
    from ...ir.graph import Node

STEPS = 512
LONGEST_ROW = 65535
RESULT_SCALE = 2.0**-15


def _rounded(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """To nearest, ties away from zero."""
    wide = x.astype(np.float64)
    return np.asarray(np.sign(wide) * np.floor(np.abs(wide) + 0.5), np.float32)


def _table(function: Callable[[NDArray[np.float32]], NDArray[np.float32]], low: np.float32, high: np.float32) -> NDArray[np.int64]:
    """Of a function from [low, high], results in units of 2 / 65536."""
    f32 = np.float32
    step = (high - low) / f32(STEPS)
    to_codes = f32(65536) / (f32(32767) * (f32(2) / f32(65535)) - f32(-32768) * (f32(2) / f32(65535)))
    i = np.arange(STEPS, dtype=np.float32)
    value, middle, following = (function((low + at).astype(np.float32)) for at in (i * step, i * step + step / f32(2), (i + f32(1)) * step))
    sample = _rounded(value * to_codes)
    line = _rounded((following * to_codes + sample) / f32(2))
    missed = _rounded((line - _rounded(middle * to_codes)) / f32(2))
    last = _rounded(np.asarray([function(np.asarray([high], np.float32))[0] * to_codes], np.float32))
    return np.asarray(np.clip(np.concatenate([sample - missed, last]), -32768, 32767), np.int64)


def _real_exp(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.exp(x.astype(np.float64)), np.float32)


def _real_reciprocal(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.float32(1) / (np.float32(1) + x), np.float32)


@cache
def tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """e^x over [-10, 0], and 1 / (1 + x) over [0, 1]."""
    f32 = np.float32
    ten, one = f32(10) / f32(65535), f32(1) / f32(65535)
    found = _table(_real_exp, ten * f32(-65535), f32(0)), _table(_real_reciprocal, f32(0), one * f32(65535))
    for table in found:
        table.flags.writeable = False
    return found


def looked_up(table: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Between two entries, 128 codes apart."""
    index = 256 + (x >> 7)
    base = table[index]
    return np.asarray(base + (((table[index + 1] - base) * (x & 127) + 64) >> 7))


@register
@dataclass(frozen=True)
class WideSoftmax(WideOp):
    mnemonic: ClassVar[str] = "wide_softmax"
    beside: ClassVar[str] = "softmax"
    in_place: ClassVar[str | None] = "x"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"SOFTMAX": 3}, "SoftmaxOptions", ("Beta",))

    beta: float = 1.0

    def check(self, t: NodeTypes) -> str | None:
        x, y = t.type("x"), t.result()
        if x.size != y.size:
            return f"result is {y.shape}, expected {x.shape}"
        if abs(y.scale / RESULT_SCALE - 1) > 1e-3:
            return "the result of a softmax of int16 must have scale 2^-15 and zero point 0"
        if x.shape[-1] > LONGEST_ROW:
            return f"rows of {x.shape[-1]}; sums over more than {LONGEST_ROW} leave int32"
        if not 0 < self.beta < np.inf or self.scaling(t)[1] > 14:
            return f"beta {self.beta} and scale {x.scale} leave nothing of the differences"
        return not_symmetric(x, y)

    def scaling(self, t: NodeTypes) -> tuple[int, int]:
        """(multiplier, shift) of the differences."""
        return nm.quantize_multiplier(float(np.float64(t.type("x").scale) * np.float64(self.beta) / (10.0 / 65535.0)))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        exponential, reciprocal = tables()
        x = e.wide("x").reshape(e.array("x").shape[0], -1, e.type("x").shape[-1])
        scaled = nm.requantize(x - x.max(2, keepdims=True), *self.scaling(e))
        powers = looked_up(exponential, np.clip(scaled + 32767, -32768, 32767))
        total = powers.sum(2, keepdims=True)
        bits = nm.bit_length(total)
        shifted = ((total << (31 - bits)) + (1 << 13)) >> 14
        factor = looked_up(reciprocal, np.clip(shifted - ((1 << 15) + (1 << 16)), -32768, 32767))
        down = bits - 1
        y = np.clip((powers * factor + (np.int64(1) << (down - 1))) >> down, 0, 32767)
        return (y.astype(np.int16).reshape(-1, *e.result().shape[1:]),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        depth, (multiplier, shift) = t.type("x").shape[-1], self.scaling(t)
        named = zip(("exponential", "reciprocal"), tables(), strict=True)
        fields: dict[str, Field] = {"rows": t.type("x").size // depth, "depth": depth, "multiplier": multiplier, "shift": shift}
        fields |= {name: Table(f"{name}_table", "int16_t", table.astype(np.int16)) for name, table in named}
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_softmax_s16", "kt_softmax_s16_params", fields, arguments, source="kernels/elementwise/softmax_table.c")

    @classmethod
    def read_tflite(cls, r: TFLiteReader, op: TFLiteOperator) -> None:
        r.emit(op, cls(float(r.options(op)["Beta"])))

    def write_tflite(self, w: TFLiteWriter, node: Node) -> None:
        w.require_shape(node)
        w.emit(node, "SOFTMAX", (w.operand(node),), Beta=self.beta)
