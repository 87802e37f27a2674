"""Reverse mode over the operator registry: adds the loss and only those backward nodes that a trainable value needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from .errors import CompileError
from .ir.graph import NEW_HEAD, Graph, Node, Value
from .ir.operator import NodeTypes, NoGradient, Op
from .ir.types import TensorType
from .ir.verify import node_types
from .losses import Loss, as_loss
from .ops.backward.clear_gradient import ClearGradient
from .ops.backward.gradient_sum import WITHOUT_TIES, GradientSum
from .ops.model.bottleneck import BottleneckUp
from .ops.model.requantize import Requantize
from .ops.model.reshape import Reshape
from .ops.update.integer_sum import IntegerSum

LOSS_EXPONENT = "loss.exponent"
LOSS_VALUE = "loss.value"


@dataclass
class GradientBuilder:
    """What `Op.gradient` sees of the graph being differentiated."""

    graph: Graph
    active: set[str]
    logits: set[str]
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    exponent: str = LOSS_EXPONENT
    """The exponent that gradients from here on are relative to: the loss's, or what a new head made of it."""

    def types(self, node: Node) -> NodeTypes:
        return node_types(self.graph, node)

    def constant(self, name: str) -> NDArray[Any]:
        data = self.graph.values[name].data
        assert data is not None, f"{name} is not a constant"
        return data

    def producer(self, name: str) -> Node:
        return self.graph.producers()[name]

    def is_new_head(self, node: Node) -> bool:
        """Whether a layer starts from nothing."""
        return any(p.method == NEW_HEAD and p.layer == node.name for p in self.graph.parameters)

    def is_trainable(self, name: str) -> bool:
        return self.graph.values[name].kind == "trainable"

    def is_logits(self, name: str) -> bool:
        """Whether the loss reads this value (or a view of it)."""
        return name in self.logits

    def wants(self, name: str) -> bool:
        """Whether a trainable value lies upstream of this one."""
        return name in self.active

    def type_of(self, name: str) -> TensorType:
        return self.values[name].type if name in self.values else self.graph.type(name)

    def add(self, op: Op, inputs: dict[str, str], base: str) -> tuple[str, ...]:
        """Append a backward node; returns the names of its results."""
        types = op.infer(NodeTypes({o: self.type_of(v) for o, v in inputs.items()}))
        assert types is not None, op.mnemonic
        first = self.graph.fresh(base, self.values)
        names = (first, *(f"{first}.exponent" for _ in types[1:]))
        for name, type_ in zip(names, types, strict=True):
            self.values[name] = Value(name, type_, "scalar" if type_.shape == (1,) and type_.quantization is None else "gradient")
        self.nodes.append(Node(first, op, inputs, names, phase="backward"))
        return names

    def accumulate(self, node: Node, operand: str, op: Op, inputs: dict[str, str]) -> None:
        """Append the node that adds a parameter's gradient to its accumulator."""
        value = node.inputs[operand]
        parameter = next(p for p in self.graph.parameters if p.values["value"] == value)
        accumulator = parameter.values.get("gradient", parameter.values["accumulator"])
        if not self.graph.values[accumulator].is_state:
            clear = ClearGradient(self.graph.type(accumulator).shape)
            self.nodes.append(Node(f"{parameter.name}.clear", clear, {}, (accumulator,), phase="backward"))
        operands = {**inputs, "exponent": self.exponent, "accumulator": accumulator}
        self.nodes.append(Node(f"{parameter.name}.gradient", op, operands, (), (accumulator,), "backward"))
        if "gradient" in parameter.values:
            summed = {"gradient": accumulator, "accumulator": parameter.values["accumulator"]}
            self.nodes.append(Node(f"{parameter.name}.sum", IntegerSum(), summed, (), (summed["accumulator"],), "backward"))


