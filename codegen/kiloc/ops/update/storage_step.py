"""Storage formats: how a trained tensor takes the step that an optimizer left in its accumulator.

All of them: value := value * (1 - lost) - step, rounded and saturated, never wrapped; accumulator := 0. Decoupled weight
decay: lost = min(1, learning_rate * decay), 0 without the operand `learning_rate`.
Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Field, KernelCall, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from ._update import Update, pointers

BIAS_LIMIT = 2**30
LOWEST_EXPONENT, HIGHEST_EXPONENT = -32, 100
MASTER_LIMIT = 127 * 256 + 127
"""The largest 16-bit value whose code is 127."""


@dataclass(frozen=True)
class StorageStep(Update):
    """Base of all formats. decay: weight decay; without it the operand `learning_rate` is left out."""

    optional: ClassVar[tuple[str, ...]] = ("learning_rate",)

    decay: float = field(default=0.0, kw_only=True)

    def lost(self, e: Environment) -> np.float32:
        if not e.has("learning_rate"):
            return np.float32(0)
        return np.float32(np.minimum(np.float32(1), e.array("learning_rate")[0] * np.float32(self.decay)))

    def moved(self, old: nm.Floats, e: Environment) -> nm.Floats:
        """These values after the step, in float32."""
        return np.asarray(old * (np.float32(1) - self.lost(e)) - e.array("accumulator"))


def fitting_exponent(moved: nm.Floats, limit: float) -> int:
    """The smallest power of two, within what the formats hold, that brings all values within +-limit."""
    return min(int(nm.exponent_for(np.abs(moved).max(), limit, LOWEST_EXPONENT)), HIGHEST_EXPONENT)


@register
@dataclass(frozen=True)
class StepInt32(StorageStep):
    """value -= round(step / unit[c] + lost * value) to nearest, half up; saturates at +-2^30.

    unit: real value of one integer step of each channel (s_x * s_w[c] of a bias).
    """

    mnemonic: ClassVar[str] = "step_int32"
    operands: ClassVar[tuple[str, ...]] = ("value", "accumulator")

    unit: tuple[float, ...] = ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        step = e.array("accumulator")
        with np.errstate(over="ignore"):
            decayed = self.lost(e) * e.array("value").astype(np.float32)
            steps = nm.round_half_up(step / np.array(self.unit, np.float32) + decayed)
        moved = np.clip(e.wide("value") - steps, -BIAS_LIMIT, BIAS_LIMIT)
        return {"value": moved.astype(np.int32), "accumulator": np.zeros_like(step)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        unit = Table("unit", "float", np.array(self.unit, np.float32))
        fields: dict[str, Field] = {"size": t.type("value").size, "unit": unit, "decay": self.decay}
        arguments = pointers(n, *self.operands, "learning_rate")
        return KernelCall("kt_step_int32", "kt_step_int32_params", fields, arguments, source="optim/step_int32.c")


@register
@dataclass(frozen=True)
class StepBlock16(StorageStep):
    """16 bits with one power of two for the tensor: the int8 codes that inference reads, and what is left of each value. Rounds half up.

    master = 256 * code + remainder, in units of 2^(exponent - 8), of which exponent is the smallest that holds the largest value within
    +-MASTER_LIMIT, where no code leaves [-127, 127].
    """

    mnemonic: ClassVar[str] = "step_block16"
    operands: ClassVar[tuple[str, ...]] = ("value", "exponent", "remainder", "accumulator")

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        moved = self.moved(block16_values(e.array("value"), e.array("remainder"), int(e.array("exponent")[0])), e)
        value, remainder, exponent = block16_of(moved)
        return {
            "value": value,
            "exponent": np.array([exponent], np.int8),
            "remainder": remainder,
            "accumulator": np.zeros_like(e.array("accumulator")),
        }

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"size": t.type("value").size, "decay": self.decay}
        arguments = pointers(n, *self.operands, "learning_rate")
        return KernelCall("kt_step_block16", "kt_step_block16_params", fields, arguments, source="optim/step_block16.c")


def block16_values(value: Array, remainder: Array, exponent: int) -> nm.Floats:
    """float32 [...] of codes and remainders, int8 [...]; exponent: of the codes."""
    masters = 256 * value.astype(np.int32) + remainder
    return np.asarray(masters.astype(np.float32) * nm.power_of_two(exponent - 8))


def block16_of(values: nm.Floats) -> tuple[Array, Array, int]:
    """Codes and remainders, int8 [...], of float32 [...], and the exponent of the codes; rounds half up, saturates at +-MASTER_LIMIT."""
    exponent = fitting_exponent(values, float(MASTER_LIMIT))
    masters = np.clip(nm.round_half_up(values * nm.power_of_two(-exponent)), -MASTER_LIMIT, MASTER_LIMIT)
    codes = nm.shift_round(masters, 8)
    return codes.astype(np.int8), (masters - 256 * codes).astype(np.int8), exponent + 8


@register
@dataclass(frozen=True)
class StepBlock8(StorageStep):
    """8 bits with one power of two for the tensor: training and inference share the codes, 1 byte a parameter.

    Rounds stochastically: most steps are smaller than a code and nearest would lose them.
    stream: names this tensor's random numbers, whose counter is `updates` and whose seed is `seed`.
    Source: Gupta et al., "Deep Learning with Limited Numerical Precision" (2015).
    """

    mnemonic: ClassVar[str] = "step_block8"
    operands: ClassVar[tuple[str, ...]] = ("value", "exponent", "accumulator", "updates", "seed")

    stream: int = 0

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        moved = self.moved(e.array("value").astype(np.float32) * nm.power_of_two(e.array("exponent")[0]), e)
        exponent = fitting_exponent(moved, 127.0)
        key = nm.random_key(int(e.array("seed")[0]), int(e.array("updates")[0]), self.stream)
        scaled = np.clip(moved * nm.power_of_two(-exponent), np.float32(-128), np.float32(128))
        codes = nm.round_stochastic(scaled, nm.random_unit(key, moved.size).reshape(moved.shape))
        return {
            "value": nm.saturate8(codes).astype(np.int8),
            "exponent": np.array([exponent], np.int8),
            "accumulator": np.zeros_like(e.array("accumulator")),
        }

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"size": t.type("value").size, "decay": self.decay, "stream": self.stream}
        arguments = pointers(n, *self.operands, "learning_rate")
        return KernelCall("kt_step_block8", "kt_step_block8_params", fields, arguments, source="optim/step_block8.c")
