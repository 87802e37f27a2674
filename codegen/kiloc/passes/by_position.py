"""Inference one position a call: what a position needs of those before it is kept from call to call instead of computed again.

Of a model whose every result depends on its own position and on earlier ones alone. A causal convolution keeps the last rows of its input, attention
the keys and values of as many positions as it sees, a recurrent layer its state; everything else computes one row. From a reset on the bits are those
of whole sequences, for as many positions as those have. Behind them attention sees the last ones: what a longer sequence with a window has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import STREAM, Graph, Node, Value
from ..ir.operator import Op
from ..ir.types import Quantization, TensorType
from ..ops.fast.attention import ALL, Attention
from ..ops.fast.attention_next import AttentionNext
from ..ops.model._elementwise import Elementwise
from ..ops.model._lookup import Lookup
from ..ops.model.concatenate import Concatenate
from ..ops.model.conv_2d import Conv2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.embedding import Embedding
from ..ops.model.fully_connected import FullyConnected
from ..ops.model.gru import Gru
from ..ops.model.keep import Keep
from ..ops.model.layer_normalization import LayerNormalization
from ..ops.model.lora import DownProjection
from ..ops.model.lstm import Lstm
from ..ops.model.requantize import Requantize
from ..ops.model.reshape import Reshape
from ..ops.model.slice import Slice
from ..ops.model.softmax import Softmax
from ..ops.model.transpose import Transpose
from ..ops.wide.elementwise import WideElementwise
from ..ops.wide.functions import WideFunction
from .simplify import simplify

WHERE = "by_position=True"
ELEMENTWISE = (Elementwise, Lookup, Requantize, WideElementwise, WideFunction)
_HINT = "leave by_position out: inference then takes whole sequences"


def by_position(graph: Graph) -> Graph:
    """A slice of inference whose input is one position. Raises CompileError where a result depends on later positions, or on all at once."""
    shape = graph.type(graph.inputs[0]).shape
    if len(graph.inputs) != 1 or len(shape) < 2 or shape[1] < 2:
        what = f"{len(graph.inputs)} inputs" if len(graph.inputs) != 1 else f"an input of {shape}"
        raise CompileError(WHERE, f"{graph.name} has {what}", "of one input, whose first axis behind the batch counts positions, one is taken a call")
    if graph.streams():
        raise CompileError(WHERE, f"{graph.name} keeps a state from call to call already", "leave by_position out")
    walk = _Walk(graph, shape[1])
    walk.narrow(graph.inputs[0], 1)
    for node in graph.nodes:
        walk.add(node)
    for name in graph.outputs:
        if name not in walk.axes:
            raise CompileError(WHERE, f"the result '{name}' has no row for each position", _HINT)
    note = f"by_position: inference takes one position a call and goes on from call to call; from a reset on the bits are those of {shape[1]} at once"
    made = replace(graph.with_values([*walk.changed.values(), *walk.kept]), notes=(*graph.notes, note))
    return simplify(made.with_nodes([*walk.nodes, *walk.last]))


@dataclass
class _Walk:
    graph: Graph
    length: int
    axes: dict[str, int] = field(default_factory=dict)
    """Of values with a row for each position: which axis counts them."""
    changed: dict[str, Value] = field(default_factory=dict)
    kept: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    last: list[Node] = field(default_factory=list)
    """What is kept, behind all that reads it."""

    def narrow(self, name: str, axis: int) -> None:
        """A value with one position."""
        value = self.graph.values[name]
        shape = (*value.type.shape[:axis], 1, *value.type.shape[axis + 1 :])
        self.axes[name], self.changed[name] = axis, replace(value, type=replace(value.type, shape=shape))

    def type_of(self, name: str) -> TensorType:
        return self.changed[name].type if name in self.changed else self.graph.type(name)

    def refuse(self, node: Node, what: str) -> CompileError:
        return CompileError(WHERE, f"'{node.name}' ({node.op.mnemonic.upper()}) {what}", _HINT)

    def keep(self, name: str, type_: TensorType, first: NDArray[Any]) -> str:
        name = self.graph.fresh(name, self.changed)
        self.kept.append(Value(name, type_, STREAM, first))
        return name

    def add(self, node: Node) -> None:
        rows = [o for o, v in node.inputs.items() if v in self.axes]
        if not rows:
            self.nodes.append(node)
            return
        change = next((f for kinds, f in self._changes() if isinstance(node.op, kinds)), None)
        if change is None:
            raise self.refuse(node, "is none of the operators that compute one position from earlier ones")
        for value in node.outputs:
            self.narrow(value, self._axis_of(node, self.graph.type(value).shape))
        self.nodes.append(change(node))

    def _changes(self) -> list[tuple[tuple[type[Op], ...], Callable[[Node], Node]]]:
        return [
            (ELEMENTWISE, self._elementwise),
            ((FullyConnected,), lambda n: self._rows(n, self.graph.type(n.inputs["weights"]).shape[1])),
            ((LayerNormalization,), lambda n: self._rows(n, n.op.depth)),  # type: ignore[attr-defined]
            ((Softmax,), lambda n: self._rows(n, self.graph.type(n.inputs["x"]).shape[-1])),
            ((Embedding,), lambda n: n),
            ((Reshape,), lambda n: replace(n, op=Reshape(self.type_of(n.outputs[0]).shape))),
            ((Transpose,), self._turned),
            ((DownProjection,), self._projection),
            ((Conv2D, DepthwiseConv2D), self._convolution),
            ((Attention,), self._attention),
            ((Gru, Lstm), self._recurrent),
        ]

    def _axis_of(self, node: Node, shape: tuple[int, ...]) -> int:
        """Where a result of this shape counts positions."""
        x = node.inputs["q" if isinstance(node.op, Attention) else "x"]
        if isinstance(node.op, Transpose):
            return node.op.permutation.index(self.axes[x])
        if isinstance(node.op, Attention):
            return node.op.y.order[-2]
        before = prod(self.graph.type(x).shape[: self.axes[x]])
        found = [a for a in range(1, len(shape)) if prod(shape[:a]) == before and shape[a] == self.length]
        if isinstance(node.op, DownProjection) and before == 1:
            return 1
        if not found:
            raise self.refuse(node, f"gives {shape}, in which no axis counts the {self.length} positions")
        return found[0]

    # -- what computes one row ------------------------------------------------------------------------
    def _rows(self, node: Node, depth: int) -> Node:
        x = node.inputs["x"]
        if prod(self.graph.type(x).shape[self.axes[x] + 1 :]) % depth:
            raise self.refuse(node, "takes values of several positions at once")
        return node

    def _elementwise(self, node: Node) -> Node:
        result = node.outputs[0]
        behind = len(self.graph.type(result).shape) - self.axes[result]
        for name in node.inputs.values():
            shape = self.graph.type(name).shape
            mine = self.axes.get(name)
            if mine is None and len(shape) >= behind and shape[-behind] != 1:
                raise self.refuse(node, f"has a constant of {shape}, which is another one for each position")
            if mine is not None and len(shape) - mine != behind:
                raise self.refuse(node, "combines positions with something else")
        return node

    def _turned(self, node: Node) -> Node:
        """Axes of extent 1 are moved by a reshape."""
        assert isinstance(node.op, Transpose)
        x, y = self.type_of(node.inputs["x"]).shape, self.type_of(node.outputs[0]).shape
        moved = [a for a in node.op.permutation if x[a] > 1]
        return replace(node, op=Reshape(y)) if moved == sorted(moved) else node

    def _projection(self, node: Node) -> Node:
        op = node.op
        assert isinstance(op, DownProjection)
        if not op.window.pointwise or op.x_image[0] % self.length:
            raise self.refuse(node, "slides over positions: LoRA beside a convolution keeps nothing")
        rows = op.x_image[0] // self.length
        image = replace(op, x_image=(rows, *op.x_image[1:]), u_image=(rows, *op.u_image[1:]))
        u = self.changed[node.outputs[0]]
        self.changed[node.outputs[0]] = replace(u, type=replace(u.type, shape=(1, rows * op.u_image[1], op.u_image[2])))
        return replace(node, op=image)

    # -- what keeps something -------------------------------------------------------------------------
    def _convolution(self, node: Node) -> Node:
        op, x = node.op, node.inputs["x"]
        assert isinstance(op, Conv2D | DepthwiseConv2D)
        w, i = op.window, self.axes[x] - 1
        if i > 1 or w.stride[i] != 1:
            raise self.refuse(node, "takes no step for each position")
        reach = (w.kernel[i] - 1) * w.dilation[i]
        if (w.pad[i], w.pad[i + 2]) != (reach, 0):
            what = f"sees {reach} positions with {w.pad[i]} of padding before and {w.pad[i + 2]} behind: it is not causal"
            raise self.refuse(node, what)
        if reach == 0:
            return node
        one, axis = self.type_of(x), i + 1
        shape = (*one.shape[:axis], reach, *one.shape[axis + 1 :])
        kept = self.keep(f"{node.name}.kept", replace(one, shape=shape), np.full(shape, one.zero_point, np.int8))
        joined = self.graph.fresh(f"{node.name}.seen", self.changed)
        seen = replace(one, shape=(*one.shape[:axis], reach + 1, *one.shape[axis + 1 :]))
        self.changed[joined] = Value(joined, seen, "activation")
        self.nodes.append(Node(joined, Concatenate(axis), {"x": kept, "x1": x}, (joined,), origin=node.origin))
        part = Slice.along(seen.shape, axis, 1, reach)
        self.last.append(Node(f"{joined}.keep", Keep(part), {"x": joined, "kept": kept}, (), (kept,), origin=node.origin))
        top, left, bottom, right = (0 if a in (i, i + 2) else p for a, p in enumerate(w.pad))
        return replace(node, op=replace(op, window=replace(w, pad=(top, left, bottom, right))), inputs={**node.inputs, "x": joined})

    def _attention(self, node: Node) -> Node:
        op = node.op
        assert isinstance(op, Attention)
        for operand, rows in (("q", op.q), ("k", op.k), ("v", op.v)):
            if self.axes.get(node.inputs[operand]) != rows.order[-2]:
                raise self.refuse(node, f"compares other things than positions: rows of '{operand}' are none")
        if op.after != 0:
            raise self.refuse(node, "sees later positions: its mask is not causal")
        inputs = {**node.inputs, **{o: self._in_front(node, node.inputs[o]) for o in ("k", "v")}}
        op = replace(op, k=replace(op.k, order=_in_front(op.k.order)), v=replace(op.v, order=_in_front(op.v.order)))
        length = self.length if op.before == ALL else op.before + 1
        kept = {}
        for operand, name in (("k", "keys"), ("v", "values")):
            one = self.type_of(inputs[operand])
            type_ = replace(one, shape=(1, length, *one.shape[2:]))
            kept[name] = self.keep(f"{node.name}.{name}", type_, np.zeros(type_.shape, np.int8))
        count = TensorType((1,), "int16", Quantization((1.0,)))
        kept["count"] = self.keep(f"{node.name}.count", count, np.zeros(1, np.int16))
        return replace(node, op=AttentionNext(replace(op, before=ALL, after=ALL)), inputs={**inputs, **kept}, updates=tuple(kept.values()))

    def _in_front(self, node: Node, name: str) -> str:
        """A value of one position with the axis that counts them in front of all others."""
        one = self.type_of(name)
        shape = (1, 1, *(d for a, d in enumerate(one.shape) if a not in (0, self.axes[name])))
        if shape == one.shape:
            return name
        turned = self.graph.fresh(f"{name}.one", self.changed)
        self.changed[turned] = Value(turned, replace(one, shape=shape), "activation")
        self.nodes.append(Node(turned, Reshape(shape), {"x": name}, (turned,), origin=node.origin))
        return turned

    def _recurrent(self, node: Node) -> Node:
        y = self.type_of(node.outputs[0])
        units = y.shape[-1]
        row = TensorType((1, units), "int8", y.quantization)
        kept = {"hidden": self.keep(f"{node.name}.hidden", row, np.full(row.shape, y.zero_point, np.int8))}
        wide, scale = ("state", 2.0**-15) if isinstance(node.op, Gru) else ("cell", 2.0**node.op.memory.cell_power)  # type: ignore[attr-defined]
        state = TensorType((1, units), "int16", Quantization((scale,)))
        kept[wide] = self.keep(f"{node.name}.{wide}", state, np.zeros(state.shape, np.int16))
        return replace(node, inputs={**node.inputs, **kept}, updates=tuple(kept.values()))


def _in_front(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order of the axes of a tensor whose rows become axis 1, the first of the others."""
    others = [a for a in range(1, len(order)) if a != order[-2]]
    return tuple(0 if a == 0 else 1 if a == order[-2] else 2 + others.index(a) for a in order)
