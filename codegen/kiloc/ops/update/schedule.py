"""What runs once an update: the learning rate's schedule, running powers, the counter of updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, register
from ._update import Update, pointers

_COSINE = tuple(np.float32(c) for c in (-1 / 3628800, 1 / 40320, -1 / 720, 1 / 24, -0.5, 1.0))


def squared_cosine(x: np.float32) -> np.float32:
    """cos(x)^2 for x in [0, pi / 2]: a Taylor polynomial of degree 10, squared; within 1.5e-7, exactly 1 at 0."""
    z, p = x * x, _COSINE[0]
    for coefficient in _COSINE[1:]:
        p = p * z + coefficient
    return p * p


@dataclass(frozen=True)
class Schedule(Update):
    """rate := base * share(updates), in float32."""

    operands: ClassVar[tuple[str, ...]] = ("base", "updates", "rate")

    def share(self, updates: int) -> np.float32:
        """What is left of the base rate after so many updates."""
        raise NotImplementedError

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        with np.errstate(under="ignore", over="ignore"):
            rate = e.array("base")[0] * self.share(int(e.array("updates")[0]))
        return {"rate": np.array([rate], np.float32)}

    def _call(self, n: Names, fields: dict[str, Field], struct: str = "kt_schedule_params") -> KernelCall:
        symbol = f"kt_{self.mnemonic}"
        return KernelCall(symbol, struct, fields, pointers(n, *self.operands), source="optim/schedule.c")


@register
@dataclass(frozen=True)
class StepSchedule(Schedule):
    """share = factor^floor(updates / every), by repeated squaring."""

    mnemonic: ClassVar[str] = "schedule_step"

    every: int = 1
    factor: float = 0.1

    def share(self, updates: int) -> np.float32:
        n, power, square = updates // self.every, np.float32(1), np.float32(self.factor)
        while n > 0:
            if n & 1:
                power = power * square
            square, n = square * square, n >> 1
        return power

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return self._call(n, {"every": self.every, "factor": self.factor}, "kt_schedule_step_params")


@dataclass(frozen=True)
class Fall(Schedule):
    """From 1 to `final` within `updates` updates."""

    updates: int = 1
    final: float = 0.0

    def curve(self, t: np.float32) -> np.float32:
        """The share at t in [0, 1)."""
        raise NotImplementedError

    def share(self, updates: int) -> np.float32:
        if updates >= self.updates:
            return np.float32(self.final)
        return self.curve(np.float32(updates) / np.float32(self.updates))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return self._call(n, {"updates": self.updates, "final": self.final})


@register
@dataclass(frozen=True)
class LinearSchedule(Fall):
    """share = 1 + (final - 1) * t"""

    mnemonic: ClassVar[str] = "schedule_linear"

    def curve(self, t: np.float32) -> np.float32:
        one = np.float32(1)
        return one + (np.float32(self.final) - one) * t


@register
@dataclass(frozen=True)
class CosineSchedule(Fall):
    """share = final + (1 - final) * (1 + cos(pi t)) / 2

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).
    """

    mnemonic: ClassVar[str] = "schedule_cosine"

    def curve(self, t: np.float32) -> np.float32:
        final = np.float32(self.final)
        return final + (np.float32(1) - final) * squared_cosine(t * np.float32(np.pi / 2))


@register
@dataclass(frozen=True)
class ScaledRate(Update):
    """rate := base * factor, in float32: the rate of tensors that learn faster than the others."""

    mnemonic: ClassVar[str] = "scaled_rate"
    operands: ClassVar[tuple[str, ...]] = ("base", "rate")

    factor: float = 1.0

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        with np.errstate(under="ignore", over="ignore"):
            return {"rate": e.array("base") * np.float32(self.factor)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"factor": self.factor}
        return KernelCall("kt_scaled_rate", "kt_scaled_rate_params", fields, pointers(n, *self.operands), source="optim/schedule.c")


@register
@dataclass(frozen=True)
class NextPower(Update):
    """power := power * factor: beta^t of the t-th update, a product a step."""

    mnemonic: ClassVar[str] = "next_power"
    operands: ClassVar[tuple[str, ...]] = ("power",)

    factor: float = 0.9

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        with np.errstate(under="ignore"):
            return {"power": e.array("power") * np.float32(self.factor)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return KernelCall("kt_next_power", "kt_next_power_params", {"factor": self.factor}, pointers(n, "power"), source="optim/schedule.c")


@register
@dataclass(frozen=True)
class CountUpdate(Update):
    """updates += 1, up to 2^31 - 1."""

    mnemonic: ClassVar[str] = "count_update"
    operands: ClassVar[tuple[str, ...]] = ("updates",)

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        return {"updates": np.minimum(e.wide("updates") + 1, nm.INT32_MAX).astype(np.int32)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        return KernelCall("kt_count_update", "", {}, pointers(n, "updates"), source="optim/schedule.c")
