"""Which sets are worth a look, what they cost, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from kiloc import CompileError, ir
from kiloc.forecast import Call, Counts, Estimate, Forecast, calls, forecast
from kiloc.ir import Graph
from kiloc.peft import Method

from .families import Piece, TrainableSet, families, variants
from .sensitivity import Sensitivity
from .setting import Setting

DEPTHS = 8
"""Values of N tried for "the last N layers"; deeper models are sampled."""
STEPS = 2
"""Budgets that the greedy search fills, from the smallest candidate to the whole budget."""
PASSED_OVER = 2
"""Pieces that do not fit which it passes over."""


@dataclass(frozen=True)
class Budget:
    """Limits; None is none. ram: arena and state. flash: what the compiled model takes. macs, instructions, energy (joules): of one training
    step. wear: sectors of flash that an update of the adapter erases."""

    ram: int | None = None
    flash: int | None = None
    macs: int | None = None
    instructions: int | None = None
    energy: float | None = None
    wear: int | None = None

    def allows(self, c: Candidate) -> bool:
        limits = ((name, getattr(self, name)) for name in ("ram", "macs", "instructions", "energy", "wear", "flash"))
        return all(limit is None or cost(c, name) <= limit for name, limit in limits)


@dataclass(frozen=True)
class Candidate:
    """A set with what it costs and what it promises. counts: of the search, what was counted of some candidates."""

    set: TrainableSet
    methods: tuple[Method, ...]
    forecast: Forecast
    gain: float
    setting: Setting
    counts: Counts = field(default_factory=Counts, repr=False, compare=False)
    _estimates: dict[int, Estimate] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        return "; ".join(_shown(m) for m in self.methods)

    @cached_property
    def arena_bytes(self) -> int:
        return self.forecast.arena_bytes

    @cached_property
    def state_bytes(self) -> int:
        return self.forecast.state_bytes

    @property
    def bytes(self) -> int:
        """Arena and state: the report's "train_total"."""
        return self.arena_bytes + self.state_bytes

    @cached_property
    def forward_and_backward(self) -> tuple[int, int]:
        return self.forecast.macs

    @property
    def macs(self) -> int:
        return sum(self.forward_and_backward)

    @property
    def lr(self) -> float:
        """What suits its tensors and the optimizer: what a build without a rate starts from."""
        return self.setting.optimizer.usual_rate([p.method for p in self.forecast.graph.parameters])

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        return calls(self.forecast, self.setting.target)

    @property
    def estimate(self) -> Estimate:
        """Instructions of one training step on the core, by what has been counted so far."""
        if self.counts.builds not in self._estimates:
            self._estimates[self.counts.builds] = self.counts.estimate(self.calls, self.setting.accumulate)
        return self._estimates[self.counts.builds]

    @property
    def instructions(self) -> int:
        return self.estimate.instructions

    @property
    def energy(self) -> float | None:
        """Joules of one training step, None where no board says what an instruction takes."""
        return self.setting.chip.energy(self.instructions) if self.setting.chip else None

    @cached_property
    def adapter_bytes(self) -> int:
        """Of an update: a file with what was trained, signed."""
        return self.forecast.adapter_bytes

    @property
    def erases(self) -> int | None:
        """Sectors of flash that an update erases, None where no board says how large one is."""
        return self.setting.chip.erases(self.adapter_bytes) if self.setting.chip else None

    @cached_property
    def constant_bytes(self) -> int:
        """Weights and tables in flash, code not counted."""
        return self.forecast.constant_bytes()


COSTS: dict[str, Callable[[Candidate], float | None]] = {
    "ram": lambda c: c.bytes,
    "flash": lambda c: c.constant_bytes,
    "macs": lambda c: c.macs,
    "instructions": lambda c: c.instructions,
    "energy": lambda c: c.energy,
    "wear": lambda c: c.erases,
}
"""Limit of a budget -> what it counts."""


def cost(c: Candidate, limit: str) -> float:
    """What a limit of a budget counts."""
    found = COSTS[limit](c)
    assert found is not None, "a limit is checked against the board before"
    return found


def _shown(method: Method) -> str:
    layers = getattr(method, "layers", None)
    text = method.describe()
    return text.replace(str(layers), ",".join(layers)) if isinstance(layers, tuple) else text


Plans = dict[TrainableSet, tuple[tuple[Method, ...], Forecast] | None]
"""What sets of one model take, None for those that cannot be compiled. It depends on no samples, so that searches of one model and setting, but for
its seed and epochs, may share it."""


