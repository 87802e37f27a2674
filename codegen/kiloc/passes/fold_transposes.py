"""Transposes in front of and behind attention, which only bring heads before positions, become steps of its kernels: no copy of q, k, v or y.

A transpose of q, k or v goes where its gradient goes with it; that of the result where nothing but its clamp mask reads the result before it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops.backward.gradient_mask import ApplyMask, MaskGradient, SaveMask
from ..ops.fast.attention import Attention, Rows
from ..ops.fast.attention_gradient import FACTORS, AttentionGradient
from ..ops.model.transpose import Transpose


def fold_transposes(part: Graph) -> Graph:
    """The same function, where attention reads and writes what lies on the other side of transposes."""
    for name in [n.name for n in part.nodes if isinstance(n.op, Attention)]:
        for operand in FACTORS:
            part = _operand(part, name, operand)
        part = _result(part, name)
    return part


@dataclass(frozen=True)
class _Parts:
    """An attention and, in training, its gradient."""

    forward: Node
    gradient: Node | None

    @property
    def op(self) -> Attention:
        assert isinstance(self.forward.op, Attention)
        return self.forward.op

    def with_op(self, op: Attention, g: Rows | None = None) -> _Parts:
        gradient = self.gradient
        if gradient is not None and isinstance(gradient.op, AttentionGradient):
            gradient = replace(gradient, op=replace(gradient.op, attention=op, g=g or gradient.op.g))
        return _Parts(replace(self.forward, op=op), gradient)


def _parts(part: Graph, name: str) -> _Parts:
    forward = part.node(name)
    table = forward.inputs["table"]
    return _Parts(forward, next((n for n in part.nodes if isinstance(n.op, AttentionGradient) and n.inputs["table"] == table), None))


def _operand(part: Graph, name: str, operand: str) -> Graph:
    """With one operand as it is stored before its transpose, if there is one, and its gradient, too."""
    parts, readers = _parts(part, name), defaultdict(list, part.consumers())
    before = part.producers().get(parts.forward.inputs[operand])
    if before is None or not isinstance(before.op, Transpose):
        return part
    rows: Rows = getattr(parts.op, operand)
    turned = Rows(tuple(before.op.permutation[i] for i in rows.order))
    x = before.inputs["x"]
    if turned.complaint(part.type(x).shape):
        return part
    changed = parts.with_op(replace(parts.op, **{operand: turned}))  # type: ignore[arg-type]
    forward, gradient = replace(changed.forward, inputs={**changed.forward.inputs, operand: x}), changed.gradient
    gone = set[str]()
    if gradient is not None and isinstance(gradient.op, AttentionGradient):
        of, outputs = gradient.op.of, list(gradient.outputs)
        if operand in of:
            index = of.index(operand)
            after = readers[outputs[index]]
            if len(after) != 1 or after[0].op != Transpose(_inverse(before.op.permutation)):
                return part
            outputs[index], gone = after[0].outputs[0], {after[0].name}
        gradient = replace(gradient, inputs={**gradient.inputs, operand: x}, outputs=tuple(outputs))
    read = {n.name for n in readers[before.outputs[0]]} - {name, gradient.name if gradient else name}
    return _with(part, [forward, gradient], gone | (set() if read or before.outputs[0] in part.outputs else {before.name}))


def _result(part: Graph, name: str) -> Graph:
    """With the result as it is stored behind its transpose, and the gradient that arrives before it."""
    parts, readers, producers = _parts(part, name), defaultdict(list, part.consumers()), part.producers()
    y = parts.forward.outputs[0]
    after = [n for n in readers[y] if isinstance(n.op, Transpose)]
    masks = [n for n in readers[y] if isinstance(n.op, SaveMask | MaskGradient)]
    if len(after) != 1 or len(readers[y]) != len(after) + len(masks) or y in part.outputs or not isinstance(after[0].op, Transpose):
        return part
    inverse, z = _inverse(after[0].op.permutation), after[0].outputs[0]
    turned = Rows(tuple(inverse[i] for i in parts.op.y.order))
    if turned.complaint(part.type(z).shape):
        return part
    changed: list[Node | None] = []
    gone, gradient = {after[0].name}, parts.gradient
    if gradient is not None:
        masked = producers[gradient.inputs["g"]]
        turning = producers.get(masked.inputs.get("g", "")) if isinstance(masked.op, MaskGradient | ApplyMask) else None
        if turning is None or turning.op != Transpose(inverse) or any(len(readers[n.outputs[0]]) != 1 for n in (masked, turning)):
            return part
        gone.add(turning.name)
        saved = [n for n in masks if isinstance(n.op, SaveMask)]
        changed = [replace(n, inputs={"y": z}) for n in saved]
        changed.append(replace(masked, inputs={**masked.inputs, "g": turning.inputs["x"], **({"y": z} if "y" in masked.inputs else {})}))
        g = part.values[masked.outputs[0]]
        part = part.with_values([replace(g, type=TensorType(part.type(z).shape, g.type.dtype, g.type.quantization))])
    elif masks:
        return part
    parts = parts.with_op(replace(parts.op, y=turned), turned)
    return _with(part, [replace(parts.forward, outputs=(z,)), parts.gradient, *changed], gone)


def _inverse(permutation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(permutation))


def _with(part: Graph, changed: list[Node | None], gone: set[str]) -> Graph:
    """Nodes in the place of those of the same names, without some others; the graph as it was where an operator does not take it."""
    by_name = {n.name: n for n in changed if n is not None}
    found = part.with_nodes(by_name.get(n.name, n) for n in part.nodes if n.name not in gone)
    complaints = [n.op.check(node_types(found, n)) for n in by_name.values()]
    assert not any(complaints), complaints
    return found
