"""Lifetimes of buffers, and how near two of them may lie, on graphs of operators that say nothing but how they use memory."""

from __future__ import annotations

from plan_graphs import NEXT, Apart, InPlace, Over, Unreached, View, graph, node, of

from kiloc.ir.graph import Node
from kiloc.plan.lifetimes import Lifetimes, scratch_name


def table(found: Lifetimes) -> list[tuple[str, int, int, int]]:
    """values, size, first and last step of each buffer."""
    return [(" ".join(b.values), b.size, b.first, b.last) for b in found.buffers]


def test_a_value_lives_from_the_step_that_makes_it_to_the_last_that_reads_it() -> None:
    nodes = [
        node("n0", Apart(), "x w", "a"),
        node("n1", Apart(), "a", "b lost"),
        node("n2", Apart(), "a b", "c"),
        node("n3", Apart(), "c", "y"),
    ]
    g = graph({"x": 8, "w": 4, "a": 6, "b": 2, "lost": 3, "c": 1, "y": 7}, nodes, "x", "y b", {"w": "constant", "b": "saved"})
    found = of(g, {"n1": 5, "n3": 9}, outside="w")
    assert table(found) == [
        ("x", 8, 0, 0),
        ("a", 6, 0, 2),
        ("b", 2, 1, 3),
        ("lost", 3, 1, 1),
        ("n1 scratch", 5, 1, 1),
        ("c", 1, 2, 3),
        ("y", 7, 3, 3),
        ("n3 scratch", 9, 3, 3),
    ]
    assert [b.pinned for b in found.buffers] == [True] + [False] * 7
    assert [sorted(b.kinds) for b in found.buffers] == [["activation"]] * 2 + [
        ["saved"],
        ["activation"],
        ["scratch"],
        ["activation"],
        ["activation"],
        ["scratch"],
    ]
    assert scratch_name(nodes[1]) == "n1 scratch"
    assert table(of(g, outside="w x y"))[0] == ("a", 6, 0, 2) and len(table(of(g, outside="w x y"))) == 4
    assert table(of(graph({"x": 4}, [], "x", ""))) == [("x", 4, 0, 0)], "an input that nobody reads has a place all the same"


def test_what_waits_in_slow_memory_has_no_buffer() -> None:
    nodes = [node("n0", Apart(), "x", "a"), node("out", Apart(), "a", "slow"), node("in", Apart(), "slow", "b"), node("n1", Apart(), "b", "y")]
    g = graph({"x": 4, "a": 4, "slow": 4, "b": 4, "y": 4}, nodes, "x", "y", {"slow": "offloaded"})
    assert table(of(g)) == [("x", 4, 0, 0), ("a", 4, 0, 1), ("b", 4, 2, 3), ("y", 4, 3, 3)]


def test_a_view_prolongs_the_life_of_what_it_shows() -> None:
    nodes = [
        node("n0", Apart(), "x", "a"),
        node("n1", View(), "a", "v"),
        node("n2", View(), "v", "u"),
        node("n3", Apart(), "x", "b"),
        node("n4", Apart(), "u b", "y"),
    ]
    g = graph({"x": 4, "a": 6, "v": 6, "u": 6, "b": 4, "y": 4}, nodes, "x", "y", {"u": "saved"})
    for sharing in (True, False):
        assert table(of(g, sharing=sharing))[:2] == [("x", 4, 0, 3), ("a v u", 6, 0, 4)]
    assert of(g).buffers[1].kinds == {"activation", "saved"}
    # The view of a buffer of the caller's is the caller's, and so is what is shown of that.
    assert table(of(g, outside="a")) == [("x", 4, 0, 3), ("b", 4, 3, 4), ("y", 4, 4, 4)]
    constant = graph({"w": 4, "v": 4, "x": 4, "y": 4}, [node("n0", View(), "w", "v"), node("n1", Apart(), "x v", "y")], "x", "y", {"w": "constant"})
    assert ("v", 4) not in [row[:2] for row in table(of(constant, outside="w"))]


