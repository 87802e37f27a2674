"""Gradients that take no multiplication are made again where they are read late.

What a global pool's gradient spreads over an image, masked or not, is read by each branch of a residual block that ends in the pool. It comes
from one value a channel, so it need not stand in memory from one branch to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..ir.graph import Graph, Node, Value
from ..ir.verify import node_types
from .recompute import AGAIN

SMALLER = 4
"""Times that what waits instead of a gradient, such as a mask of bits, is smaller."""


def spread_again(part: Graph) -> Graph:
    """The slice whose spread gradients are made again behind each node that multiplies something else, without those that nothing reads any more."""
    spread = {v: node for node in _spread(part) for v in node.outputs}
    nodes, values, taken = list[Node](), dict[str, Value](), {*part.values, *(n.name for n in part.nodes)}
    names: dict[str, str] = {}
    begun = again = False
    for node in part.nodes:
        if not spread.keys().isdisjoint(node.outputs):
            nodes.append(node)
            begun = True
            continue
        read = [v for v in dict.fromkeys(node.inputs.values()) if v in spread]
        for v in read if again else ():
            nodes += _again(part, spread, v, names, values, taken)
        nodes.append(replace(node, inputs={o: names.get(v, v) for o, v in node.inputs.items()}) if read else node)
        if begun and not read and node.outputs and node.op.macs(node_types(part, node)):
            again, names = True, {}
    return _without_unread(part.with_values(values.values()).with_nodes(nodes), spread.keys() | values.keys()) if values else part


def _spread(part: Graph) -> Iterator[Node]:
    """Nodes whose results take no multiplication, from what makes an image of a few values on."""
    found = set[str]()
    for node in part.nodes:
        t = node_types(part, node)
        if node.phase != "backward" or len(node.outputs) != 1 or node.updates or node.op.macs(t) or node.outputs[0] in part.outputs:
            continue
        gradients = [v for v in node.inputs.values() if part.values[v].kind == "gradient"]
        begins = node.op.height(t) > 0 and not node.op.stripe(t, node.op.least_rows(t, (0, 1))).needs
        cheap = all(SMALLER * part.type(v).bytes <= t.result().bytes for v in node.inputs.values() if v not in found)
        if cheap and (begins or (gradients and all(v in found for v in gradients))):
            found.add(node.outputs[0])
            yield node


def _again(part: Graph, spread: dict[str, Node], value: str, names: dict[str, str], values: dict[str, Value], taken: set[str]) -> Iterator[Node]:
    """The nodes that make a value again, and its name among `names`; what was made again for another reader is not."""
    if value in names:
        return
    node = spread[value]
    for v in node.inputs.values():
        if v in spread:
            yield from _again(part, spread, v, names, values, taken)
    name, number = f"{AGAIN.sub('', value)}.again", 2
    while name in taken:
        name, number = f"{AGAIN.sub('', value)}.again{number}", number + 1
    taken.add(name)
    names[value], values[name] = name, replace(part.values[value], name=name)
    yield replace(node, name=name, inputs={o: names.get(v, v) for o, v in node.inputs.items()}, outputs=(name,))


def _without_unread(part: Graph, candidates: set[str]) -> Graph:
    nodes = list[Node]()
    read = set(part.outputs)
    for node in reversed(part.nodes):
        if node.outputs and set(node.outputs) <= candidates and read.isdisjoint(node.outputs):
            continue
        read.update(node.inputs.values())
        nodes.append(node)
    return part.with_nodes(nodes[::-1])
