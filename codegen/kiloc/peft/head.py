"""Head: train the last layer as a frozen weight plus a full delta, and its bias.

Head() starts bit-exact. Head(classes=N) first replaces the layer by one with N results, for other classes than the model was made for:

- frozen weights: uniform int8 codes with one scale, so that the logits have a root mean square of 1/4 on the calibration samples: near
  zero, so that every class starts about equally likely, yet not zero, so that gradients reach the layers before from the first step.
  The same seed gives the same weights. Bias 0.
- result: scale 8 / 127, zero point 0, so that logits up to +-8 fit (beyond, a softmax no longer moves in int8).
- what follows (reshapes to [.., classes], a softmax, QUANTIZE to another type) is resized; anything else is refused.

Head(extra_classes=k) gives the layer k more results, which are closed until the device opens them one by one (runtime/src/core/new_class.c):
rows of zero weights, and a bias with which the logit is the lowest code for any input, so that the other logits are those of the model and
a closed class is never the largest; a softmax behind them gives it what it gives the lowest logit. The loss leaves closed classes out. A
class is closed where its bias is at most that one, so an adapter says which are open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import NEW_HEAD, OPEN_HEAD, Graph, Node, Value
from ..ir.types import Quantization, TensorType, activation
from ..ops._sums import output_scales
from ..ops.model._linear import Linear
from ..ops.model.requantize import Requantize
from ..ops.model.reshape import Reshape
from ..ops.model.softmax import Softmax
from ._combine import parts
from ._delta import DELTA, DELTA_ROLES, attach_delta
from ._method import select
from ._registry import Calibration, Layers, Method, Rates, option, register

MOST_CLASSES = 4096
CLOSED = -(2**30)
"""The bias of a closed class: the lowest that a bias takes (`ops/update/storage_step.py`), which training that goes well never comes near."""
LOGIT_SCALE = float(np.float32(8 / 127))
INITIAL_LOGITS = 0.25


@register
@dataclass(frozen=True)
class Head(Method):
    """Train the last fully connected layer (or the convolution that stands for it); with `classes`, replace it."""

    name: ClassVar = "head"
    trained_as: ClassVar = (NEW_HEAD, OPEN_HEAD)
    order: ClassVar = 20
    rates: ClassVar = Rates(3, 0.5, 0.03, 0.002)
    part: ClassVar = DELTA
    roles: ClassVar = DELTA_ROLES
    kinds: ClassVar = (Linear,)
    includes: ClassVar = ("bias",)
    by_hand: ClassVar = 0

    classes: int | None = option(None, "Replace the last layer by one with this many results.", least=2)

    extra_classes: int | None = option(None, "Room for this many classes that the device adds.", least=1)

    @property
    def replaces_layers(self) -> bool:
        return self.classes is not None or self.extra_classes is not None

    def attach(self, graph: Graph, calibration: Calibration) -> Graph:
        node = select(graph, "last:1", type(self))[0]
        if self.classes is not None and self.extra_classes is not None:
            what = f"asks for {self.classes} new classes and room for {self.extra_classes} more"
            raise CompileError("Head", what, "leave one of them out: a head for new classes may have more of them than there are samples of yet")
        if self.classes is not None:
            graph = _with_new_layer(graph, node, self.classes, calibration)
        if self.extra_classes is not None:
            graph = _with_room(graph, node, self.extra_classes)
        trained_as = NEW_HEAD if self.classes is not None else OPEN_HEAD if self.extra_classes is not None else ""
        return attach_delta(graph, graph.node(node.name), type(self), trained_as=trained_as)

    def describe(self) -> str:
        given = {"classes": self.classes, "extra_classes": self.extra_classes}
        return " ".join([self.name, *(f"{name}={value}" for name, value in given.items() if value is not None)])

    @classmethod
    def fitting(cls, graph: Graph) -> list[Node]:
        return super().fitting(graph)[-1:]

    @classmethod
    def sized(cls, size: int, layers: Layers) -> Method:
        return cls()


def _with_new_layer(graph: Graph, node: Node, classes: int, calibration: Calibration) -> Graph:
    where = f"Head(classes={classes})"
    if not 2 <= classes <= MOST_CLASSES:
        raise CompileError(where, "a head has between 2 and 4096 classes", "pass the number of classes of the new task")
    if parts(graph, node) or graph.values[node.inputs["bias"]].kind == "trainable":
        raise CompileError(where, f"'{node.name}' is trained by another method that comes before it", "put one Head into the list")
    weights = graph.type(node.inputs["weights"])
    old, depth = weights.shape[0], weights.size // weights.shape[0]
    if graph.type(node.outputs[0]).size != old:
        raise CompileError(where, f"'{node.name}' gives more than one row of classes", "only a layer with one result a class can be replaced")
    x = calibration.activations[node.inputs["x"]].astype(np.int64).reshape(-1, depth) - graph.type(node.inputs["x"]).zero_point
    codes = np.random.Generator(np.random.Philox([calibration.seed, classes])).integers(-127, 128, (classes, depth)).astype(np.int8)
    scale = np.float32(INITIAL_LOGITS / (np.sqrt(((x @ codes.T.astype(np.int64)) ** 2.0).mean()) * graph.type(node.inputs["x"]).scale + 1e-6))
    values = [
        _constant(f"{node.name}.head_weights", codes.reshape(classes, *weights.shape[1:]), Quantization((float(scale),), 0), node),
        _constant(f"{node.name}.head_bias", np.zeros(classes, np.int32), None, node),
    ]
    inputs = {**node.inputs, "weights": values[0].name, "bias": values[1].name}
    assert isinstance(node.op, Linear)
    changed = replace(node, inputs=inputs, op=replace(node.op, activation="none"))
    shape = (*graph.type(node.outputs[0]).shape[:-1], classes)
    values.append(replace(graph.values[node.outputs[0]], type=activation(shape, LOGIT_SCALE, 0)))
    nodes, probabilities = {node.name: changed}, False
    for follower, result in _followers(graph, node, old, where):
        nodes[follower.name] = follower
        extent = (*result.type.shape[:-1], classes)
        probabilities = probabilities or isinstance(follower.op, Softmax)
        middle = 128 if result.type.dtype == "uint8" else 0
        q = result.type.quantization if probabilities else Quantization((LOGIT_SCALE,), middle)
        values.append(replace(result, type=TensorType(extent, result.type.dtype, q)))
        if isinstance(follower.op, Reshape):
            nodes[follower.name] = replace(follower, op=replace(follower.op, shape=extent))
    return graph.with_values(values).with_nodes(nodes.get(n.name, n) for n in graph.nodes)


def _with_room(graph: Graph, node: Node, extra: int) -> Graph:
    """The layer with `extra` closed results behind its own."""
    where = f"Head(extra_classes={extra})"
    weights, bias = graph.values[node.inputs["weights"]], graph.values[node.inputs["bias"]]
    known, classes = weights.type.shape[0], weights.type.shape[0] + extra
    if not 1 <= extra <= MOST_CLASSES - known:
        raise CompileError(where, f"the layer has {known} classes, a head has {MOST_CLASSES} at most", "pass a number of classes that may come")
    if parts(graph, node) or bias.kind == "trainable":
        raise CompileError(where, f"'{node.name}' is trained by another method that comes before it", "put one Head into the list")
    result = graph.values[node.outputs[0]]
    if result.type.size != known or result.type.dtype != "int8":
        raise CompileError(where, f"'{node.name}' does not give one int8 result a class", "only a layer with one result a class can have more")
    assert weights.data is not None and bias.data is not None and isinstance(node.op, Linear)
    scales = output_scales(graph.type(node.inputs["x"]), weights.type, known)
    q = weights.type.quantization
    assert q is not None
    wider = Quantization((*q.scale, *[max(q.scale)] * extra), q.zero_point, q.axis) if len(q.scale) > 1 else q
    lowest = -(129 + result.type.zero_point) * result.type.scale / float(max(scales))
    if lowest < CLOSED:
        raise CompileError(where, f"no bias of '{node.name}' is low enough to close a class", "train a new head: Head(classes=...)")
    rows = np.concatenate([weights.data, np.zeros((extra, *weights.data.shape[1:]), np.int8)])
    biases = np.concatenate([bias.data.reshape(-1), np.full(extra, CLOSED, np.int32)]).astype(np.int32)
    values = [_constant(f"{node.name}.open_weights", rows, wider, node), _constant(f"{node.name}.open_bias", biases, None, node)]
    changed = replace(node, inputs={**node.inputs, "weights": values[0].name, "bias": values[1].name})
    nodes = {node.name: changed}
    values.append(replace(result, type=replace(result.type, shape=(*result.type.shape[:-1], classes))))
    for follower, value in _followers(graph, node, known, where):
        extent = (*value.type.shape[:-1], classes)
        values.append(replace(value, type=replace(value.type, shape=extent)))
        nodes[follower.name] = replace(follower, op=replace(follower.op, shape=extent)) if isinstance(follower.op, Reshape) else follower
    return graph.with_values(values).with_nodes(nodes.get(n.name, n) for n in graph.nodes)


def _constant(name: str, data: NDArray[np.generic], quantization: Quantization | None, node: Node) -> Value:
    return Value(name, TensorType(data.shape, data.dtype.name, quantization), "constant", data, node.origin)


def _followers(graph: Graph, node: Node, classes: int, where: str) -> list[tuple[Node, Value]]:
    """What stands between the layer and the model's result, with its results."""
    found: list[tuple[Node, Value]] = []
    pending = [node.outputs[0]]
    while pending:
        name = pending.pop()
        for follower in graph.consumers().get(name, []):
            result = graph.values[follower.outputs[0]]
            same = isinstance(follower.op, Reshape | Softmax) or (isinstance(follower.op, Requantize) and follower.op.activation == "none")
            if not same or result.type.shape[-1] != classes:
                what = f"{follower.op.mnemonic.upper()} stands between '{node.name}' and the result"
                raise CompileError(where, what, "a new head can be followed by a reshape to the classes and a softmax only")
            found.append((follower, result))
            pending.append(result.name)
    return found
