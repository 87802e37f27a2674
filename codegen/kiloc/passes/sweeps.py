"""Nodes that need all rows of an operand before they give their first: for stripes of rows they are two, one that reduces all rows to a few
numbers and one that goes on from these. What comes after them is then a second sweep over the rows, for which what they read is made again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..ir.graph import Graph, Node, Value
from ..ir.operator import NodeTypes, Op
from ..ir.types import TensorType, scalar
from ..ir.verify import node_types
from ..ops._activation import clamp_range
from ..ops.backward.gradient_mask import image_height
from ..ops.backward.lora_inner_rows import LoRAInnerExponent, LoRAInnerPeak, LoRAInnerRows
from ..ops.model.average_pool_2d import AveragePool2D
from ..ops.model.lora import LoRAInnerGradient
from ..ops.paging.pooled_sums import AverageOfSums, ChannelSums
from .recompute import AGAIN
from .stripes import STRIPE


def height_of(op: Op, t: NodeTypes) -> int:
    """Rows that can be computed by themselves, also of what this file makes two nodes of."""
    if isinstance(op, AveragePool2D) and _is_global(op, t):
        return image_height(t.type("x"))
    if isinstance(op, LoRAInnerGradient):
        return image_height(t.type("g"))
    return op.height(t)


def _is_global(op: AveragePool2D, t: NodeTypes) -> bool:
    x = t.type("x")
    return x.dtype == "int8" and op.window.kernel == x.shape[1:3] and not any(op.window.pad) and op.window.dilation == (1, 1)


def in_sweeps(part: Graph, names: Collection[str]) -> tuple[Graph, list[frozenset[str]]]:
    """The slice with global pools and one gradient of LoRA's inner values in two parts, and the nodes of each sweep, of which none or one
    such gradient is left to the second."""
    part, names = _without_pools(part, frozenset(names))
    made = {v for n in part.nodes if n.name in names for v in n.outputs}
    for node in part.nodes:
        if node.name in names and isinstance(node.op, LoRAInnerGradient):
            if node.inputs["g"] in made:
                return _in_two(part, names, node)
            names -= {node.name}  # what it reads is whole
    return part, [names]


def _without_pools(part: Graph, names: frozenset[str]) -> tuple[Graph, frozenset[str]]:
    nodes, values = list[Node](), list[Value]()
    for node in part.nodes:
        t = node_types(part, node)
        if node.name not in names or not isinstance(node.op, AveragePool2D) or not _is_global(node.op, t):
            nodes.append(node)
            continue
        sums = f"{node.outputs[0]}.sums"
        values.append(Value(sums, TensorType((1, t.type("x").shape[3]), "int32"), "activation"))
        count = t.type("x").shape[1] * t.type("x").shape[2]
        average = AverageOfSums(count, clamp_range(node.op.activation, t.result()))
        nodes += [replace(node, name=sums, op=ChannelSums(), outputs=(sums,)), replace(node, op=average, inputs={"sums": sums})]
        names = names - {node.name} | {sums}
    return part.with_values(values).with_nodes(nodes) if values else part, names


def _again(name: str, taken: set[str]) -> str:
    """A name that is not taken, and now is, for what is made again."""
    base, number = AGAIN.sub("", name), 1
    while (found := f"{base}.again{number if number > 1 else ''}") in taken:
        number += 1
    taken.add(found)
    return found


def _in_two(part: Graph, names: frozenset[str], inner: Node) -> tuple[Graph, list[frozenset[str]]]:
    """The gradient of LoRA's inner values as its largest sum, for which the first sweep goes over the rows, and its rows, for the second."""
    region = [n for n in part.nodes if n.name in names]
    behind, before = set(inner.outputs), {inner.inputs["g"]}
    later, needed = list[Node](), list[Node]()
    for n in region:
        if behind & set(n.inputs.values()):
            later.append(n)
            behind.update(n.outputs)
    for n in reversed(region):
        if before & set(n.outputs):
            needed.insert(0, n)
            before.update(n.inputs.values())
    (du, exponent), peak = inner.outputs, f"{inner.outputs[0]}.peak"
    last = max(i for i, n in enumerate(part.nodes) if n in region)
    changed = {v for n in part.nodes[:last] if n.name not in names for v in n.updates}
    if any(changed & set(n.inputs.values()) for n in needed):  # an update has changed by then what they would read again
        return in_sweeps(part, names - {inner.name} - {n.name for n in later})
    taken = {name.partition(STRIPE)[0] for name in (*(n.name for n in part.nodes), *part.values)}
    named = {v: _again(v, taken) for n in needed for v in dict.fromkeys((n.name, *n.outputs))}
    renamed = {v: named[v] for n in needed for v in n.outputs}
    values = [replace(part.values[v], name=name) for v, name in renamed.items()] + [Value(peak, scalar("int32"), "scalar")]
    again = [
        replace(n, name=named[n.name], inputs={o: renamed.get(v, v) for o, v in n.inputs.items()}, outputs=tuple(renamed[v] for v in n.outputs))
        for n in needed
    ]
    assert isinstance(inner.op, LoRAInnerGradient)
    g, b = inner.inputs["g"], inner.inputs["lora_b"]
    split = [
        replace(inner, name=peak, op=LoRAInnerPeak(), inputs={"g": g, "lora_b": b}, outputs=(peak,)),
        replace(
            inner, name=exponent, op=LoRAInnerExponent(), inputs={"peak": peak, "lora_b_exponent": inner.inputs["lora_b_exponent"]},
            outputs=(exponent,),
        ),
        *again,
        replace(inner, op=LoRAInnerRows(inner.op.lora_scale), inputs={"g": renamed[g], "lora_b": b, "peak": peak}, outputs=(du,)),
    ]  # fmt: skip
    nodes = [m for n in part.nodes for m in (split if n is inner else [n])]
    second = {n.name for n in (*again, inner, *later)}
    first = names - {inner.name} - {n.name for n in later} | {peak}
    return part.with_values(values).with_nodes(nodes), [first, frozenset(second)]
