"""The problem of placement, its solutions and the order of nodes, on graphs of operators that say nothing but how they use memory."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from gradients.graphs import Maker
from plan_graphs import NEXT, Apart, graph, node, of, random_graph

from kiloc.ops.model.softmax import Softmax
from kiloc.options import Options
from kiloc.pipeline import compile_graph
from kiloc.plan import check_plan, first_fit, optimal, plan_memory
from kiloc.plan.ascending import _Search as FromBelow
from kiloc.plan.ascending import ascending
from kiloc.plan.first_fit import _Found, _orders, _Search, greedy
from kiloc.plan.lifetimes import Buffer, Lifetimes, Overlap, lifetimes
from kiloc.plan.problem import Distance, Problem, alignment, kind_of, live_bytes, problem, rounded, shared_bytes, total_bytes

# ---- The problem ----


def drawn(rng: random.Random, count: int, steps: int, align: int = 4, inputs: int = 0) -> tuple[Lifetimes, Problem]:
    buffers = [Buffer([f"i{i}"], rng.randint(1, 20), 0, rng.randrange(steps), {"activation"}, True) for i in range(inputs)]
    for i in range(count):
        first = rng.randrange(steps)
        kinds = set(rng.sample(["activation", "saved", "gradient", "scalar"], rng.randint(1, 2)))
        buffers.append(Buffer([f"b{i}"], rng.randint(1, 40), first, min(steps - 1, first + rng.choice((0, 1, 1, 2, 3))), kinds))
    overlaps: list[Overlap] = []
    for i, result in enumerate(buffers):
        dying = [j for j, b in enumerate(buffers) if j != i and b.last == result.first and b.first < b.last]
        if dying and result.first not in {buffers[o.result].first for o in overlaps}:
            j = rng.choice(dying)
            overlaps.append(Overlap(i, j, rng.randrange(result.size + 1), rng.randint(1, buffers[j].size)))
    found = Lifetimes(tuple(buffers), tuple(overlaps))
    return found, problem(found, steps, align)


def problems(count: int = 60) -> Iterator[tuple[Lifetimes, Problem, int, int]]:
    for seed in range(count):
        rng = random.Random(seed)
        steps, align = rng.randint(1, 9), rng.choice((4, 8))
        yield *drawn(rng, rng.randint(1, 12), steps, align, rng.randint(0, 3)), steps, align


def nearest(p: Problem, o: Overlap) -> int:
    """Bytes that the two take when they lie as near as they may, by trying every place of the result beside the operand."""
    result, operand = p.sizes[o.result], p.sizes[o.operand]
    spans = []
    for shift in range(-result, operand + 1, p.alignment):
        if shift <= -rounded(o.below, p.alignment) or shift >= rounded(o.above, p.alignment):
            spans.append(max(shift + result, operand) - min(shift, 0))
    return min(spans)


def test_bytes_alive_at_each_step() -> None:
    """Of every kind and together: what lives there, less what an overlap saves in the step that makes the result."""
    for found, p, steps, align in problems():
        assert p.sizes == tuple(-(-b.size // align) * align for b in found.buffers)
        expected = [sum(s for b, s in zip(found.buffers, p.sizes, strict=True) if b.first <= step <= b.last) for step in range(steps)]
        for o in found.overlaps:
            saved = p.sizes[o.result] + p.sizes[o.operand] - nearest(p, o)
            assert shared_bytes(o, p.sizes, align) == saved
            expected[found.buffers[o.result].first] -= saved
        assert p.totals == total_bytes(found, steps, align) == expected and p.bound == max(expected)
        assert [sum(kinds.values()) for kinds in live_bytes(found, steps, align)] == expected
    assert problem(Lifetimes((), ()), 0, 4).bound == 0 and total_bytes(Lifetimes((), ()), 3, 4) == [0, 0, 0]


def test_kinds_of_bytes() -> None:
    order = ["scratch", "gradient", "activation", "saved", "scalar"]
    for i, kind in enumerate(order):
        assert kind_of(Buffer([], 1, 0, 0, set(order[i:]))) == kind
    buffers = (Buffer(["a"], 5, 0, 1, {"saved"}), Buffer(["b"], 4, 1, 1, {"saved"}), Buffer(["c"], 9, 1, 1, {"gradient"}))
    found = Lifetimes(buffers, (Overlap(2, 0, 4, 8),))
    assert problem(found, 2, 4).live == ({"saved": 8}, {"saved": 12, "gradient": 12 - shared_bytes(found.overlaps[0], (8, 4, 12), 4)})


def test_distances_of_what_lives_at_the_same_time() -> None:
    for found, p, _, align in problems():
        for i, a in enumerate(found.buffers):
            expected = {
                j: Distance(j, p.sizes[i], p.sizes[j]) for j, b in enumerate(found.buffers) if j != i and a.first <= b.last and b.first <= a.last
            }
            for o in found.overlaps:
                below, above = -(-o.below // align) * align, -(-o.above // align) * align
                if o.result == i:
                    expected[o.operand] = Distance(o.operand, below, above)
                if o.operand == i:
                    expected[o.result] = Distance(o.result, above, below)
            assert {d.other: d for d in p.distances[i]} == expected and len(p.distances[i]) == len(expected)


def test_inputs_have_fixed_places() -> None:
    for found, p, _, _ in problems():
        end = 0
        for b, size, fixed in zip(found.buffers, p.sizes, p.fixed, strict=True):
            assert fixed == (end if b.pinned else None)
            end += size if b.pinned else 0


def test_alignment_of_cores() -> None:
    assert [alignment(core) for core in ("cortex-m0plus", "cortex-m4", "cortex-m33", "", "cortex-m7", "cortex-m55")] == [4, 4, 4, 4, 8, 8]
    assert [rounded(n, 8) for n in (0, 1, 7, 8, 9)] == [0, 8, 8, 8, 16]


# ---- Placement ----


def clear(p: Problem, offsets: list[int], i: int, j: int) -> bool:
    d = next((d for d in p.distances[i] if d.other == j), None)
    return d is None or offsets[i] + d.before <= offsets[j] or offsets[i] >= offsets[j] + d.after


def test_a_buffer_goes_to_the_lowest_place_that_is_free() -> None:
    for found, p, _, align in problems():
        search, rng = _Search(p), random.Random(1)
        order = rng.sample(range(len(p.sizes)), len(p.sizes))
        placed = search.placed(order)
        offsets, seen = placed.offsets, [i for i, b in enumerate(found.buffers) if b.pinned]
        assert all(offsets[i] == p.fixed[i] for i in seen)
        for i in order:
            if i in seen:
                continue
            for lower in range(0, offsets[i] + align, align):
                free = all(clear(p, [*offsets[:i], lower, *offsets[i + 1 :]], i, j) for j in seen)
                assert free == (lower == offsets[i])
            seen.append(i)
        assert placed.height == max(o + s for o, s in zip(offsets, p.sizes, strict=True)) and placed.order == order


def test_a_placement_is_given_up_once_it_exceeds_the_limit() -> None:
    for _, p, _, _ in problems(30):
        search, order = _Search(p), list(range(len(p.sizes)))
        whole = search.placed(order)
        assert search.fit(order, list(search.start), 0, whole.height) == whole.height
        assert search.fit(order, list(search.start), 0, whole.height - 1) is None
        for start in range(len(order)):
            again = list(whole.offsets)
            assert search.fit(order, again, start, whole.height) == whole.height and again == whole.offsets


def test_moves_never_make_the_arena_larger_and_lose_no_buffer() -> None:
    moved = lower = 0
    for _, p, _, _ in problems(40):
        search = _Search(p)
        current = search.placed(list(range(len(p.sizes))))
        if current.height == p.bound:
            continue
        for _ in range(60):
            found = search.moved(current)
            if found is None:
                continue
            assert sorted(found.order) == sorted(current.order) and found.height <= current.height
            assert search.placed(found.order).offsets == found.offsets and search.placed(found.order).height == found.height
            moved += found.order != current.order
            lower += found.height < current.height
            current = found
            if current.height == p.bound:
                break
        elsewhere = search.elsewhere(iter([current]), current)
        assert elsewhere is current
        shaken = [search.elsewhere(iter(()), current) for _ in range(5)]
        assert all(sorted(s.order) == sorted(current.order) and search.placed(s.order).offsets == s.offsets for s in shaken)
        assert len(p.sizes) < 5 or any(s.order != current.order for s in shaken)
    assert moved > 20 and lower > 5


def test_most_moves_take_a_buffer_above_the_bound_to_an_earlier_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ABOVE says, and the others move what is in its way."""
    tried: list[list[int]] = []

    def refused(self: _Search, order: list[int], offsets: list[int], start: int, limit: int | None) -> None:
        tried.append(order)

    def above(p: Problem, current: _Found, order: list[int]) -> bool:
        high = [i for i in order if current.offsets[i] + p.sizes[i] > p.bound]
        rest = [([j for j in current.order if j != i], [j for j in order if j != i], i) for i in high]
        return any(a == b and order.index(i) <= current.order.index(i) for a, b, i in rest)

    shares = []
    for _, p, _, _ in problems(200):
        search = _Search(p)
        current = search.placed(list(range(len(p.sizes))))
        if current.height == p.bound or len(p.sizes) < 8:
            continue
        tried.clear()
        with monkeypatch.context() as patch:
            patch.setattr(_Search, "fit", refused)
            assert all(search.moved(current) is None for _ in range(400))
        shares.append(sum(above(p, current, order) for order in tried) / len(tried))
    assert len(shares) > 10 and min(shares) > first_fit.ABOVE - 0.1 and sum(shares) / len(shares) < 0.97


