"""Operators of all kinds mixed: files read back, every interpreter and the C agree, whatever the planner is asked for.

KILOTUNE_EXAMPLES asks for another number of graphs than the few of a usual run.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_files import FileOperator, FileTensor, build

import kilotune as kt
from kiloc.emit.state_layout import state_layout
from kiloc.errors import CompileError
from kiloc.export import onnx as onnx_writer
from kiloc.export import tflite as writer
from kiloc.frontend import onnx as onnx_reader
from kiloc.frontend import tflite as reader
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph, Node
from kiloc.ir.text import parse_graph, print_graph
from kiloc.ir.types import Quantization, activation
from kiloc.ir.verify import verify
from kiloc.ops.model.add import Add
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.keep import Keep
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.relabel import Relabel
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.squared_difference import SquaredDifference
from kiloc.ops.model.tanh import Tanh
from kiloc.options import Options
from kiloc.passes.simplify import simplify
from kiloc.peft import Method
from kiloc.pipeline import Compilation, compile_graph

from .mixtures import ELSEWHERE, TABLES, inputs_of, mixture

pytestmark = pytest.mark.filterwarnings("error", r"ignore:os\.fork\(\) was called:RuntimeWarning")  # another module of the run has jax

FEW = 24
COUNT = int(os.environ.get("KILOTUNE_EXAMPLES", FEW))
IN_C = max(3, COUNT // 8)
"""Graphs whose C is compiled and run under sanitizers."""
METHODS: tuple[list[Method], ...] = (
    [kt.BiasOnly()], [kt.LoRA(rank=2, layers="all")], [kt.ScaleShift()], [kt.Full()], [kt.SparseUpdate()], [kt.BottleneckAdapter()], [kt.Head()],
)  # fmt: skip
WHERE_LAID: tuple[dict[str, Any], ...] = (
    {"target": "cortex-m4"},
    {"target": "cortex-m55", "buffers": "arena"},
    {"target": "cortex-m0plus", "offload": "all", "backward_weights": "shared"},
    {"target": "cortex-m7", "speed": True, "storage": "block8", "accumulate": 2},
)


def equal(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    return len(ours) == len(theirs) and all(np.array_equal(a.reshape(-1), b.reshape(-1)) for a, b in zip(ours, theirs, strict=True))


# -- files --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(COUNT))
def test_written_and_run_by_tflm(seed: int) -> None:
    """NumPy, TensorFlow Lite Micro and both written forms, of any number of inputs and results; every second graph has parts in int16."""
    runtime = pytest.importorskip("tflite_micro").runtime
    graph = mixture(seed, 12, wide=seed % 2 == 1)
    inputs = inputs_of(graph)
    ours, data = interp.infer(graph, *inputs), writer.write(graph)
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=1 << 20)
    for row in range(len(inputs[0])):
        for i, x in enumerate(inputs):
            interpreter.set_input(x[row : row + 1], i)
        interpreter.invoke()
        assert equal([y[row] for y in ours], [interpreter.get_output(i) for i in range(len(ours))])
    again = verify(reader.load(data, graph.name, graph.origin))
    assert equal(ours, interp.infer(again, *inputs)) and equal(ours, interp.infer(simplify(again), *inputs))
    assert parse_graph(print_graph(graph)) == graph


REFUSED_AS_ONNX = (
    "of type int16", "gives codes another scale", "is a constant where an activation is expected", "has an input of shape", "has weights from",
)  # fmt: skip
"""What .onnx files cannot say, or what is not read from them."""


@pytest.mark.parametrize("seed", range(COUNT))
def test_written_as_onnx(seed: int) -> None:
    graph = mixture(seed, 9)
    inputs = inputs_of(graph)
    try:
        again = verify(onnx_reader.load(onnx_writer.write(graph), graph.name, graph.origin))
    except CompileError as error:
        assert any(words in str(error) for words in REFUSED_AS_ONNX) and "hint: " in str(error), error
        return
    assert equal(interp.infer(graph, *inputs), interp.infer(again, *inputs))


def one_input(*shape: int) -> tuple[GraphBuilder, str]:
    b = GraphBuilder("case", "case.tflite")
    return b, b.input(activation(shape, 0.05, 3), "x")


def test_a_value_beside_itself_is_dequantised_once() -> None:
    """An .onnx graph makes each tensor once."""
    b, x = one_input(1, 4, 3, 2)
    graph = verify(b.finish([b.node("y", SquaredDifference(), {"x": x, "other": x}, activation((1, 4, 3, 2), 0.1, 0), "y")]))
    again = onnx_reader.load(onnx_writer.write(graph), "case", "case.onnx")
    assert equal(interp.infer(again, *inputs_of(graph)), interp.infer(graph, *inputs_of(graph)))


def test_inputs_that_are_joined_at_once() -> None:
    """An int8 input of an .onnx file has its scale from the DequantizeLinear behind it."""
    b, x = one_input(1, 4)
    other = b.input(activation((1, 3), 0.05, 3), "other")
    graph = verify(b.finish([b.node("y", Concatenate(1), {"x": x, "x1": other}, activation((1, 7), 0.05, 3), "y")]))
    again = onnx_reader.load(onnx_writer.write(graph), "case", "case.onnx")
    assert equal(interp.infer(again, *inputs_of(graph)), interp.infer(graph, *inputs_of(graph)))


def test_a_reshape_between_two_scales_moves_codes() -> None:
    b, x = one_input(1, 4)
    graph = verify(b.finish([b.node("y", Relabel(), {"x": x}, activation((1, 4), 0.75, -9), "y")]))
    again = verify(reader.load(writer.write(graph), "case", "case.tflite"))
    assert again.type(again.outputs[0]) == graph.type(graph.outputs[0])
    assert equal(interp.infer(again, *inputs_of(graph)), inputs_of(graph))
    tensors = [FileTensor((1, 4)), FileTensor((3,), "INT32", None, data=np.array([1, 2, 2], np.int32)), FileTensor((1, 2, 2), scale=(0.75,))]
    shaped = verify(reader.load(build(tensors, [FileOperator("RESHAPE", (0, 1), (2,), "ReshapeOptions")], (0,), (2,)), "case", "case.tflite"))
    assert shaped.type(shaped.outputs[0]) == activation((1, 2, 2), 0.75, 0)
    assert equal(interp.infer(shaped, *inputs_of(graph)), inputs_of(graph))


# -- what is kept from call to call -------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(COUNT))
def test_streams_of_any_operators(seed: int) -> None:
    """The kernels of inference, in the order of the plan, give what the model gives, call after call."""
    graph = mixture(seed, 9, streams=True, tables=TABLES + ELSEWHERE, wide=seed % 2 == 1)
    inputs = inputs_of(graph, 5)
    where = {k: v for k, v in WHERE_LAID[seed % len(WHERE_LAID)].items() if k in ("target", "buffers", "speed")}
    found = compile_graph(simplify(graph), Options(**where), "0").infer.graph
    assert equal(interp.infer(graph, *inputs), interp.infer(found, *inputs))


@pytest.mark.parametrize("first", [None, Requantize(), Tanh()])
def test_what_is_kept_is_no_constant(first: Requantize | Tanh | None) -> None:
    """It has the data of the first call, and changes: as the second operand of a chain, and as what a chain begins with."""
    b, x = one_input(1, 5)
    kept = b.stream("kept", b.values[x].type, np.full((1, 5), 3, np.int8), "kept")
    keep = Node("kept.keep", Keep(), {"x": x, "kept": kept}, (), (kept,))
    k = b.constant("k", np.arange(60, 65).astype(np.int8)[None], Quantization((0.03,)), "k")
    if first is None:
        y = b.node("first", Add(), {"x": x, "other": kept}, activation((1, 5), 0.07, 0), "first")
    else:
        y = b.node("first", first, {"x": kept}, activation((1, 5), 1 / 128, 0), "first")
    b.nodes.append(keep)
    one = b.constant("one", np.array([[77]], np.int8), Quantization((0.03,)), "one")
    y = b.node("second", Mul(), {"x": y, "other": one if first else k}, activation((1, 5), 0.05, 0), "second")
    graph = verify(b.finish([y]))
    inputs, found = inputs_of(graph, 5), compile_graph(simplify(graph), Options(), "0").infer.graph
    assert equal(interp.infer(graph, *inputs), interp.infer(found, *inputs))


def test_a_value_that_is_kept_is_not_called_a_constant() -> None:
    b, x = one_input(1, 5)
    kept = b.stream("kept", b.values[x].type, np.full((1, 5), 3, np.int8), "kept")
    y = b.node("y", Add(), {"x": x, "other": kept}, activation((1, 5), 0.07, 0), "y")
    b.nodes.append(Node("kept.keep", Keep(), {"x": x, "kept": kept}, (), (kept,)))
    graph = verify(b.finish([y]))
    for write in (writer.write, onnx_writer.write):
        with pytest.raises(CompileError, match="kept from call to call"):
            write(graph)


# -- plans and training -------------------------------------------------------------------------------
def compiled(seed: int, folder: Path, least: bool) -> tuple[kt.Model, Compilation]:
    """A trainable model from its file. least: within a budget that is a tenth below what it takes, where that can be met."""
    path = folder / "mixed.tflite"
    path.write_bytes(writer.write(mixture(seed, 10, trained=True)))
    model = kt.load(path)
    options = Options(
        methods=tuple(METHODS[seed % len(METHODS)]), optimizer=kt.SGD(lr=0.3, momentum=0.5), calibration=tuple(inputs_of(model.graph, 6)),
        calibration_target=np.arange(6, dtype=np.int32) % 3, **WHERE_LAID[seed % len(WHERE_LAID)],
    )  # fmt: skip
    c = compile_graph(model.graph, options, "0")
    assert c.train is not None
    if not least:
        return model, c
    arena = max(c.infer.plan.arena_bytes, c.train.plan.arena_bytes)
    try:
        return model, compile_graph(model.graph, replace(options, ram=arena * 9 // 10 + c.context.state_bytes), "0")
    except kt.BudgetError as error:
        assert error.hint
        return model, c


def steps(c: Compilation, graph: Graph, inputs: list[np.ndarray]) -> tuple[list[float], dict[str, Any]]:
    """Losses, and the state after an update for each two samples."""
    assert c.train is not None
    state, losses = interp.initial_state(c.graph), []
    for i in range(len(inputs[0])):
        feeds = {name: x[i : i + 1] for name, x in zip(graph.inputs, inputs, strict=True)}
        arrays = interp.train_step(c.train.graph, {**feeds, "label": np.array([i % 3], np.int32)}, state)
        losses.append(float(arrays["loss.value"][0]))
        if i % 2:
            interp.apply(c.graph, state)
    return losses, state


@pytest.mark.parametrize("seed", range(COUNT))
def test_trained_within_a_budget(seed: int, tmp_path: Path) -> None:
    """Whatever is computed twice, runs in stripes or waits in slow memory: losses and state of the model as it is."""
    model, free = compiled(seed, tmp_path, least=False)
    _, tight = compiled(seed, tmp_path, least=True)
    inputs = inputs_of(model.graph, 4)
    assert equal(interp.infer(model.graph, *inputs), interp.infer(tight.infer.graph, *inputs, state=interp.initial_state(tight.graph)))
    (losses, state), (others, other) = steps(free, model.graph, inputs), steps(tight, model.graph, inputs)
    assert losses == others and state.keys() == other.keys() and all(np.array_equal(state[k], other[k]) for k in state)


@pytest.mark.parametrize("seed", range(IN_C))
def test_in_c_under_sanitizers(seed: int, tmp_path: Path) -> None:
    from kilotune.building import write_build

    model, c = compiled(seed, tmp_path, least=True)
    inputs = inputs_of(model.graph, 4)
    losses, state = steps(c, model.graph, inputs)
    with write_build(model, c, tmp_path / "build", measure=False).open("agent:host", sanitize=True) as device:

        def results() -> list[np.ndarray]:
            y = device.infer(inputs if len(inputs) > 1 else inputs[0])
            return list(y) if isinstance(y, list | tuple) else [np.asarray(y)]

        assert equal(results(), interp.infer(model.graph, *inputs))
        found = []
        for i in range(4):
            found.append(device.train_step([x[i] for x in inputs] if len(inputs) > 1 else inputs[0][i], i % 3))
            if i % 2:
                device.apply()
        header = int(c.context.layout).to_bytes(4, "little") + bytes(c.context.base_hash)
        members = b"".join(state[v.name].astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
        assert (found, device.state()) == (losses, (header + members).ljust(c.context.state_bytes, b"\0"))
        trained, adapter = results(), device.export_adapter()
        assert equal(trained, interp.infer(c.infer.graph, *inputs, state=state))
        device.reset()
        device.load_adapter(adapter)
        assert equal(results(), trained)
