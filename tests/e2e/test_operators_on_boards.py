"""Every operator of model files runs on emulated boards with the bits of NumPy: here those that no other table of models has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_elementwise_on_devices
import test_model_ends_on_boards
import test_movement_parity
import test_recurrent_training
import test_streaming
import test_wide_activations
from gradients.graphs import Maker
from gradients.test_gradients_against_jax import with_operator

import kilotune as kt
from kiloc.export import onnx
from kiloc.frontend import tflite
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ops import REGISTRY
from kiloc.ops._window import Window
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.embedding import LARGEST, Embedding, token_quantization
from kiloc.ops.model.relabel import Relabel
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.svdf import Svdf

BOARDS = (("cortex-m4", "mps2-an386"), ("cortex-m0plus", "microbit"), ("cortex-m55", "mps3-an547"))
UNITS, RANK, MEMORY = 5, 2, 4


def remaining() -> Graph:
    """A depthwise layer, a mean, codes that get another scale, a memory of four calls, and a layer."""
    m, same = Maker("remaining", (1, 6, 5, 4), 3), Window((3, 3), (1, 1), (1, 1, 1, 1))
    x = m.depthwise("input", "depthwise", 1, same)
    pooled = m.type(x)
    x = m.op(x, "means", AveragePool2D(Window((3, 5), (3, 5))), (1, 2, 1, 4), pooled.scale, pooled.zero_point)
    x = m.op(m.op(x, "flat", Reshape((1, 8)), (1, 8)), "relabelled", Relabel(), (1, 8), 0.04, 0)
    filters = UNITS * RANK
    state = TensorType((1, filters * MEMORY), "int16", Quantization((float(np.float32(0.0005)),)))
    narrow, wide = (Quantization((float(np.float32(s)),)) for s in (0.01, 3e-5))
    memory = {
        "weights": m.b.constant("svdf.weights", m.rng.integers(-127, 128, (filters, 8)).astype(np.int8), narrow, "svdf"),
        "time": m.b.constant("svdf.time", m.rng.integers(-9000, 9000, (filters, MEMORY)).astype(np.int16), wide, "svdf"),
        "bias": m.b.constant("svdf.bias", m.rng.integers(-900, 900, UNITS).astype(np.int32), None, "svdf"),
        "state": m.b.stream("svdf.state", state, np.zeros(state.shape, np.int16), "svdf"),
    }
    x = m.b.node("svdf", Svdf(RANK), {"x": x, **memory}, activation((1, UNITS), 0.3, -4), "svdf")
    return m.finish(m.dense(x, "logits", 4))


def tokens() -> Graph:
    """Rows of a table for five tokens, the largest that a code of 8 bits tells apart among them, and a layer on all of them."""
    m, q = Maker("tokens", (1, 5), 3), Quantization((1 / 64,), 3)
    m.b = GraphBuilder("tokens", "tokens.onnx")
    x = m.b.input(TensorType((1, 5), "int8", token_quantization(LARGEST)), "tokens")
    table = m.b.constant("table", m.rng.integers(-128, 128, (LARGEST, 6)).astype(np.int8), q, "table")
    y = m.b.node("rows", Embedding(), {"x": x, "table": table}, TensorType((1, 5, 6), "int8", q), "rows")
    return m.finish(m.dense(y, "logits", 4))


def test_every_operator_is_in_a_model_of_some_board() -> None:
    """Of these models, which tests run on emulated Cortex-M0+, M4 and M55: a new operator needs to be in one."""
    read = [test_streaming.window_file, *test_model_ends_on_boards.MODELS.values()]
    graphs = [
        *map(with_operator, test_elementwise_on_devices.OPERATORS),
        test_movement_parity.graph(),
        test_wide_activations.with_head(),
        test_recurrent_training.sequence_model(),
        *(tflite.load(make(), "model", "model.tflite") for make in read),
        remaining(),
        tokens(),
    ]
    used = {node.op.mnemonic for graph in graphs for node in graph.nodes}
    of_files = {n for n, cls in REGISTRY.items() if cls.__module__.startswith("kiloc.ops") and (cls.tflite or cls.onnx)}
    assert used == of_files
    for module in (test_movement_parity, test_streaming, test_wide_activations, test_recurrent_training):
        marks = [mark for function in vars(module).values() for mark in getattr(function, "pytestmark", [])]
        assert any("cortex-m55" in str(mark.args) and "cortex-m0plus" in str(mark.args) for mark in marks), module.__name__


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), BOARDS)
def test_the_remaining_ones(target: str, board: str, tmp_path: Path, qemu: Any) -> None:
    path = tmp_path / "remaining.txt"
    path.write_text("the graph is made by hand")
    model = kt.Model(path, remaining())
    x = np.random.default_rng(4).integers(-128, 128, (9, 6, 5, 4)).astype(np.int8)
    expected = interp.infer(model.graph, x)[0]
    assert len(np.unique(expected, axis=0)) > 6
    with kt.build(model, tmp_path / "build", target=target, measure=False).open(f"qemu:{board}") as device:
        assert np.array_equal(device.infer(x), expected)


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), BOARDS)
def test_tokens(target: str, board: str, tmp_path: Path, qemu: Any) -> None:
    (tmp_path / "tokens.onnx").write_bytes(onnx.write(tokens()))
    model = kt.load(tmp_path / "tokens.onnx")
    x = np.random.default_rng(4).integers(-128, 128, (6, 5)).astype(np.int8)
    with kt.build(model, tmp_path / "build", target=target, measure=False).open(f"qemu:{board}") as device:
        assert np.array_equal(device.infer(x), interp.infer(model.graph, x)[0])
