"""Adam, and with weight decay AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Value
from ..ops.update._update import Update
from ..ops.update.optimizer import Adam as AdamOperator
from ..ops.update.optimizer import Adam8
from ._checks import number
from ._moments import linear_moment, root_moment
from ._optimizer import Optimizer
from .schedule import Schedule


@dataclass(frozen=True)
class Adam(Optimizer):
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; parameter -= lr * m' / (sqrt(v') + eps).

    m' and v' are m and v corrected for their start at zero; the powers of the betas are part of the state.
    Sources: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015); Loshchilov and Hutter, "Decoupled Weight
    Decay Regularization" (2019).

    lr: starting learning rate; None takes what suits the methods (docs/methods.md). beta1, beta2: how slowly the running means of the gradient
    and of its square change. eps: gradients are clipped to a norm of 1, and where nearly all samples are right already they are so small
    that the usual 1e-8 makes full steps of noise. weight_decay: decoupled (AdamW), parameter *= 1 - lr * weight_decay. clip: largest
    Euclidean norm of each tensor's gradient, 0 for none. schedule: how the rate changes with the updates; None keeps it. state_bits: 8 keeps
    both moments in blocks of 8-bit codes, the second rounded stochastically; 32 keeps them in float32.
    """

    name: ClassVar[str] = "adam"

    lr: float | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    schedule: Schedule | None = None
    state_bits: int = 32

    def __post_init__(self) -> None:
        self._check("leave it out for what suits the methods; 0.01 suits LoRA")
        for beta in ("beta1", "beta2"):
            number(f"Adam({beta}=...)", getattr(self, beta), 0, 1, "0.9 and 0.999 are usual", below=True)
        number("Adam(eps=...)", self.eps, 1e-30, 1, "0.001 is the default")

    @property
    def moments_per_parameter(self) -> int:
        return 2

    @property
    def powers(self) -> Mapping[str, float]:
        return {"first_power": float(self.beta1), "second_power": float(self.beta2)}

    @property
    def draws(self) -> bool:
        return self.state_bits == 8

    def moments(self, parameter: str, shape: tuple[int, ...]) -> list[Value]:
        first = linear_moment(f"{parameter}.first_moment", shape, self.state_bits)
        return [*first, *root_moment(f"{parameter}.second_moment", shape, self.state_bits)]

    def operator(self, stream: int = 0) -> Update:
        values = (float(self.clip), float(self.beta1), float(self.beta2), float(self.eps))
        return Adam8(*values, stream) if self.state_bits == 8 else AdamOperator(*values)

    def describe(self) -> str:
        return f"adam {self._rate()} betas={self.beta1:g},{self.beta2:g} eps={self.eps:g} clip={self.clip:g}{self._extras()}"
