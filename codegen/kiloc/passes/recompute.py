"""Recomputation (gradient checkpointing): forward values that the backward phase computes again instead of keeping.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from ..ir.graph import Graph, Node, Value

AGAIN = re.compile(r"\.again\d*$")
"""Ends the names of what is computed again."""


def saved_values(part: Graph) -> list[str]:
    """Results of the forward phase that a training slice keeps for later phases, in the order of computation."""
    made = [v for n in part.phase("forward") for v in n.outputs]
    wanted = {v for n in part.nodes if n.phase != "forward" for v in n.inputs.values()}
    return [v for v in made if v in wanted]


def recompute(part: Graph, dropped: Collection[str], nested: bool = False) -> Graph:
    """The training slice without these saved values: each is computed again right before it is first read.

    It starts from what is kept or comes from the caller, so everything between is computed again too. nested: what was computed on
    the way is not kept for later, so a later value starts from the beginning again: less memory, more MACs.
    """
    if not dropped:
        return part
    return Again(part, frozenset(dropped), nested).graph()


class Again:
    """A training slice while it is made anew: each node is followed, and what it reads of the dropped values is computed in front of it."""

    def __init__(self, part: Graph, dropped: frozenset[str], nested: bool) -> None:
        self.part = part
        self.dropped = dropped
        self.nested = nested
        self.kept = set(saved_values(part)) - dropped
        self.producers = part.producers()
        self.names: dict[str, str] = {}
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.changed: set[str] = set()

    def graph(self) -> Graph:
        for node in self.part.nodes:
            if node.phase != "forward":
                if not self.dropped.isdisjoint(node.inputs.values()):
                    node = replace(node, inputs={o: self.demanded(v) if v in self.dropped else v for o, v in node.inputs.items()})
                self.changed.update(node.updates)
            self.nodes.append(node)
        return self.part.with_values(self.values.values()).with_nodes(self.nodes)

    def demanded(self, name: str) -> str:
        """The name under which the backward phase reads a dropped value."""
        if name not in self.names:
            passed: dict[str, str] = {}
            found = self._value(name, passed)
            self.names.update({name: found} if self.nested else passed)
        return self.names[name]

    def _value(self, name: str, passed: dict[str, str]) -> str:
        """The same for a value on the way; passed: what this demand has computed so far."""
        for known in (passed, self.names):
            if name in known:
                return known[name]
        if name in self.kept or name not in self.producers:
            return name
        self._made(self._producer(name), passed)
        return passed[name]

    def _producer(self, name: str) -> Node:
        """The node that is run for a value."""
        return self.producers[name]

    def _made(self, node: Node, passed: dict[str, str]) -> None:
        """Runs a node again, and what it needs."""
        inputs = {o: self._value(v, passed) for o, v in node.inputs.items() if v not in node.updates or o in node.op.operands}
        # An update of a layer follows all that its own backward step and those of later layers read.
        assert not self.changed & set(inputs.values()), f"{node.name} would be computed again from what an update has changed"
        suffix = self._suffix(node)
        for v in node.outputs:
            passed[v] = f"{v}{suffix}"
            self.values[passed[v]] = replace(self.part.values[v], name=passed[v])
        outputs = tuple(passed[v] for v in node.outputs)
        self.nodes.append(replace(node, name=f"{node.name}{suffix}", inputs=inputs, outputs=outputs, updates=(), phase="backward"))

    def _suffix(self, node: Node) -> str:
        count = 1
        known = (self.values, self.part.values)
        while any(f"{node.outputs[0]}.again{count if count > 1 else ''}" in values for values in known):
            count += 1
        return f".again{count if count > 1 else ''}"
