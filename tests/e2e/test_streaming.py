"""Streaming models keep values from call to call: fed slice by slice, they give the integers of TensorFlow Lite Micro, in NumPy, on the host and
on emulated cores, from the first call on, after a reset and after a state is given back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streaming_files import CHANNELS, KEPT, edited, window_file
from tflite_micro import runtime

import kilotune as kt
from kiloc.errors import CompileError
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.report import render_text

CALLS = 60
LONG = 600
SHAPES = ("concat first", "slice first", "read again", "reshaped", "given back")


def slices(graph: Graph, count: int) -> np.ndarray[Any, Any]:
    """Slices of a signal: quiet, loud, and both ends."""
    rng, shape = np.random.default_rng(5), graph.type(graph.inputs[0]).shape[1:]
    loudness = np.repeat(rng.choice([5, 40, 120], -(-count // 10)), 10)[:count].reshape(-1, *(1 for _ in shape))
    return np.clip(rng.normal(0, 1, (count, *shape)) * loudness, -128, 127).astype(np.int8)


def oracle(data: bytes, x: np.ndarray[Any, Any], outputs: int) -> list[list[np.ndarray[Any, Any]]]:
    interpreter, found = runtime.Interpreter.from_bytes(data), []
    shape = interpreter.get_input_details(0)["shape"]
    for part in x:
        interpreter.set_input(part.reshape(shape), 0)
        interpreter.invoke()
        found.append([interpreter.get_output(i).ravel().copy() for i in range(outputs)])
    return found


def interpreted(graph: Graph, x: np.ndarray[Any, Any]) -> list[list[np.ndarray[Any, Any]]]:
    state, found = interp.initial_state(graph), []
    for part in x:
        arrays = interp.run(graph, {graph.inputs[0]: part[None]}, state)
        found.append([np.array(arrays[name]).ravel() for name in graph.outputs])
    return found


def results(device: Any, x: np.ndarray[Any, Any]) -> list[list[np.ndarray[Any, Any]]]:
    y = device.infer(x)
    return [[part[i].ravel() for part in (y if isinstance(y, list) else [y])] for i in range(len(x))]


def equal(ours: Any, theirs: Any) -> bool:
    return all(np.array_equal(a, b) for o, t in zip(ours, theirs, strict=True) for a, b in zip(o, t, strict=True))


def loaded(data: bytes, folder: Path) -> kt.Model:
    path = folder / "stream.tflite"
    path.write_bytes(data)
    return kt.load(path)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_tflm(shape: str, tmp_path: Path) -> None:
    data = window_file(shape)
    model = loaded(data, tmp_path)
    x = slices(model.graph, CALLS)
    expected = oracle(data, x, len(model.graph.outputs))
    assert len({tuple(e[0]) for e in expected}) > CALLS // 2
    assert equal(interpreted(model.graph, x), expected)
    for buffers in ("caller", "arena"):
        with kt.build(model, tmp_path / buffers, target="cortex-m4", buffers=buffers).open("host") as device:
            assert equal(results(device, x), expected)
            device.reset()
            assert equal(results(device, x[:9]), expected[:9])
            state = device.state()
            assert equal(results(device, x[9:20]), expected[9:20])
            device.set_state(state)
            assert equal(results(device, x[9:]), expected[9:])


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), [("cortex-m4", "mps2-an386"), ("cortex-m0plus", "microbit"), ("cortex-m55", "mps3-an547")])
def test_on_emulated_cores(target: str, board: str, tmp_path: Path, qemu: Any) -> None:
    data = window_file()
    model = loaded(data, tmp_path)
    x = slices(model.graph, 20)
    expected = oracle(data, x, 1)
    with kt.build(model, tmp_path / "build", target=target).open(f"qemu:{board}") as device:
        assert equal(results(device, x), expected)
        device.reset()
        assert equal(results(device, x[:9]), expected[:9])
        state = device.state()
        results(device, x)
        device.set_state(state)
        assert equal(results(device, x[9:]), expected[9:])


@pytest.mark.parametrize(("drop", "calls"), [(0, LONG), (2, CALLS)], ids=["whole", "logits"])
@pytest.mark.parametrize("name", ["mww-v2_hey_jarvis", "mww-alexa"])
def test_wake_words(name: str, drop: int, calls: int, data_dir: Path, tmp_path: Path) -> None:
    """Files of others over a long recording; and up to their logits, which tell more of each call than one probability does."""
    data = edited((data_dir / "zoo" / f"{name}.tflite").read_bytes(), drop)
    model = loaded(data, tmp_path)
    x = slices(model.graph, calls)
    expected = oracle(data, x, 1)
    assert equal(interpreted(model.graph, x), expected)
    with kt.build(model, tmp_path / "build", target="cortex-m4").open("host") as device:
        assert equal(results(device, x), expected)


def test_a_part_that_is_kept_is_not_copied_first(tmp_path: Path) -> None:
    graph = loaded(window_file(), tmp_path).graph
    assert [n.op.mnemonic for n in graph.nodes] == ["concatenate", "keep", "reshape", "fully_connected"]


def test_what_is_written_too_early_is_noticed(tmp_path: Path) -> None:
    """The order of a slice is the graph's: what is kept changes after all that read it."""
    data = window_file("reshaped")
    graph = loaded(data, tmp_path).graph
    x = slices(graph, 9)
    early = replace(graph, nodes=tuple(sorted(graph.nodes, key=lambda n: n.op.mnemonic not in ("concatenate", "keep"))))
    assert equal(interpreted(graph, x), oracle(data, x, 1))
    assert not equal(interpreted(early, x), oracle(data, x, 1))


def test_training_is_refused(tmp_path: Path) -> None:
    model = loaded(window_file(), tmp_path)
    assert not any(layer["trainable"] for layer in model.layers())
    for train in (True, False):
        with pytest.raises(CompileError, match="from call to call"):
            kt.build(model, tmp_path / "build", method=kt.BiasOnly(), train=train)


def test_a_variable_that_starts_from_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="before anything was assigned"):
        loaded(window_file(once=False), tmp_path)


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    first = kt.build(loaded(window_file(), tmp_path), tmp_path / "one").open("host")
    second = kt.build(loaded(window_file("slice first"), tmp_path), tmp_path / "two").open("host")
    with first, second, pytest.raises((ValueError, kt.DeviceError)):
        first.set_state(second.state())


def test_the_report_counts_what_is_kept(tmp_path: Path) -> None:
    build = kt.build(loaded(window_file(), tmp_path), tmp_path / "build")
    assert build.report["memory"]["by_kind"]["kept"] == KEPT * CHANNELS
    assert "kept between calls" in render_text(build.report)
