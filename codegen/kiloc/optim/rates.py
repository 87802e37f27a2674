"""The learning rate of an optimizer whose user names none: what suits the methods and the number of tensors that they train.

The clip bounds each tensor's gradient by itself, so with T tensors one update of SGD moves the model T times as far: the rate is `reach` / T,
within `highest`. What a step of Adam or Lion moves is the rate alone, whatever the gradient. Of several methods the most careful
decides. Each method names its figures in its class (`rates`); those behind the figures are in docs/rates.md.

A new head goes by a rate of its own, and the layers before it by a part of theirs: it starts from nothing, and until it has learned
something their gradients come through random weights, after which they lose what they know.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import NEW_HEAD
from ..peft import method_of

BEFORE_NEW_HEAD = 1 / 3
"""Part of their usual rate at which other tensors are trained together with a new head."""


def default_rate(optimizer: str, methods: Sequence[str], momentum: float = 0.0) -> float:
    """Rate of "sgd", "adam" or "lion", for all tensors but a new head's.

    methods: that of each trained tensor. Raises CompileError where one is not registered.
    """
    others = [name for name in methods if name != NEW_HEAD]
    if len(others) in (0, len(methods)):
        return _shown(_usual_rate(optimizer, methods, momentum))
    return _shown(_usual_rate(optimizer, others, momentum) * BEFORE_NEW_HEAD)


def head_factor(optimizer: str, methods: Sequence[str], momentum: float = 0.0) -> float:
    """A new head's rate over that of the other tensors; 1 where there is no new head, or nothing else."""
    head = [name for name in methods if name == NEW_HEAD]
    return _usual_rate(optimizer, head, momentum) / default_rate(optimizer, methods, momentum) if head else 1.0


def _usual_rate(optimizer: str, methods: Sequence[str], momentum: float) -> float:
    """With momentum m SGD's steps add up to 1 / (1 - m) of one: the rate is so much lower."""
    used = [method_of(name).rates for name in methods]
    if optimizer == "sgd":
        return min(min(r.reach / len(used), r.highest) for r in used) * (1 - momentum)
    return min(r.adam if optimizer == "adam" else r.lion for r in used)


def _shown(rate: float) -> float:
    """Two digits."""
    return float(f"{rate:.2g}")