def test_the_share_of_moves_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of draws that lie evenly in [0, 1) the share ABOVE takes a buffer above the bound, and a draw of ABOVE itself what is in its way."""
    taken: list[tuple[int, int]] = []

    class Even:
        def __init__(self, draw: float) -> None:
            self.draw = draw

        def random(self) -> float:
            return self.draw

        def choice(self, found: list[Any]) -> Any:
            return found[0]

        def randrange(self, count: int) -> int:
            taken.append((round(self.draw * 10), count))
            return 0

    found, p, _, _ = next(x for x in problems(200) if len(x[1].sizes) >= 8 and _Search(x[1]).placed(_orders(x[1])[-1]).height > x[1].bound)
    search = _Search(p)
    current = search.placed(_orders(p)[-1])
    top = next(i for i in range(len(p.sizes)) if current.offsets[i] + p.sizes[i] > p.bound)
    assert p.distances[top] and current.order.index(top) + 1 < len(found.buffers), "the two moves draw from different ranges"
    for tenth in range(10):
        monkeypatch.setattr(search, "choose", Even(tenth / 10))
        search.moved(current)
    upper = [tenth for tenth, count in taken if count == current.order.index(top) + 1]
    assert upper == [t for t in range(10) if t / 10 < first_fit.ABOVE] and len(upper) == round(10 * first_fit.ABOVE)


def test_orders_that_the_search_begins_with() -> None:
    for found, p, _, _ in problems(40):
        b, s = found.buffers, p.sizes
        long = [x.last - x.first + 1 for x in b]
        full = [max(p.totals[x.first : x.last + 1]) for x in b]
        large, lasting, both, made, freed, fuller, fuller_lasting, fullest, fullest_lasting = _orders(p)

        def falls(order: list[int], *keys: list[int]) -> bool:
            return all(tuple(k[i] for k in keys) >= tuple(k[j] for k in keys) for i, j in pairwise(order))

        assert all(sorted(order) == list(range(len(b))) for order in _orders(p))
        early, late = [-x.first for x in b], [x.last for x in b]
        top = [int(f >= p.bound) for f in full]
        assert falls(large, s, early) and falls(lasting, long, s) and falls(both, [x * y for x, y in zip(s, long, strict=True)], early)
        assert falls(made, early, s) and falls(freed, late, s) and falls(fuller, full, s, early) and falls(fuller_lasting, full, long, s)
        assert falls(fullest, top, s, early) and falls(fullest_lasting, top, long, s)


def test_the_search_ends_where_nothing_is_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound no move is made; above it the work counted ends the search, and the best that was met is returned."""
    looked: list[_Found | None] = []
    move = _Search.moved

    def watched(self: _Search, found: _Found) -> _Found | None:
        looked.append(move(self, found))
        return looked[-1]

    left: list[int] = []
    leave = _Search.elsewhere

    def elsewhere(self: _Search, starts: Iterator[_Found], best: _Found) -> _Found:
        left.append(len(looked))
        return leave(self, starts, best)

    monkeypatch.setattr(_Search, "moved", watched)
    monkeypatch.setattr(_Search, "elsewhere", elsewhere)
    monkeypatch.setattr(first_fit, "WORK", 20_000)
    monkeypatch.setattr(first_fit, "RUNS", 1)
    monkeypatch.setattr(first_fit, "ascending", lambda p, height: None)
    at_bound = above = wandered = 0
    for _, p, _, _ in problems(60):
        looked.clear()
        left.clear()
        starts = [_Search(p).placed(order).height for order in _orders(p)]
        found = greedy(p)
        assert found.height == min([*starts, *(f.height for f in looked if f is not None)])
        at_bound += min(starts) == p.bound and not looked
        above += bool(looked)
        assert min(starts) != p.bound or not looked
        assert all(b - a > first_fit.PATIENCE for a, b in pairwise([0, *left])), "patience first"
        wandered += len(left) > 0
    assert at_bound > 20 and above > 0 and wandered > 0


