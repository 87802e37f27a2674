"""Recomputation and stripes change memory and work, never bits; what the search finds holds against trying every set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kiloc import lowering
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.verify import total_macs, verify
from kiloc.lowering.fit import offloads
from kiloc.ops.paging.page import Page
from kiloc.optim import SGD
from kiloc.options import Options, SlowMemory
from kiloc.passes.offload import moved_bytes, offload
from kiloc.passes.postpone import postponed
from kiloc.passes.recompute import AGAIN, recompute, saved_values
from kiloc.passes.row_stripes import in_stripes, stripes_of
from kiloc.passes.simplify import simplify
from kiloc.passes.slices import inference_slice
from kiloc.passes.stripes import STRIPE, chains, striped
from kiloc.peft import BiasOnly, Full, LoRA, Method
from kiloc.pipeline import compile_graph
from kiloc.plan.recompute import MOST_EXACT, pareto
from kiloc.plan.slice import Slice

from .dead_channels import extremes, mobilenet
from .graphs import graphs, inputs_of

pytestmark = pytest.mark.filterwarnings("error", r"ignore:os\.fork\(\) was called:RuntimeWarning")  # another module of the run has jax
quick = settings(
    max_examples=20, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
METHODS: tuple[tuple[Method, ...], ...] = ((BiasOnly(),), (LoRA(rank=1, layers="all"), BiasOnly()), (Full(),))


def training(graph: Graph, methods: tuple[Method, ...], accumulate: int = 1) -> tuple[Graph, Slice]:
    options = Options(methods=methods, optimizer=SGD(lr=0.5), calibration=inputs_of(graph, 4), accumulate=accumulate)
    compiled = compile_graph(simplify(graph), options, "0")
    assert compiled.train is not None
    return compiled.graph, compiled.train


@quick
@given(graphs(), st.sampled_from(METHODS), st.sampled_from((1, 2)), st.booleans(), st.booleans(), st.data())
def test_bits_stay(graph: Graph, methods: tuple[Method, ...], accumulate: int, nested: bool, late: bool, data: st.DataObject) -> None:
    """Loss and state after two samples, whichever values are dropped, also where parameters and branches wait; the plan of the longer step list
    holds."""
    whole, train = training(graph, methods, accumulate)
    saved = saved_values(train.graph)
    dropped = data.draw(st.sets(st.sampled_from(saved))) if saved else set()
    start = postponed(train.graph, dropped) if late else train.graph
    again = verify(recompute(start, dropped, nested))
    lowering.place(again)
    assert two_steps(again, whole, graph) == two_steps(train.graph, whole, graph)
    assert not set(saved_values(again)) & {v for v in dropped if v in again.producers()}


def two_steps(part: Graph, whole: Graph, graph: Graph) -> tuple[list[float], dict[str, bytes]]:
    """Losses of two samples and the state after them."""
    state = interp.initial_state(whole)
    losses = []
    for label in (1, 0):
        feeds: dict[str, Any] = {part.inputs[0]: inputs_of(graph, 1), "label": np.array([label], np.int32)}
        losses.append(float(interp.train_step(part, feeds, state)["loss.value"][0]))
    return losses, {k: v.tobytes() for k, v in state.items()}


@quick
@given(graphs(), st.sampled_from(METHODS), st.sampled_from((1, 2)), st.data())
def test_offloading_keeps_the_bits(graph: Graph, methods: tuple[Method, ...], accumulate: int, data: st.DataObject) -> None:
    """Loss and state after two samples, whichever values are computed again and whichever of the rest wait in slow memory; no more bytes alive."""
    whole, train = training(graph, methods, accumulate)
    saved = saved_values(train.graph)
    fate = {v: data.draw(st.sampled_from(("kept", "dropped", "offloaded"))) for v in saved}
    again = recompute(train.graph, [v for v in saved if fate[v] == "dropped"])
    moved = [v for v in saved if fate[v] == "offloaded"]
    paged = verify(offload(again, moved))
    assert lowering.place(paged).plan.lower_bound <= lowering.place(again).plan.lower_bound
    assert two_steps(paged, whole, graph) == two_steps(train.graph, whole, graph)
    assert moved_bytes(paged) == 2 * sum(paged.type(v).bytes for v in moved)
    reads = {v for n in paged.nodes if n.phase != "forward" for v in n.inputs.values()}
    assert not reads & set(moved), "the arena keeps nothing of them"


@quick
@given(graphs(), st.sampled_from(METHODS), st.floats(0, 1))
def test_no_value_leaves_the_arena_without_need(graph: Graph, methods: tuple[Method, ...], share: float) -> None:
    train = training(graph, methods)[1]
    choices = offloads(train, train.graph)
    least, most = choices.least(), choices.bytes(())
    assert least <= most
    limit = least + int(share * (most - least))
    chosen = choices.choose(limit)
    assert chosen is not None and choices.bytes(chosen) <= limit
    assert all(choices.bytes([v for v in chosen if v != name]) > limit for name in chosen)
    assert choices.choose(least - 1) is None
    found = lowering.offload_least(train, 0).plan
    assert found.lower_bound == least and found.arena_bytes <= train.plan.arena_bytes


@quick
@given(graphs(), st.sampled_from(METHODS), st.sampled_from((1, 2)), st.integers(2, 5), st.data())
def test_parts_in_stripes_of_rows_keep_the_bits(graph: Graph, methods: tuple[Method, ...], accumulate: int, count: int, data: st.DataObject) -> None:
    """Loss and state after two samples, whichever parts of a training step run by rows, and whatever is computed again on top."""
    whole, train = training(graph, methods, accumulate)
    cut = train.graph
    for phase in ("forward", "backward"):
        possible = [n.name for n in cut.nodes if n.phase == phase and stripes_of(cut, n) >= count]
        if len(possible) < 2:
            continue
        first = data.draw(st.integers(0, len(possible) - 2))
        end = data.draw(st.integers(first + 2, len(possible)))
        cut = in_stripes(cut, possible[first:end], count) or cut
        event(f"{phase}: {'striped' if STRIPE in ''.join(n.name for n in cut.phase(phase)) else 'whole'}")
    assert total_macs(cut) <= total_macs(train.graph)
    again = verify(recompute(verify(cut), data.draw(st.sets(st.sampled_from(saved))) if (saved := saved_values(cut)) else set()))
    lowering.place(again)
    assert two_steps(again, whole, graph) == two_steps(train.graph, whole, graph)


@quick
@given(graphs(), st.sampled_from(METHODS), st.integers(2, 5), st.data())
def test_stripes_keep_the_bits(graph: Graph, methods: tuple[Method, ...], count: int, data: st.DataObject) -> None:
    """Inference and training with a part of a chain in stripes; the plan of the longer step list holds."""
    whole, train = training(graph, methods)
    infer = inference_slice(whole)
    for part in (infer, train.graph):
        runs = [r for r in chains(part) if part.type(r[-1].outputs[0]).shape[1] > 1]
        if not runs:
            continue
        run = data.draw(st.sampled_from(runs))
        first = data.draw(st.integers(0, len(run) - 2))
        cut = verify(striped(part, run[first:], min(count, part.type(run[-1].outputs[0]).shape[1])))
        lowering.place(cut)
        feeds: dict[str, Any] = {part.inputs[0]: inputs_of(graph, 1)}
        if part is infer:
            feeds[part.inputs[0]] = inputs_of(graph, 5)
            assert np.array_equal(*(interp.run(g, feeds, interp.initial_state(whole))[part.outputs[0]] for g in (part, cut)))
            continue
        feeds["label"] = np.array([1], np.int32)
        states = []
        for g in (part, cut):
            states.append(interp.initial_state(whole))
            interp.train_step(g, feeds, states[-1])
        assert all(np.array_equal(states[0][k], states[1][k]) for k in states[0])


@quick
@given(graphs(), st.sampled_from(METHODS))
def test_greedy_choices_beside_every_set(graph: Graph, methods: tuple[Method, ...]) -> None:
    """The front over every set is what `choose` returns; the greedy search finds what one value achieves, and nothing cheaper than there is."""
    _, train = training(graph, methods)
    possible = lowering.recomputations(train.graph)
    if len(possible.candidates) > MOST_EXACT - 2:
        return
    exact = possible.exact()
    assert exact[0].macs == 0 and pareto(exact) == exact
    for point in exact:
        assert possible.choose(point.bytes) == point
        found = possible.greedy(point.bytes)
        if len(point.dropped) <= 1:
            assert found is not None and found.macs == point.macs
        assert found is None or (found.bytes <= point.bytes and found.macs >= point.macs)
    assert possible.choose(exact[-1].bytes - 1) is None and possible.least() == exact[-1]


def test_some_values_wait_in_slow_memory_and_others_are_computed_again() -> None:
    """Where both together cost less than each alone, a budget is met with both, and every bit stays."""
    graph = mobilenet()
    options: dict[str, Any] = {"methods": (LoRA(rank=2, layers="all"),), "calibration": extremes(graph, 4), "optimizer": SGD(lr=0.1)}
    usual = compile_graph(graph, Options(**options), "0")
    assert usual.train is not None
    ram = usual.context.state_bytes + usual.train.plan.arena_bytes * 9 // 10
    c = compile_graph(graph, Options(**options, ram=ram, offload="activations", slow=SlowMemory(cost=4)), "0")
    assert c.train is not None
    pages = sum(isinstance(node.op, Page) for node in c.train.graph.nodes)
    assert pages and any(AGAIN.search(node.name) for node in c.train.graph.nodes)
    states = [interp.initial_state(usual.graph) for _ in range(2)]
    sample = {"input": extremes(graph, 1)[:1], "label": np.array([1], np.int32)}
    losses = [interp.train_step(part, sample, state)["loss.value"] for part, state in zip((usual.train.graph, c.train.graph), states, strict=True)]
    assert losses[0] == losses[1] and all(np.array_equal(states[0][k], states[1][k]) for k in states[0])


def test_what_waits_in_slow_memory_is_not_computed_again_in_slices() -> None:
    """A step in slices whose long kernels are cut is fitted a second time, when values wait in slow memory already."""
    c = compile_graph(mobilenet(), Options(methods=(BiasOnly(),), slice_instructions=20_000, offload="all", ram=3048), "0")
    assert c.train is not None and c.context.sliced
    waiting = {v.name for v in c.train.graph.values.values() if v.kind == "offloaded"}
    assert waiting and not any(AGAIN.search(n.name) and waiting & set(n.outputs) for n in c.train.graph.nodes)
