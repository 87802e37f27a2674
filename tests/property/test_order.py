"""The order of nodes against every order there is: never more bytes alive than in the best one, the same bits in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gradients.graphs import Maker
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import kilotune as kt
from kiloc import lowering
from kiloc.ir import interp
from kiloc.ir.graph import Graph, Node
from kiloc.ir.types import activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.requantize import Requantize
from kiloc.optim import SGD
from kiloc.options import Options
from kiloc.passes.simplify import simplify
from kiloc.passes.slices import inference_slice, training_slice
from kiloc.peft import BiasOnly, LoRA
from kiloc.pipeline import compile_graph
from kiloc.plan.lifetimes import lifetimes
from kiloc.plan.order import _State, _Steps, best_order, branches, forward_in_order
from kiloc.plan.problem import total_bytes
from kiloc.plan.slice import caller_buffers, scratch_bytes

from .graphs import graphs, inputs_of

quick = settings(
    max_examples=80, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
MOST = 300
"""Orders of one graph that are tried."""


def profile(part: Graph, nodes: tuple[Node, ...], align: int = 4) -> list[int]:
    """Bytes alive at each step of this order, by the planner's lifetimes."""
    ordered = part.with_nodes(nodes)
    return total_bytes(lifetimes(ordered, lambda n: scratch_bytes(part, n), frozenset(caller_buffers(part))), len(nodes), align)


def best(part: Graph, width: int = 256) -> tuple[Node, ...]:
    return best_order(part, lambda n: scratch_bytes(part, n), frozenset(caller_buffers(part)), 4, width)


def orders(part: Graph) -> Iterator[tuple[Node, ...]]:
    """Every order in which each node follows what makes its operands."""

    def further(done: list[Node], left: list[Node], made: set[str]) -> Iterator[tuple[Node, ...]]:
        if not left:
            yield tuple(done)
        for node in left:
            if made.issuperset(node.inputs.values()):
                yield from further([*done, node], [n for n in left if n is not node], made | set(node.outputs))

    made = {v for node in part.nodes for v in node.outputs}
    yield from further([], list(part.nodes), set(part.values) - made)


def first_of(part: Graph) -> list[tuple[Node, ...]]:
    found = []
    for nodes in orders(part):
        found.append(nodes)
        assume(len(found) <= MOST)
    return found


