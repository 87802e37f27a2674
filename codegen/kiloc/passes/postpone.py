"""A backward phase in an order that takes less memory where values are computed again.

A layer's gradient of parameters waits until the gradient to its input is made, since both read the same. What is computed again for it then stands
beside the gradient to the input, often smaller, or written over the other, and not beside both. Where a path of the model branches, the gradient to
the input of one branch waits for that of the other, where it is larger than what it is made from.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..ir.graph import Graph, Node
from ..ir.verify import node_types
from ..ops.backward.gradient_sum import GradientSum


def postponed(part: Graph, values: Collection[str]) -> Graph:
    """The slice whose gradients of parameters that read one of these values, and of branches, wait. No node reads other values than before."""
    nodes, wanted = list(part.nodes), set(values)
    for node in part.nodes:
        if node.phase == "backward" and "accumulator" in node.inputs and not node.outputs and not wanted.isdisjoint(node.inputs.values()):
            nodes = _behind(part, nodes, node) or nodes
    for node in part.nodes:
        if isinstance(node.op, GradientSum):
            nodes = _in_front(part, nodes, {node.inputs["g"], node.inputs["other"]}, node) or nodes
    return part.with_nodes(nodes)


def _behind(part: Graph, nodes: Sequence[Node], gradient: Node) -> list[Node] | None:
    """The nodes with those of one gradient, from its zeros to the step that it leads to, behind the gradient to the layer's input and what is done
    to that without a multiplication; None where that cannot be."""
    own = gradient.inputs["accumulator"]
    members = {n.name for n in nodes if own in n.outputs or own in n.inputs.values()}
    first = next(i for i, n in enumerate(nodes) if n.name in members)
    kept, moved = list[Node](), list[Node]()
    summed = behind = False
    for node in nodes[first:]:
        if node.name in members:
            moved.append(node)
            summed = summed or node is gradient
            continue
        if summed and (not node.outputs or node.op.macs(node_types(part, node))):
            if behind or not node.outputs or set(node.inputs.values()).isdisjoint(gradient.inputs.values()):
                break
            behind = True
        if any(_ordered(m, node) for m in moved):
            break
        kept.append(node)
    if not behind:
        return None
    return [*nodes[:first], *kept, *moved, *nodes[first + len(kept) + len(moved) :]]


def _in_front(part: Graph, nodes: Sequence[Node], gradients: Collection[str], sum_: Node) -> list[Node] | None:
    """The nodes with what makes the first of two branches' gradients, and what must follow that, right in front of their sum; None where this takes
    no less memory between the two, or nothing is multiplied there."""
    made = next(i for i, n in enumerate(nodes) if not set(gradients).isdisjoint(n.outputs))
    end = next(i for i, n in enumerate(nodes) if n is sum_)
    gradient = next(v for v in nodes[made].outputs if v in gradients)
    if any(gradient in n.inputs.values() for n in nodes if n is not sum_):
        return None
    last_reads = {v: i for i, n in enumerate(nodes) for v in n.inputs.values()}
    waiting = [v for v in nodes[made].inputs.values() if part.values[v].kind == "gradient" and last_reads[v] == made]
    if sum(part.type(v).bytes for v in waiting) >= part.type(gradient).bytes:
        return None
    moved, kept = [nodes[made]], list[Node]()
    for node in nodes[made + 1 : end]:
        (moved if any(_ordered(m, node) for m in moved) else kept).append(node)
    if not any(n.outputs and n.op.macs(node_types(part, n)) for n in kept):
        return None
    return [*nodes[:made], *kept, *moved, *nodes[end:]]


def _ordered(node: Node, later: Node) -> bool:
    """Whether the second of two nodes could not run before the first."""
    reads, later_reads = node.inputs.values(), later.inputs.values()
    gives, later_gives = (*node.outputs, *node.updates), (*later.outputs, *later.updates)
    return any(v in later_reads for v in gives) or any(v in reads for v in later_gives)
