"""Recurrent models of others, call after call: the integers of TensorFlow Lite Micro in NumPy, on the host and on emulated cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streaming_files import edited, packed, schema
from tflite_micro import runtime

import kilotune as kt
from kiloc.ir import interp
from kiloc.ir.types import RANGES, TensorType

Array = np.ndarray[Any, Any]

LSTM, KEYWORD = "coral-keras_lstm_mnist_ptq", "tflite-micro-keyword_scrambled_8bit"
CALLS = {LSTM: 12, KEYWORD: 120}
"""Name in the folder of other people's models, and calls: at least so many that what is kept comes round."""
CASES = ((LSTM, 0), (KEYWORD, 0), (KEYWORD, 3), (KEYWORD, 1))
"""With operators left out at the end. The weights of the second file are scrambled so that it gives one result whatever comes in: with those
left out, and biases drawn anew, it is a model that computes something."""
BOARDS = (("cortex-m4", "mps2-an386"), ("cortex-m0plus", "microbit"), ("cortex-m55", "mps3-an547"))


def calls(t: TensorType, count: int) -> Array:
    """Quiet and loud inputs, and the ends of the type."""
    rng, (low, high) = np.random.default_rng(3), RANGES[t.dtype]
    middle, loudness = (low + high + 1) / 2, rng.choice([0.02, 0.1, 0.5], (count, *(1 for _ in t.shape[1:]))) * (high - low)
    x = np.clip(middle + rng.normal(0, 1, (count, *t.shape[1:])) * loudness, low, high)
    x[count // 3], x[count // 2] = low, high
    return x.astype(t.dtype)


def oracle(data: bytes, x: Array) -> Array:
    interpreter, found = runtime.Interpreter.from_bytes(data), []
    shape = interpreter.get_input_details(0)["shape"]
    for part in x:
        interpreter.set_input(part.reshape(shape), 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0).copy())
    return np.concatenate(found)


def file(data_dir: Path, name: str, drop: int) -> bytes:
    path = data_dir / "zoo" / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    data = path.read_bytes()
    return edited(with_other_biases(data), drop) if drop else data


def with_other_biases(data: bytes) -> bytes:
    model, rng = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(data), 0)), np.random.default_rng(1)
    for t in model.subgraphs[0].tensors:
        buffer = model.buffers[t.buffer]
        if t.type == schema.TensorType.INT32 and buffer.data is not None and len(buffer.data):
            values = rng.normal(0, 0.3, len(buffer.data) // 4) / t.quantization.scale[0]
            buffer.data = list(values.astype(np.int32).tobytes())
    return packed(model)


def loaded(data: bytes, folder: Path) -> kt.Model:
    path = folder / "recurrent.tflite"
    path.write_bytes(data)
    return kt.load(path)


@pytest.mark.parametrize(("name", "drop"), CASES)
def test_equals_tflm(name: str, drop: int, data_dir: Path, tmp_path: Path) -> None:
    data = file(data_dir, name, drop)
    model = loaded(data, tmp_path)
    x = calls(model.graph.type(model.graph.inputs[0]), CALLS[name])
    expected = oracle(data, x)
    told_apart = len(np.unique(expected, axis=0))
    assert told_apart > len(x) // 3 or (name == KEYWORD and drop < 3)
    assert np.array_equal(interp.infer(model.graph, x)[0], expected)
    with kt.build(model, tmp_path / "build", target="cortex-m4").open("host") as device:
        assert np.array_equal(device.infer(x), expected)
        device.reset()
        assert np.array_equal(device.infer(x[:5]), expected[:5])
        state = device.state()
        device.infer(x[:5])
        device.set_state(state)
        assert np.array_equal(device.infer(x[5:]), expected[5:])


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), BOARDS)
@pytest.mark.parametrize(("name", "drop"), [(LSTM, 0), (KEYWORD, 3)])
def test_on_emulated_cores(name: str, drop: int, target: str, board: str, data_dir: Path, tmp_path: Path, qemu: Any) -> None:
    data = file(data_dir, name, drop)
    model = loaded(data, tmp_path)
    x = calls(model.graph.type(model.graph.inputs[0]), 5 if name == LSTM else 40)
    with kt.build(model, tmp_path / "build", target=target).open(f"qemu:{board}") as device:
        expected = oracle(data, x)
        assert np.array_equal(device.infer(x), expected)
        device.reset()
        assert np.array_equal(device.infer(x), expected)


def test_what_is_kept_counts(data_dir: Path, tmp_path: Path) -> None:
    """Of each model, a call gives another result after a reset."""
    for name, drop in ((LSTM, 0), (KEYWORD, 3)):
        graph = loaded(file(data_dir, name, drop), tmp_path).graph
        x = calls(graph.type(graph.inputs[0]), 6)
        together, apart = interp.infer(graph, x)[0], np.concatenate([interp.infer(graph, part[None])[0] for part in x])
        assert np.array_equal(together[0], apart[0])
        assert not np.array_equal(together[1:], apart[1:])