@st.composite
def forked(draw: st.DrawFn, several: bool = False) -> Graph:
    """Branches of different width and depth from one image, added up. several: perhaps a branch is a result too."""
    m = Maker("forked", (1, 4, 4, 2), draw(st.integers(0, 99)))
    ends = []
    branches = draw(st.integers(2, 3))
    for branch in range(branches):
        y = "input"
        for depth in range(draw(st.integers(1, 4 - branches))):
            size = draw(st.sampled_from((1, 1, 3)))
            pad = (size // 2,) * 4
            y = m.conv(y, f"layer_{branch}_{depth}", draw(st.sampled_from((1, 4, 9))), Window((size, size), (1, 1), pad))
        ends.append(m.conv(y, f"end_{branch}", 3, Window((1, 1), (1, 1), (0, 0, 0, 0))))
    y = ends[0]
    for i, other in enumerate(ends[1:]):
        y = m.b.node(f"sum_{i}", Add(), {"x": y, "other": other}, activation((1, 4, 4, 3), 0.05, 0), f"sum {i}")
    y = m.dense(y, "head", 3)
    return verify(m.b.finish([y, ends[-1]])) if several and draw(st.booleans()) else m.finish(y)


@quick
@given(st.one_of(graphs(), forked(several=True)), st.sampled_from(("caller", "arena")))
def test_the_best_of_every_order(graph: Graph, buffers: str) -> None:
    part = inference_slice(simplify(graph), buffers)
    every = first_of(part)
    found = best(part)
    assert found in every
    least = min(max(profile(part, nodes), default=0) for nodes in every)
    assert max(profile(part, found), default=0) == least
    if max(profile(part, part.nodes), default=0) == least:
        assert found == part.nodes, "the given order stays where no other is better"
    assert branches(part) or len(every) == 1
    narrow = best(part, width=1)
    assert narrow in every and max(profile(part, narrow), default=0) <= max(profile(part, part.nodes), default=0)


@quick
@given(st.one_of(graphs(), forked(several=True)), st.sampled_from(("caller", "arena")), st.sampled_from((4, 8)), st.data())
def test_bytes_of_a_step_are_those_of_the_planner(graph: Graph, buffers: str, align: int, data: st.DataObject) -> None:
    part = inference_slice(simplify(graph), buffers)
    nodes = data.draw(st.sampled_from(first_of(part)))
    steps = _Steps(part, lambda n: scratch_bytes(part, n), frozenset(caller_buffers(part)), align)
    state, found = _State(0, 0, steps.at_start, -1, None), []
    for node in nodes:
        alone = steps.step(_State(state.done, 0, state.alive, -1, None), part.nodes.index(node))
        found.append(alone.peak)
        state = alone
    assert found == profile(part, nodes, align)


def wide_first() -> Graph:
    """Two branches in the worse order: the wide one's result waits while the other branch is at its widest."""
    m = Maker("wide", (1, 8, 8, 1), 5)
    b = m.b
    one = Window((1, 1), (1, 1), (0, 0, 0, 0))
    small = m.conv("input", "small", 4, one)
    stem = m.conv("input", "stem", 16, one)
    down = m.conv(stem, "down", 4, one)
    y = b.node("sum", Add(), {"x": small, "other": down}, activation((1, 8, 8, 4), 0.05, 0), "sum")
    y = b.node("again", Requantize("relu"), {"x": y}, activation((1, 8, 8, 4), 0.05, -128), "again")
    return m.finish(m.dense(y, "head", 3))


def test_a_build_runs_the_better_order_with_the_same_bits() -> None:
    graph = wide_first()
    given_order, found = inference_slice(graph), lowering.order_inference(graph, "cortex-m55", "caller")
    assert [n.name for n in found.nodes][:3] == ["stem", "down", "small"] != [n.name for n in given_order.nodes][:3]
    before, after = (lowering.place(part).plan.arena_bytes for part in (given_order, found))
    assert after <= before - 4 * 64
    x = inputs_of(graph, 6)
    assert np.array_equal(interp.infer(found, x)[0], interp.infer(given_order, x)[0])
    c = compile_graph(graph, Options(methods=(kt.BiasOnly(),), target="cortex-m55"), "0")
    assert [n.name for n in c.infer.graph.nodes] == [n.name for n in found.nodes]
    assert c.infer.plan.arena_bytes == -(-after // 8) * 8, "Helium's kernels ask for places of whole eights"


@settings(quick, max_examples=10)
@given(forked(), st.sampled_from(((BiasOnly(),), (LoRA(rank=1, layers="all"), BiasOnly()))), st.sampled_from((1, 2)))
def test_training_in_any_order_has_the_same_bits(graph: Graph, methods: Any, accumulate: int) -> None:
    """Forward in an order of inference's nodes: loss and state stay, and `budget.training` takes no more bytes than the given order."""
    options = Options(methods=methods, optimizer=SGD(lr=0.5), calibration=inputs_of(graph, 4), accumulate=accumulate, target="cortex-m0plus")
    whole = compile_graph(simplify(graph), options, "0").graph
    part = training_slice(whole)
    turned = first_of(inference_slice(whole))[-1]
    results = []
    for other in (part, verify(forward_in_order(part, turned)), verify(lowering.order_training(whole, "cortex-m0plus", "caller"))):
        assert sorted(n.name for n in other.nodes) == sorted(n.name for n in part.nodes)
        state, losses = interp.initial_state(whole), []
        for label in (1, 0):
            feeds: dict[str, Any] = {part.inputs[0]: inputs_of(graph, 1), "label": np.array([label], np.int32)}
            losses.append(float(interp.train_step(other, feeds, state)["loss.value"][0]))
        results.append((losses, {k: v.tobytes() for k, v in state.items()}, max(profile(other, other.nodes))))
    assert results[0][:2] == results[1][:2] == results[2][:2] and results[2][2] <= results[0][2]


def test_the_order_of_a_real_model_is_found_again(data_dir: Any) -> None:
    """Deterministic, and no worse than the file's."""
    graph = kt.load(data_dir / "models" / "ic_resnet8_int8.tflite").graph
    found = [lowering.order_inference(graph, "cortex-m4", "caller").nodes for _ in range(2)]
    assert found[0] == found[1]
    part = inference_slice(graph)
    assert max(profile(part, found[0])) <= max(profile(part, part.nodes))
