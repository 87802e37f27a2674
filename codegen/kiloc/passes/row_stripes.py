"""A part of a slice that runs stripe by stripe, forward or backward: of everything between its ends only a few rows stand in memory.

Rows that two stripes need are kept from one to the next, but for those that take no multiplication: they are computed twice. What parameters
sum over all rows is summed stripe by stripe, as whole numbers, so that every result keeps its bits. What later nodes read whole is put together
row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from ..ir.graph import Graph, Node, Value
from ..ir.operator import NodeTypes, Op
from ..ir.stripe import Rows, Stripe, rows_of
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..numerics import INT32_MAX
from ..ops.backward.clear_gradient import ClearGradient
from ..ops.backward.gradient_mask import ApplyMask, MaskGradient
from ..ops.backward.gradient_of_sums import MOST_EXACT, GradientOfSums, TotalOfSums
from ..ops.backward.parameter_gradient import ParameterGradient
from ..ops.model.relabel import Relabel
from ..ops.paging.read_rows import ReadRows
from ..ops.paging.write_rows import WriteRows
from .stripes import STRIPE
from .sweeps import height_of, in_sweeps

ZERO = Value("stripe.no_exponent", TensorType((1,), "int32"), "constant", np.zeros(1, np.int32))


def stripes_of(part: Graph, node: Node) -> int:
    """Into how many stripes a node can be cut at most: 0 where it has none."""
    t = node_types(part, node)
    height = height_of(node.op, t)
    if isinstance(node.op, ParameterGradient) and (not node.updates or node.op.largest(t) > INT32_MAX):
        return 0
    return height


def in_stripes(part: Graph, names: Collection[str], count: int, least: int = 2) -> Graph | None:
    """The slice with these nodes run in `count` stripes; None where that cannot be: rows are too few, or what is between must run between.

    least: nodes that are worth it; one node takes no less memory in stripes, but each of them ends sooner.
    """
    part, sweeps = in_sweeps(part, names)
    if len(sweeps) == 1:
        return _one_sweep(part, sweeps[0], count, least)
    first = in_stripes(part, sweeps[0], count, least)
    return in_stripes(first, sweeps[1], count, least) if first else None


def _one_sweep(part: Graph, names: Collection[str], count: int, least: int) -> Graph | None:
    region = _Region(part, [n for n in part.nodes if n.name in names], count)
    if len(region.nodes) < least:
        return None
    order = region.order()
    if order is None or not region.possible():
        return None
    plan = region.plan()
    if plan is None:
        return None
    before, after = order
    nodes = [*before, *region.clears(), *region.stripes(plan), *region.ends(), *after]
    return part.with_values((*region.values.values(), ZERO)).with_nodes(nodes)


@dataclass(frozen=True)
class _Part:
    """What one stripe has of a result: rows that it needs, those of them that it computes, and how; what is left the stripe before has kept."""

    rows: Rows
    fresh: Rows
    stripe: Stripe | None


@dataclass
class _Region:
    part: Graph
    nodes: Sequence[Node]
    count: int
    values: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.types = {n.name: node_types(self.part, n) for n in self.nodes}
        self.height = {n.name: stripes_of(self.part, n) for n in self.nodes}
        self.made = {n.outputs[0]: n for n in self.nodes if n.outputs and not n.op.folds}
        inside = {n.name for n in self.nodes}
        read = {v for n in self.part.nodes if n.name not in inside for v in n.inputs.values()}
        self.results = [v for v in self.made if v in read or v in self.part.outputs]
        self.sums = [n for n in self.nodes if isinstance(n.op, ParameterGradient)]
        self.cleared = {n.outputs[0]: n for n in self.part.nodes if isinstance(n.op, ClearGradient)}
        self.over = self._overwritten()
        self.whole: dict[str, str] = {}
        self.current: dict[str, str] = {}
        self.tails: dict[str, str] = {}
        self.totals: dict[str, str] = {}
        self.groups = {n.name: self._groups(n) for n in self.sums}
        self.rows: dict[str, Rows] = {}
        self.views: dict[tuple[str, Rows], str] = {}

    def possible(self) -> bool:
        if any(h < self.count for h in self.height.values()) or not all(self.groups.values()):
            return False
        for node in self.nodes:
            needs = node.op.stripe(self.types[node.name], node.op.least_rows(self.types[node.name], (0, 1))).needs
            if any(self._kind(node, o) == "constant" for o in needs):
                return False
            sizes = [(self.part.type(node.inputs[o]).shape, h) for o, (_, h) in needs.items()]
            if any(len(shape) < 2 or shape[0] != 1 or shape[1] % h for shape, h in sizes):
                return False
        return True

    def _kind(self, node: Node, operand: str) -> str:
        return self.part.values[node.inputs[operand]].kind

    def order(self) -> tuple[list[Node], list[Node]] | None:
        """The other nodes that run before the region, and after; None where one must run between."""
        names = {n.name for n in self.nodes}
        gone = {self.cleared[v].name for n in self.sums for v in n.updates if v in self.cleared}
        positions = [i for i, n in enumerate(self.part.nodes) if n.name in names]
        made = {v for n in self.nodes for v in (*n.outputs, *n.updates)}
        read: set[str] = set()
        before, after = list(self.part.nodes[: positions[0]]), list[Node]()
        changed, read_after = set[str](), set[str]()
        for node in self.part.nodes[positions[0] : positions[-1] + 1]:
            needs, gives = set(node.inputs.values()), {*node.outputs, *node.updates}
            if node.name in names:
                if needs & changed:
                    return None  # it reads what comes after the region
                read |= needs
            elif needs & (made | changed) or gives & (read | read_after):
                after.append(node)
                changed |= gives
                read_after |= needs
            else:
                before.append(node)
        after += self.part.nodes[positions[-1] + 1 :]
        return [n for n in before if n.name not in gone], [n for n in after if n.name not in gone]

    def _overwritten(self) -> dict[str, str]:
        """Results of the region that are put together where a value from outside lies that nothing reads behind them: of the same shape, of which no
        row is read again that has been written (`plan` looks at that)."""
        start = next((i for i, n in enumerate(self.part.nodes) if n.name in self.height), 0)
        readers = [(v, n) for n in self.part.nodes[start:] for v in n.inputs.values()]
        own = {v for n in self.part.nodes for v in n.outputs} - set(self.part.outputs) - self.made.keys()
        found = dict[str, str]()
        for result in self.results:
            maker, type_ = self.made[result], self.part.type(result)
            before = self.nodes[: self.nodes.index(maker) + 1]
            inside = {n.name for n in before}
            for node in reversed(before):
                needs = node.op.stripe(self.types[node.name], node.op.least_rows(self.types[node.name], (0, 1))).needs
                for operand in sorted(needs, key=lambda o, n=node: o != n.op.in_place):  # type: ignore[misc]
                    x = node.inputs[operand]
                    alike = x in own - set(found.values()) and (self.part.type(x).shape, self.part.type(x).dtype) == (type_.shape, type_.dtype)
                    if result not in found and alike and all(n.name in inside for v, n in readers if v == x):
                        found[result] = x
        return found

    def _reads_written(self, node: Node, needed: Rows, k: int, result: str) -> bool:
        """Whether a node of a stripe reads rows in whose place the stripes before have written a result. Masks give the same of what they gave."""
        maker = self.made[result]
        return k > 0 and needed[0] < self.bounds(maker.name, k)[0] and not (node is maker and isinstance(node.op, ApplyMask | MaskGradient))

    def bounds(self, name: str, k: int) -> Rows:
        edges = np.linspace(0, self.height[name], self.count + 1).round().astype(int).tolist()
        return list(pairwise(edges))[k]

    # -- one stripe -------------------------------------------------------------------------------------
    def plan(self) -> list[dict[str, _Part]] | None:
        """Of each stripe, what its nodes compute; None where a stripe needs rows that the one before has let go."""
        found, reached, held = list[dict[str, _Part]](), dict[str, int](), dict[str, int]()
        for k in range(self.count):
            wanted: dict[str, Rows] = {v: self.bounds(self.made[v].name, k) for v in self.results}
            parts: dict[str, _Part] = {}
            for node in reversed(self.nodes):
                rows = self.bounds(node.name, k) if not node.outputs or node.op.folds else wanted.get(node.outputs[0])
                if rows is None:
                    continue
                rows = node.op.least_rows(self.types[node.name], rows)
                fresh = rows
                if node.outputs and not node.op.folds and self.types[node.name].results and node.op.macs(self.types[node.name]):
                    end = reached.get(node.name, 0)
                    # What is computed is kept, though this stripe may read less of it: of a shortcut with a stride, every second row.
                    rows = rows[0], max(rows[1], end)
                    fresh = max(rows[0], end), rows[1]
                    if rows[0] < held.get(node.name, 0):
                        return None
                    reached[node.name], held[node.name] = rows[1], rows[0]
                if fresh[0] >= fresh[1]:
                    parts[node.name] = _Part(rows, fresh, None)
                    continue
                stripe = node.op.stripe(self.types[node.name], fresh)
                parts[node.name] = _Part(rows, fresh, stripe)
                for operand, (needed, _) in stripe.needs.items():
                    name = node.inputs[operand]
                    for result in [r for r, x in self.over.items() if x == name and self._reads_written(node, needed, k, r)]:
                        del self.over[result]
                    if name in self.made:
                        first, end = wanted.get(name, needed)
                        wanted[name] = min(first, needed[0]), max(end, needed[1])
            found.append(parts)
        return found

    def stripes(self, plan: Sequence[dict[str, _Part]]) -> Iterator[Node]:
        """The nodes of all stripes."""
        for result, x in self.over.items():
            self.whole[result] = yield from self._relabelled(x, self.part.type(result), f"{result}{STRIPE}.image", self.nodes[0].phase)
        for k, parts in enumerate(plan):
            self.rows = {v: parts[n.name].rows for v, n in self.made.items() if n.name in parts}
            self.views = {}
            for node in self.nodes:
                if node.name not in parts:
                    continue
                later = next((p[node.name] for p in plan[k + 1 :] if node.name in p), None)
                yield from self._node(node, k, parts[node.name], later)

    def _node(self, node: Node, k: int, part: _Part, later: _Part | None) -> Iterator[Node]:
        name = f"{node.name}{STRIPE}{k}"
        inputs, op = dict(node.inputs), node.op
        if part.stripe is not None:
            op = part.stripe.op
            for operand, (needed, height) in part.stripe.needs.items():
                inputs[operand] = yield from self._read(node.inputs[operand], needed, height, k, node.phase)
        if not node.outputs:
            assert part.stripe is not None
            yield from self._summed(node, name, part.stripe, inputs, k)
            return
        if node.op.folds:
            yield self._folded(node, name, op, inputs, k)
            return
        value = self.part.values[node.outputs[0]]
        made = f"{value.name}{STRIPE}{k}"
        if part.stripe is not None:
            fresh = made if part.fresh == part.rows else f"{made}.fresh"
            types = NodeTypes({o: (self.values.get(v) or self.part.values[v]).type for o, v in inputs.items()})
            inferred = op.infer(types)
            self._add(fresh, value, inferred[0] if inferred else self._type(node, part.fresh))
            updates = tuple(inputs[o] for o, v in node.inputs.items() if v in node.updates)
            yield replace(node, name=name, op=op, inputs=inputs, outputs=(fresh,), updates=updates)
        if part.fresh != part.rows:
            yield from self._joined(node, k, part)
        if later is not None and later.fresh != later.rows:
            yield from self._kept(node, k, part, later)
        if value.name in self.results:
            yield from self._written(node, k)

    def _folded(self, node: Node, name: str, op: Op, inputs: dict[str, str], k: int) -> Node:
        """What all rows are reduced to, as far as this stripe."""
        result = self.part.values[node.outputs[0]]
        made = result.name if k + 1 == self.count else f"{result.name}{STRIPE}{k}"
        self.values[made] = replace(result, name=made)
        before = {op.folds: f"{result.name}{STRIPE}{k - 1}"} if k else {}
        return replace(node, name=name, op=op, inputs={**inputs, **before}, outputs=(made,))

    def _type(self, node: Node, rows: Rows) -> TensorType:
        type_ = self.part.type(node.outputs[0])
        return replace(type_, shape=rows_of(type_.shape, self.height[node.name], rows[1] - rows[0]))

    def _add(self, name: str, like: Value, type_: TensorType) -> None:
        self.values[name] = replace(like, name=name, type=type_, kind="activation" if like.kind == "input" else like.kind)

    def _kept(self, node: Node, k: int, part: _Part, later: _Part) -> Iterator[Node]:
        """A copy of the last rows, which the next stripe reads too."""
        value, rows = self.part.values[node.outputs[0]], (later.rows[0], part.rows[1])
        found = yield from self._read(value.name, rows, self.height[node.name], k, node.phase)
        name = f"{value.name}{STRIPE}{k}.kept"
        self._add(name, value, self._type(node, rows))
        self.tails[value.name] = name
        yield Node(name, WriteRows(0), {"part": found}, (name,), phase=node.phase)

    def _joined(self, node: Node, k: int, part: _Part) -> Iterator[Node]:
        """What the stripe before kept with the rows that are fresh."""
        value, line = self.part.values[node.outputs[0]], self._line(node)
        made, tail = f"{value.name}{STRIPE}{k}", self.tails[value.name]
        first = made if part.stripe is None else f"{made}.joined"
        self._add(first, value, self._type(node, part.rows))
        yield Node(f"{made}.join", WriteRows(0), {"part": tail}, (first,), phase=node.phase)
        if part.stripe is not None:
            self._add(made, value, self._type(node, part.rows))
            row = (part.fresh[0] - part.rows[0]) * line
            yield Node(f"{made}.rest", WriteRows(row), {"part": f"{made}.fresh", "x": first}, (made,), phase=node.phase)

    def _line(self, node: Node) -> int:
        """Indices of the second axis of a result that one row has."""
        return self.part.type(node.outputs[0]).shape[1] // self.height[node.name]

    def _read(self, name: str, needed: Rows, height: int, k: int, phase: str) -> Generator[Node, None, str]:
        """The name of some rows of a value that the stripe reads, behind the node that makes them a value where they are not all that there is."""
        source, (first, end) = (f"{name}{STRIPE}{k}", self.rows[name]) if name in self.made else (self.current.get(name, name), (0, height))
        if needed == (first, end):
            return source
        if (name, needed) not in self.views:
            line = self.part.type(name).shape[1] // height
            op = ReadRows((needed[0] - first) * line, (needed[1] - needed[0]) * line)
            view = self.part.fresh(f"{name}{STRIPE}{k}.rows{needed[0]}to{needed[1]}", self.values)
            held = self.values.get(source) or self.part.values[source]
            self._add(view, held, op.infer(NodeTypes({"x": held.type}))[0])
            yield Node(view, op, {"x": source}, (view,), phase=phase)
            usual = replace(self._type_of(name), shape=self.values[view].type.shape)
            self.views[name, needed] = yield from self._relabelled(view, usual, f"{view}.before", phase)
        return self.views[name, needed]

    def _type_of(self, name: str) -> TensorType:
        return (self.values.get(name) or self.part.values[name]).type

    def _relabelled(self, name: str, type_: TensorType, other: str, phase: str) -> Generator[Node, None, str]:
        """The name of a value of this type with the same bytes."""
        if self._type_of(name) == type_:
            return name
        self.values[other] = replace(self.values.get(name) or self.part.values[name], name=other, type=type_)
        yield Node(other, Relabel(), {"x": name}, (other,), phase=phase)
        return other

    def _written(self, node: Node, k: int) -> Iterator[Node]:
        """The rows of a result of the region put into the whole."""
        result, own = self.part.values[node.outputs[0]], self.bounds(node.name, k)
        found = yield from self._read(result.name, own, self.height[node.name], k, node.phase)
        inputs = {"part": found} | ({"x": self.whole[result.name]} if result.name in self.whole else {})
        made = result.name if k + 1 == self.count else f"{result.name}{STRIPE}{k}.image"
        self.values[made] = replace(result, name=made)
        if result.name in self.over:
            self.current[self.over[result.name]] = made
        self.whole[result.name] = made
        op = WriteRows(own[0] * self._line(node))
        yield Node(f"{result.name}{STRIPE}{k}.write", op, inputs, (made,), phase=node.phase, origin=node.origin)

    # -- parameters ---------------------------------------------------------------------------------------
    def _groups(self, node: Node) -> list[int]:
        """Of each stripe the number of the float32 values that its sums go to: those of one group are exact together. Empty where a stripe by itself
        may not be."""
        whole, height = node.op.largest(self.types[node.name]), self.height[node.name]  # type: ignore[attr-defined]
        groups, largest = list[int](), 0
        for k in range(self.count):
            first, end = self.bounds(node.name, k)
            own = -(-whole * (end - first) // max(height, 1))
            if own > MOST_EXACT:
                return []
            joins = bool(groups) and largest + own <= MOST_EXACT
            largest = largest + own if joins else own
            groups.append(groups[-1] + (0 if joins else 1) if groups else 0)
        return groups

    def _summed(self, node: Node, name: str, stripe: Stripe, inputs: dict[str, str], k: int) -> Iterator[Node]:
        group = self.groups[node.name][k]
        if k and group > self.groups[node.name][k - 1]:
            yield self._total(node, group - 1)
            yield self._cleared(node, group)
        sums = _sums_of(node, group)
        kept = {o: v for o, v in inputs.items() if o not in ("exponent_offset", "accumulator", "exponent")}
        kept |= {"exponent": ZERO.name, "accumulator": sums}
        op = replace(stripe.op, unscaled=True)  # type: ignore[call-arg]
        yield replace(node, name=name, op=op, inputs=kept, updates=(sums,))

    def _total(self, node: Node, group: int) -> Node:
        """The sums of a group with those of the groups before."""
        sums, total = _sums_of(node, group), f"{node.name}.total{group}"
        self.values[total] = Value(total, TensorType(self.values[sums].type.shape, "int32"), "gradient")
        before = {"total": self.totals[node.name]} if group else {}
        self.totals[node.name] = total
        return Node(total, TotalOfSums(), {"sums": sums, **before}, (total,), phase=node.phase)

    def _cleared(self, node: Node, group: int) -> Node:
        """Zeros for the sums of a group."""
        shape, name = self.part.values[node.inputs["accumulator"]].type.shape, _sums_of(node, group)
        self.values[name] = Value(name, TensorType(shape, "float32"), "gradient")
        return Node(f"{node.name}.clear{group or ''}", ClearGradient(shape), {}, (name,), phase=node.phase)

    def clears(self) -> Iterator[Node]:
        """Zeros for the sums."""
        for node in self.sums:
            yield self._cleared(node, 0)

    def ends(self) -> Iterator[Node]:
        """The gradients of the sums of all stripes."""
        for node in self.sums:
            accumulator, last = node.inputs["accumulator"], self.groups[node.name][-1]
            if last:
                yield self._total(node, last)
            assert isinstance(node.op, ParameterGradient)
            op = GradientOfSums(node.op.scale(self.types[node.name]))
            sums = {"sums": self.totals.get(node.name, _sums_of(node, 0))}
            inputs = sums | {o: node.inputs[o] for o in ("exponent", "exponent_offset") if o in node.inputs}
            if self.part.values[accumulator].is_state:
                yield replace(node, op=op, inputs={**inputs, "accumulator": accumulator}, outputs=(), updates=(accumulator,))
            else:
                yield replace(node, op=op, inputs=inputs, outputs=(accumulator,), updates=())


def _sums_of(node: Node, group: int) -> str:
    return f"{node.name}.sums{group or ''}"
