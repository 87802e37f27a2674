"""How much each piece would help, from gradients on a few samples of the new domain.

The gain of a tensor is the loss that one update on a sample takes from *another* sample, for each unit of learning rate: the
mean over pairs i != j of c(g_i) . g_j, where g are gradients of single samples and c clips them as the optimizer does.
Gradients that point everywhere cancel in it, so it measures what carries over to samples not seen, which the
Fisher information (the mean of |g_i|^2) does not: that is largest where samples are noisiest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import CompileError, differentiate, ir
from kiloc.ir import Graph
from kiloc.optim import SGD, with_accumulators
from kiloc.passes import prune, real_gradients
from kiloc.peft import Calibration, attach_all

from .families import Family, Piece, TrainableSet, families, pieces_of, share
from .setting import Data, Setting

SAMPLES = 64
Array = NDArray[Any]


class Sensitivity:
    """Gains of all pieces of a model on some samples of the new domain."""

    def __init__(self, graph: Graph, data: Data, setting: Setting) -> None:
        self.setting = setting
        self.gains: dict[Piece, Mapping[str, float]] = {}
        """By piece: gain of each tensor that it trains."""
        self.methods: dict[Piece, Mapping[str, str]] = {}
        """By piece: method of each tensor that it trains, as the optimizer's usual rates go by it."""
        self.layers: dict[str, list[list[Piece]]] = {}
        """By family: the pieces of each layer that can be trained, first layer first."""
        some = data.taken(slice(SAMPLES))
        forward = ir.run(graph, some.named(graph))
        for family in families().values():
            self._probe(graph, family, forward, some.inputs[0] if some.targets is None else some.targets)

    def _probe(self, graph: Graph, family: Family, forward: dict[str, Array], target: Array) -> None:
        attached = self._attached(graph, family, forward)
        if attached is None:
            return
        whole, layers = attached
        gradients = real_gradients(whole, _continued(whole, forward), target)
        for group in layers:
            tensors = {p.name: gradients[p.values["accumulator"]] for p in whole.parameters if p.layer == group[0].layer}
            methods = {p.name: p.method for p in whole.parameters if p.name in tensors}
            for piece in group:
                self.methods[piece] = methods
                self.gains[piece] = {
                    name: agreement(share(family, g, piece.variant), float(self.setting.optimizer.clip)) for name, g in tensors.items()
                }
        self.layers[family.name] = layers

    def _attached(self, graph: Graph, family: Family, forward: dict[str, Array]) -> tuple[Graph, list[list[Piece]]] | None:
        """The graph with the family on as many of the last layers as gradients reach, and their pieces."""
        layers = pieces_of(graph, family, self.setting.allowed(graph))
        while layers:
            try:
                largest = TrainableSet.of(group[-1] for group in layers)
                whole = attach_all(graph, largest.methods(graph), Calibration(forward))
                return prune(differentiate(with_accumulators(whole, SGD()), self.setting.loss)), layers
            except CompileError:
                layers = layers[1:]
        return None

    def agreement(self, chosen: TrainableSet) -> float:
        """Expected loss that one update takes from another sample, for a learning rate of 1."""
        tensors: dict[str, float] = {}
        for piece in chosen.pieces:
            tensors |= self.gains[piece]
        return sum(max(v, 0.0) for _, v in sorted(tensors.items()))

    def gain(self, chosen: TrainableSet) -> float:
        """The same at the usual rate of its tensors and the optimizer."""
        methods = {name: method for piece in chosen.pieces for name, method in self.methods[piece].items()}
        return self.setting.optimizer.usual_rate(list(methods.values())) * self.agreement(chosen)


def _continued(whole: Graph, forward: dict[str, Array]) -> dict[str, Array]:
    """The forward results of a graph with methods: those of the base model, which it starts as, and what the methods added."""
    arrays = dict(forward)
    for node in whole.phase("forward"):
        if any(name not in arrays for name in node.outputs):
            arrays.update(zip(node.outputs, node.op.evaluate(ir.environment(whole, node, arrays)), strict=True))
    return arrays


def agreement(gradients: Array, clip: float = 1.0) -> float:
    """Mean over pairs i != j of c(g_i) . g_j for gradients [N, ...]; clip 0 is none."""
    g = gradients.reshape(len(gradients), -1)
    clipped = g * np.minimum(1.0, clip / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-30)) if clip else g
    pairs = len(g) * (len(g) - 1)
    return float((clipped.sum(0) @ g.sum(0) - (clipped * g).sum()) / pairs)
