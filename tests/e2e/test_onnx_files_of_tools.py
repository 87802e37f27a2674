"""ONNX files that other people's tools wrote: near onnxruntime operator by operator, compiled, the same in C, and trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_forms import session_of, steps_of_pieces

import kilotune as kt
from kiloc.ir import interp

FILES: dict[str, tuple[int, ...]] = {
    "emx-micro_kws_m_qoperator_avg_pool.onnx": (1, 1960),
    "emx-micro_kws_m_qoperator_softmax.onnx": (1, 1960),
    "kaijiang-mobilenet_v1.onnx": (1, 3, 96, 96),
    "kaijiang-resnet.onnx": (1, 32, 32, 3),
    "mlonmcu-micro_kws_m_static_qoperator_tvm.onnx": (1, 1960),
}
"""And the shape of the float32 input."""
SAMPLES = 12
STEPS = 3
"""Bound of a whole model in steps of its last tensor: single steps of up to 30 layers. Behind a softmax n steps of scale s are n * s / 4."""


@pytest.fixture(params=FILES)
def path(request: pytest.FixtureRequest, data_dir: Path) -> Path:
    found = data_dir / "zoo" / str(request.param)
    if not found.is_file():
        pytest.skip(f"shared data not found: {found.name}")
    return found


def codes_of(model: kt.Model, x: np.ndarray) -> np.ndarray:
    q = model.graph.type(model.graph.inputs[0])
    codes = np.clip(np.rint(x / np.float32(q.scale)) + q.zero_point, -128, 127).astype(np.int8)
    return codes.reshape(-1, *q.shape[1:])


def samples(name: str) -> np.ndarray:
    return np.random.default_rng(4).normal(size=(SAMPLES, *FILES[name][1:])).astype(np.float32)


def test_every_operator_is_within_a_step(path: Path) -> None:
    found = steps_of_pieces(path.read_bytes(), FILES[path.name], SAMPLES)
    assert max(found.values()) <= 1, {n: s for n, s in found.items() if s > 1}


def test_probabilities_are_onnxruntimes(path: Path) -> None:
    """The core's integers in real numbers, and the softmax that is left to the caller."""
    model, session = kt.load(path), session_of(path.read_bytes())
    x = samples(path.name)
    y = model.graph.type(model.graph.outputs[0])
    found = (interp.infer(model.graph, codes_of(model, x))[0].reshape(SAMPLES, -1).astype(np.float64) - y.zero_point) * y.scale
    bound = STEPS * y.scale
    if any("Softmax" in note for note in model.graph.notes):
        bound /= 4
        found = np.exp(found - found.max(1, keepdims=True))
        found /= found.sum(1, keepdims=True)
    entry = session.get_inputs()[0].name
    theirs = np.concatenate([session.run(None, {entry: sample[None]})[0] for sample in x])
    assert np.abs(found - theirs).max() <= bound


def test_it_is_compiled_and_trained(path: Path, tmp_path: Path) -> None:
    """C on the host gives the interpreter's integers, and a step of training changes the state."""
    model = kt.load(path)
    x = codes_of(model, samples(path.name))
    expected = interp.infer(model.graph, x)[0].reshape(SAMPLES, -1)
    build = kt.build(model, tmp_path / "build", target="cortex-m4", method=[kt.BiasOnly()], calibration=x)
    with build.open("host") as device:
        assert np.array_equal(np.asarray(device.infer(x)).reshape(SAMPLES, -1), expected)
        before = device.state()
        # Each class in turn: a result at the end of its range has no gradient.
        losses = [device.train_step(sample, i % expected.shape[1]) for i, sample in enumerate(x)]
        device.apply()
        assert np.all(np.isfinite(losses)) and device.state() != before
