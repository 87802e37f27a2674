"""How the device will train, and with what: all that a search does not choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc import CompileError, CrossEntropy, Loss, Options, as_loss, check_offload
from kiloc.ir import Graph
from kiloc.optim import SGD, STORAGES, Optimizer
from kiloc.peft import Layers, Method, has_weights, named_layers

from ..model import Model
from .chip import Chip

Array = NDArray[Any]
HINT = "pass labelled samples of the new domain: (x, y)"
LEAST = 6
"""Samples: three folds of two."""


@dataclass(frozen=True)
class Setting:
    """optimizer: its learning rate is the search's to choose. accumulate: samples an update. epochs: passes over the samples.

    layers: those that may be trained, as methods name them. offload: what lies in slow memory, as `kiloc.options.Options` has it. chip: of the
    board, where one is named.
    """

    optimizer: Optimizer = field(default_factory=SGD)
    loss: Loss = field(default_factory=CrossEntropy)
    storage: str = "block16"
    accumulate: int = 1
    epochs: int = 10
    target: str = "cortex-m4"
    seed: int = 0
    layers: Layers = "all"
    offload: str = "none"
    chip: Chip | None = None

    def allowed(self, graph: Graph) -> set[str]:
        """The layers that may be trained. Raises CompileError for names that are not there."""
        return {n.name for n in named_layers(graph, self.layers, [n for n in graph.phase("forward") if has_weights(n)], "search")}

    def options(self, methods: Sequence[Method]) -> Options:
        """What the compiler has to know to plan a build."""
        return Options(
            methods=tuple(methods), optimizer=self.optimizer, loss=self.loss, storage=self.storage, accumulate=self.accumulate,
            target=self.target, seed=self.seed, offload=self.offload,
        )  # fmt: skip

    def check(self, graph: Graph) -> None:
        """Raises CompileError where an option, or the loss on this model, makes no sense."""
        for option, value in (("epochs", self.epochs), ("accumulate", self.accumulate)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise CompileError(f"{option}={value!r}", "is not a whole number of at least 1", f"pass {option}=1, for example")
        if not isinstance(self.optimizer, Optimizer):
            raise CompileError("optimizer", f"{self.optimizer!r} is not an optimizer", "pass kt.SGD(), kt.Adam() or kt.Lion()")
        if self.storage not in STORAGES:
            raise CompileError(f"storage={self.storage!r}", "unknown storage", f"formats are {', '.join(STORAGES)}")
        check_offload(self.offload, self.optimizer)
        as_loss(self.loss).attach(graph)
        self.allowed(graph)


@dataclass(frozen=True)
class Data:
    """Samples of the new domain. inputs: [N, ...] of the model's type, mostly int8, one array for each of the model's inputs.

    targets: class numbers int32 [N], values float32 [N, ...], or None where the loss reads the model's input.
    """

    inputs: tuple[Array, ...]
    targets: Array | None

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def labels(self) -> Array | None:
        """The targets where they are class numbers."""
        return self.targets if self.targets is not None and self.targets.dtype == np.int32 else None

    def taken(self, rows: Any) -> Data:
        return Data(tuple(a[rows] for a in self.inputs), None if self.targets is None else self.targets[rows])

    def named(self, graph: Graph) -> dict[str, Array]:
        return dict(zip(graph.inputs, self.inputs, strict=True))

    @property
    def x(self) -> Any:
        """As a device takes them."""
        return self.inputs[0] if len(self.inputs) == 1 else list(self.inputs)


def checked(model: Model, data: Any, loss: Loss) -> Data:
    """Samples and targets as the loss takes them. Raises CompileError."""
    x, y = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    try:
        inputs = model.quantize_inputs(x)
    except (ValueError, TypeError) as error:
        raise CompileError("data", str(error), HINT) from None
    return Data(inputs, _targets(model.graph, loss, y, len(inputs[0])))


def _targets(graph: Graph, loss: Loss, y: Any, count: int) -> Array | None:
    attached = loss.attach(graph)
    if attached.target is None:
        if y is not None:
            raise CompileError("data", f"holds targets, but the loss {loss.describe()} takes none", "leave y out, or choose another loss")
        return None
    if y is None:
        raise CompileError("data", "holds no labels", HINT)
    given = np.asarray(y)
    if given.ndim == 0 or len(given) != count:
        raise CompileError("data", f"has {count} samples, but labels of shape {list(given.shape)}", HINT)
    result = graph.type(attached.inputs["y"])
    if isinstance(loss, CrossEntropy):
        return _labels(given, result.size)
    if given.ndim == 1 and given.dtype.kind in "iu" and result.size > 1:
        raise CompileError(
            "data", f"holds labels, the loss {loss.name} takes {result.size} numbers a sample", 'pass targets, or use loss="cross_entropy"'
        )
    if given.dtype.kind not in "fiu" or given.size != count * result.size:
        raise CompileError("data", f"has targets of shape {list(given.shape)}, the loss {loss.name} takes [N, {result.size}] numbers", HINT)
    values = given.astype(np.float32).reshape(count, *result.shape[1:])
    if not np.isfinite(values).all():
        raise CompileError("data", "holds targets that are not finite", "check them")
    problem = loss.problem(values.reshape(count, -1))
    if problem:
        raise CompileError("data", f"its targets {problem}", "pass a vector of such numbers a sample")
    return values


def _labels(y: Array, classes: int) -> NDArray[np.int32]:
    if y.ndim != 1:
        raise CompileError("data", f"has {len(y)} samples, but labels of shape {list(y.shape)}", "pass one class number a sample")
    if y.dtype.kind not in "iu":
        raise CompileError("data", f"holds labels of type {y.dtype}, not class numbers below {classes}", "pass whole numbers: y.astype(int)")
    wrong = np.flatnonzero((y < 0) | (y >= classes))
    if wrong.size:
        hint = f"the model's classes are 0 to {classes - 1}; for others build with kt.Head(classes=...)"
        raise CompileError("data", f"holds label {y[wrong[0]]} at [{wrong[0]}], not class numbers below {classes}", hint)
    if len(np.unique(y)) < 2:
        raise CompileError("data", f"every sample has the label {y[0]}", "pass samples of at least two classes: one teaches nothing about the others")
    return y.astype(np.int32)
