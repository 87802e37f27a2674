"""Optimizers: from the accumulated gradient to a step, which the accumulator carries on to the storage format.

They are separate from the storage formats (`storage_step.py`), so every optimizer works with every storage. An optimizer
with moments has a twin that keeps them in 8 bits (`_moments.py`); its arithmetic is inherited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ... import numerics as nm
from ...ir.kernel_call import Field, First, KernelCall
from ...ir.operator import CHOSEN, Array, Environment, Names, NodeTypes, register
from ...ir.types import TensorType
from . import _moments
from ._update import Update, pointers

__all__ = ["PAGE", "SGD", "SGD8", "Adam", "Adam8", "ClipGradient", "Lion", "Lion8", "Optimizer"]

PAGE = 256
"""Elements of a parameter whose moments are in the arena at a time, where they lie in slow memory: 1 KB of a float32 moment."""
assert PAGE % _moments.BLOCK == 0

LARGEST_SQUARES = 3.0e38
LARGEST_GRADIENT = 1.0e18

Moments = dict[str, nm.Floats]


@dataclass(frozen=True)
class Optimizer(Update):
    """accumulator := step of g = accumulator / count, clipped to norm `clip` and each element to +-1e18 (NaN to 0).

    clip: largest Euclidean norm of g (0: no clipping), the most valuable setting of integer training.
    Source: Pascanu et al., "On the Difficulty of Training Recurrent Neural Networks" (2013).
    """

    remembers: ClassVar[tuple[str, ...]] = ()
    """Operands that hold moments."""

    clip: float = 1.0
    first: int = field(default=0, kw_only=True, metadata={CHOSEN: True})
    elements: int = field(default=0, kw_only=True, metadata={CHOSEN: True})
    """The elements of the parameter that are stepped, and that the moments are of, where other devices hold the others'; 0: all."""

    def page_of(self, t: NodeTypes, moment: str, elements: int) -> TensorType:
        """Of a moment or its scales, what belongs to so many elements of the parameter."""
        held = t.type(moment)
        return TensorType((elements if held.size == (self.elements or t.type("accumulator").size) else _moments.blocks(elements),), held.dtype)

    def step(self, e: Environment, g: nm.Floats, moments: Moments) -> tuple[nm.Floats, Moments]:
        """(step, new moments), flat."""
        raise NotImplementedError

    def load(self, e: Environment, moment: str) -> nm.Floats:
        return e.array(moment).ravel()

    def store(self, e: Environment, moment: str, values: nm.Floats) -> dict[str, Array]:
        return {moment: values.reshape(e.array(moment).shape)}

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        accumulator = e.array("accumulator")
        whole, last = accumulator.ravel().copy(), self.first + (self.elements or accumulator.size)
        with np.errstate(over="ignore", invalid="ignore"):
            held = [m for m in self.remembers if e.has(m)]
            g = _clipped(e, self.clip)[self.first : last]
            whole[self.first : last], moments = self.step(e, g, {m: self.load(e, m) for m in held})
            changed: dict[str, Array] = {"accumulator": whole.reshape(accumulator.shape)}
            for m in held:
                changed |= self.store(e, m, moments[m])
        return changed


def _clipped(e: Environment, clip: float) -> nm.Floats:
    """accumulator / count as `Optimizer` reads it: float32 [size], its norm within `clip` (0: any), each element within +-1e18."""
    accumulated = e.array("accumulator").ravel()
    factor = np.float32(1) / e.array("count").astype(np.float32)[0]
    if clip > 0:
        scaled = accumulated * factor
        norm = nm.sqrt(np.minimum(nm.sequential_sum(scaled * scaled), np.float32(LARGEST_SQUARES)))
        if norm > np.float32(clip):
            factor = factor * (np.float32(clip) / norm)
    g = accumulated * factor
    limit = np.float32(LARGEST_GRADIENT)
    return np.where(np.isnan(g), np.float32(0), np.clip(g, -limit, limit)).astype(np.float32)


