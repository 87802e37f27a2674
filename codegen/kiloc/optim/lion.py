"""Lion: the sign of an interpolated momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Value
from ..ops.update._update import Update
from ..ops.update.optimizer import Lion as LionOperator
from ..ops.update.optimizer import Lion8
from ._checks import number
from ._moments import linear_moment
from ._optimizer import Optimizer
from .schedule import Schedule


@dataclass(frozen=True)
class Lion(Optimizer):
    """parameter -= lr * sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g.

    Every element moves by lr at each update, so lr is small. Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023).

    lr: starting learning rate; None takes what suits the methods (docs/methods.md). beta1, beta2: how slowly the running mean changes, as the
    step reads it and as it is kept. weight_decay: decoupled, parameter *= 1 - lr * weight_decay. clip: largest Euclidean norm of each tensor's
    gradient, 0 for none. schedule: how the rate changes with the updates; None keeps it. state_bits: 8 keeps the moment in blocks of 8-bit
    codes; 32 keeps it in float32.
    """

    name: ClassVar[str] = "lion"

    lr: float | None = None
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 1.0
    schedule: Schedule | None = None
    state_bits: int = 32

    def __post_init__(self) -> None:
        self._check("leave it out for what suits the methods; 0.0003 suits LoRA")
        for beta in ("beta1", "beta2"):
            number(f"Lion({beta}=...)", getattr(self, beta), 0, 1, "0.9 and 0.99 are usual", below=True)

    @property
    def moments_per_parameter(self) -> int:
        return 1

    def moments(self, parameter: str, shape: tuple[int, ...]) -> list[Value]:
        return linear_moment(f"{parameter}.momentum", shape, self.state_bits)

    def operator(self, stream: int = 0) -> Update:
        return (Lion8 if self.state_bits == 8 else LionOperator)(float(self.clip), float(self.beta1), float(self.beta2))

    def describe(self) -> str:
        return f"lion {self._rate()} betas={self.beta1:g},{self.beta2:g} clip={self.clip:g}{self._extras()}"
