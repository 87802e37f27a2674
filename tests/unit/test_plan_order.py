"""The order of nodes, on graphs of operators that say nothing but how they use memory."""

from __future__ import annotations

import random

from plan_graphs import Apart, graph, node, random_graph

from kiloc.plan.lifetimes import lifetimes
from kiloc.plan.order import _State, _Steps, best_order, branches, forward_in_order
from kiloc.plan.problem import total_bytes


def test_bytes_of_each_step_as_the_search_for_an_order_counts_them() -> None:
    """Those of the planner's lifetimes, for drawn graphs with operators in place, of equal and of other sizes, and views."""
    for seed in range(150):
        rng = random.Random(seed)
        g = random_graph(rng)
        scratch = {n.name: rng.choice((0, 0, 3, 8)) for n in g.nodes if not n.op.view}
        outside = frozenset(rng.choice(([], ["x"], [g.outputs[0]])))
        of_node = lambda n, s=scratch: s.get(n.name, 0)  # noqa: E731
        steps = _Steps(g, of_node, outside, 4)
        state, found = _State(0, 0, steps.at_start, -1, None), []
        for i in range(len(g.nodes)):
            state = steps.step(_State(state.done, 0, state.alive, -1, None), i)
            found.append(state.peak)
        assert found == total_bytes(lifetimes(g, of_node, outside), len(g.nodes), 4), seed


def test_whether_another_order_is_possible() -> None:
    assert not branches(graph({"x": 1, "a": 1, "y": 1}, [node("n", Apart(), "x", "a"), node("m", Apart(), "a", "y")], "x", "y"))
    fork = [node("n", Apart(), "x", "a"), node("m", Apart(), "x", "b")]
    assert branches(graph({"x": 1, "a": 1, "b": 1}, fork, "x", "a b"))
    join = [node("n", Apart(), "x", "a"), node("m", Apart(), "z", "b"), node("o", Apart(), "a b", "y")]
    assert branches(graph({"x": 1, "z": 1, "a": 1, "b": 1, "y": 1}, join, "x z", "y"))
    assert not branches(graph({"x": 1, "z": 1, "y": 1}, [node("o", Apart(), "x z", "y")], "x z", "y")), "two inputs are no branches"


def test_state_that_nodes_change_keeps_their_order() -> None:
    """A node that reads what another changes, and one that changes what another reads, stay on their side of it, though memory asks for less."""
    sizes = {"x": 4, "t": 4, "s": 4, "wide": 40, "y": 4, "z": 4, "r": 4}
    for first, second in (("read", "change"), ("change", "read")):
        operators = {"read": ("t s", ""), "change": ("t s", "s")}
        nodes = [
            node("start", Apart(), "x", "t"),
            node("n", Apart(), operators[first][0], "wide", operators[first][1]),
            node("m", Apart(), operators[second][0], "y", operators[second][1]),
            node("o", Apart(), "wide y", "r"),
        ]
        g = graph(sizes, nodes, "x", "r", {"s": "accumulator"})
        scratch = {"m": 20, "n": 8}
        assert [n.name for n in best_order(g, lambda n: scratch.get(n.name, 0), frozenset("s"), 4)] == ["start", "n", "m", "o"]  # noqa: B023
        free = [node(n.name, n.op, {"o": "wide y", "start": "x"}.get(n.name, "t"), n.outputs[0]) for n in nodes]
        other = graph(sizes, free, "x", "r", {"s": "accumulator"})
        assert [n.name for n in best_order(other, lambda n: scratch.get(n.name, 0), frozenset("s"), 4)] == ["start", "m", "n", "o"]  # noqa: B023


def test_training_follows_the_order_of_inference() -> None:
    """What is computed forward beside it comes as soon as its operands are there; backward and updates stay as they are."""
    nodes = [
        node("a", Apart(), "x", "va"),
        node("a.extra", Apart(), "va", "ea"),
        node("b", Apart(), "x", "vb"),
        node("first", Apart(), "x", "f"),
        node("b.extra", Apart(), "vb ea", "eb"),
        node("c", Apart(), "va vb", "y"),
        node("back", Apart(), "y ea", "g", phase="backward"),
        node("step", Apart(), "g", "", phase="update"),
    ]
    sizes = dict.fromkeys(["x", "va", "ea", "vb", "f", "eb", "y", "g"], 4)
    g = graph(sizes, nodes, "x", "y g f eb")
    by_name = {n.name: n for n in nodes}
    turned = forward_in_order(g, [by_name[n] for n in ("b", "a", "c")])
    assert [n.name for n in turned.nodes] == ["first", "b", "a", "a.extra", "b.extra", "c", "back", "step"]
    missing = forward_in_order(g, [by_name["b"], by_name["a"], by_name["c"], node("elsewhere", Apart(), "x", "q")])
    assert [n.name for n in missing.nodes] == [n.name for n in turned.nodes]