def test_searches_differ_and_the_lowest_of_them_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Placement from below comes first; where it finds nothing, every run has moves of its own, and stops once the bound is reached."""
    monkeypatch.setattr(first_fit, "WORK", 5_000)
    found: list[tuple[int, _Found]] = []
    run = _Search.run

    def watched(self: _Search, orders: list[_Found], seed: int, patience: int) -> _Found:
        found.append((seed, run(self, orders, seed, patience)))
        return found[-1][1]

    monkeypatch.setattr(_Search, "run", watched)
    below = apart = 0
    for _, p, _, _ in problems(200):
        found.clear()
        from_below = ascending(p, p.bound)
        height = greedy(p).height
        start = min(_Search(p).placed(order).height for order in _orders(p))
        assert not found or from_below is None
        assert height == (p.bound if from_below else min([start, *(f.height for _, f in found)]))
        assert [seed for seed, _ in found] in ([], [0], list(range(first_fit.RUNS)))
        assert len(found) != 1 or height == p.bound
        below += start > p.bound and from_below is not None
        apart += len(found) > 1 and len({tuple(f.offsets) for _, f in found}) > 1
    assert below > 5 and apart > 0


def test_placement_from_below_is_valid_and_seldom_misses_what_is_possible() -> None:
    """It keeps distances, fixed offsets and the height that it was given, and finds nothing where even single steps have no room."""
    missed = alone = 0
    for found, p, _, align in problems(200):
        best, inputs = greedy(p), len(p.fixed) - p.fixed.count(None)
        for height in (p.bound - align, p.bound, best.height, 2 * best.height):
            offsets = ascending(p, height)
            if offsets is None:
                continue
            assert height >= p.bound and len(offsets) == len(found.buffers)
            assert max(o + s for o, s in zip(offsets, p.sizes, strict=True)) <= height
            assert all(f is None or f == o for f, o in zip(p.fixed, offsets, strict=True))
            assert all(o >= 0 and o % align == 0 for o in offsets)
            assert all(clear(p, offsets, i, j) for i, near in enumerate(p.near) for j in near)
        assert ascending(p, p.bound - align) is None
        assert ascending(p, sum(p.sizes)) is not None
        alone += inputs < 2
        missed += inputs < 2 and ascending(p, best.height) is None
    assert alone > 80 and missed < alone / 10, "what takes longer than it may search is rare"


def test_placement_from_below_goes_back_where_a_step_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine orders of first fit and every first choice fail here; going back finds the one arena that reaches the bound."""
    monkeypatch.setattr(first_fit, "RUNS", 0)
    better = 0
    for _, p, _, _ in problems(400):
        start = min(_Search(p).placed(order).height for order in _orders(p))
        taken: list[int] = []
        take = FromBelow.take

        def counted(self: FromBelow, change: Any, take: Any = take, taken: list[int] = taken) -> None:
            taken.append(1)
            take(self, change)

        with monkeypatch.context() as patch:
            patch.setattr(FromBelow, "take", counted)
            better += greedy(p).height == p.bound < start and len(taken) > 0
    assert better > 5