@register
@dataclass(frozen=True)
class ClipGradient(Update):
    """accumulator := g, as `Optimizer` reads it: what comes before a step that goes page by page, for the norm is one of all elements."""

    mnemonic: ClassVar[str] = "clip_gradient"
    operands: ClassVar[tuple[str, ...]] = ("accumulator", "count")

    clip: float = 1.0

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        with np.errstate(over="ignore", invalid="ignore"):
            return {"accumulator": _clipped(e, self.clip).reshape(e.array("accumulator").shape)}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"size": t.type("accumulator").size, "clip": self.clip}
        return KernelCall("kt_clip_gradient", "kt_clip_gradient_params", fields, pointers(n, *self.operands), source="optim/clip_gradient.c")


@register
@dataclass(frozen=True)
class SGD(Optimizer):
    """m = momentum * m + g; step = lr * m, with Nesterov lr * (g + momentum * m); without moment lr * g.

    Sources: Polyak, "Some Methods of Speeding Up the Convergence of Iteration Methods" (1964); Sutskever et al., "On the
    Importance of Initialization and Momentum in Deep Learning" (2013).
    """

    mnemonic: ClassVar[str] = "sgd"
    operands: ClassVar[tuple[str, ...]] = ("accumulator", "count", "learning_rate")
    optional: ClassVar[tuple[str, ...]] = ("momentum",)
    remembers: ClassVar[tuple[str, ...]] = ("momentum",)

    coefficient: float = 0.0
    nesterov: bool = False

    def step(self, e: Environment, g: nm.Floats, moments: Moments) -> tuple[nm.Floats, Moments]:
        step, rate, coefficient = g, e.array("learning_rate")[0], np.float32(self.coefficient)
        if moments:
            m = coefficient * moments["momentum"] + g
            moments = {"momentum": m}
            step = g + coefficient * m if self.nesterov else m
        return rate * step, moments

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        return {"size": t.type("accumulator").size, "momentum": self.coefficient, "nesterov": int(self.nesterov), "clip": self.clip}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = pointers(n, "accumulator", "momentum", "count", "learning_rate")
        return KernelCall("kt_sgd", "kt_sgd_params", self.fields(t), arguments, source="optim/sgd.c")


@register
@dataclass(frozen=True)
class Lion(Optimizer):
    """step = lr * sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g.

    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023).
    """

    mnemonic: ClassVar[str] = "lion"
    operands: ClassVar[tuple[str, ...]] = ("accumulator", "count", "learning_rate", "momentum")
    remembers: ClassVar[tuple[str, ...]] = ("momentum",)

    beta1: float = 0.9
    beta2: float = 0.99

    def step(self, e: Environment, g: nm.Floats, moments: Moments) -> tuple[nm.Floats, Moments]:
        m, beta1, beta2 = moments["momentum"], np.float32(self.beta1), np.float32(self.beta2)
        direction = np.sign(beta1 * m + (np.float32(1) - beta1) * g)
        return e.array("learning_rate")[0] * direction, {"momentum": beta2 * m + (np.float32(1) - beta2) * g}

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        return {"size": t.type("accumulator").size, "beta1": self.beta1, "beta2": self.beta2, "clip": self.clip}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = pointers(n, "accumulator", "momentum", "count", "learning_rate")
        return KernelCall("kt_lion", "kt_lion_params", self.fields(t), arguments, source="optim/lion.c")


