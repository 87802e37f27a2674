"""The checker of plans, rule by rule: a plan that keeps the rule to the byte passes, one byte further it is refused and the place named."""

from __future__ import annotations

import numpy as np
import pytest
from bounded_work import at_most
from plan_graphs import Apart, InPlace, Over, Unreached, View, graph, node

from kiloc.ir.graph import Graph, Node
from kiloc.plan import check_plan
from kiloc.plan.check import PlanError, _may_overwrite
from kiloc.plan.place import plan_memory


def check(g: Graph, offsets: dict[str, int], arena: int, scratch: dict[str, int] | None = None) -> None:
    check_plan(g, g.nodes, offsets, arena, lambda n: (scratch or {}).get(n.name, 0))


def refused(message: str, g: Graph, offsets: dict[str, int], arena: int, scratch: dict[str, int] | None = None) -> None:
    with pytest.raises(PlanError, match=f"^{message}$"):
        check(g, offsets, arena, scratch)


def chain(*sizes: int) -> Graph:
    """x, then a value a node: the results of each node are the operands of the next."""
    names = ["x", *(f"v{i}" for i in range(1, len(sizes)))]
    nodes = [node(f"n{i}", Apart(), names[i - 1], names[i]) for i in range(1, len(sizes))]
    return graph(dict(zip(names, sizes, strict=True)), nodes, "x", names[-1])


def test_a_plan_that_fits_to_the_byte() -> None:
    check(chain(8, 4, 3), {"x": 0, "v1": 8, "v2": 0}, 12)
    check(chain(8, 4, 3), {"x": 4, "v1": 0, "v2": 9}, 12)
    check(chain(8), {"x": 0}, 8)
    check(graph({}, [], "", ""), {}, 0)


@pytest.mark.parametrize(("dtype", "width"), [("int8", 1), ("int16", 2), ("int32", 4), ("float32", 4)])
def test_values_are_aligned_to_their_elements(dtype: str, width: int) -> None:
    g = graph({"x": (1, dtype)}, [], "x", "x")
    for offset in range(9):
        if offset % width == 0:
            check(g, {"x": offset}, 16)
        else:
            refused(f"x at {offset} is not aligned to {width} bytes", g, {"x": offset}, 16)


def test_scratch_is_aligned_to_4_bytes() -> None:
    g = chain(4, 4)
    for offset in range(8, 13):
        offsets = {"x": 0, "v1": 4, "n1 scratch": offset}
        if offset % 4 == 0:
            check(g, offsets, 16, {"n1": 4})
        else:
            refused(f"n1 scratch at {offset} is not aligned to 4 bytes", g, offsets, 20, {"n1": 4})


def test_nothing_leaves_the_arena() -> None:
    """An input, a result, scratch: one byte before the arena, and one behind it."""
    g = chain(8, 4)
    refused("x at -1, 8 bytes, leaves the arena of 12", g, {"x": -1, "v1": 8}, 12)
    refused("v1 at 9, 4 bytes, leaves the arena of 12", g, {"x": 0, "v1": 9}, 12)
    refused("v1 at -4, 4 bytes, leaves the arena of 12", g, {"x": 0, "v1": -4}, 12)
    refused("n1 scratch at 12, 5 bytes, leaves the arena of 16", g, {"x": 0, "v1": 8, "n1 scratch": 12}, 16, {"n1": 5})
    check(g, {"x": 0, "v1": 8, "n1 scratch": 12}, 17, {"n1": 5})


def test_inputs_lie_apart() -> None:
    g = graph({"x": 4, "z": 4, "y": 1}, [node("n", Apart(), "x z", "y")], "x z", "y")
    check(g, {"x": 0, "z": 4, "y": 8}, 9)
    check(g, {"x": 4, "z": 0, "y": 8}, 9)
    refused("the input z lies over another", g, {"x": 0, "z": 3, "y": 8}, 9)
    refused("the input z lies over another", g, {"x": 3, "z": 0, "y": 8}, 9)
    # An input of the caller's takes no bytes, and those behind it are looked at all the same.
    check(g, {"z": 0, "y": 4}, 5)
    three = graph({"x": 4, "z": 4, "w": 4}, [], "x z w", "w")
    refused("the input w lies over another", three, {"z": 0, "w": 2}, 8)


