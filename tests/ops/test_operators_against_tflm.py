"""Every forward operator against TensorFlow Lite Micro itself, or LiteRT's reference kernels where that has none: the interpreter's integers are
the kernel's integers.

Each case is a graph of one operator (the folder `cases`). It is written as a .tflite file, run by the tflite-micro interpreter and by
`kiloc.ir.interp`, and every value must agree. The file is read back too, so the writer and the front end are checked by the same oracle.
"""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from cases import GRAPHS, requantize, softmax
from cases._parts import Rng

from kiloc.export import tflite as writer
from kiloc.frontend import tflite as reader
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import RANGES
from kiloc.ops import REGISTRY
from kiloc.passes.simplify import with_rounding

runtime = pytest.importorskip("tflite_micro").runtime

ARENA = 1 << 20
SAMPLES = 4


def samples(graph: Graph, rng: Rng) -> list[np.ndarray]:
    """Random inputs, then all smallest, all largest, and a ramp through every int8 value."""
    found = []
    for name in graph.inputs:
        shape, dtype = graph.type(name).shape, graph.type(name).dtype
        if dtype != "int8":
            found.append(samples_of(rng, shape, dtype))
            continue
        size = int(np.prod(shape))
        x = rng.integers(-128, 128, (SAMPLES, size))
        x[1] = np.clip(rng.normal(graph.type(name).zero_point, 25, size), -128, 127)
        ramp = np.resize(np.arange(-128, 128), size) if size > 1 else np.array([rng.integers(-128, 128)])
        x = np.concatenate([x, np.full((1, size), -128), np.full((1, size), 127), ramp[None]])
        found.append(x.astype(np.int8).reshape(-1, *shape[1:]))
    return found


def samples_of(rng: Rng, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random inputs of another type, its ends, and a ramp."""
    low, high = RANGES[dtype]
    size = int(np.prod(shape))
    ends = np.array([np.full(size, low), np.full(size, high), np.linspace(low, high, size).round()])
    return np.concatenate([rng.integers(low, high + 1, (SAMPLES, size)), ends]).astype(dtype).reshape(-1, *shape[1:])


def run_tflm(data: bytes, inputs: list[np.ndarray]) -> np.ndarray:
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=ARENA)
    results = []
    for row in range(len(inputs[0])):
        for i, x in enumerate(inputs):
            interpreter.set_input(x[row : row + 1], i)
        interpreter.invoke()
        results.append(interpreter.get_output(0).copy())
    return np.stack(results)


def run_litert(data: bytes, inputs: list[np.ndarray]) -> np.ndarray:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_content=data, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    results = []
    for row in range(len(inputs[0])):
        for detail, x in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(detail["index"], x[row : row + 1])
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.stack(results)


def difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Nothing where they are equal, else how many values differ and the first of them."""
    ours = ours.reshape(len(ours), -1)
    theirs = theirs.reshape(len(theirs), -1)
    if ours.shape != theirs.shape:
        return f"shapes {ours.shape} and {theirs.shape}"
    bad = np.argwhere(ours != theirs)
    if not len(bad):
        return ""
    row, column = bad[0]
    return f"{len(bad)} of {ours.size} values differ; sample {row} element {column}: ours {ours[row, column]}, oracle {theirs[row, column]}"


def rng_of(name: str) -> Rng:
    return np.random.default_rng(crc32(name.encode()))


@pytest.mark.parametrize("name", GRAPHS)
def test_equals_tflm(name: str) -> None:
    rng = rng_of(name)
    graph = GRAPHS[name](rng)
    inputs = samples(graph, rng)
    ours = interp.infer(graph, *inputs)[0]
    data = writer.write(graph)
    run = run_tflm if all("tflite-micro" in node.op.oracle for node in graph.nodes) else run_litert
    assert difference(ours, run(data, inputs)) == ""
    assert difference(interp.infer(reader.load(data, "case", "case.tflite"), *inputs)[0], ours) == ""


def rounded_once(graph: Graph) -> Graph:
    return replace(graph, nodes=tuple(replace(n, op=replace(n.op, rounding="once")) for n in graph.nodes))


FULLY_CONNECTED = [n for n in GRAPHS if n.startswith("fc-") and "near-ties" not in n]
"""LiteRT's multiplier is a double, ours has 31 bits: sums within 2^-31 of a tie are TensorFlow Lite Micro's cases only."""


@pytest.mark.parametrize("name", FULLY_CONNECTED)
def test_fully_connected_rounded_once_equals_litert(name: str) -> None:
    rng = rng_of(name)
    graph = rounded_once(GRAPHS[name](rng))
    inputs = samples(graph, rng)
    assert difference(interp.infer(graph, *inputs)[0], run_litert(writer.write(graph), inputs)) == ""


def test_the_roundings_differ() -> None:
    """The cases above tell the two profiles apart: some value differs between them."""
    differing = 0
    for name in FULLY_CONNECTED:
        rng = rng_of(name)
        graph = GRAPHS[name](rng)
        inputs = samples(graph, rng)
        differing += difference(interp.infer(graph, *inputs)[0], interp.infer(rounded_once(graph), *inputs)[0]) != ""
    assert differing >= 3


@pytest.mark.parametrize(("ratio", "zero", "y_zero"), [(1.0, 3, 3), (1.3, -5, 10), (0.2, 127, -128), (30.0, -128, 0)])
def test_relu_n1_to_1_equals_litert(ratio: float, zero: int, y_zero: int) -> None:
    """TensorFlow Lite Micro has no kernel for it."""
    rng = rng_of("relu_n1_to_1")
    graph = requantize.graph("relu_n1_to_1", ratio, zero, y_zero)(rng)
    inputs = samples(graph, rng)
    assert difference(interp.infer(graph, *inputs)[0], run_litert(writer.write(graph), inputs)) == ""


@pytest.mark.parametrize(("ratio", "zero", "y_zero"), [(1.3, -5, 10), (1.0, 3, -128), (0.2, -128, -128), (6.0, -128, -128)])
def test_relu6_with_two_scales_is_that_of_the_profile(ratio: float, zero: int, y_zero: int) -> None:
    """TensorFlow Lite Micro ignores the result's scale there, LiteRT does not: no meaning is right for both."""
    rng = rng_of("relu6")
    written = requantize.graph("relu6", ratio, zero, y_zero)(rng)
    inputs, data = samples(written, rng), writer.write(written)
    graph = reader.load(data, "case", "case.tflite")
    ours, litert = interp.infer(graph, *inputs)[0], interp.infer(with_rounding(graph, "litert"), *inputs)[0]
    assert difference(ours, run_tflm(data, inputs)) == ""
    assert difference(litert, run_litert(data, inputs)) == ""
    assert difference(ours, litert) != ""
    again = reader.load(writer.write(graph), "case", "case.tflite")
    assert "two scales" in graph.notes[0] and [n.op for n in again.nodes] == [n.op for n in graph.nodes]


def test_flat_softmax() -> None:
    """Many equal logits: every probability is below half a step, so every result is -128."""
    graph = softmax.graph((1, 1000), 0.001, 0, 1.0)(rng_of("flat"))
    assert np.all(interp.infer(graph, np.zeros((1, 1000), np.int8))[0] == -128)


def test_every_forward_operator_has_cases() -> None:
    forward = {m for m, cls in REGISTRY.items() if cls.tflite}
    covered = {node.op.mnemonic for name, make in GRAPHS.items() for node in make(rng_of(name)).nodes}
    assert covered == forward - {"keep"}, "keep needs more than one call: tests/e2e/test_streaming.py"
