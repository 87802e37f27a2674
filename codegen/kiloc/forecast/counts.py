"""Kernel calls of a training step, and what calls like them took where they were counted.

The fitted costs of a kernel (`instructions.py`) know neither the data nor every tail. Where a few builds of a model have been counted call by call,
a call of the same kernel with the same work has the figure that was counted, of its own layer if that is among them; any other has its
fitted cost times the ratio of counted to fitted of the nearest calls of the same kernel. A kernel that was not counted keeps its fitted cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import log

from ..cores import kernels_of
from ..ir.graph import Graph
from ..ir.kernel_call import Argument, Field, KernelCall, Pointers
from ..plan.slice import kernel_call
from .instructions import COPIES, OUTSIDE, Estimate, costs, taken
from .plan import Forecast
from .work import form, work

NUMBERS = ("outside", "lowest", "offset", "limit", "shift", "multiplier", "peak")
"""Ends of the names of parameters that say nothing of how much there is to do."""
OTHER_FORM = 1.0
"""Distance of calls whose fitted costs are of different forms."""
APART = 0.05
"""Fitted costs of two calls differ by more than this, of the first, where a line is laid through them."""

Sizes = tuple[tuple[str, int], ...]
"""By name, what a call goes over: numbers among its parameters, and elements of its arguments."""


@dataclass(frozen=True, eq=False)
class Kind:
    """Calls that have the same to do; there is one object for each. known: whether the kernel has costs."""

    kernel: str
    sizes: Sizes
    known: bool

    @cached_property
    def logarithms(self) -> dict[str, float]:
        return {name: log(1 + size) for name, size in self.sizes}

    def distance(self, other: Kind) -> float:
        """How far two calls of a kernel are from each other: the logarithms of the ratios of their sizes, added."""
        mine, others = self.logarithms, other.logarithms
        return sum(abs(mine.get(name, 0.0) - others.get(name, 0.0)) for name in mine.keys() | others.keys())


@dataclass(frozen=True)
class Call:
    """One call. node: where it stands. form: as `work.form` has it. fitted: its cost. update: of an update of accumulated gradients."""

    kind: Kind
    node: str
    form: str
    fitted: float
    update: bool


def calls(forecast: Forecast, target: str) -> tuple[Call, ...]:
    """Of a training step and an update, in the order of the generated C. target: the core, "" for portable kernels."""
    table, found = costs("dsp" if kernels_of(target) == "portable" else kernels_of(target)), []
    for graph, node, symbol, update in forecast.calls():
        amounts, call = work(graph, node), kernel_call(graph, node)
        assert call is not None
        name = form(node, symbol, amounts)
        one = call if call.made is None or call.symbol == symbol else call.made.call
        kind = _kind(symbol, tuple(_sizes(graph, one)), symbol in table or symbol in COPIES)
        found.append(Call(kind, node.name, name, taken(table, name, amounts), update))
    return tuple(found)


@cache
def _kind(kernel: str, sizes: Sizes, known: bool) -> Kind:
    return Kind(kernel, sizes, known)


def _sizes(graph: Graph, call: KernelCall) -> Iterator[tuple[str, int]]:
    yield from _numbers("", call.fields)
    for i, argument in enumerate(call.arguments):
        for name in [argument.value] if isinstance(argument, Argument) else argument.values if isinstance(argument, Pointers) else []:
            if name in graph.values and graph.values[name].kind != "constant":
                yield f"argument {i}", graph.type(name).size


def _numbers(name: str, value: Field) -> Iterator[tuple[str, int]]:
    """Of a parameter and its parts. A pointer that may be missing counts as 1 where it is there."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(f"{name}.{key}", part)
    elif isinstance(value, tuple):
        for i, part in enumerate(value):
            yield from _numbers(f"{name} {i}", part)
    elif isinstance(value, int) and not name.endswith(NUMBERS):
        yield name, abs(int(value))
    elif name.endswith("rows") and isinstance(value, Argument):
        yield name, 1


