"""Operators that move and mix values, in one model: inference and training give the same bits in NumPy, on the host and on emulated cores."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradients.graphs import Maker

import kilotune as kt
from kiloc import pipeline
from kiloc.emit.state_layout import state_layout
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.batch_matmul import BatchMatMul
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.gather import Gather
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.pad_axes import PadAxes
from kiloc.ops.model.resize_bilinear import ResizeBilinear
from kiloc.ops.model.slice import Slice
from kiloc.ops.model.transpose import Transpose
from kiloc.options import Options

STEPS = 4
METHODS = (kt.BiasOnly(), kt.LoRA(rank=2, layers="last:2"))
OPTIMIZER = kt.SGD(lr=0.05, momentum=0.5)


def graph() -> Graph:
    """Two branches of a split, up and down again in several ways, joined, multiplied with each other, and a layer."""
    m, same = Maker("moved", (1, 6, 5, 3), 3), Window((3, 3), (1, 1), (1, 1, 1, 1))
    x = m.conv("input", "stem", 8, same, "relu")
    left = m.op(x, "left", Slice.along((1, 6, 5, 8), 3, 0, 4), (1, 6, 5, 4))
    right = m.op(x, "right", Slice((0, 0, 0, 4), (1, 3, 5, 4), (1, 2, 1, 1)), (1, 3, 5, 4))
    nearest = m.op(right, "nearest", Gather(1, ((0, 0, 1, 1, 2, 2),)), (1, 6, 5, 4))
    spread = m.op(left, "spread", PadAxes((0, 0, 0, 0), (0, 0, 0, 0), (0, 1, 1, 0), m.type(left).zero_point), (1, 11, 9, 4))
    up = m.conv(spread, "transposed", 4, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    down = m.op(up, "down", ResizeBilinear((6, 5), half_pixel=True), (1, 6, 5, 4))
    down = m.op(down, "sum", Add(), (1, 6, 5, 4), 0.05, 3, other=left)
    scores = m.op(down, "scores", BatchMatMul(False, True), (1, 6, 5, 5), 0.06, 2, other=nearest)
    mixed = m.op(scores, "mixed", BatchMatMul(), (1, 6, 5, 4), 0.09, -4, other=nearest)
    turned = m.op(mixed, "turned", Transpose((0, 2, 1, 3)), (1, 5, 6, 4))
    turned = m.op(turned, "back", Transpose((0, 2, 1, 3)), (1, 6, 5, 4))
    both = m.conv(turned, "wider", 4, Window((1, 1)))
    scale, zero = m.type(both).scale, m.type(both).zero_point
    joined = m.op(both, "joined", Concatenate(3), (1, 6, 5, 8), scale, zero, x1=m.conv(nearest, "narrow", 4, Window((1, 1))))
    largest = m.op(joined, "largest", MaxPool2D(Window((3, 1), (3, 1))), (1, 2, 5, 8))
    return m.finish(m.dense(m.op(largest, "middle", Mean((2,)), (1, 2, 8), scale * 0.7, zero), "logits", 4))


@cache
def data() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(2)
    return rng.integers(-128, 128, (16, 6, 5, 3)).astype(np.int8), rng.integers(0, 4, 16).astype(np.int32)


def trained(device: kt.Device) -> tuple[bytes, list[float], bytes]:
    x, y = data()
    before = np.asarray(device.infer(x[:4])).tobytes()
    losses = []
    for i in range(STEPS):
        losses.append(device.train_step(x[i], int(y[i])))
        if i % 2:
            device.apply()
    return device.state(), losses, before + np.asarray(device.infer(x[4:8])).tobytes()


def interpreted() -> tuple[bytes, list[float], bytes]:
    x, y = data()
    options = Options(methods=METHODS, optimizer=OPTIMIZER, calibration=x, calibration_target=y, accumulate=2)
    c = pipeline.compile_graph(graph(), options, "test")
    assert c.train is not None
    state, losses = interp.initial_state(c.graph), []
    before = interp.infer(c.infer.graph, x[:4], state=dict(state))[0].tobytes()
    for i in range(STEPS):
        arrays = interp.train_step(c.train.graph, {"input": x[i : i + 1], "label": y[i : i + 1]}, state)
        losses.append(float(arrays["loss.value"][0]))
        if i % 2:
            interp.apply(c.graph, state)
    header = int(c.context.layout).to_bytes(4, "little") + bytes(c.context.base_hash)
    members = b"".join(state[v.name].astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
    after = interp.infer(c.infer.graph, x[4:8], state=dict(state))[0].tobytes()
    return (header + members).ljust(c.context.state_bytes, b"\0"), losses, before + after


def built(folder: Path, target: str) -> Any:
    path, (x, y) = folder / "moved.txt", data()
    path.write_text("the graph is made by hand")
    model = kt.Model(path, graph())
    return kt.build(model, folder / "build", method=list(METHODS), optimizer=OPTIMIZER, calibration=(x, y), accumulate=2, target=target)


def test_host_and_interpreter(tmp_path: Path) -> None:
    with built(tmp_path, "cortex-m4").open("host") as device:
        assert trained(device) == interpreted()


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), [("cortex-m4", "mps2-an386"), ("cortex-m0plus", "mps2-an385"), ("cortex-m55", "mps3-an547")])
def test_emulated_cores(target: str, board: str, tmp_path: Path, qemu: Any) -> None:
    with built(tmp_path, target).open(f"qemu:{board}") as device:
        assert trained(device) == interpreted()


def test_a_network_of_gates(data_dir: Path, tmp_path: Path) -> None:
    """A file of others with four inputs and five outputs, full of SPLIT, SPLIT_V, PACK, UNPACK and CONCATENATION, against TensorFlow Lite Micro."""
    runtime = pytest.importorskip("tflite_micro").runtime
    path = data_dir / "zoo" / "mlonmcu-rnnoise_int8.tflite"
    model, rng = kt.load(path), np.random.default_rng(6)
    x = [rng.integers(-128, 128, (25, *model.graph.type(name).shape[1:])).astype(np.int8) for name in model.graph.inputs]
    ours = interp.infer(model.graph, *x)
    interpreter = runtime.Interpreter.from_file(str(path))
    for row in range(len(x[0])):
        for i, given in enumerate(x):
            interpreter.set_input(given[row].reshape(interpreter.get_input_details(i)["shape"]), i)
        interpreter.invoke()
        for i, found in enumerate(ours):
            assert np.array_equal(found[row].ravel(), interpreter.get_output(i).ravel())
    with kt.build(model, tmp_path / "build", target="cortex-m4").open("host") as device:
        assert all(np.array_equal(a, b) for a, b in zip(device.infer(x), ours, strict=True))
