"""What is recomputed, offloaded or run in stripes: the searches beside every choice there is, on small models."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from itertools import combinations, pairwise

import pytest
from gradients.graphs import Maker
from plan_graphs import Apart, graph, node

import kilotune as kt
from kiloc.ir.graph import Graph, Node
from kiloc.ir.verify import total_macs
from kiloc.lowering import place, recomputations
from kiloc.lowering.fit import offloads
from kiloc.ops._window import Window
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.options import Options
from kiloc.passes.offload import offload
from kiloc.passes.recompute import recompute, saved_values
from kiloc.passes.slices import inference_slice
from kiloc.passes.stripes import STRIPE, chains
from kiloc.pipeline import compile_graph
from kiloc.plan import recompute as searched
from kiloc.plan.lifetimes import lifetimes
from kiloc.plan.offload import Offloads
from kiloc.plan.order import best_order
from kiloc.plan.problem import total_bytes
from kiloc.plan.recompute import Choice, Profile, Recomputations, pareto
from kiloc.plan.slice import Slice, caller_buffers, scratch_bytes
from kiloc.plan.stripes import LONGEST, _candidates, stripe

SAME, ONE = Window((3, 3), (1, 1), (1, 1, 1, 1)), Window((1, 1))


@cache
def training(layers: int, size: int = 6) -> Graph:
    """The training slice of a chain of small convolutions and a head, with LoRA at each: what they read is saved."""
    m = Maker("chain", (1, size, size, 2), 3)
    y = "input"
    for i in range(layers):
        y = m.conv(y, f"layer_{i}", (4, 3, 6)[i % 3], SAME if i % 2 else ONE, "relu")
    c = compile_graph(m.finish(m.dense(y, "head", 3)), Options((kt.LoRA(rank=1, layers="all"),), target="cortex-m0plus"), "0")
    assert c.train is not None
    return c.train.graph


def scratch_of(part: Graph) -> Callable[[Node], int]:
    return lambda node: scratch_bytes(part, node)


@cache
def possible(layers: int, align: int = 4) -> Recomputations:
    part = training(layers)
    return Recomputations(part, scratch_of(part), frozenset(caller_buffers(part)), align)


def measured(part: Graph, align: int = 4) -> list[int]:
    return total_bytes(lifetimes(part, scratch_of(part), frozenset(caller_buffers(part))), len(part.nodes), align)


# ---- Recomputation ----


@pytest.mark.parametrize("align", [4, 8])
def test_a_look_measures_the_slice_with_these_values_computed_again(align: int) -> None:
    r = possible(2, align)
    assert r.candidates == [v for v in saved_values(r.part) if v not in caller_buffers(r.part)] and len(r.candidates) >= 3
    usual = total_macs(r.part)
    for size in range(len(r.candidates) + 1):
        for dropped in combinations(r.candidates, size):
            for nested in (False, True):
                choice, profile = r.look(frozenset(dropped), nested)
                again = recompute(r.part, dropped, nested)
                assert choice.apply(r.part) == again and (choice.dropped, choice.nested) == (dropped, nested)
                assert profile.totals == measured(again, align) and choice.bytes == max(profile.totals)
                assert choice.macs == total_macs(again) - usual
                assert set(profile.spans) == set(r.candidates) - set(dropped)
                lives = {v: (b.first, b.last) for b in lifetimes(again, r.scratch, r.outside).buffers for v in b.values}
                assert all(profile.spans[v] == lives[v] for v in profile.spans)


def test_work_counts_every_node_of_every_graph_looked_at_once() -> None:
    part = training(1)
    r = Recomputations(part, scratch_of(part), frozenset(caller_buffers(part)))
    assert r.work == 0 and r.look(frozenset())[0].macs == 0 and r.work == len(part.nodes)
    assert r.look(frozenset()) is r.look(frozenset()) and r.work == len(part.nodes)
    dropped = frozenset(r.candidates[:1])
    r.look(dropped)
    assert r.work == len(part.nodes) + len(recompute(part, dropped).nodes)
    again = next(n for n in recompute(part, dropped).nodes if n not in part.nodes and n.name not in {m.name for m in part.nodes})
    first = next(n for n in part.nodes if again.name.startswith(f"{n.name}.again"))
    assert r.scratch(again) == r.scratch(first) == scratch_bytes(part, first)


def test_how_far_and_why_a_profile_exceeds_a_budget() -> None:
    profile = Profile([4, 9, 6, 9, 5], {"a": (0, 0), "b": (0, 1), "c": (2, 2), "d": (2, 4), "e": (3, 3), "f": (4, 4)})
    assert [profile.excess(b) for b in (9, 8, 5, 4, 0)] == [0, 2, 9, 13, 33]
    assert profile.crowding(9) == frozenset() and profile.crowding(8) == {"b", "d", "e"} and profile.crowding(5) == {"b", "c", "d", "e"}
    assert profile.crowding(4) == {"b", "c", "d", "e", "f"} and profile.crowding(3) == set("abcdef")


def test_the_front_is_what_no_other_beats() -> None:
    rng = random.Random(3)
    for _ in range(60):
        choices = [
            Choice(tuple("abcdef"[: rng.randint(0, 6)]), rng.random() < 0.5, rng.randint(0, 9), rng.randint(0, 9)) for _ in range(rng.randint(0, 12))
        ]
        front = pareto(choices)
        assert [c.macs for c in front] == sorted({c.macs for c in front}) and [c.bytes for c in front] == sorted(
            {c.bytes for c in front}, reverse=True
        )
        for c in choices:
            assert any(f.bytes <= c.bytes and f.macs <= c.macs for f in front)
            same = [f for f in front if (f.bytes, f.macs) == (c.bytes, c.macs)]
            assert all(len(f.dropped) <= len(c.dropped) for f in same)
        assert all(f in choices for f in front)


def every(r: Recomputations) -> list[Choice]:
    sets = [frozenset(s) for n in range(len(r.candidates) + 1) for s in combinations(r.candidates, n)]
    return [r.look(s, nested)[0] for s in sets for nested in (False, True)]


@pytest.mark.parametrize("layers", [1, 3])
def test_choices_beside_every_set(layers: int) -> None:
    """The exact search gives the cheapest set of each budget; the greedy one a set within it that needs each of its values."""
    r = possible(layers)
    all_ = every(r)
    exact = r.exact()
    assert exact == pareto(all_) and exact[0].macs == 0 and r.least() == exact[-1]
    assert r.shown().choices == tuple(exact) and r.shown().exact and len(exact) >= 2 * layers
    for limit in range(min(c.bytes for c in all_) - 1, max(c.bytes for c in all_) + 2):
        within = [c for c in all_ if c.bytes <= limit]
        chosen, greedy = r.choose(limit), r.greedy(limit)
        assert (chosen is None) == (not within)
        if chosen is not None:
            assert chosen.bytes <= limit and chosen.macs == min(c.macs for c in within)
        if greedy is not None:
            assert greedy.bytes <= limit
            for value in greedy.dropped:
                fewer = r.look(frozenset(greedy.dropped) - {value}, greedy.nested)[0]
                assert fewer.bytes > limit or fewer.macs > greedy.macs, "nothing is dropped without need"
    found = [r.greedy(c.bytes) for c in exact]
    assert all(f is not None for f in found) and sum(f.macs for f in found if f) <= 1.5 * sum(c.macs for c in exact)


def test_a_set_grows_by_the_value_that_helps_most() -> None:
    """The cheapest that meets the budget; else the one that brings the steps above it down most for its MACs; none where none does."""
    rng, seen = random.Random(1), set()
    sets = [(r, frozenset(s)) for r in (possible(2), possible(3)) for n in range(len(r.candidates) + 1) for s in combinations(r.candidates, n)]
    for r, dropped in rng.sample(sets, 90):
        for nested in (False, True):
            choice, before = r.look(dropped, nested)
            exactly = {r.look(dropped | {v}, nested)[0].bytes for v in r.candidates}
            for limit in {*range(0, choice.bytes + 8, 24), *exactly}:
                ranks = {}
                for v in set(r.candidates) - dropped:
                    found, after = r.look(dropped | {v}, nested)
                    gain = before.excess(limit) - after.excess(limit)
                    if gain > 0 and v in before.crowding(limit):
                        ranks[v] = (1, -float(found.macs)) if found.bytes <= limit else (0, gain / max(found.macs - choice.macs, 1))
                larger = r._larger(dropped, nested, limit)
                assert (larger is None) == (not ranks)
                if larger is not None:
                    (value,) = larger - dropped
                    assert dropped < larger and ranks[value] == max(ranks.values())
                seen.add((larger is None, max(ranks.values())[0] if ranks else None))
    assert seen == {(True, None), (False, 0), (False, 1)}


def test_what_costs_nothing_is_kept_all_the_same() -> None:
    """A pooled image is made again without a MAC; where the budget has room for it, it is not made again."""
    m = Maker("pooled", (1, 6, 6, 2), 3)
    y = m.conv("input", "first", 4, ONE, "relu")
    y = m.op(y, "pool", MaxPool2D(Window((2, 2), (2, 2))), (1, 3, 3, 4))
    c = compile_graph(
        m.finish(m.dense(m.conv(y, "second", 3, ONE), "head", 3)), Options((kt.LoRA(rank=1, layers="all"),), target="cortex-m0plus"), "0"
    )
    assert c.train is not None
    r = recomputations(c.train.graph)
    room = max(choice.bytes for choice in every(r))
    assert any(r.look(frozenset({v}))[0].macs == 0 for v in r.candidates)
    for dropped in [frozenset(s) for n in range(len(r.candidates) + 1) for s in combinations(r.candidates, n)]:
        assert all(r._pruned(dropped, nested, room).dropped == () for nested in (False, True))


class Drawn(Recomputations):
    """Measures that are looked up: bytes at the one step there is and MACs, by what is dropped and whether nested."""

    def __init__(self, candidates: str, measures: Callable[[str, bool], tuple[int, int]]) -> None:
        super().__init__(Graph("empty", {}, (), (), ()), lambda n: 0, frozenset())
        self.candidates = list(candidates)
        self.measures = measures
        self.looked: list[str] = []

    def look(self, dropped: frozenset[str], nested: bool = False) -> tuple[Choice, Profile]:
        names = "".join(sorted(dropped))
        self.looked.append(names)
        bytes_, macs = self.measures(names, nested)
        spans = {v: (0, 0) if v in "abc" else (1, 1) for v in self.candidates if v not in dropped}
        return Choice(tuple(names), nested, bytes_, macs), Profile([bytes_, 0], spans)


def test_a_value_that_brings_no_byte_down_is_not_dropped() -> None:
    """And one that brings down a single byte is; what is not alive at the fullest steps is not even looked at."""
    same = Drawn("ab", lambda names, nested: (100, len(names)))
    assert same._larger(frozenset(), False, 50) is None
    one = Drawn("abx", lambda names, nested: (100 - ("b" in names), len(names)))
    assert one._larger(frozenset(), False, 50) == {"b"} and one.looked == ["", "a", "b"]


def test_a_value_is_kept_where_that_costs_no_more() -> None:
    """Dropping another one may make a value cheaper to compute again than to keep; then it stays dropped, room or not."""
    costs = {"": 0, "a": 8, "b": 5, "ab": 5}
    dearer = Drawn("ab", lambda names, nested: (10, {**costs, "": 9}[names]))
    assert dearer._pruned(frozenset("ab"), False, 10).dropped == ("b",), "without a it costs 5 as well, without both 9"
    cheaper = Drawn("ab", lambda names, nested: (10, costs[names]))
    assert cheaper._pruned(frozenset("ab"), False, 10).dropped == ()
    tight = Drawn("ab", lambda names, nested: (10 - len(names), costs[names]))
    assert tight._pruned(frozenset("ab"), False, 9).dropped == ("b",)


@pytest.mark.parametrize("better", [False, True])
def test_the_least_is_the_lower_of_both_ways(better: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searched, "MOST_EXACT", 0)
    r = Drawn("ab", lambda names, nested: (100 - 30 * len(names) - 5 * (nested == better) * len(names), 7 * len(names)))
    assert (r.least().nested, r.least().dropped, r.least().bytes) == (better, ("a", "b"), 30)


def test_many_values_are_chosen_greedily(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more values than are tried exactly, the same calls answer by the greedy search, which here finds nearly what there is."""
    r = possible(3)
    exact = r.exact()
    monkeypatch.setattr(searched, "MOST_EXACT", len(r.candidates))
    assert r.choose(exact[1].bytes) == exact[1] and r.least() == exact[-1]
    monkeypatch.setattr(searched, "MOST_EXACT", len(r.candidates) - 1)
    with pytest.raises(AssertionError):
        r.exact()
    for point in exact:
        found = r.choose(point.bytes)
        assert found is not None and found == r.greedy(point.bytes) and point.macs <= found.macs
    assert r.choose(exact[-1].bytes - 1) is None
    assert r.least() == min((r._emptied(False), r._emptied(True)), key=lambda c: (c.bytes, c.macs))
    assert exact[-1].bytes <= r.least().bytes <= exact[-1].bytes + max(exact[0].bytes // 16, 8)


def test_a_greedy_search_ends_when_its_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    part = training(3)
    least = possible(3).least().bytes

    def fresh() -> Recomputations:
        return Recomputations(part, scratch_of(part), frozenset(caller_buffers(part)))

    second, nodes = possible(3).exact()[1], len(part.nodes)
    assert fresh().greedy(second.bytes, nodes) is not None and fresh().greedy(second.bytes, nodes - 1) is None, "the first look is counted"
    assert fresh().greedy(least, 0) is None and fresh().greedy(least) is not None
    assert fresh().greedy(possible(3).exact()[0].bytes, 0) is not None, "nothing is to be done"
    monkeypatch.setattr(searched, "FRONT_WORK", 2 ** (len(fresh().candidates) + 1) * len(part.nodes))
    assert fresh().shown().exact
    monkeypatch.setattr(searched, "FRONT_WORK", searched.FRONT_WORK - 1)
    r = fresh()
    front = r.shown()
    assert not front.exact and front.choices == tuple(pareto(front.choices)) and front.choices[0].macs == 0 and len(front.choices) >= 3
    assert r.shown(proving=True).exact, "with ten times the work every set is tried"
    budgets = [c.bytes for c in r._descended(1e9)]
    step = max(budgets[0] // 16, 8)
    assert budgets[0] == measured(part)[0] or budgets[0] == max(measured(part))
    assert all(b <= a - step for a, b in pairwise(budgets)) and r.greedy(budgets[-1] - step) is None


# ---- Offloading ----


@pytest.mark.parametrize("align", [4, 8])
def test_the_largest_saved_values_come_back_first(align: int) -> None:
    c = compile_graph_of(2)
    choices = offloads(c, c.graph)
    names = choices.candidates()
    sizes = [choices.part.type(v).bytes for v in names]
    assert sizes == sorted(sizes, reverse=True) and set(names) == set(saved_values(choices.part)) - set(choices.outside)
    order = saved_values(choices.part)
    assert all(order.index(a) < order.index(b) for a, b in pairwise(names) if choices.part.type(a).bytes == choices.part.type(b).bytes)
    for size in range(len(names) + 1):
        for moved in combinations(names, size):
            part = offload(choices.part, moved)
            own = {n.name: scratch_bytes(choices.part, n) for n in choices.part.nodes}
            totals = total_bytes(lifetimes(part, lambda n, o=own: o.get(n.name, 0), choices.outside), len(part.nodes), choices.align)  # type: ignore[misc]
            assert choices.bytes(moved) == max(totals), "a transfer takes no scratch"
    least, most = choices.least(), choices.bytes(())
    assert least == choices.bytes(names) < most == max(measured(choices.part, choices.align))
    assert choices.choose(least - 1) is None and choices.choose(most) == () and choices.choose(least) is not None
    for limit in range(least, most + 1, 5):
        chosen = choices.choose(limit)
        assert chosen is not None and choices.bytes(chosen) <= limit and list(chosen) == [v for v in names if v in chosen]
        kept: list[str] = []
        for name in names:  # each in turn stays where there is room
            rest = [v for v in names if v not in kept and v != name]
            kept += [name] if choices.bytes(rest) <= limit else []
        assert set(chosen) == set(names) - set(kept)


def test_a_transfer_takes_no_scratch_where_it_is_the_fullest_step() -> None:
    """One value far wider than all others, which goes out and comes back: no step holds more than it and what is alive beside it."""
    nodes = [
        node("make", Apart(), "x", "a"),
        node("use", Apart(), "a", "b"),
        node("turn", Apart(), "b", "g", phase="backward"),
        node("end", Apart(), "g a", "y", phase="backward"),
    ]
    part = graph({"x": 4, "a": 400, "b": 4, "g": 4, "y": 4}, nodes, "x", "y", {"a": "saved", "g": "gradient"})
    outside = frozenset("y")
    moved = offload(part, ["a"])
    totals = total_bytes(lifetimes(moved, lambda n: 0, outside), len(moved.nodes), 1)
    fullest = {n.name for n, total in zip(moved.nodes, totals, strict=True) if total == max(totals)}
    assert any(n.op.mnemonic.startswith("page_") and n.name in fullest for n in moved.nodes)
    assert Offloads(part, lambda n: 0, outside, 1).bytes(["a"]) == max(totals) == 404


def test_nothing_takes_no_bytes() -> None:
    empty = Graph("empty", {}, (), (), ())
    assert stripe(empty, 0, lambda n: 0, frozenset()) is empty
    assert Recomputations(empty, lambda n: 0, frozenset()).look(frozenset())[0].bytes == 0
    assert Offloads(empty, lambda n: 0, frozenset()).least() == Offloads(empty, lambda n: 0, frozenset()).bytes(()) == 0


@cache
def compile_graph_of(layers: int) -> Slice:
    return place(training(layers))


# ---- Stripes ----


@cache
def image(depth: int = 3) -> Graph:
    m = Maker("image", (1, 12, 6, 1), 3)
    y = "input"
    for i in range(depth):
        y = m.conv(y, f"layer_{i}", (6, 4, 2)[i] if i < 3 else 2, SAME, "relu")
    return inference_slice(m.finish(m.dense(y, "head", 3)))


def striped_for(part: Graph, limit: int) -> tuple[Graph, int]:
    outside = frozenset(caller_buffers(part))
    found = stripe(part, limit, scratch_of(part), outside)
    own = {n.name: scratch_bytes(part, n) for n in part.nodes}

    def scratch(n: Node) -> int:
        return own.get(n.name.split(STRIPE)[0], 0) if not n.name.endswith(".write") else 0

    return found, max(total_bytes(lifetimes(found, scratch, outside), len(found.nodes), 4))


def test_stripes_meet_a_budget_at_the_least_cost() -> None:
    """Of the ways to stripe once those that fit, and of them the one with the fewest rows computed twice, then the lowest."""
    part = image()
    usual = max(measured(part))
    outside = frozenset(caller_buffers(part))
    assert striped_for(part, usual) == (part, usual), "nothing is cut without need"
    peak = part.nodes[measured(part).index(usual)].name
    ways = []
    for g in _candidates(part, peak):
        own = {n.name: scratch_bytes(part, n) for n in part.nodes}
        totals = total_bytes(
            lifetimes(g, lambda n, o=own: 0 if n.name.endswith(".write") else o.get(n.name.split(STRIPE)[0], 0), outside), len(g.nodes), 4
        )  # type: ignore[misc]
        ways.append((total_macs(g) - total_macs(part), max(totals)))
    assert len(ways) > 10 and min(b for _, b in ways) < usual
    for limit in sorted({b for _, b in ways if b < usual}):
        found, bytes_ = striped_for(part, limit)
        assert (total_macs(found) - total_macs(part), bytes_) == min(w for w in ways if w[1] <= limit)
    lowest, bytes_ = striped_for(part, 0)
    assert bytes_ <= min(b for _, b in ways) and bytes_ < usual and lowest.nodes != part.nodes


def test_ways_to_stripe_a_chain() -> None:
    """Every run of at least two layers with the fullest one in it, of at most eight, in as many stripes as it has rows for."""
    for depth in (3, 10):
        part = image(depth)
        (run,) = chains(part)
        names = [n.name for n in run]
        for peak in (names[0], names[1], names[-1]):
            cut: dict[tuple[str, ...], set[int]] = {}
            for g in _candidates(part, peak):
                striped = tuple(n for n in names if n not in {m.name for m in g.nodes})
                count = len([m for m in g.nodes if m.name.endswith(".write")])
                assert count not in cut.setdefault(striped, set())
                cut[striped].add(count)
            at = names.index(peak)
            runs = [tuple(names[i:j]) for i in range(len(names)) for j in range(i + 2, len(names) + 1) if i <= at < j and j - i <= LONGEST]
            assert set(cut) == set(runs) and all(counts == {2, 3, 4, 6, 8, 12} for counts in cut.values())
    assert not list(_candidates(image(), "head"))
    cut = next(iter(_candidates(image(), "layer_1")))
    assert not any(list(_candidates(cut, n.name)) for n in cut.nodes if STRIPE in n.name), "what runs in stripes is not cut again"


# ---- Order ----


def test_a_narrow_search_keeps_the_lowest_peaks() -> None:
    """Branches of different width: with one state followed the order is no worse than the given one, with all it is the best."""
    m = Maker("wide", (1, 4, 4, 1), 5)
    from kiloc.ops.model.add import Add

    ends = [m.conv(m.conv("input", f"big_{i}", c, ONE), f"end_{i}", 2, ONE) for i, c in enumerate((3, 12, 7))]
    y = m.op(ends[0], "sum", Add(), (1, 4, 4, 2), 0.05, 0, other=ends[1])
    y = m.op(y, "sum_2", Add(), (1, 4, 4, 2), 0.05, 0, other=ends[2])
    part = inference_slice(m.finish(m.dense(y, "head", 3)))
    outside = frozenset(caller_buffers(part))

    def peak(nodes: tuple[Node, ...]) -> int:
        return max(measured(part.with_nodes(nodes)))

    wide, narrow = (best_order(part, scratch_of(part), outside, 4, width) for width in (256, 1))
    assert peak(wide) < peak(part.nodes) and peak(wide) <= peak(narrow) <= peak(part.nodes)
    assert [n.name for n in wide][:2] == ["big_1", "end_1"], "the widest branch while nothing else waits"
