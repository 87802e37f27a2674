"""What the accuracy benchmark compares: our methods and optimizers with their default recipe, and float references."""

from __future__ import annotations

from dataclasses import dataclass, replace

import kilotune as kt
from kiloc.ir.graph import Graph
from kiloc.ops.model._linear import Linear
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
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
    Contender("head", (kt.Head(),), kt.SGD(), main=True),
    Contender("bias, all layers", (kt.BiasOnly(),), kt.SGD(), main=True),
    Contender("bias + LoRA r=4, last 2", _lora("last:2"), kt.SGD(), main=True),
    Contender("bias + LoRA r=4, all", _lora(), kt.SGD(), main=True),
    Contender("bias + adapter w=8, last 4", (kt.BiasOnly(), kt.BottleneckAdapter(width=8, layers="last:4")), kt.SGD()),
    Contender("scale-shift, all", (kt.ScaleShift(layers="all"),), kt.SGD(), main=True),
    Contender("sparse update 1/4, all", (kt.SparseUpdate(layers="all", fraction=0.25),), kt.SGD()),
    Contender("full", (kt.Full(layers="all"),), kt.SGD(), main=True),
    Contender("bias, Adam", (kt.BiasOnly(),), kt.Adam()),
    Contender("bias, Lion", (kt.BiasOnly(),), kt.Lion()),
    Contender("bias + LoRA all, momentum", _lora(), kt.SGD(momentum=0.9)),
    Contender("bias + LoRA all, momentum 8 bit", _lora(), kt.SGD(momentum=0.9, state_bits=8)),
    Contender("bias + LoRA all, Adam", _lora(), kt.Adam()),
    Contender("bias + LoRA all, Adam 8 bit", _lora(), kt.Adam(state_bits=8)),
    Contender("bias + LoRA all, Lion", _lora(), kt.Lion()),
    Contender("bias + LoRA all, Lion 8 bit", _lora(), kt.Lion(state_bits=8)),
    Contender("bias + LoRA all, block8", _lora(), kt.SGD(), storage="block8"),
)


def with_new_head(methods: tuple[Method, ...], classes: int | None, graph: Graph) -> tuple[Method, ...]:
    """A new head, and the methods on the layers in front of it; classes None: the methods as they are."""
    if classes is None:
        return methods
    layers = [n for n in graph.nodes if isinstance(n.op, Linear | DepthwiseConv2D)][:-1]
    dense = [n for n in layers if isinstance(n.op, Linear)]

    def moved(method: Method) -> Method:
        chosen = dense if isinstance(method, kt.LoRA | kt.BottleneckAdapter) else layers
        where = getattr(method, "layers", "all")
        count = int(where.removeprefix("last:")) if where.startswith("last:") else 0
        return replace(method, layers=tuple(n.name for n in chosen[-count:]))  # type: ignore[type-var]

    return (kt.Head(classes=classes), *(moved(m) for m in methods if not isinstance(m, kt.Head)))


FLOAT_RATES = {"head": (0.03, 0.1, 0.3), "bias": (0.1, 0.3), "lora": (0.03, 0.1, 0.3), "full": (0.01, 0.03, 0.1)}
"""Float methods (see float_engine) and the rates tried; the best by mean over the draws is shown."""
WITH_NEW_HEAD = {"head": (0.1, 0.3), "bias": (0.03, 0.1, 0.3), "lora": (0.01, 0.03, 0.1), "full": (0.003, 0.01)}
"""The same of layers before a new head."""