def test_what_is_read_must_still_be_there() -> None:
    """v1 is overwritten by v2 before n3 reads it; the same bytes are fine once it was read for the last time."""
    nodes = [node("n1", Apart(), "x", "v1"), node("n2", Apart(), "x", "v2"), node("n3", Apart(), "v1 v2", "y")]
    g = graph({"x": 4, "v1": 4, "v2": 4, "y": 4}, nodes, "x", "y")
    check(g, {"x": 0, "v1": 4, "v2": 8, "y": 0}, 12)
    refused(r"step 2 n3 reads v1, whose bytes hold \['v2'\]", g, {"x": 0, "v1": 4, "v2": 7, "y": 0}, 12)
    refused(r"step 2 n3 reads v1, whose bytes hold \['v2'\]", g, {"x": 0, "v1": 4, "v2": 4, "y": 0}, 12)
    backwards = Graph(g.name, g.values, (nodes[2], *nodes[:2]), g.inputs, g.outputs)
    refused(r"step 0 n3 reads v1, whose bytes hold \['None'\]", backwards, {"x": 0, "v1": 4, "v2": 8, "y": 12}, 16)


def test_scratch_overwrites_what_waits() -> None:
    waits = graph(
        {"x": 4, "v1": 4, "v2": 4, "y": 4},
        [node("n1", Apart(), "x", "v1"), node("n2", Apart(), "v1", "v2"), node("n3", Apart(), "v2 x", "y")],
        "x",
        "y",
    )
    refused(r"step 2 n3 reads x, whose bytes hold \['n2 scratch'\]", waits, {"x": 0, "v1": 4, "v2": 8, "y": 12, "n2 scratch": 0}, 16, {"n2": 1})
    check(waits, {"x": 0, "v1": 4, "v2": 8, "y": 12, "n2 scratch": 12}, 16, {"n2": 1})


def test_a_node_writes_beside_what_it_reads() -> None:
    """Result and operand side by side in either order; with one byte in common they are refused."""
    g = chain(4, 4)
    check(g, {"x": 4, "v1": 0}, 8)
    check(g, {"x": 0, "v1": 4}, 8)
    for x, y in ((4, 1), (0, 3), (2, 2)):
        refused("step 0 n1 writes v1 over its operand x", g, {"x": x, "v1": y}, 8)
    for x, scratch in ((3, 0), (0, 0)):
        refused("step 0 n1 writes n1 scratch over its operand x", g, {"x": x, "v1": 8, "n1 scratch": scratch}, 16, {"n1": 4})
    check(g, {"x": 4, "v1": 8, "n1 scratch": 0}, 16, {"n1": 4})
    check(g, {"x": 0, "v1": 8, "n1 scratch": 4}, 16, {"n1": 4})


def test_the_results_of_a_node_lie_apart() -> None:
    g = graph({"x": 4, "a": 4, "b": 4}, [node("n", Apart(), "x", "a b")], "x", "a b")
    check(g, {"x": 0, "a": 4, "b": 8}, 12)
    check(g, {"x": 0, "a": 8, "b": 4}, 12)
    refused("step 0 n: two results overlap at b", g, {"x": 0, "a": 4, "b": 7}, 12)
    refused("step 0 n: two results overlap at b", g, {"x": 0, "a": 8, "b": 5}, 12)
    refused("step 0 n: two results overlap at n scratch", g, {"x": 0, "a": 4, "b": 8, "n scratch": 8}, 16, {"n": 1})
    refused("step 0 n: two results overlap at n scratch", g, {"x": 0, "a": 4, "b": 8, "n scratch": 4}, 16, {"n": 1})