@pytest.mark.parametrize("align", [4, 8])
def test_plans_hold_before_the_checker(align: int) -> None:
    """Drawn graphs with scratch, inputs inside or outside: no value is lost, all is aligned, and a plan says what it is."""
    shared = 0
    for seed in range(150):
        rng = random.Random(seed)
        g = random_graph(rng)
        scratch = {n.name: rng.choice((0, 0, 3, 8)) for n in g.nodes if not n.op.view}
        outside = frozenset(rng.choice(([], ["x"], [g.outputs[0]])))
        plan = plan_memory(g, lambda n, s=scratch: s.get(n.name, 0), outside, align)  # type: ignore[misc]
        check_plan(g, g.nodes, plan.offsets, plan.arena_bytes, lambda n, s=scratch: s.get(n.name, 0))  # type: ignore[misc]
        assert all(offset % align == 0 for offset in plan.offsets.values()) and plan.alignment == align
        assert plan.lower_bound <= plan.arena_bytes and not plan.proved and plan.steps == g.nodes
        totals = [sum(kinds.values()) for kinds in plan.live]
        assert totals[plan.peak_step] == max(totals) == plan.lower_bound and max(totals[: plan.peak_step], default=-1) < max(totals)
        apart = plan_memory(g, lambda n, s=scratch: s.get(n.name, 0), outside, align, sharing=False)  # type: ignore[misc]
        assert apart.lower_bound >= plan.lower_bound
        shared += apart.lower_bound > plan.lower_bound
    assert shared > 10
    nothing = plan_memory(graph({}, [], "", ""), lambda n: 0, frozenset(), align)
    assert (nothing.peak_step, nothing.arena_bytes, nothing.offsets) == (0, 0, {})


