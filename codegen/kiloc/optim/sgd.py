"""Stochastic gradient descent with momentum and per-tensor gradient clipping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import CompileError
from ..ir.graph import Value
from ..ir.types import TensorType
from ..ops import Op
from ..ops.optimizer import SGD as SGDOperator
from ._optimizer import Optimizer


@dataclass(frozen=True)
class SGD(Optimizer):
    """m = momentum * m + g; parameter -= lr * m.

    lr: starting learning rate (the device can change it). momentum: 0 keeps no state.
    clip: largest Euclidean norm of each tensor's gradient, 0 for none.
    """

    lr: float = 0.1
    momentum: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lr) and self.lr > 0):
            raise CompileError("SGD(lr=...)", f"learning rate {self.lr} is not a positive finite number", "0.1 suits LoRA, 0.3 biases and heads")
        if not 0 <= self.momentum < 1:
            raise CompileError("SGD(momentum=...)", f"momentum {self.momentum} is outside [0, 1)", "0.9 is usual, with a tenth of the rate")
        if not (np.isfinite(self.clip) and self.clip >= 0):
            raise CompileError("SGD(clip=...)", f"clip {self.clip} is not a finite number >= 0", "1 is the default, 0 switches it off")

    @property
    def initial_learning_rate(self) -> float:
        return self.lr

    def moments(self, parameter: str, shape: tuple[int, ...]) -> list[Value]:
        if self.momentum == 0:
            return []
        return [Value(f"{parameter}.momentum", TensorType(shape, "float32"), "optimizer", np.zeros(shape, np.float32))]

    def operator(self) -> Op:
        return SGDOperator(self.momentum, self.clip)

    def describe(self) -> str:
        return f"sgd lr={self.lr:g} momentum={self.momentum:g} clip={self.clip:g}"
