"""Inference one position a call: what a position needs of those before it is kept from call to call instead of computed again.

Two sorts of models have it. A causal one gives a row for each position, which depends on earlier ones alone: its convolutions keep the last rows of
their inputs, attention the keys and values of as many positions as it sees, a recurrent layer its state; everything else computes one row. From a
reset on the bits are those of whole sequences, for as many positions as those have. Behind them attention sees the last ones: what a longer sequence
with a window has.

The other sort takes a window that slides: its convolutions and pools stand within it, without padding, and something, a mean or a fully connected
layer, sees all rows at once. Layers in front of that compute the newest row and keep the others; from there on the model runs whole. From the call
that fills the window the bits are those of the model on it. Before, rows are missing: there stand those that the model has for an input of zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir import interp
from ..ir.graph import STREAM, Graph, Node, Value
from ..ir.operator import Op
from ..ir.types import Quantization, TensorType
from ..ir.verify import total_macs
from ..ops.fast.attention import ALL, Attention
from ..ops.fast.attention_next import AttentionNext
from ..ops.model._elementwise import Elementwise
from ..ops.model._lookup import Lookup
from ..ops.model.average_pool_2d import Pool2D
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
from ..ops.model.mean import Mean
from ..ops.model.pad import Pad
from ..ops.model.pad_axes import PadAxes
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
WINDOWED = Conv2D | DepthwiseConv2D | Pool2D
_HINT = "leave by_position out: inference then takes whole sequences"


def by_position(graph: Graph) -> Graph:
    """A slice of inference whose input is one position. Raises CompileError where a result depends on later positions, or where no layer computes
    less than it does for the whole input.
    """
    shape = graph.type(graph.inputs[0]).shape
    if len(graph.inputs) != 1 or len(shape) < 2 or shape[1] < 2:
        what = f"{len(graph.inputs)} inputs" if len(graph.inputs) != 1 else f"an input of {shape}"
        raise CompileError(WHERE, f"{graph.name} has {what}", "of one input, whose first axis behind the batch counts positions, one is taken a call")
    if graph.streams():
        raise CompileError(WHERE, f"{graph.name} keeps a state from call to call already", "leave by_position out")
    walk = _Walk(graph)
    walk.narrow(graph.inputs[0], 1, shape[1])
    for node in graph.nodes:
        walk.add(node)
    made = simplify(graph.with_values([*walk.changed.values(), *walk.kept]).with_nodes([*walk.nodes, *walk.last]))
    before, after = total_macs(graph), total_macs(made)
    if walk.whole and after >= before:
        raise CompileError(WHERE, f"no product of {graph.name} is saved: {walk.whole[0]}", _HINT)
    return replace(made, notes=(*graph.notes, walk.note(shape[1], before, after)))


@dataclass
class _Walk:
    graph: Graph
    axes: dict[str, int] = field(default_factory=dict)
    """Of values of which the newest row alone is computed: which axis counts positions."""
    whole: list[str] = field(default_factory=list)
    """Why nodes see all rows of their window at once."""
    begun: str = ""
    """A node that knows where a sequence begins: it pads in front, or its state starts there."""
    slid: str = ""
    """A node whose rows are those of a window that slides."""
    changed: dict[str, Value] = field(default_factory=dict)
    kept: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    last: list[Node] = field(default_factory=list)
    """What is kept, behind all that reads it."""
    joined: dict[tuple[str, int], str] = field(default_factory=dict)
    """The last rows of a value, so many of them, as one value."""
    padded: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Values in front of which rows stand that are padding, for a causal window behind them: how many, and their code."""
    full: set[str] = field(default_factory=set)
    """What is computed of all rows."""

    def note(self, length: int, before: int, after: int) -> str:
        """What the report says."""
        begins = "by_position: inference takes one position a call and goes on from call to call;"
        if not self.slid:
            return f"{begins} from a reset on the bits are those of {length} at once"
        whole = f" ({self.whole[0]})" if self.whole else ""
        bits = f"from call {length} behind a reset on the bits are those of the last {length} at once"
        return f"{begins} {bits}, with {after:,} of {before:,} MACs{whole}"

    def narrow(self, name: str, axis: int, length: int) -> None:
        """The newest row of a value with `length` of them; with one of them it is all of it."""
        value = self.graph.values[name]
        assert value.type.shape[axis] == length
        if length == 1:
            self.full.add(name)
        else:
            self.axes[name], self.changed[name] = axis, replace(value, type=_with_rows(value.type, axis, 1))

    def length(self, name: str) -> int:
        """Rows that a narrowed value has in the whole model."""
        return self.graph.type(name).shape[self.axes[name]]

    def type_of(self, name: str) -> TensorType:
        return self.changed[name].type if name in self.changed else self.graph.type(name)

    def refuse(self, node: Node, what: str) -> CompileError:
        return CompileError(WHERE, f"{_named(node)} {what}", _HINT)

    def begins(self, node: Node) -> None:
        """The node's first row is that of a sequence. Raises CompileError where a window slides in front of it."""
        if self.slid:
            raise self.refuse(node, f"begins where a sequence does, behind {self.slid}, whose rows are those of a window that slides")
        self.begun = _named(node)

    def slides(self, node: Node) -> None:
        """The node's rows are those of a window. Raises CompileError where something in front of it begins with a sequence."""
        if self.begun:
            raise self.refuse(node, f"takes rows of a window, behind {self.begun}, which begins where a sequence does")
        self.slid = _named(node)

    @cached_property
    def of_zeros(self) -> dict[str, NDArray[Any]]:
        """Every value of the whole model for an input of zeros, with states as they are at first."""
        type_ = self.graph.type(self.graph.inputs[0])
        return interp.run(self.graph, {self.graph.inputs[0]: np.full(type_.shape, type_.zero_point, type_.dtype)})

    def keep(self, name: str, type_: TensorType, first: NDArray[Any]) -> str:
        name = self.graph.fresh(name, (*self.changed, *(v.name for v in self.kept)))
        self.kept.append(Value(name, type_, STREAM, first))
        return name

    def add(self, node: Node) -> None:
        rows = [o for o, v in node.inputs.items() if v in self.axes]
        if not rows:
            self.full |= set(node.outputs) if self.full & set(node.inputs.values()) else set()
            self.nodes.append(node)
            return
        try:
            self.nodes.append(self._one_row(node))
        except CompileError as refused:
            if self.begun:
                raise
            self.nodes.append(self._all_rows(node, str(refused.what)))

    def _one_row(self, node: Node) -> Node:
        """The node for the newest row. Raises CompileError, with nothing changed, where that is not enough for it."""
        if self.full & set(node.inputs.values()):
            raise self.refuse(node, "takes what is computed of all positions at once")
        if self.padded.keys() & set(node.inputs.values()) and not isinstance(node.op, WINDOWED | Reshape):
            raise self.refuse(node, "takes the padding in front of a sequence")
        change = next((f for kinds, f in self._changes() if isinstance(node.op, kinds)), None)
        if change is None:
            raise self.refuse(node, "is none of the operators that compute one position from earlier ones")
        axes = {value: self._axis_of(node, self.graph.type(value).shape) for value in node.outputs}
        for value, axis in axes.items():
            self.narrow(value, axis, self.graph.type(value).shape[axis])
        try:
            return change(node)
        except CompileError:
            for value in axes:
                self.axes.pop(value, None)
                self.changed.pop(value, None)
                self.full.discard(value)
            raise

    def _all_rows(self, node: Node, why: str) -> Node:
        """The node as it is, on all rows of what it reads: one is new, the others were kept."""
        self.slides(node)
        self.whole.append(why)
        self.full |= set(node.outputs)
        return replace(node, inputs={o: self._last_rows(v, self.length(v)) if v in self.axes else v for o, v in node.inputs.items()})

    def _changes(self) -> list[tuple[tuple[type[Op], ...], Callable[[Node], Node]]]:
        return [
            (ELEMENTWISE, self._elementwise),
            ((FullyConnected,), lambda n: self._rows(n, self.graph.type(n.inputs["weights"]).shape[1])),
            ((LayerNormalization,), lambda n: self._rows(n, n.op.depth)),  # type: ignore[attr-defined]
            ((Softmax,), lambda n: self._rows(n, self.graph.type(n.inputs["x"]).shape[-1])),
            ((Embedding, Mean), lambda n: n),
            ((Reshape,), self._reshaped),
            ((Transpose,), self._turned),
            ((Concatenate,), self._concatenated),
            ((Slice,), self._sliced),
            ((Pad, PadAxes), self._pad),
            ((DownProjection,), self._projection),
            ((Conv2D, DepthwiseConv2D, Pool2D), self._windowed),
            ((Attention,), self._attention),
            ((Gru, Lstm), self._recurrent),
        ]

    def _axis_of(self, node: Node, shape: tuple[int, ...]) -> int:
        """Where a result of this shape counts positions."""
        x = node.inputs["q" if isinstance(node.op, Attention) else "x"]
        axis = self.axes[x]
        if isinstance(node.op, Transpose):
            return node.op.permutation.index(axis)
        if isinstance(node.op, Attention):
            return node.op.y.order[-2]
        if isinstance(node.op, WINDOWED | Slice | Concatenate | Pad | PadAxes):
            return axis
        if isinstance(node.op, Mean) and axis in node.op.axes:
            raise self.refuse(node, f"takes {self.length(x)} positions at once")
        before = prod(self.graph.type(x).shape[:axis])
        if isinstance(node.op, DownProjection) and before == 1:
            return 1
        found = [a for a in range(1, len(shape)) if prod(shape[:a]) == before and shape[a] == self.length(x)]
        if not found:
            raise self.refuse(node, f"gives {shape}, in which no axis counts the {self.length(x)} positions")
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

    def _concatenated(self, node: Node) -> Node:
        assert isinstance(node.op, Concatenate)
        axes = {self.axes.get(v) for v in node.inputs.values()}
        if len(axes) != 1 or node.op.axis in axes:
            raise self.refuse(node, "combines positions with something else")
        return node

    def _reshaped(self, node: Node) -> Node:
        result = node.outputs[0]
        if node.inputs["x"] in self.padded:
            self.padded[result] = self.padded[node.inputs["x"]]
        return replace(node, op=Reshape(self.type_of(result).shape))

    def _pad(self, node: Node) -> Node:
        """Padding along other axes; in front of all positions it is that of a causal window, which the rows that are kept at first then hold."""
        op, axis = node.op, self.axes[node.inputs["x"]]
        assert isinstance(op, Pad | PadAxes)
        if isinstance(op, Pad):
            ends = (op.pad[axis - 1], op.pad[axis + 1]) if axis < 3 else (0, 0)
            top, left, bottom, right = (0 if a % 2 == axis - 1 else p for a, p in enumerate(op.pad))
            beside: Op = replace(op, pad=(top, left, bottom, right))
        else:
            ends = (op.before[axis], op.after[axis] + op.between[axis])
            before, after, between = (tuple(0 if a == axis else p for a, p in enumerate(of)) for of in (op.before, op.after, op.between))
            beside = replace(op, before=before, after=after, between=between)
        if ends[1]:
            raise self.refuse(node, f"pads {ends[1]} positions behind others: it is not causal")
        if ends[0]:
            self.begins(node)
            self.padded[node.outputs[0]] = (ends[0], op.value)
        return replace(node, op=beside)

    def _turned(self, node: Node) -> Node:
        """Axes of extent 1 are moved by a reshape."""
        assert isinstance(node.op, Transpose)
        x, y = self.type_of(node.inputs["x"]).shape, self.type_of(node.outputs[0]).shape
        moved = [a for a in node.op.permutation if x[a] > 1]
        return replace(node, op=Reshape(y)) if moved == sorted(moved) else node

    def _sliced(self, node: Node) -> Node:
        """What a slice leaves out behind its last row is how many positions its newest one is late."""
        op, x = node.op, node.inputs["x"]
        assert isinstance(op, Slice)
        axis = self.axes[x]
        if op.stride[axis] != 1:
            raise self.refuse(node, "takes no step for each position")
        late = self.length(x) - op.begin[axis] - op.size[axis]
        if op.begin[axis] or late:
            self.slides(node)
        read = self._last_rows(x, late + 1)
        begin, size = (tuple(n if a == axis else other for a, other in enumerate(of)) for n, of in ((0, op.begin), (1, op.size)))
        return replace(node, op=replace(op, begin=begin, size=size), inputs={"x": read})

    def _projection(self, node: Node) -> Node:
        op, x = node.op, node.inputs["x"]
        assert isinstance(op, DownProjection)
        length, kernel = self.length(x), op.window.kernel[0]
        u = self.changed[node.outputs[0]]
        if op.window.pointwise and op.x_image[0] % length == 0:
            rows = op.x_image[0] // length
            image = replace(op, x_image=(rows, *op.x_image[1:]), u_image=(rows, *op.u_image[1:]))
        elif self.axes[x] == 1 and op.x_image[0] == length and self._reach(node, 0):
            self.slides(node)
            rows, reach = 1, self._reach(node, 0)
            x, image = self._last_rows(x, reach + 1), replace(op, x_image=(reach + 1, *op.x_image[1:]), u_image=(1, *op.u_image[1:]))
        else:
            raise self.refuse(node, f"slides over {kernel} positions")
        self.changed[node.outputs[0]] = replace(u, type=replace(u.type, shape=(1, rows * op.u_image[1], op.u_image[2])))
        return replace(node, op=image, inputs={**node.inputs, "x": x})

    # -- what keeps something -------------------------------------------------------------------------
    def _last_rows(self, name: str, count: int) -> str:
        """The last `count` rows of a narrowed value: all but the newest were kept."""
        if count == 1:
            return name
        if (name, count) not in self.joined:
            one, axis = self.type_of(name), self.axes[name]
            rest = _with_rows(one, axis, count - 1)
            if self.slid:
                first = self.of_zeros[name].take(range(self.length(name) - count + 1, self.length(name)), axis)
            else:
                first = np.full(rest.shape, self.padded[name][1] if name in self.padded else one.zero_point, rest.dtype)
            self.joined[name, count] = self._join(name, axis, count, self.keep(f"{name}.kept", rest, first))
        return self.joined[name, count]

    def _join(self, name: str, axis: int, count: int, kept: str) -> str:
        """`count` rows, the newest behind those that are kept; all but the oldest are kept next."""
        joined, origin = self.graph.fresh(f"{name}.last", self.changed), self.graph.values[name].origin
        seen = _with_rows(self.type_of(name), axis, count)
        self.changed[joined] = Value(joined, seen, "activation")
        self.nodes.append(Node(joined, Concatenate(axis), {"x": kept, "x1": name}, (joined,), origin=origin))
        part = Slice.along(seen.shape, axis, 1, count - 1)
        self.last.append(Node(f"{joined}.keep", Keep(part), {"x": joined, "kept": kept}, (), (kept,), origin=origin))
        return joined

    def _reach(self, node: Node, i: int) -> int:
        """Positions before its own that a window without padding sees. Raises CompileError where it has another step, or padding."""
        w = node.op.window  # type: ignore[attr-defined]
        if w.stride[i] != 1:
            raise self.refuse(node, "takes no step for each position")
        reach = int((w.kernel[i] - 1) * w.dilation[i])
        if w.pad[i] or w.pad[i + 2]:
            what = f"sees {reach} positions with {w.pad[i]} of padding before and {w.pad[i + 2]} behind: it is not causal"
            raise self.refuse(node, what)
        return reach

    def _windowed(self, node: Node) -> Node:
        op, x = node.op, node.inputs["x"]
        assert isinstance(op, WINDOWED)
        w, i = op.window, self.axes[x] - 1
        if i > 1:
            raise self.refuse(node, "takes no step for each position")
        before = (w.kernel[i] - 1) * w.dilation[i]
        in_front = w.pad[i] + self.padded.get(x, (0, 0))[0]
        causal = w.stride[i] == 1 and in_front == before > 0 == w.pad[i + 2] and not isinstance(op, Pool2D)
        if x in self.padded and (w.pad[i] or not causal):
            raise self.refuse(node, f"sees {before} positions before its own, of which {in_front} are padded: it is not causal")
        reach = before if causal else self._reach(node, i)
        if reach == 0:
            return node
        self.begins(node) if causal else self.slides(node)
        top, left, bottom, right = (0 if a in (i, i + 2) else p for a, p in enumerate(w.pad))
        return replace(
            node, op=replace(op, window=replace(w, pad=(top, left, bottom, right))), inputs={**node.inputs, "x": self._last_rows(x, reach + 1)}
        )

    def _attention(self, node: Node) -> Node:
        op = node.op
        assert isinstance(op, Attention)
        for operand, rows in (("q", op.q), ("k", op.k), ("v", op.v)):
            if self.axes.get(node.inputs[operand]) != rows.order[-2]:
                raise self.refuse(node, f"compares other things than positions: rows of '{operand}' are none")
        if op.after != 0:
            raise self.refuse(node, "sees later positions: its mask is not causal")
        self.begins(node)
        inputs = {**node.inputs, **{o: self._in_front(node, node.inputs[o]) for o in ("k", "v")}}
        op = replace(op, k=replace(op.k, order=_in_front(op.k.order)), v=replace(op.v, order=_in_front(op.v.order)))
        length = self.length(node.inputs["k"]) if op.before == ALL else op.before + 1
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
        self.begins(node)
        y = self.type_of(node.outputs[0])
        units = y.shape[-1]
        row = TensorType((1, units), "int8", y.quantization)
        kept = {"hidden": self.keep(f"{node.name}.hidden", row, np.full(row.shape, y.zero_point, np.int8))}
        wide, scale = ("state", 2.0**-15) if isinstance(node.op, Gru) else ("cell", 2.0**node.op.memory.cell_power)  # type: ignore[attr-defined]
        state = TensorType((1, units), "int16", Quantization((scale,)))
        kept[wide] = self.keep(f"{node.name}.{wide}", state, np.zeros(state.shape, np.int16))
        return replace(node, inputs={**node.inputs, **kept}, updates=tuple(kept.values()))


def _named(node: Node) -> str:
    return f"'{node.name}' ({node.op.mnemonic.upper()})"


def _with_rows(type_: TensorType, axis: int, count: int) -> TensorType:
    return replace(type_, shape=(*type_.shape[:axis], count, *type_.shape[axis + 1 :]))


def _in_front(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order of the axes of a tensor whose rows become axis 1, the first of the others."""
    others = [a for a in range(1, len(order)) if a != order[-2]]
    return tuple(0 if a == 0 else 1 if a == order[-2] else 2 + others.index(a) for a in order)
