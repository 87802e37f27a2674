"""Transfers of saved values between the arena and slow memory (activation offloading)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType


@dataclass(frozen=True)
class Page(Op):
    """x, elsewhere. Not a kernel: functions of the firmware move the bytes (kt/port.h), and the emitter writes their calls."""

    role: ClassVar[str] = "backward"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (t.type("x"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (e.array("x"),)

    def kernel_call(self, t: NodeTypes, n: Names) -> None:
        return None


@register
@dataclass(frozen=True)
class PageOut(Page):
    """From the arena to slow memory."""

    mnemonic: ClassVar[str] = "page_out"


@register
@dataclass(frozen=True)
class PageIn(Page):
    """From slow memory to the arena."""

    mnemonic: ClassVar[str] = "page_in"