def test_a_result_that_the_caller_reads_is_not_overwritten_by_the_last_node() -> None:
    """Logits and the softmax of them, both results in the arena: the softmax, which could work in place, must not."""
    m = Maker("two", (1, 8), 3)
    y = m.dense("input", "logits", 8)
    model = m.finish(m.op(y, "classes", Softmax(), (1, 8), 1 / 256, -128), y)
    assert compile_graph(model, Options(buffers="arena", target="cortex-m0plus"), "0").infer.plan.arena_bytes == 16
    nodes = [node("n0", Apart(), "x", "a"), node("n1", NEXT, "a", "y")]
    assert of(graph({"x": 4, "a": 4, "y": 4}, nodes, "x", "y a")).overlaps == ()


def test_without_a_word_about_sharing_results_share() -> None:
    nodes = [node("n0", Apart(), "x", "a"), node("n1", NEXT, "a", "y")]
    g = graph({"x": 4, "a": 4, "y": 4}, nodes, "x", "y")
    assert lifetimes(g, lambda n: 0, frozenset()) == of(g, sharing=True) != of(g, sharing=False)


def test_the_solver_runs_on_one_thread_with_a_fixed_seed_and_amount_of_work(ortools: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what makes its plans the same everywhere; small problems would not show it."""
    cp_model = importlib.import_module("ortools.sat.python.cp_model")
    made: list[Any] = []
    models: list[Any] = []

    class Watched(cp_model.CpSolver):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        def solve(self, model: Any, *args: Any) -> Any:
            models.append(model.proto)
            return super().solve(model, *args)

    monkeypatch.setattr(cp_model, "CpSolver", Watched)
    buffers = tuple(Buffer([name], size, first, first + 1, {"saved"}) for name, size, first in (("a", 4, 0), ("b", 8, 1), ("c", 4, 2)))
    p = problem(Lifetimes(buffers, ()), 4, 4)
    optimal.optimal(p, first_fit.Placement((0, 8, 0), 16))
    (solver,) = made
    hint = {models[0].variables[i].name: value for i, value in zip(models[0].solution_hint.vars, models[0].solution_hint.values, strict=True)}
    assert hint["height"] == 4 and [hint[f"offset_{i}"] for i in range(3)] == [0, 2, 0]
    assert {name: value for name, value in hint.items() if "before" in name} == {"0_before_1": 1, "1_before_2": 0}, "as the placement has them"
    assert solver.parameters.num_workers == 1 and solver.parameters.random_seed == 0
    assert solver.parameters.max_deterministic_time == optimal.WORK_LIMIT