class Space:
    """The candidates of one model; costs are planned once each."""

    def __init__(self, graph: Graph, sensitivity: Sensitivity, setting: Setting, plans: Plans | None = None) -> None:
        self.graph, self.sensitivity, self.setting = graph, sensitivity, setting
        self.plans: Plans = {} if plans is None else plans
        self.counts = Counts()
        samples = {name: np.zeros((1, *graph.type(name).shape[1:]), graph.type(name).dtype) for name in graph.inputs}
        self._forward: dict[str, Any] = ir.run(graph, samples)
        self._known: dict[TrainableSet, Candidate | None] = {}

    def candidate(self, chosen: TrainableSet) -> Candidate | None:
        """The set with its cost, None where it cannot be compiled."""
        if chosen not in self._known:
            if chosen not in self.plans:
                self.plans[chosen] = self._planned(chosen)
            found = self.plans[chosen]
            self._known[chosen] = None if found is None else Candidate(chosen, *found, self.sensitivity.gain(chosen), self.setting, self.counts)
        return self._known[chosen]

    def _planned(self, chosen: TrainableSet) -> tuple[tuple[Method, ...], Forecast] | None:
        methods = chosen.methods(self.graph)
        try:
            return methods, forecast(self.graph, self.setting.options(methods), self._forward)
        except CompileError:
            return None

    def candidates(self, budget: Budget) -> list[Candidate]:
        """The usual sets and the greedy ones, cheapest first; of those that do not fit the smallest of their kinds."""
        found = self._in_order([*self.usual(budget), *self._singles])
        if found:
            found = self._in_order([*found, *self.greedy(budget, min(c.bytes for c in found))])
        return found

    @staticmethod
    def _in_order(planned: Iterable[Candidate]) -> list[Candidate]:
        return sorted({c.set: c for c in planned}.values(), key=lambda c: (c.bytes, c.macs, c.name))

    def last(self, family: str, variant: int, count: int) -> TrainableSet:
        """A family on its last `count` layers, as `layers="last:N"` has it; variants too large for a layer are its largest."""
        groups = self.sensitivity.layers[family][-count:]
        return TrainableSet.of(max(p for p in group if p.variant <= variant) for group in groups)

    def by_hand(self, budget: Budget) -> list[Candidate]:
        """What one would train without a search, as far as it fits; the default recipe first: it is what a choice is measured against.

        That is the method with sizes, on as many of the last layers as fit, with its companions on all layers. Methods say themselves whether one
        would take them (`Method.by_hand`), and come in their order. One without sizes is trained with as many companions before
        its layers as fit: the last layer and biases came out ahead of LoRA on other samples of the scenarios in `benchmarks/scenarios.py`.
        One with sizes is trained on as many of the last layers as fit, alone too.
        """
        found = [self._first(sets, budget) for sets in self.default_recipes()]
        for name, layers in self.sensitivity.layers.items():
            family, size = families()[name], families()[name].by_hand
            if size is not None:
                last = [self.last(name, size, n) for n in range(len(layers), 0, -1)]
                found.append(self._first(self._with_companions(layers) if family.sizes is None else last, budget))
        return [c for c in found if c is not None]

    def default_recipes(self) -> list[list[TrainableSet]]:
        """Of each method with sizes that one would take: on all layers with every companion, then on fewer and fewer of the last."""
        sized = {name: layers for name, layers in self.sensitivity.layers.items() if families()[name].sizes is not None}
        usual = {name: (size, layers) for name, layers in sized.items() if (size := families()[name].by_hand) is not None}
        return [[self.with_every_companion(self.last(name, size, n)) for n in range(len(layers), 0, -1)] for name, (size, layers) in usual.items()]

    def _first(self, sets: Sequence[TrainableSet], budget: Budget) -> Candidate | None:
        """The first that fits."""
        return next((c for s in sets if (c := self.candidate(s)) and budget.allows(c)), None)

    def _with_companions(self, layers: list[list[Piece]]) -> list[TrainableSet]:
        """A method on its layers, with all companions, and with fewer and fewer of the last."""
        companions = [group[0] for name, groups in self.sensitivity.layers.items() if families()[name].companion for group in groups]
        order = [n.name for n in self.graph.nodes]
        companions.sort(key=lambda p: order.index(p.layer))
        return [TrainableSet.of([*(group[0] for group in layers), *companions[since:]]) for since in range(len(companions))]

    def with_every_companion(self, chosen: TrainableSet) -> TrainableSet:
        """A set with its companions on all layers: with LoRA the biases."""
        every = {group[0] for name, groups in self.sensitivity.layers.items() if families()[name].companion for group in groups}
        return TrainableSet.of(chosen.pieces | every)

    # ---- The usual sets ----

    def usual(self, budget: Budget) -> list[Candidate]:
        """Each family on its last N layers and on its N most sensitive ones, alone and with each companion, as far as they fit; and of each such
        series the first that does not.

        A companion takes the layers from the first that the family trains to the last: gradients pass there anyway. Where N layers do not fit, more
        of them, or a larger variant on as many, will not either, and are not planned.
        """
        found: dict[TrainableSet, Candidate] = {}
        for name, layers in self.sensitivity.layers.items():
            fitting: dict[tuple[str, str, int], int] = {}
            for variant in variants(families()[name]):
                for series, sets in self._series(layers, variant).items():
                    most = fitting.get(series, len(layers) + 1)
                    fitting[series] = 0
                    for chosen in sets:
                        count = sum(p.family == name for p in chosen.pieces)
                        planned = self.candidate(chosen) if count <= most else None
                        if planned is not None:
                            found[chosen] = planned
                        if count > most or (planned is not None and not budget.allows(planned)):
                            break
                        fitting[series] = count
        return list(found.values())

    def _series(self, layers: list[list[Piece]], variant: int) -> dict[tuple[str, str, int], list[TrainableSet]]:
        """Sets that grow by layers, by which layers come first, the companion, and whether it is trained before those layers too."""
        sized = [group[min(sum(p.variant <= variant for p in group), len(group)) - 1] for group in layers if group[0].variant <= variant]
        best = sorted(sized, key=lambda p: -self.sensitivity.gain(TrainableSet.of([p])))
        found: dict[tuple[str, str, int], list[TrainableSet]] = {}
        for title, order in (("last", sized[::-1]), ("best", best)):
            for count in _spread(len(sized)):
                chosen = TrainableSet.of(order[:count])
                found.setdefault((title, "", 0), []).append(chosen)
                for name, accompanied in self._accompanied(chosen).items():
                    for before, more in enumerate(accompanied):
                        found.setdefault((title, name, before), []).append(more)
        return found

    def _accompanied(self, chosen: TrainableSet) -> dict[str, tuple[TrainableSet, TrainableSet]]:
        """By companion: the set with it from the first layer of the set, and on all layers."""
        found = {}
        order = [n.name for n in self.graph.nodes]
        first = min(order.index(p.layer) for p in chosen.pieces)
        for name, layers in self.sensitivity.layers.items():
            if families()[name].companion and all(p.family != name for p in chosen.pieces):
                every = {group[0] for group in layers}
                after = {p for p in every if order.index(p.layer) >= first}
                found[name] = TrainableSet.of(chosen.pieces | after), TrainableSet.of(chosen.pieces | every)
        return found

    # ---- Greedy ----

    @cached_property
    def _singles(self) -> list[Candidate]:
        """Each piece alone."""
        return [c for p in self.sensitivity.gains if (c := self.candidate(TrainableSet.of([p])))]

    def greedy(self, budget: Budget, smallest: int) -> list[Candidate]:
        """Sets filled piece by piece, most gain a byte first, for several budgets up to the one given.

        Each family in turn, together with the companions and those of a single layer: sets of more families are no better
        and hard to understand.
        """
        singles = self._singles
        if not singles:
            return []
        floor = min(c.forecast.infer.plan.arena_bytes for c in singles)
        ranked = [c.set for c in sorted(singles, key=lambda c: (-c.gain / max(c.bytes - floor, 1), c.name)) if c.gain > 0]
        top = budget.ram or 4 * max(c.bytes for c in singles)
        limits = [replace(budget, ram=round(smallest + (top - smallest) * i / STEPS)) for i in range(1, STEPS + 1)]
        known = {name: families()[name] for name in self.sensitivity.layers}
        along = {name for name, family in known.items() if family.companion or len(family.fitting(self.graph)) == 1}
        found = []
        for name in self.sensitivity.layers:
            mine = [s for s in ranked if s.kind == name or s.kind in along]
            found += [c for limit in limits if (c := self._filled(mine, limit)) is not None]
        return found

    def _filled(self, ranked: Sequence[TrainableSet], limit: Budget) -> Candidate | None:
        """As many of the first pieces as fit; then without the next, which does not, as many of those after it, and so on."""
        current: Candidate | None = None
        rest = list(ranked)
        for _ in range(PASSED_OVER + 1):
            best, fits, fails = current, 0, len(rest) + 1
            while fails - fits > 1:
                count = min(2 * fits + 1, (fits + fails) // 2)
                tried = self.candidate(_grown(current, rest[:count]))
                if tried is not None and limit.allows(tried):
                    fits, best = count, tried
                else:
                    fails = count
            current, rest = best, rest[fails:]
        return current


def _grown(candidate: Candidate | None, singles: Sequence[TrainableSet]) -> TrainableSet:
    """A set with more pieces, as far as its layers can take them."""
    found = None if candidate is None else candidate.set
    for single in singles:
        (piece,) = single.pieces
        found = single if found is None else found.plus(piece) or found
    assert found is not None
    return found


def _spread(count: int) -> list[int]:
    """1..count, thinned to DEPTHS values."""
    return sorted({round(v) for v in np.linspace(1, count, min(count, DEPTHS))})


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other one beats or equals in bytes, MACs and gain at once (of equal ones the first)."""
    found: list[Candidate] = []
    for c in sorted(candidates, key=lambda c: (c.bytes, c.macs, -c.gain, c.name)):
        if not any(o.bytes <= c.bytes and o.macs <= c.macs and o.gain >= c.gain for o in found):
            found.append(c)
    return found
