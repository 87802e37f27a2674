"""In which order to run the nodes of a slice: the one with the fewest bytes alive at once.

What is alive after some nodes depends on which they are, not on their order, so the search keeps for each set of nodes that can have run
only the best way to get there (dynamic programming over the sets that are closed under what nodes need). Where the sets of one size are too many,
those with the lowest peak go on: then it is a beam search. Orders that do no better than the given one are dropped on the way, which
leaves nothing to do in a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..ir.graph import Graph, Node
from ..ir.verify import node_types
from .lifetimes import Overlap, lifetimes
from .problem import rounded, shared_bytes, total_bytes

WIDTH = 256
"""Sets of one size that are followed: up to as many the result is the best there is."""


class _State(NamedTuple):
    """Nodes that have run, as bits: the most bytes alive so far, those alive now, and the last node with the state before it."""

    done: int
    peak: int
    alive: int
    last: int
    before: _State | None

    def order(self) -> list[int]:
        found, state = [], self
        while state.before is not None:
            found.append(state.last)
            state = state.before
        return found[::-1]


def branches(part: Graph) -> bool:
    """Whether the nodes of a slice could run in another order: some value goes two ways, or two come together."""
    made = {name for node in part.nodes for name in node.outputs}
    return any(len(users) > 1 for users in part.consumers().values()) or any(len(made & set(n.inputs.values())) > 1 for n in part.nodes)


def best_order(part: Graph, scratch: Callable[[Node], int], outside: frozenset[str], align: int, width: int = WIDTH) -> tuple[Node, ...]:
    """The nodes of a slice in an order of fewest bytes alive at once; as they are where no better one was found."""
    steps = _Steps(part, scratch, outside, align)
    usual = max(total_bytes(lifetimes(part, scratch, outside), len(part.nodes), align), default=0)
    states = [_State(0, 0, steps.at_start, -1, None)]
    for _ in part.nodes:
        reached: dict[int, _State] = {}
        for state in states:
            for after in steps.following(state, usual):
                known = reached.get(after.done)
                if known is None or after.peak < known.peak:
                    reached[after.done] = after
        states = sorted(reached.values(), key=lambda s: (s.peak, s.alive))[:width]
    if not states:
        return part.nodes
    return tuple(part.nodes[i] for i in states[0].order())


class _Steps:
    """What each node of a slice needs, and the bytes alive while it runs."""

    def __init__(self, part: Graph, scratch: Callable[[Node], int], outside: frozenset[str], align: int) -> None:
        self.part = part
        self.align = align
        self.scratch = [rounded(scratch(n), align) for n in part.nodes]
        self.root = self._roots(outside)
        self.size = {r: part.type(r).bytes for r in self.root.values()}
        self.users = dict.fromkeys(self.size, 0)
        for i, node in enumerate(part.nodes):
            for name in node.inputs.values():
                if name in self.root:
                    self.users[self.root[name]] |= 1 << i
        kept = {self.root[name] for name in part.outputs if name in self.root}
        self.rounded = {root: rounded(size, align) for root, size in self.size.items()}
        self.made = [0 if n.op.view else sum(self.rounded[v] for v in n.outputs if v in self.size) for n in part.nodes]
        touched = [{self.root[v] for v in (*n.inputs.values(), *n.outputs) if v in self.root} for n in part.nodes]
        self.touched = [[(root, self.users[root]) for root in roots if root not in kept] for roots in touched]
        """Of each node the values that may die with it, and who uses them."""
        self.needs = self._needs()
        self.overlaps = [self._overlap(node) for node in part.nodes]
        self.at_start = sum(rounded(self.size[name], align) for name in part.inputs if name in self.size)

    def _roots(self, outside: frozenset[str]) -> dict[str, str]:
        """Value of the arena -> the value whose bytes it has: views share their operand's."""
        found = {name: name for name in self.part.inputs if name not in outside}
        for node in self.part.nodes:
            for name in node.outputs:
                if name in outside or (node.op.view and node.inputs["x"] not in found):
                    continue
                found[name] = found[node.inputs["x"]] if node.op.view else name
        return found

    def _needs(self) -> list[int]:
        """For each node those that must run before it: they make what it reads, or touch state that one of the two changes."""
        maker = {name: i for i, node in enumerate(self.part.nodes) for name in node.outputs}
        needs = [sum({1 << maker[v] for v in node.inputs.values() if v in maker}) for node in self.part.nodes]
        for i, node in enumerate(self.part.nodes):
            for j, earlier in enumerate(self.part.nodes[:i]):
                if set(node.updates) & set(earlier.inputs.values()) or set(earlier.updates) & set(node.inputs.values()):
                    needs[i] |= 1 << j
        return needs

    def following(self, state: _State, usual: int) -> Iterator[_State]:
        """After one node more, with fewer bytes than usual."""
        missing = ~state.done
        for i, needed in enumerate(self.needs):
            if missing >> i & 1 and not needed & missing:
                after = self.step(state, i)
                if after.peak < usual:
                    yield after

    def step(self, state: _State, i: int) -> _State:
        done = state.done | 1 << i
        dying = {root for root, users in self.touched[i] if not users & ~done}
        made = state.alive + self.made[i]
        alive = made + self.scratch[i] - (self.shared(i, dying) if dying else 0)
        return _State(done, max(state.peak, alive), made - sum([self.rounded[root] for root in dying]), i, state)

    def shared(self, i: int, dying: set[str]) -> int:
        """Bytes of the first result of a node that lie over an operand which dies with it, as `lifetimes` has them."""
        node = self.part.nodes[i]
        if node.op.view or not node.outputs or node.outputs[0] not in self.size:
            return 0
        root = self.root.get(node.inputs.get(node.op.in_place or "", ""))
        if root in dying and self.size[root] == self.size[node.outputs[0]] and not self._twice(node, node.op.in_place or "", root):
            return rounded(self.size[root], self.align)
        operand, shared = self.overlaps[i]
        root = self.root.get(operand)
        if root not in dying or any(self.root.get(v) == root for v in node.inputs.values() if v != operand):
            return 0
        return shared

    def _twice(self, node: Node, operand: str, root: str) -> bool:
        return any(self.root.get(v) == root for o, v in node.inputs.items() if o != operand)

    def _overlap(self, node: Node) -> tuple[str, int]:
        """The operand that the first result may lie over, and the bytes that this saves where it dies."""
        reached = node.op.reach(node_types(self.part, node)) if node.outputs and node.outputs[0] in self.size else None
        if reached is None or node.inputs[reached[0]] not in self.root:
            return "", 0
        operand = node.inputs[reached[0]]
        sizes = self.size[node.outputs[0]], self.size[self.root[operand]]
        overlap = Overlap(0, 1, *reached[1].distances(*sizes))
        return operand, shared_bytes(overlap, tuple(rounded(s, self.align) for s in sizes), self.align)


def forward_in_order(part: Graph, order: Sequence[Node]) -> Graph:
    """A training slice whose forward nodes run in the order of these; what it computes forward beside them follows what it needs."""
    forward = {n.name: n for n in part.phase("forward")}
    named = [n.name for n in order if n.name in forward]
    known = set(part.values) - {v for n in part.nodes for v in n.outputs}
    placed: list[Node] = []
    for name in ["", *named]:
        placed += [forward.pop(name)] if name else []
        known.update(v for n in placed[-1:] for v in n.outputs)
        for other in [n for n in forward.values() if n.name not in named]:
            if known.issuperset(other.inputs.values()):
                placed.append(forward.pop(other.name))
                known.update(other.outputs)
    assert not forward, f"{list(forward)} need what no node of the order makes"
    return part.with_nodes((*placed, *(n for n in part.nodes if n.phase != "forward")))
