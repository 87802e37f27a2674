"""Depthwise layers with several results of each channel: channels are repeated, with the results of the file and the same bits on every core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden.reference import samples
from gradients.graphs import Maker
from test_elementwise_on_devices import in_step

import kilotune as kt
from kiloc import pipeline
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.ops._window import Window
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.options import Options
from kiloc.peft import Method

BOARDS = {"cortex-m0plus": "microbit", "cortex-m3": "mps2-an385", "cortex-m4": "mps2-an386", "cortex-m55": "mps3-an547"}
METHODS: dict[str, tuple[Method, ...]] = {
    "biases": (kt.BiasOnly(),),
    "scale-shift": (kt.ScaleShift(),),
    "full": (kt.Full(), kt.BiasOnly()),
    "lora": (kt.LoRA(2, layers="all"), kt.BiasOnly()),
}
SAME = Window((3, 3), (1, 1), (1, 1, 1, 1))


@pytest.fixture
def model(tmp_path: Path) -> kt.Model:
    """Twice and three times the channels, of which 15 are no multiple of 4, and one layer with a stride that is not the largest."""
    m = Maker("several", (1, 8, 7, 2), 3)
    y = m.conv("input", "stem", 5, SAME, "relu")
    y = m.depthwise(y, "thrice", 3, SAME, "relu")
    y = m.conv(y, "mix", 6, Window((1, 1), (2, 2)), "relu")
    y = m.depthwise(y, "strided", 4, Window((3, 3), (2, 2), (0, 0, 1, 1)), "relu")
    y = m.depthwise(y, "twice", 2, Window((2, 2), (1, 1), (0, 0, 1, 1)))
    _, h, w, c = m.type(y).shape
    y = m.op(y, "average", AveragePool2D(Window((h, w), (h, w))), (1, 1, 1, c))
    y = m.op(y, "flat", Reshape((1, c)), (1, c))
    y = m.dense(y, "logits", 3)
    graph = m.finish(m.op(y, "probabilities", Softmax(), (1, 3), 1 / 256, -128))
    (tmp_path / "several.tflite").write_bytes(tflite.write(graph))
    return kt.load(tmp_path / "several.tflite")


def test_results_are_those_of_the_file(model: kt.Model) -> None:
    compiled = pipeline.compile_graph(model.graph, Options(), kt.__version__)
    repeated = {n.name for n in compiled.infer.graph.nodes} - {n.name for n in model.graph.nodes}
    assert repeated == {"thrice.repeated", "strided.repeated", "twice.repeated"}
    x = samples(model.graph, 5)
    np.testing.assert_array_equal(interp.infer(compiled.graph, x)[0], interp.infer(model.graph, x)[0])


def test_what_was_trained_merges_into_a_file(model: kt.Model, tmp_path: Path) -> None:
    """A file of the trained model gives what the device gives: biases merge exactly."""
    x = samples(model.graph, 12)
    y = np.arange(12, dtype=np.int32) % 3
    build = kt.build(model, tmp_path / "b", method=[kt.BiasOnly()], target="cortex-m4", measure=False)
    with build.open("host") as device:
        before = device.infer(x)
        device.fit(x, y, epochs=2, shuffle=False)
        kt.merge(build, device.export_adapter(), tmp_path / "trained.tflite")
        after = device.infer(x)
    assert (after != before).any()
    np.testing.assert_array_equal(interp.infer(kt.load(tmp_path / "trained.tflite").graph, x)[0], after)


@pytest.mark.parametrize("method", METHODS)
def test_on_the_host(model: kt.Model, method: str, tmp_path: Path) -> None:
    in_step(model, METHODS[method], tmp_path / "b", "host", 4)


@pytest.mark.qemu
@pytest.mark.parametrize("core", BOARDS)
@pytest.mark.parametrize("method", METHODS)
def test_on_emulated_cores(model: kt.Model, method: str, core: str, tmp_path: Path, qemu: str) -> None:
    in_step(model, METHODS[method], tmp_path / "b", f"qemu:{BOARDS[core]}", 2, core)
