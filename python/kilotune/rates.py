"""Learning rates that suit an optimizer: measured for methods that change what layers compute inside, and for those that do not."""

from __future__ import annotations

from kiloc.optim import SGD, Optimizer

RATES = {"sgd": (0.1, 0.3), "momentum": (0.01, 0.03), "adam": (0.01, 0.03), "lion": (0.0003, 0.003)}
"""Of LoRA and its like, and of biases or a head alone."""


def usual_rate(optimizer: Optimizer, deep: bool) -> float:
    """The rate to start from. deep: something else than biases and a head is trained."""
    kind = "momentum" if isinstance(optimizer, SGD) and optimizer.momentum else optimizer.name
    return RATES[kind][0 if deep else 1]
