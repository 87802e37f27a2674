"""Stochastic gradient descent with momentum and per-tensor gradient clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import CompileError
from ..ir.graph import Value
from ..ops.update._update import Update
from ..ops.update.optimizer import SGD as SGDOperator
from ..ops.update.optimizer import SGD8
from ._checks import number
from ._moments import linear_moment
from ._optimizer import Optimizer
from .schedule import Schedule


@dataclass(frozen=True)
class SGD(Optimizer):
    """m = momentum * m + g; parameter -= lr * m (with Nesterov: lr * (g + momentum * m)).

    lr: starting learning rate (the device can change it); None takes what suits the methods (docs/methods.md). momentum: 0 keeps no state.
    clip: largest Euclidean norm of each tensor's gradient, 0 for none. weight_decay: decoupled, parameter *= 1 - lr * weight_decay;
    it pulls LoRA and deltas towards the base model, biases towards 0. nesterov: step from where the momentum leads. schedule: how the rate
    changes with the updates; None keeps it. state_bits: 8 keeps the momentum in blocks of 8-bit codes; 32 keeps it in float32.
    """

    name: ClassVar[str] = "sgd"

    lr: float | None = None
    momentum: float = 0.0
    clip: float = 1.0
    weight_decay: float = 0.0
    nesterov: bool = False
    schedule: Schedule | None = None
    state_bits: int = 32

    def __post_init__(self) -> None:
        self._check("leave it out for what suits the methods; 0.1 is usual")
        number("SGD(momentum=...)", self.momentum, 0, 1, "0.9 is usual, with a tenth of the rate", below=True)
        if self.nesterov and self.momentum == 0:
            raise CompileError("SGD(nesterov=True)", "Nesterov's step needs a momentum", "pass momentum=0.9, for example")

    @property
    def moments_per_parameter(self) -> int:
        return 1 if self.momentum else 0

    def moments(self, parameter: str, shape: tuple[int, ...]) -> list[Value]:
        return linear_moment(f"{parameter}.momentum", shape, self.state_bits) if self.momentum else []

    def operator(self, stream: int = 0) -> Update:
        kind = SGD8 if self.state_bits == 8 and self.momentum else SGDOperator
        return kind(float(self.clip), float(self.momentum), bool(self.nesterov))

    def describe(self) -> str:
        return f"sgd {self._rate()} momentum={self.momentum:g}{' nesterov' if self.nesterov else ''} clip={self.clip:g}{self._extras()}"