@dataclass
class Counts:
    """What was counted of one model on one core, which grows."""

    _builds: dict[tuple[Call, ...], tuple[float, ...]] = field(default_factory=dict)
    _figures: dict[Kind, dict[str, list[float]]] = field(default_factory=dict)
    _of_kernel: dict[str, list[Call]] = field(default_factory=dict)
    _distances: dict[tuple[Kind, Kind], float] = field(default_factory=dict)
    _ratios: dict[Call, float | None] = field(default_factory=dict)

    @property
    def builds(self) -> int:
        """How many were counted."""
        return len(self._builds)

    def add(self, build: Sequence[Call], instructions: Sequence[float]) -> None:
        """The calls of a build, and what each of them took."""
        for call, count in zip(build, instructions, strict=True):
            if call.kind not in self._figures or call.node not in self._figures[call.kind]:
                self._of_kernel.setdefault(call.kind.kernel, []).append(call)
            self._figures.setdefault(call.kind, {}).setdefault(call.node, []).append(count)
        self._builds[tuple(build)] = tuple(instructions)
        self._ratios.clear()

    def holds(self, build: Sequence[Call]) -> bool:
        """Whether this build itself was counted."""
        return tuple(build) in self._builds

    def has(self, kind: Kind) -> bool:
        """Whether calls that have the same to do were counted."""
        return kind in self._figures

    def knows(self, kernel: str) -> bool:
        """Whether any call of a kernel was counted."""
        return kernel in self._of_kernel

    def taken(self, call: Call) -> float:
        """Instructions of a call."""
        figures = self._figures.get(call.kind)
        if figures is not None:
            own = figures.get(call.node) or [count for counts in figures.values() for count in counts]
            return sum(own) / len(own)
        return call.fitted * (self._ratio(call) or 1.0)

    def estimate(self, build: Sequence[Call], accumulate: int = 1) -> Estimate:
        """Of one training step: the passes of a sample, and its share of an update of so many samples."""
        own = self._builds.get(tuple(build)) if self._builds else None
        total, counted, unknown = float(OUTSIDE), float(OUTSIDE), dict[str, None]()
        for i, call in enumerate(build):
            instructions = (self.taken(call) if own is None else own[i]) / (accumulate if call.update else 1)
            total += instructions
            if self.has(call.kind):
                counted += instructions
            elif not call.kind.known and self._ratio(call) is None:
                unknown[call.kind.kernel] = None
        return Estimate(round(total), tuple(unknown), counted / total if self.builds else 0.0)

    def nearest(self, call: Call) -> list[Call]:
        """The calls of the same kernel that were counted, those first that are most like another."""

        def order(other: Call) -> tuple[float, bool]:
            pair = call.kind, other.kind
            if pair not in self._distances:
                self._distances[pair] = call.kind.distance(other.kind)
            return self._distances[pair] + OTHER_FORM * (other.form != call.form), other.node != call.node

        return sorted((c for c in self._of_kernel.get(call.kind.kernel, ()) if c.fitted > 0), key=order)

    def _ratio(self, call: Call) -> float | None:
        """Counted over fitted, for a call that was not counted: that of the nearest call of the same kernel, or on the line through it and the
        next one of the same layer, where the costs of these two differ; never beyond twice or half of the former."""
        if call not in self._ratios:
            self._ratios[call] = self._found_ratio(call)
        return self._ratios[call]

    def _found_ratio(self, call: Call) -> float | None:
        near = self.nearest(call)
        if not near or call.fitted <= 0:
            return None
        first, ratio = near[0], self.taken(near[0]) / near[0].fitted
        line = [c for c in near if c.node == first.node == call.node and abs(c.fitted / first.fitted - 1) > APART]
        if not line:
            return ratio
        slope = (self.taken(line[0]) - self.taken(first)) / (line[0].fitted - first.fitted)
        found = (self.taken(first) + slope * (call.fitted - first.fitted)) / call.fitted
        return min(max(found, ratio / 2), 2 * ratio)


def uncounted(build: Sequence[Call], counts: Counts, accumulate: int = 1) -> Mapping[Kind, float]:
    """The share of a step that is in calls which were not counted, by what they have to do."""
    found: dict[Kind, float] = {}
    total = counts.estimate(build, accumulate).instructions
    for call in build:
        if not counts.has(call.kind):
            found[call.kind] = found.get(call.kind, 0.0) + counts.taken(call) / (accumulate if call.update else 1) / total
    return found
