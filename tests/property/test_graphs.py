"""Random small graphs through the whole compiler: they compile, plans hold, faults in plans are found, both written forms read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kiloc.errors import CompileError
from kiloc.export import tflite as writer
from kiloc.frontend import tflite as reader
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.text import parse_graph, print_graph
from kiloc.ir.verify import verify
from kiloc.optim import SGD
from kiloc.options import Options
from kiloc.passes.simplify import simplify
from kiloc.peft import BiasOnly, Head, LoRA, Method
from kiloc.pipeline import Compilation, compile_graph
from kiloc.plan import check_plan
from kiloc.plan.check import PlanError
from kiloc.plan.slice import Slice, caller_buffers, scratch_bytes

from .graphs import graphs, inputs_of

pytestmark = pytest.mark.filterwarnings("error", r"ignore:os\.fork\(\) was called:RuntimeWarning")  # another module of the run has jax

quick = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip

METHODS: tuple[tuple[Method, ...], ...] = (
    (BiasOnly(),),
    (BiasOnly("last:2"),),
    (Head(),),
    (LoRA(rank=1, layers="all"),),
    (LoRA(rank=1, layers="last:1"), BiasOnly()),
    (BiasOnly(), Head()),
)
methods = st.sampled_from(METHODS)


def compiled(graph: Graph, chosen: tuple[Method, ...]) -> Compilation:
    return compile_graph(simplify(graph), Options(methods=chosen, optimizer=SGD(momentum=0.9), calibration=inputs_of(graph, 4)), "0")


def slices(c: Compilation) -> Iterator[Slice]:
    yield c.infer
    if c.train is not None:
        yield c.train


def check(part: Slice, offsets: dict[str, int], arena_bytes: int = 0) -> None:
    """The steps as they are emitted, with the scratch of their kernels, in the arena of the plan or a larger one."""
    steps = part.kernels
    check_plan(steps, steps.nodes, offsets, max(part.plan.arena_bytes, arena_bytes), lambda node: scratch_bytes(steps, node))


# -- compiling ----------------------------------------------------------------------------------------
@quick
@given(graphs(), methods)
def test_graphs_compile_and_plans_hold(graph: Graph, chosen: tuple[Method, ...]) -> None:
    c = compiled(graph, chosen)
    verify(c.graph)
    for part in slices(c):
        check(part, part.plan.offsets)
        assert part.plan.lower_bound <= part.plan.arena_bytes
        inside = {n for node in part.graph.nodes for n in node.outputs} - set(caller_buffers(part.graph))
        views = {n.outputs[0] for n in part.graph.nodes if n.op.view}
        assert inside - views <= set(part.plan.offsets)
    assert c.files[f"{graph.name}.c"].count("{") == c.files[f"{graph.name}.c"].count("}")


@quick
@given(graphs(), methods)
def test_training_starts_at_the_base_model(graph: Graph, chosen: tuple[Method, ...]) -> None:
    """Fresh trainable values change nothing: the first inference is the base model's, bit for bit."""
    x = inputs_of(graph)
    c = compiled(graph, chosen)
    before = interp.infer(graph, x)[0]
    assert np.array_equal(interp.infer(c.infer.graph, x, state=interp.initial_state(c.graph))[0], before)
    assert np.array_equal(interp.infer(simplify(graph), x)[0], before)


@quick
@given(graphs(), methods)
def test_a_training_step_runs(graph: Graph, chosen: tuple[Method, ...]) -> None:
    """One sample and one update in the interpreter: finite loss, accumulators back at zero, the same again from the same state."""
    c = compiled(graph, chosen)
    feeds: dict[str, Any] = {c.graph.inputs[0]: inputs_of(graph, 1), "label": np.array([1], np.int32)}

    def step() -> tuple[float, dict[str, bytes]]:
        state = interp.initial_state(c.graph)
        arrays = interp.train_step(c.graph, feeds, state)
        interp.apply(c.graph, state)
        for value in c.graph.state():
            assert value.kind != "accumulator" or not state[value.name].any(), value.name
        return float(arrays["loss.value"][0]), {k: v.tobytes() for k, v in state.items()}

    loss, state = step()
    assert np.isfinite(loss) and loss >= 0
    assert step() == (loss, state)


# -- the checker --------------------------------------------------------------------------------------
@quick
@given(graphs(), methods, st.data())
def test_a_planted_overlap_is_refused(graph: Graph, chosen: tuple[Method, ...], data: st.DataObject) -> None:
    """Two buffers that live at the same time, moved onto each other: the independent checker must see it."""
    part = data.draw(st.sampled_from(list(slices(compiled(graph, chosen)))))
    found = part.plan.buffers
    pairs = [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a.first < b.first <= a.last]
    assume(pairs)
    first, second = data.draw(st.sampled_from(pairs))
    target = part.plan.offsets[first.values[0]]
    with pytest.raises(PlanError):
        check(part, {**part.plan.offsets, **dict.fromkeys(second.values, target)}, target + second.size)


