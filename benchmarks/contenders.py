"""What the accuracy benchmark compares: our methods and optimizers, each with one rate for all scenarios, and float references."""

from __future__ import annotations

from dataclasses import dataclass

import kilotune as kt
from kiloc.optim import Optimizer
from kiloc.peft import Method


@dataclass(frozen=True)
class Contender:
    """A method with its optimizer; `main` ones are in the short table."""

    name: str
    methods: tuple[Method, ...]
    optimizer: Optimizer
    main: bool = False
    storage: str = "block16"


def _lora(layers: str = "all") -> tuple[Method, ...]:
    return (kt.BiasOnly(), kt.LoRA(rank=4, layers=layers))


OURS = (
    Contender("head", (kt.Head(),), kt.SGD(lr=0.3), main=True),
    Contender("bias, all layers", (kt.BiasOnly(),), kt.SGD(lr=0.3), main=True),
    Contender("bias + LoRA r=4, last 2", _lora("last:2"), kt.SGD(lr=0.1), main=True),
    Contender("bias + LoRA r=4, all", _lora(), kt.SGD(lr=0.1), main=True),
    Contender("bias + adapter w=8, last 4", (kt.BiasOnly(), kt.BottleneckAdapter(width=8, layers="last:4")), kt.SGD(lr=0.1)),
    Contender("scale and shift, all", (kt.ScaleShift(layers="all"),), kt.SGD(lr=0.3)),
    Contender("sparse update 1/4, all", (kt.SparseUpdate(layers="all", fraction=0.25),), kt.SGD(lr=0.1)),
    Contender("full", (kt.Full(layers="all"),), kt.SGD(lr=0.1)),
    Contender("bias, Adam", (kt.BiasOnly(),), kt.Adam(lr=0.03)),
    Contender("bias, Lion", (kt.BiasOnly(),), kt.Lion(lr=0.003)),
    Contender("bias + LoRA all, momentum", _lora(), kt.SGD(lr=0.01, momentum=0.9)),
    Contender("bias + LoRA all, momentum 8 bit", _lora(), kt.SGD(lr=0.01, momentum=0.9, state_bits=8)),
    Contender("bias + LoRA all, Adam", _lora(), kt.Adam(lr=0.01)),
    Contender("bias + LoRA all, Adam 8 bit", _lora(), kt.Adam(lr=0.01, state_bits=8)),
    Contender("bias + LoRA all, Lion", _lora(), kt.Lion(lr=0.0003)),
    Contender("bias + LoRA all, Lion 8 bit", _lora(), kt.Lion(lr=0.0003, state_bits=8)),
    Contender("bias + LoRA all, block8", _lora(), kt.SGD(lr=0.1), storage="block8"),
)

FLOAT_RATES = {"head": (0.01, 0.03, 0.1, 0.3), "bias": (0.1, 0.3), "lora": (0.03, 0.1, 0.3), "full": (0.01, 0.03, 0.1)}
"""Float methods (see float_engine) and the rates tried; the best by mean over the draws is shown."""