def test_in_place_means_the_very_bytes_of_that_operand() -> None:
    g = graph({"x": 4, "y": 4}, [node("n", InPlace(), "x", "y")], "x", "y")
    check(g, {"x": 0, "y": 0}, 4)
    refused("step 0 n writes y over its operand x", g, {"x": 0, "y": 1}, 8)
    shorter = graph({"x": 4, "y": 3}, g.nodes, "x", "y")
    refused("step 0 n writes y over its operand x", shorter, {"x": 0, "y": 0}, 4)
    other = graph({"x": 4, "z": 4, "y": 4}, [node("n", InPlace(), "x z", "y")], "x z", "y")
    refused("step 0 n writes y over its operand x2", other, {"x": 0, "z": 4, "y": 4}, 8)
    check(other, {"x": 0, "z": 4, "y": 0}, 8)
    # Only the first result may, and scratch never.
    second = graph({"x": 4, "y": 4, "z": 4}, [node("n", InPlace(), "x", "z y")], "x", "y z")
    check(second, {"x": 0, "z": 0, "y": 4}, 8)
    refused("step 0 n writes y over its operand x", second, {"x": 0, "z": 4, "y": 0}, 8)
    nothing = graph({"x": 4}, [node("n", InPlace(), "x", "")], "x", "")
    refused("step 0 n writes n scratch over its operand x", nothing, {"x": 0, "n scratch": 0}, 4, {"n": 4})


def test_a_view_has_the_bytes_of_its_operand() -> None:
    """Read under either name, also as the view of a view and as the result; overwritten bytes are refused under every name."""
    nodes = [node("n1", Apart(), "x", "v"), node("n2", View(), "v", "w"), node("n3", View(), "w", "u"), node("n4", Apart(), "x u", "y")]
    g = graph({"x": 4, "v": 4, "w": 4, "u": 4, "y": 4}, nodes, "x", "y u")
    offsets = {"x": 0, "v": 4, "w": 4, "u": 4, "y": 8}
    check(g, offsets, 12)
    refused("step 3 n4 writes y over its operand x2", g, {**offsets, "y": 4}, 12)
    refused("step 2 n3: u at 8 is no view of w", g, {**offsets, "u": 8}, 12)
    # A view that is the caller's has no bytes here.
    check(graph({"x": 4, "v": 4}, [node("n", View(), "x", "v")], "x", "v"), {}, 0)


def test_a_view_of_some_rows_lies_inside_its_operand() -> None:
    """Its bytes are the operand's from its offset on: they may not be overwritten, the others may; and nothing else is a view."""
    nodes = [node("n1", Apart(), "x", "v"), node("n2", View(4), "v", "w"), node("n3", Apart(), "x", "z"), node("n4", Apart(), "w z", "y")]
    g = graph({"x": 4, "v": 8, "w": 4, "z": 4, "y": 4}, nodes, "x", "y")
    offsets = {"x": 0, "v": 4, "w": 8, "z": 4, "y": 12}
    check(g, offsets, 16)
    refused(r"step 3 n4 reads w, whose bytes hold \['z'\]", g, {**offsets, "z": 8}, 16)
    refused("step 1 n2: w at 4 is no view of v", g, {**offsets, "w": 4}, 16)
    found = plan_memory(g, lambda n: 0, frozenset(), 4)
    assert found.offsets["w"] == found.offsets["v"] + 4
    check(g, found.offsets, found.arena_bytes)


def test_a_result_stays_until_the_caller_reads_it() -> None:
    nodes = [node("n1", Apart(), "x", "y"), node("n2", Apart(), "x", "z")]
    g = graph({"x": 4, "y": 4, "z": 4}, nodes, "x", "y z")
    check(g, {"x": 0, "y": 4, "z": 8}, 12)
    refused("the result y is overwritten before the caller reads it", g, {"x": 0, "y": 4, "z": 7}, 12)
    refused("the result y is overwritten before the caller reads it", g, {"x": 0, "y": 4, "z": 4}, 12)
    check(g, {"x": 0, "y": 4}, 8)


def test_constants_take_no_bytes_of_the_arena() -> None:
    g = graph({"w": 4, "x": 4, "y": 4}, [node("n", Apart(), "w x", "y")], "x", "y", {"w": "constant"})
    check(g, {"x": 0, "y": 4}, 8)
    refused("step 0 n writes y over its operand x2", g, {"x": 0, "y": 3}, 8)


# ---- A result over its operand ----


def survives(pieces: tuple[tuple[int, int], ...], size: int, result: int, read: int, operand: int) -> bool:
    """A kernel that reads what a piece needs while it writes it, forwards or, where the result lies above, backwards: all it reads is whole."""
    written: set[int] = set()
    order = range(len(pieces)) if result <= read else reversed(range(len(pieces)))
    for i in order:
        touched = set(range(result + i * size, result + (i + 1) * size))
        needs = {read + b for b in range(*pieces[i]) if b < operand}
        if needs & (written | touched):
            return False
        written |= touched
    return True


