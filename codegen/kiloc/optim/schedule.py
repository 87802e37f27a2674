"""Schedules of the learning rate as plain data: which share of the base rate is left after so many updates.

The device evaluates them from its own counter of updates, so training goes on after a power cut where it stopped; setting
the learning rate changes the base. Without a schedule the rate is constant.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import CompileError
from ..ir.operator import Op
from ..ops.update.schedule import CosineSchedule, LinearSchedule, StepSchedule
from ._checks import number, whole


class Schedule:
    """Base of all schedules."""

    def operator(self) -> Op:
        raise NotImplementedError

    def describe(self) -> str:
        """One word for reports, as `parse_schedule` reads it."""
        raise NotImplementedError


@dataclass(frozen=True)
class StepDecay(Schedule):
    """rate = lr * factor^floor(updates / every)"""

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        whole("StepDecay(every=...)", self.every, 1, "the updates between two falls, such as 100")
        number("StepDecay(factor=...)", self.factor, 0, 1, "0.1 divides the rate by ten", above=True)

    def operator(self) -> Op:
        return StepSchedule(int(self.every), float(self.factor))

    def describe(self) -> str:
        return f"step:{self.every}:{self.factor:g}"


@dataclass(frozen=True)
class LinearDecay(Schedule):
    """rate = lr * (1 + (final - 1) * t), t = min(1, updates so far / updates). final: a share of lr."""

    updates: int
    final: float = 0.0

    def __post_init__(self) -> None:
        whole("LinearDecay(updates=...)", self.updates, 1, "the updates of the whole training")
        number("LinearDecay(final=...)", self.final, 0, 1, "the share of lr that is left at the end, such as 0")

    def operator(self) -> Op:
        return LinearSchedule(int(self.updates), float(self.final))

    def describe(self) -> str:
        return f"linear:{self.updates}:{self.final:g}"


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """rate = lr * (final + (1 - final) * (1 + cos(pi t)) / 2), t = min(1, updates so far / updates). final: a share of lr.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).
    """

    updates: int
    final: float = 0.0

    def __post_init__(self) -> None:
        whole("CosineDecay(updates=...)", self.updates, 1, "the updates of the whole training")
        number("CosineDecay(final=...)", self.final, 0, 1, "the share of lr that is left at the end, such as 0")

    def operator(self) -> Op:
        return CosineSchedule(int(self.updates), float(self.final))

    def describe(self) -> str:
        return f"cosine:{self.updates}:{self.final:g}"


def parse_schedule(text: str) -> Schedule | None:
    """The schedule of "constant", "cosine:UPDATES[:FINAL]", "linear:UPDATES[:FINAL]" or "step:EVERY[:FACTOR]"."""
    kinds: dict[str, type[CosineDecay] | type[LinearDecay] | type[StepDecay]] = {"cosine": CosineDecay, "linear": LinearDecay, "step": StepDecay}
    name, *values = text.split(":")
    if name == "constant" and not values:
        return None
    try:
        if name not in kinds or len(values) not in (1, 2):
            raise ValueError
        return kinds[name](int(values[0]), *map(float, values[1:]))
    except ValueError:
        hint = "cosine:UPDATES[:FINAL], linear:UPDATES[:FINAL], step:EVERY[:FACTOR] or constant"
        raise CompileError(f"schedule {text!r}", "is not a schedule", f"write {hint}") from None
