"""Update operators: an optimizer turns the accumulated gradient into a step, a storage format takes the step.

They are separate, so every optimizer works with every storage. The accumulator carries the step from one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import numerics as nm
from ..ir.types import TensorType
from .kernel import Argument, Field, KernelCall, Table
from .registry import Array, Environment, Names, NodeTypes, Op, register

LARGEST_NORM = 3.0e38
BIAS_LIMIT = 2**30


@dataclass(frozen=True)
class Update(Op):
    """Base: no results, state in place."""

    role: ClassVar[str] = "update"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return ()

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return ()


@register
@dataclass(frozen=True)
class SGD(Update):
    """accumulator := lr * m, with g = accumulator / count clipped to norm `clip`, m = momentum * m + g.

    clip: largest Euclidean norm of g (0: no clipping), the most valuable setting of integer training.
    """

    mnemonic: ClassVar[str] = "sgd"
    operands: ClassVar[tuple[str, ...]] = ("accumulator", "count", "learning_rate")
    optional: ClassVar[tuple[str, ...]] = ("momentum",)

    coefficient: float = 0.0
    clip: float = 1.0

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        g = e.array("accumulator").ravel()
        with np.errstate(over="ignore"):
            factor = np.float32(1) / e.array("count").astype(np.float32)[0]
            if self.clip > 0:
                scaled = g * factor
                norm = nm.sqrt(np.minimum(nm.sequential_sum(scaled * scaled), np.float32(LARGEST_NORM)))
                if norm > np.float32(self.clip):
                    factor = factor * (np.float32(self.clip) / norm)
            step = g * factor
        changed = {}
        if e.has("momentum"):
            step = np.float32(self.coefficient) * e.array("momentum").ravel() + step
            changed["momentum"] = step.reshape(e.array("momentum").shape)
        changed["accumulator"] = (e.array("learning_rate")[0] * step).reshape(e.array("accumulator").shape)
        return changed

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {"size": t.type("accumulator").size, "momentum": self.coefficient, "clip": self.clip}
        momentum: Argument | str = Argument(n.inputs["momentum"]) if t.has("momentum") else "NULL"
        arguments = (Argument(n.inputs["accumulator"]), momentum, Argument(n.inputs["count"]), Argument(n.inputs["learning_rate"]))
        return KernelCall("kt_sgd", "kt_sgd_params", fields, arguments, source="optim/sgd.c")


@register
@dataclass(frozen=True)
class StepInt32(Update):
    """value -= round(step / unit[c]); saturates at +-2^30; accumulator := 0.

    unit: real value of one integer step of each channel (s_x * s_w[c] of a bias).
    """

    mnemonic: ClassVar[str] = "step_int32"
    operands: ClassVar[tuple[str, ...]] = ("value", "accumulator")

    unit: tuple[float, ...] = ()

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        step = e.array("accumulator")
        with np.errstate(over="ignore"):
            steps = nm.round_half_up(step / np.array(self.unit, np.float32))
        moved = np.clip(e.wide("value") - steps, -BIAS_LIMIT, BIAS_LIMIT)
        return {"value": moved.astype(np.int32), "accumulator": np.zeros_like(step)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"size": t.type("value").size, "unit": Table("unit", "float", np.array(self.unit, np.float32))}
        arguments = (Argument(n.inputs["value"]), Argument(n.inputs["accumulator"]))
        return KernelCall("kt_step_int32", "kt_step_int32_params", fields, arguments, source="optim/step_int32.c")


@register
@dataclass(frozen=True)
class StepBlock16(Update):
    """value := value - step in 16 bits with one power of two for the tensor, then the int8 codes; accumulator := 0.

    master_exponent is the smallest that holds the largest value; code = shift_round(master, k), where k = 8, or 9 where
    8 would leave [-127, 127].
    """

    mnemonic: ClassVar[str] = "step_block16"
    operands: ClassVar[tuple[str, ...]] = ("value", "exponent", "master", "master_exponent", "accumulator")

    LOWEST: ClassVar[int] = -32

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        step = e.array("accumulator")
        moved = e.array("master").astype(np.float32) * nm.power_of_two(e.array("master_exponent")[0]) - step
        exponent = min(int(nm.exponent_for(np.abs(moved).max(), 32767.0, self.LOWEST)), 100)
        master = np.clip(nm.round_half_up(moved * nm.power_of_two(-exponent)), -32767, 32767)
        value, shift = block16_codes(master)
        return {
            "value": value,
            "exponent": np.array([exponent + shift], np.int8),
            "master": master.astype(np.int16),
            "master_exponent": np.array([exponent], np.int8),
            "accumulator": np.zeros_like(step),
        }

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = tuple(Argument(n.inputs[o]) for o in self.operands)
        return KernelCall("kt_step_block16", "kt_step_block16_params", {"size": t.type("value").size}, arguments, source="optim/step_block16.c")


def block16_codes(master: nm.Ints) -> tuple[Array, int]:
    """int8 codes of 16-bit values, and how far they were shifted."""
    shift = 8 if np.abs(master).max() <= 127 * 256 else 9
    return nm.saturate8(nm.shift_round(master, shift)).astype(np.int8), shift