@quick
@given(graphs(), methods, st.data())
def test_inputs_and_results_in_the_arena(graph: Graph, chosen: tuple[Method, ...], data: st.DataObject) -> None:
    """The input is where both slices read it, alive from the start, the result until the end; who else takes its bytes is refused."""
    c = compile_graph(simplify(graph), Options(methods=chosen, buffers="arena", calibration=inputs_of(graph, 4)), "0")
    name, result = c.infer.graph.inputs[0], c.infer.graph.outputs[0]
    assert result in c.infer.plan.offsets and c.context.offsets == {"input": 0, "output": c.infer.plan.offsets[result]}
    for part in slices(c):
        check(part, part.plan.offsets)
        assert part.plan.offsets[name] == 0 and parse_graph(print_graph(part.graph)) == part.graph
    last = next(b for b in c.infer.plan.buffers if result in b.values)
    assert last.last == len(c.infer.graph.nodes) - 1
    part = data.draw(st.sampled_from(list(slices(c))))
    (first,) = (b for b in part.plan.buffers if name in b.values)
    others = [b for b in part.plan.buffers if b is not first and b.first < first.last]
    assume(others)
    moved = data.draw(st.sampled_from(others))
    with pytest.raises(PlanError):
        check(part, {**part.plan.offsets, **dict.fromkeys(moved.values, part.plan.offsets[name])})


@quick
@given(graphs(), methods, st.data())
def test_a_buffer_outside_the_arena_is_refused(graph: Graph, chosen: tuple[Method, ...], data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(list(slices(compiled(graph, chosen)))))
    assume(part.plan.buffers)
    buffer = data.draw(st.sampled_from(part.plan.buffers))
    outside = data.draw(st.sampled_from((-1, part.plan.arena_bytes - buffer.size + 1)))
    with pytest.raises(PlanError):
        check(part, {**part.plan.offsets, **dict.fromkeys(buffer.values, outside)})


# -- written forms ------------------------------------------------------------------------------------
@quick
@given(graphs(), methods)
def test_text_round_trips(graph: Graph, chosen: tuple[Method, ...]) -> None:
    c = compiled(graph, chosen)
    for g in (graph, c.graph, *(part.graph for part in slices(c))):
        assert parse_graph(print_graph(g)) == g


@quick
@given(graphs())
def test_written_model_round_trips(graph: Graph) -> None:
    data = writer.write(graph)
    again = verify(reader.load(data, graph.name, graph.origin))
    assert [again.type(n.outputs[0]) for n in again.nodes] == [graph.type(n.outputs[0]) for n in graph.nodes]
    x = inputs_of(graph)
    assert np.array_equal(interp.infer(again, x)[0], interp.infer(graph, x)[0])
    assert writer.write(graph) == data


@quick
@given(graphs())
def test_written_model_equals_tflm(graph: Graph) -> None:
    """Several operators in a row, with forks, in the reference interpreter."""
    runtime = pytest.importorskip("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_bytes(writer.write(graph), arena_size=1 << 18)
    x = inputs_of(graph)
    expected = interp.infer(graph, x)[0]
    for row in range(len(x)):
        interpreter.set_input(x[row : row + 1], 0)
        interpreter.invoke()
        assert np.array_equal(interpreter.get_output(0), expected[row : row + 1])


# -- the writer's refusals ----------------------------------------------------------------------------
@settings(quick, max_examples=10)
@given(graphs(largest=2), methods)
def test_training_graphs_are_not_written(graph: Graph, chosen: tuple[Method, ...]) -> None:
    c = compiled(graph, chosen)
    for g in (c.graph, c.infer.graph):
        with pytest.raises(CompileError):
            writer.write(g)


def test_uneven_average_pool_is_not_written(tmp_path: Path) -> None:
    from kiloc.frontend.build import GraphBuilder
    from kiloc.ir.types import activation
    from kiloc.ops._window import Window
    from kiloc.ops.model.average_pool_2d import AveragePool2D

    b = GraphBuilder("g", "g.onnx")
    window = Window((2, 2), (1, 1), (1, 1, 0, 0))
    x = b.input(activation((1, 3, 3, 1), 0.5, 0), "x")
    graph = b.finish([b.node("pool", AveragePool2D(window), {"x": x}, activation((1, 3, 3, 1), 0.5, 0), "pool")])
    with pytest.raises(CompileError, match="neither SAME nor VALID"):
        writer.write(graph)
    with pytest.raises(CompileError):
        writer.write(replace(graph, outputs=("nowhere",)))
