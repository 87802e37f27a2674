"""Which sets are worth a look, what they cost, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from kiloc import CompileError, ir
from kiloc.forecast import Estimate, Forecast, estimate, forecast
from kiloc.ir import Graph
from kiloc.peft import Method

from .families import Piece, TrainableSet, families, variants
from .sensitivity import Sensitivity
from .setting import Setting

DEPTHS = 8
"""Values of N tried for "the last N layers"; deeper models are sampled."""
STEPS = 4
"""Budgets that the greedy search fills, from the smallest candidate to the whole budget."""


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
    """A set with what it costs and what it promises."""

    set: TrainableSet
    methods: tuple[Method, ...]
    forecast: Forecast
    gain: float
    setting: Setting

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
    def estimate(self) -> Estimate:
        """Instructions of one training step on the core."""
        return estimate(self.forecast, self.setting.target, self.setting.accumulate)

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


class Space:
    """The candidates of one model; costs are planned once each."""

    def __init__(self, graph: Graph, sensitivity: Sensitivity, setting: Setting) -> None:
        self.graph, self.sensitivity, self.setting = graph, sensitivity, setting
        samples = {name: np.zeros((1, *graph.type(name).shape[1:]), graph.type(name).dtype) for name in graph.inputs}
        self._forward: dict[str, Any] = ir.run(graph, samples)
        self._known: dict[TrainableSet, Candidate | None] = {}

    def candidate(self, chosen: TrainableSet) -> Candidate | None:
        """The set with its cost, None where it cannot be compiled."""
        if chosen not in self._known:
            self._known[chosen] = self._planned(chosen)
        return self._known[chosen]

    def _planned(self, chosen: TrainableSet) -> Candidate | None:
        methods = chosen.methods(self.graph)
        try:
            plan = forecast(self.graph, self.setting.options(methods), self._forward)
        except CompileError:
            return None
        return Candidate(chosen, methods, plan, self.sensitivity.gain(chosen), self.setting)

    def candidates(self, budget: Budget) -> list[Candidate]:
        """The usual sets and the greedy ones, cheapest first."""
        found = self._planned_all(self.usual())
        if found:
            found = self._planned_all([*(c.set for c in found), *self.greedy(budget, min(c.bytes for c in found))])
        return found

    def _planned_all(self, sets: Iterable[TrainableSet]) -> list[Candidate]:
        planned = [self.candidate(s) for s in dict.fromkeys(sets)]
        return sorted((c for c in planned if c is not None), key=lambda c: (c.bytes, c.macs, c.name))

    def last(self, family: str, variant: int, count: int) -> TrainableSet:
        """A family on its last `count` layers, as `layers="last:N"` has it; variants too large for a layer are its largest."""
        groups = self.sensitivity.layers[family][-count:]
        return TrainableSet.of(max(p for p in group if p.variant <= variant) for group in groups)

    def by_hand(self, budget: Budget) -> list[Candidate]:
        """What one would train without a search, as far as it fits; the safest first.

        Methods say so themselves (`Method.by_hand`), and come in their order. One without sizes is trained with as many companions before
        its layers as fit: the last layer and biases came out ahead of LoRA on other samples of the scenarios in `benchmarks/scenarios.py`.
        One with sizes is trained on as many of the last layers as fit, alone and with its companions on all layers.
        """
        found = []
        for name, layers in self.sensitivity.layers.items():
            family, size = families()[name], families()[name].by_hand
            if size is not None:
                last = [self.last(name, size, n) for n in range(len(layers), 0, -1)]
                ways = [self._with_companions(layers)] if family.sizes is None else [last, [self.with_every_companion(s) for s in last]]
                found += [next((c for s in sets if (c := self.candidate(s)) and budget.allows(c)), None) for sets in ways]
        return [c for c in found if c is not None]

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

    def usual(self) -> list[TrainableSet]:
        """Each family on its last N layers and on its N most sensitive ones, alone and with each companion.

        A companion takes the layers from the first that the family trains to the last: gradients pass there anyway.
        """
        found: list[TrainableSet] = []
        for name, layers in self.sensitivity.layers.items():
            for variant in variants(families()[name]):
                for chosen in self._selections(layers, variant):
                    found += [chosen, *self._accompanied(chosen)]
        return list(dict.fromkeys(found))

    def _selections(self, layers: list[list[Piece]], variant: int) -> list[TrainableSet]:
        sized = [group[min(sum(p.variant <= variant for p in group), len(group)) - 1] for group in layers if group[0].variant <= variant]
        best = sorted(sized, key=lambda p: -self.sensitivity.gain(TrainableSet.of([p])))
        found = []
        for count in _spread(len(sized)):
            found += [TrainableSet.of(sized[-count:]), TrainableSet.of(best[:count])]
        return found

    def _accompanied(self, chosen: TrainableSet) -> list[TrainableSet]:
        found = []
        order = [n.name for n in self.graph.nodes]
        for name, layers in self.sensitivity.layers.items():
            if families()[name].companion and all(p.family != name for p in chosen.pieces):
                first = min(order.index(p.layer) for p in chosen.pieces)
                for since in (first, 0):
                    more = {group[0] for group in layers if order.index(group[0].layer) >= since}
                    found.append(TrainableSet.of(chosen.pieces | more))
        return found

    # ---- Greedy ----

    def greedy(self, budget: Budget, smallest: int) -> list[TrainableSet]:
        """Sets filled piece by piece, most gain a byte first, for several budgets up to the one given.

        Each family in turn, together with the companions and those of a single layer: sets of more families are no better
        and hard to understand.
        """
        singles = [c for p in self.sensitivity.gains if (c := self.candidate(TrainableSet.of([p])))]
        if not singles:
            return []
        floor = min(c.forecast.infer.plan.arena_bytes for c in singles)
        ranked = [c.set for c in sorted(singles, key=lambda c: (-c.gain / max(c.bytes - floor, 1), c.name))]
        top = budget.ram or 4 * max(c.bytes for c in singles)
        limits = [replace(budget, ram=round(smallest + (top - smallest) * i / STEPS)) for i in range(1, STEPS + 1)]
        known = {name: families()[name] for name in self.sensitivity.layers}
        along = {name for name, family in known.items() if family.companion or len(family.fitting(self.graph)) == 1}
        found = []
        for name in self.sensitivity.layers:
            mine = [s for s in ranked if s.kind == name or s.kind in along]
            found += [s for limit in limits if (s := self._filled(mine, limit)) is not None]
        return found

    def _filled(self, ranked: Sequence[TrainableSet], limit: Budget) -> TrainableSet | None:
        current: TrainableSet | None = None
        gain = 0.0
        for single in ranked:
            (piece,) = single.pieces
            grown = single if current is None else current.plus(piece)
            tried = None if grown is None else self.candidate(grown)
            if tried is None or not limit.allows(tried):
                continue
            promised = self.sensitivity.agreement(tried.set)
            if promised > gain:
                current, gain = tried.set, promised
        return current


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