def test_what_may_be_overwritten_is_what_a_kernel_does_not_read_again() -> None:
    """Every distance of result and operand, for drawn readings: the rule and a kernel played byte by byte say the same."""
    rng = np.random.default_rng(5)
    seen = {True: 0, False: 0}
    for _ in range(60):
        size, operand = int(rng.integers(1, 4)), int(rng.integers(1, 10))
        pieces = []
        for _ in range(rng.integers(1, 5)):
            first = int(rng.integers(0, operand))
            pieces.append((first, int(rng.integers(first + 1, operand + 1))) if rng.random() < 0.85 else (operand, 0))
        over, result = Over(tuple(pieces), size), size * len(pieces)
        n = node("n", over, "x", "y")
        g = graph({"x": operand, "y": result}, [n], "x", "y")
        for shift in range(-result - 1, operand + 2):
            start = 20 + shift
            allowed = _may_overwrite(g, n, "x", range(start, start + result), range(20, 20 + operand))
            assert allowed == survives(over.pieces, size, start, 20, operand), (pieces, size, shift)
            seen[allowed] += -result < shift < operand
    assert min(seen.values()) > 50


def test_results_of_many_pieces_are_checked_in_bounded_work() -> None:
    """As of an image of a file whose height was damaged: no loop runs over its positions."""
    count = 1_000_000
    over = Over(tuple((i, min(i + 3, count)) for i in range(count)))
    n = node("n", over, "x", "y")
    g = graph({"x": count, "y": count}, [n], "x", "y")
    with at_most(lines=500):
        assert _may_overwrite(g, n, "x", range(1, 1 + count), range(3, 3 + count))


def test_a_result_over_its_operand_in_a_plan() -> None:
    """Each byte of the result needs the byte of the operand at the same place and the next one: one below is near enough."""
    op = Over(((0, 2), (1, 3), (2, 4)))
    g = graph({"x": 4, "y": 3}, [node("n", op, "x", "y")], "x", "y")
    check(g, {"x": 1, "y": 0}, 5)
    refused("step 0 n writes y over its operand x", g, {"x": 1, "y": 1}, 5)
    check(g, {"x": 0, "y": 4}, 7)
    refused("step 0 n writes y over its operand x", g, {"x": 0, "y": 1}, 7)


def test_only_the_operand_that_is_named_may_be_overwritten() -> None:
    op, sizes = Over(((0, 1), (1, 2)), operand="x2"), {"x": 2, "z": 2, "y": 2}
    g = graph(sizes, [node("n", op, "x z", "y")], "x z", "y")
    check(g, {"x": 4, "z": 1, "y": 0}, 6)
    refused("step 0 n writes y over its operand x", g, {"x": 1, "z": 4, "y": 0}, 6)
    # One value under two operands is read as the named one says, and must not be read otherwise: the rule asks for the value.
    both = graph({"x": 2, "y": 2}, [node("n", op, "x x", "y")], "x", "y")
    check(both, {"x": 1, "y": 0}, 3)
    without = graph({"x": 2, "y": 2}, [node("n", Unreached(), "x", "y")], "x", "y")
    refused("step 0 n writes y over its operand x", without, {"x": 1, "y": 0}, 3)


def test_steps_may_run_in_another_order_than_the_graph_has_them() -> None:
    nodes: list[Node] = [node("a", Apart(), "x", "v"), node("b", Apart(), "x", "w"), node("c", Apart(), "v w", "y")]
    g = graph({"x": 4, "v": 4, "w": 4, "y": 4}, nodes, "x", "y")
    offsets = {"x": 0, "v": 4, "w": 8, "y": 0}
    check_plan(g, [nodes[1], nodes[0], nodes[2]], offsets, 12, lambda n: 0)
    with pytest.raises(PlanError, match="step 1 c reads w"):
        check_plan(g, [nodes[0], nodes[2], nodes[1]], {**offsets, "y": 12}, 16, lambda n: 0)