def test_a_result_in_place_of_an_operand_that_dies() -> None:
    def rows(nodes: list[Node], outputs: str = "y", sizes: dict[str, int] | None = None, **options: bool) -> list[str]:
        usual = {"x": 4, "a": 4, "b": 4, "y": 4, "z": 4}
        return [row[0] for row in table(of(graph({**usual, **(sizes or {})}, nodes, "x", outputs), **options))]

    first, then = node("n0", Apart(), "x", "a"), node("n1", InPlace(), "a", "y")
    assert rows([first, then]) == ["x", "a y"]
    assert rows([first, then], sharing=False) == ["x", "a", "y"]
    assert rows([first, then], "y a") == ["x", "a", "y"], "it is a result and lives on"
    assert rows([first, then, node("n2", Apart(), "a", "b")]) == ["x", "a", "y", "b"], "it is read later"
    assert rows([first, then], sizes={"y": 3}) == rows([first, then], sizes={"y": 5}) == ["x", "a", "y"], "another size"
    assert rows([first, node("n1", InPlace(), "a a", "y")]) == ["x", "a", "y"], "it is read by another operand too"
    assert rows([first, node("n1", InPlace(), "a x", "y")]) == ["x", "a y"]
    assert rows([first, node("n1", InPlace(), {"other": "a"}, "y")]) == ["x", "a", "y"], "the operand that it may replace is not there"
    assert rows([first, node("n1", InPlace(), "a", "y z")]) == ["x", "a y", "z"], "the second result lies apart"
    assert rows([first, node("n1", InPlace(), "a", "y"), node("n2", InPlace(), "y", "b")], "b") == ["x", "a y b"]
    viewed = [first, node("v", View(), "a", "b"), node("n1", InPlace(), "a b", "y")]
    assert rows(viewed) == ["x", "a b", "y"], "the other operand shows the same bytes"


def test_how_near_a_result_may_come_to_an_operand_that_dies() -> None:
    def overlaps(nodes: list[Node], outputs: str = "y", outside: str = "", sharing: bool = True) -> list[tuple[str, str, int, int]]:
        found = of(graph({"x": 4, "a": 4, "b": 4, "y": 4}, nodes, "x", outputs), outside=outside, sharing=sharing)
        return [(" ".join(found.buffers[o.result].values), " ".join(found.buffers[o.operand].values), o.below, o.above) for o in found.overlaps]

    first, then = node("n0", Apart(), "x", "a"), node("n1", NEXT, "a", "y")
    below, above = NEXT.reach(None)[1].distances(4, 4)  # type: ignore[index, arg-type]
    assert overlaps([first, then]) == [("y", "a", below, above)] and (below, above) == (1, 2)
    assert overlaps([first, then], sharing=False) == []
    assert overlaps([first, then], "y a") == [], "it does not die"
    assert overlaps([first, then], outside="a") == overlaps([first, then], outside="y") == []
    assert overlaps([first, node("n1", NEXT, "a a", "y")]) == [("y", "a", below, above)], "the same value twice is read as the rule says"
    assert overlaps([first, node("v", View(), "a", "b"), node("n1", NEXT, "a b", "y")]) == [], "but not under another name"
    assert overlaps([first, node("n1", NEXT, "a x", "y")]) == [("y", "a", below, above)]
    assert overlaps([first, node("n1", Over(NEXT.pieces, operand="x2"), "x a", "y")]) == [("y", "a", below, above)]
    assert overlaps([first, node("n1", Unreached(), "a", "y")]) == [] and overlaps([first, node("n1", Apart(), "a", "y")]) == []
    assert overlaps([first, node("n1", NEXT, "a", "")], "") == [] and overlaps([first, then, node("n2", NEXT, "y", "b")], "b") == [
        ("y", "a", below, above),
        ("b", "y", below, above),
    ]
    older = [node("n0", Apart(), "x", "a"), node("n1", View(), "a", "b"), node("n2", NEXT, "x", "y")]
    assert overlaps(older) == [("y", "x", below, above)]