def differentiate(graph: Graph, loss: Loss | str) -> Graph:
    """The graph with loss and backward nodes. Raises CompileError where an operator on the way has no gradient."""
    attached = as_loss(loss).attach(_integer_ends(graph))
    logits, targets = attached.inputs["y"], [] if attached.target is None else [attached.target]
    if graph.type(logits).dtype != "int8":
        what = f"the loss would read {graph.type(logits).dtype} results: losses are of int8"
        raise CompileError(graph.origin, what, 'use loss="cross_entropy" where it is a softmax, or export the model with INT8 activations')
    builder = GradientBuilder(graph, _active(graph), _views(graph, logits))
    if logits not in builder.active:
        raise CompileError(graph.origin, "no trainable value influences the result that the loss reads", "choose layers before the output")
    kept = [] if attached.kept is None else [attached.kept]
    builder.values.update((v.name, v) for v in (*targets, *kept))
    names = ("loss.gradient", LOSS_EXPONENT, LOSS_VALUE)
    types = attached.operator.infer(NodeTypes({o: builder.type_of(v) for o, v in attached.inputs.items()}))
    for name, type_, kind in zip(names, types, ("gradient", "scalar", "scalar"), strict=True):
        builder.values[name] = Value(name, type_, kind)
    builder.nodes.append(Node("loss", attached.operator, attached.inputs, names, tuple(v.name for v in kept), "backward"))
    _walk(builder, logits)
    forward = graph.phase("forward")
    merged = graph.with_values(builder.values.values())
    return replace(merged, nodes=(*forward, *builder.nodes), inputs=(*graph.inputs, *(t.name for t in targets)))


def _integer_ends(graph: Graph) -> Graph:
    """The graph as a loss sees it: its first input and its first result are the int8 tensors behind a QUANTIZE to or from another type."""
    result, first, producers = graph.outputs[0], graph.inputs[0], graph.producers()
    while graph.type(result).dtype != "int8" and result in producers and isinstance(producers[result].op, Requantize | Reshape):
        result = producers[result].inputs["x"]
    if graph.type(first).dtype != "int8":
        first = next((n.outputs[0] for n in graph.nodes if n.inputs.get("x") == first and graph.type(n.outputs[0]).dtype == "int8"), first)
    return replace(graph, inputs=(first, *graph.inputs[1:]), outputs=(result, *graph.outputs[1:]))


def _views(graph: Graph, name: str) -> set[str]:
    """The value and everything that it is only another shape of, or that a bottleneck adapter adds to."""
    found, producers = {name}, graph.producers()
    while name in producers and (producers[name].op.view or isinstance(producers[name].op, BottleneckUp)):
        name = producers[name].inputs["x"]
        found.add(name)
    return found


def _active(graph: Graph) -> set[str]:
    """Values downstream of a trainable one."""
    active: set[str] = set()
    for node in graph.phase("forward"):
        if any(v in active or graph.values[v].kind == "trainable" for v in node.inputs.values()):
            active.update(node.outputs)
    return active


def _walk(b: GradientBuilder, logits: str) -> None:
    forward = b.graph.phase("forward")
    pending: dict[str, list[str]] = {logits: ["loss.gradient"]}
    for position in range(len(forward) - 1, -1, -1):
        node = forward[position]
        arrived = pending.pop(node.outputs[0], []) if node.outputs else []
        if not arrived:
            continue
        dy = arrived[0]
        op = GradientSum(largest=WITHOUT_TIES) if b.graph.type(node.outputs[0]).dtype == "int16" else GradientSum()
        for other in arrived[1:]:
            dy = b.add(op, {"g": dy, "other": other}, f"{node.name}.dy")[0]
        if not (b.wants(node.outputs[0])):
            continue
        try:
            gradients = node.op.gradient(b, node, dy)
        except NoGradient as error:
            raise _no_gradient(b.graph, node, position, len(forward), str(error)) from None
        for operand, gradient in gradients.items():
            if b.wants(node.inputs[operand]):
                pending.setdefault(node.inputs[operand], []).append(gradient)


def _no_gradient(graph: Graph, node: Node, position: int, count: int, why: str) -> CompileError:
    upstream = {node.inputs[o] for o in node.op.required(node.inputs)}
    layers: list[str] = []
    for earlier in reversed(graph.phase("forward")[:position]):
        if upstream & set(earlier.outputs):
            upstream.update(earlier.inputs.values())
            layers += [earlier.name] * any(p.layer == earlier.name for p in graph.parameters)
    later = [p.layer for p in graph.parameters if p.layer not in layers]
    hint = f'layers="{",".join(dict.fromkeys(later))}" trains what comes after it' if later else "train a layer after it"
    return CompileError(
        f"'{node.name}' ({node.origin or node.op.mnemonic}, operator {position + 1} of {count})",
        f"no gradient for {node.op.mnemonic.upper()}: {why}; it stands between the loss and {', '.join(layers) or 'the trainable layers'}",
        hint,
    )
