"""Legal but rare numbers: what loads gives the bits of TensorFlow Lite Micro, in NumPy and in C; what is refused is refused for a reason.

KILOTUNE_EXAMPLES asks for another number of examples of each operator than the few of a usual run; they are then drawn anew each time.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from kernel_driver import Case, check, compiled
from test_operators_against_tflm import ARENA, difference, runtime, samples
from tflite_files import FileOperator, FileTensor, build

from kiloc import numerics as nm
from kiloc.errors import CompileError
from kiloc.frontend import tflite as reader
from kiloc.ir import interp
from kiloc.ir.graph import Graph, Node
from kiloc.ir.verify import node_types, verify
from kiloc.passes.check_sums import check_sums
from kiloc.passes.simplify import simplify

from .unusual import OPERATORS

FEW = 15
COUNT = int(os.environ.get("KILOTUNE_EXAMPLES", FEW))
SAMPLES_IN_C = 3

asked = settings(
    max_examples=COUNT, deadline=None, derandomize=COUNT == FEW, database=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip

REFUSALS = ("may leave int32", "the scales lie 2^", "leave nothing of the differences")
"""What a file of these may be refused for; all else is a finding."""


def loaded(data: bytes) -> Graph | None:
    """The graph, or None where it is refused for a reason that these files can give."""
    try:
        return check_sums(simplify(verify(reader.load(data, "case", "case.tflite"))))
    except CompileError as error:
        assert any(words in error.what for words in REFUSALS) and error.hint, error
        event(f"refused: {error.what[:20]}")
        return None


def run_tflm(data: bytes, inputs: list[np.ndarray]) -> np.ndarray:
    """Results of one sample after the other, each in the shape that the file names."""
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=ARENA)
    results = []
    for row in range(len(inputs[0])):
        for i, x in enumerate(inputs):
            interpreter.set_input(x[row].reshape(interpreter.get_input_details(i)["shape"]), i)
        interpreter.invoke()
        results.append(interpreter.get_output(0).copy())
    return np.stack(results)


def run_c(graph: Graph, inputs: list[np.ndarray]) -> None:
    """Every kernel in C against its meaning, on a few samples one by one."""
    for row in range(min(len(inputs[0]), SAMPLES_IN_C)):
        arrays = interp.run(graph, {name: x[row : row + 1] for name, x in zip(graph.inputs, inputs, strict=True)})
        for node in graph.nodes:
            if node.op.view:
                continue
            types = node_types(graph, node)
            constants = {o: graph.values[v].data for o, v in node.inputs.items()}
            held = {o: np.asarray(arrays[node.inputs[o]] if data is None else data) for o, data in constants.items()}
            check(compiled(), Case(node.op, types.operands, held, types.results))


def layer_of(graph: Graph) -> Node | None:
    return next((n for n in graph.nodes if "weights" in n.inputs), None)


def shifted_out(graph: Graph) -> bool:
    """Whether the sums of a layer may leave int32 where TensorFlow Lite Micro shifts them to the left: in C that has no meaning."""
    node = layer_of(graph)
    if node is None:
        return False
    t = node_types(graph, node)
    w, b = (np.abs(np.asarray(graph.values[node.inputs[o]].data, np.int64)) for o in ("weights", "bias"))
    sums = b + 255 * (w.sum(tuple(range(w.ndim - 1))) if node.op.mnemonic == "depthwise_conv_2d" else w.reshape(len(b), -1).sum(1))
    _, shifts = nm.quantize_multipliers(t.type("x").scale * np.array(t.type("weights").channel_scales, np.float64) / t.result().scale)
    return bool((sums * 2.0 ** np.maximum(shifts, 0) >= 2**31).any())


@pytest.mark.parametrize("name", OPERATORS)
def test_unusual_numbers_give_the_bits_of_tflm(name: str) -> None:
    @asked
    @given(OPERATORS[name](), st.integers(0, 2**32 - 1))
    def agrees(data: bytes, seed: int) -> None:
        graph = loaded(data)
        if graph is None:
            return
        inputs = samples(graph, np.random.default_rng(seed))
        ours = interp.infer(graph, *inputs)[0]
        run_c(graph, inputs)
        if shifted_out(graph):
            event("beyond int32 when shifted")
        else:
            assert difference(ours, run_tflm(data, inputs)) == ""

    agrees()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [1.0, 2.0, 1000.0])
def test_sums_that_leave_int32_when_shifted_saturate(scale: float, sign: int) -> None:
    """TensorFlow Lite Micro and LiteRT shift them out, which C does not define, and answer with the other end of int8."""
    tensors = [
        FileTensor((1, 1), scale=(1.0,), name="x"),
        FileTensor((2, 1), scale=(scale,), data=np.array([[1], [-1]], np.int8), name="w"),
        FileTensor((2,), "INT32", (scale,), data=np.array([2**30, -(2**30)], np.int32) * sign, name="b"),
        FileTensor((1, 2), scale=(1.0,), name="y"),
    ]
    data = build(tensors, [FileOperator("FULLY_CONNECTED", (0, 1, 2), (3,), "FullyConnectedOptions")], (0,), (3,))
    graph = loaded(data)
    assert graph is not None and shifted_out(graph)
    inputs = samples(graph, np.random.default_rng(0))
    ours = interp.infer(graph, *inputs)[0]
    run_c(graph, inputs)
    assert (ours == np.array([127, -128] if sign > 0 else [-128, 127])).all()


def test_a_batch_that_may_vary_is_one() -> None:
    """-1 in the signature beside the shape, or in the shape itself, which TensorFlow Lite Micro does not take."""
    image, options = (1, 6, 5, 2), {"Padding": 0, "StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2}
    fixed, signed, bare = ([FileTensor(s, signature=g), FileTensor(s, signature=g)] for s, g in (
        (image, None), (image, (-1, *image[1:])), ((-1, *image[1:]), None)))  # fmt: skip
    files = [build(t, [FileOperator("MAX_POOL_2D", (0,), (1,), "Pool2DOptions", options)], (0,), (1,)) for t in (fixed, signed, bare)]
    graphs = [loaded(data) for data in files]
    assert graphs[0] is not None and graphs[0].type(graphs[0].inputs[0]).shape == image
    assert all(g is not None and g.nodes == graphs[0].nodes and g.values == graphs[0].values for g in graphs)