@register
@dataclass(frozen=True)
class Adam(Optimizer):
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; step = lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).

    first_power, second_power: beta1^t and beta2^t, state that `NextPower` multiplies once an update.
    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015).
    """

    mnemonic: ClassVar[str] = "adam"
    operands: ClassVar[tuple[str, ...]] = (
        "accumulator", "count", "learning_rate", "first_moment", "second_moment", "first_power", "second_power",
    )  # fmt: skip
    remembers: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def step(self, e: Environment, g: nm.Floats, moments: Moments) -> tuple[nm.Floats, Moments]:
        one, beta1, beta2 = np.float32(1), np.float32(self.beta1), np.float32(self.beta2)
        m = beta1 * moments["first_moment"] + (one - beta1) * g
        v = beta2 * moments["second_moment"] + (one - beta2) * (g * g)
        up = m * (one / (one - e.array("first_power")[0]))
        down = nm.sqrt(v * (one / (one - e.array("second_power")[0]))) + np.float32(self.epsilon)
        return e.array("learning_rate")[0] * (up / down), {"first_moment": m, "second_moment": v}

    def fields(self, t: NodeTypes) -> dict[str, Field]:
        size = t.type("accumulator").size
        return {"size": size, "beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon, "clip": self.clip}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        order = ("accumulator", "first_moment", "second_moment", "count", "learning_rate", "first_power", "second_power")
        return KernelCall("kt_adam", "kt_adam_params", self.fields(t), pointers(n, *order), source="optim/adam.c")


# -- the same with moments in 8 bits ----------------------------------------------------------------------
class LinearMoment:
    """A signed moment `momentum` as int8 codes with the scales `momentum_scale`."""

    def load(self, e: Environment, moment: str) -> nm.Floats:
        return _moments.load_linear(e.array(moment), e.array(f"{moment}_scale"))

    def store(self, e: Environment, moment: str, values: nm.Floats) -> dict[str, Array]:
        codes, scale = _moments.store_linear(values)
        return {moment: codes.reshape(e.array(moment).shape), f"{moment}_scale": scale}


@register
@dataclass(frozen=True)
class SGD8(LinearMoment, SGD):
    """SGD with an 8-bit momentum."""

    mnemonic: ClassVar[str] = "sgd8"
    operands: ClassVar[tuple[str, ...]] = (*SGD.operands, "momentum", "momentum_scale")
    optional: ClassVar[tuple[str, ...]] = ()

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = pointers(n, "accumulator", "momentum", "momentum_scale", "count", "learning_rate")
        return KernelCall("kt_sgd8", "kt_sgd_params", self.fields(t), arguments, source="optim/sgd.c")


@register
@dataclass(frozen=True)
class Lion8(LinearMoment, Lion):
    """Lion with an 8-bit moment."""

    mnemonic: ClassVar[str] = "lion8"
    operands: ClassVar[tuple[str, ...]] = (*Lion.operands, "momentum_scale")

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        arguments = pointers(n, "accumulator", "momentum", "momentum_scale", "count", "learning_rate")
        return KernelCall("kt_lion8", "kt_lion_params", self.fields(t), arguments, source="optim/lion.c")


@register
@dataclass(frozen=True)
class Adam8(LinearMoment, Adam):
    """Adam with 8-bit moments: the first linear, the root of the second linear and rounded stochastically.

    stream: names this tensor's random numbers, whose counter is `updates` and whose seed is `seed`.
    """

    mnemonic: ClassVar[str] = "adam8"
    operands: ClassVar[tuple[str, ...]] = (*Adam.operands, "first_moment_scale", "second_moment_scale", "updates", "seed")

    stream: int = 0

    def load(self, e: Environment, moment: str) -> nm.Floats:
        if moment == "first_moment":
            return super().load(e, moment)
        return _moments.load_root(e.array(moment), e.array(f"{moment}_scale"))

    def store(self, e: Environment, moment: str, values: nm.Floats) -> dict[str, Array]:
        if moment == "first_moment":
            return super().store(e, moment, values)
        key = nm.random_key(int(e.array("seed")[0]), int(e.array("updates")[0]), self.stream)
        codes, scale = _moments.store_root(values, key, self.first)
        return {moment: codes.reshape(e.array(moment).shape), f"{moment}_scale": scale}

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        order = ("accumulator", "first_moment", "first_moment_scale", "second_moment", "second_moment_scale", "count", "learning_rate")
        arguments = (*pointers(n, *order, "first_power", "second_power", "updates", "seed"), First())
        fields: Mapping[str, Field] = {"adam": self.fields(t), "stream": self.stream}
        return KernelCall("kt_adam8", "kt_adam8_params", fields, arguments, source="optim/adam.c")
