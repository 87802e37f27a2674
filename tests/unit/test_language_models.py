"""Models that read tokens: an embedding as .onnx files have it, the loss of the next token, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from qdq_models import Qdq, kinds, load, refused, runtime

import kilotune as kt
from kiloc import pipeline
from kiloc.errors import CompileError
from kiloc.export import onnx as writer
from kiloc.ir import interp
from kiloc.options import Options

LENGTH, DEPTH = 6, 8


def embedding(rows: int, length: int = LENGTH, dtype: int = TensorProto.INT64, codes: bool = False, unsigned: bool = False) -> tuple[Qdq, str]:
    """A model under construction, and the real rows of its tokens. codes: Gather in front of DequantizeLinear."""
    m = Qdq(1)
    m.inputs.append(helper.make_tensor_value_info("tokens", dtype, (1, length)))
    kind = np.uint8 if unsigned else np.int8
    table = m.init(m.rng.integers(0, 128, (rows, DEPTH)).astype(kind), "table")
    parameters = [m.init(np.float32(0.03)), m.init(kind(5))]
    if codes:
        return m, m.op("DequantizeLinear", m.op("Gather", table, "tokens"), *parameters)
    return m, m.op("Gather", m.op("DequantizeLinear", table, *parameters), "tokens")


def language(rows: int = 11, length: int = LENGTH, logits: int = 0, **options: Any) -> Qdq:
    """A causal convolution over two tokens, and a row of logits for each."""
    m, x = embedding(rows, length, **options)
    y = m.op("Conv", m.op("Transpose", x, perm=[0, 2, 1]), m.weights(DEPTH, 1, 2), group=DEPTH, pads=[1, 0])
    y = m.d(m.q(m.op("Add", m.op("Transpose", m.d(m.q(y, 0.06)), perm=[0, 2, 1]), x), 0.06))
    m.output(m.q(m.op("MatMul", y, m.weights(DEPTH, logits or rows, axis=1)), 0.05), 1, length, logits or rows)
    return m


@pytest.mark.parametrize(("rows", "options"), [
    (11, {}), (11, {"codes": True}), (1, {"dtype": TensorProto.INT32}), (129, {"unsigned": True}), (256, {"codes": True, "unsigned": True}),
])  # fmt: skip
def test_tokens_choose_rows_as_in_onnxruntime(rows: int, options: dict[str, Any]) -> None:
    """Every token, both in the file's own numbers and as the codes that the graph takes; what is written is read as the same integers."""
    m, y = embedding(rows, **options)
    m.output(m.q(y, 0.03, 5 - 128 * options.get("unsigned", False)), 1, LENGTH, DEPTH)
    graph, session = m.load(), runtime(m.bytes())
    assert kinds(graph) == ["embedding"]
    tokens = np.resize(np.arange(rows), (rows + LENGTH) // LENGTH * LENGTH).reshape(-1, LENGTH)
    x = (tokens + graph.type("input").zero_point).astype(np.int8)
    dtype = np.int32 if options.get("dtype") == TensorProto.INT32 else np.int64
    found = interp.infer(graph, x)[0]
    for mine, row in zip(found, tokens, strict=True):
        theirs = session.run(None, {"tokens": row[None].astype(dtype)})[0]
        assert np.array_equal(mine.ravel(), theirs.ravel())
    again = load(writer.write(graph))
    assert np.array_equal(interp.infer(again, x)[0].ravel(), found.ravel())


def _added(m: Qdq) -> Qdq:
    m.op("Add", "tokens", m.init(np.int64(1)))
    m.outputs.append(helper.make_tensor_value_info(m.nodes[-1].output[0], TensorProto.INT64, (1, LENGTH)))
    return m


def _by_channel() -> Qdq:
    m = Qdq()
    m.inputs.append(helper.make_tensor_value_info("tokens", TensorProto.INT64, (1, LENGTH)))
    m.output(m.q(m.op("MatMul", m.op("Gather", m.weights(5, DEPTH, axis=1), "tokens"), m.weights(DEPTH, 5, axis=1)), 0.1), 1, LENGTH, 5)
    return m


REFUSED: dict[str, tuple[Callable[[], Qdq], tuple[str, ...]]] = {
    "too many rows": (lambda: language(257, unsigned=True), ("chooses among 257 rows", "at most 256")),
    "something else reads them": (lambda: _added(language()), ("takes the int64 input", "Gather")),
    "no tokens at all": (lambda: language(length=0), ("dynamic shape",)),
    "a scale a channel": (_by_channel, ("one scale a channel", "per tensor")),
    "a float table": (lambda: _float_table(), ("chooses rows of a float32 constant",)),
}


def _float_table() -> Qdq:
    m = Qdq()
    m.inputs.append(helper.make_tensor_value_info("tokens", TensorProto.INT64, (1, LENGTH)))
    x = m.op("Gather", m.init(np.ones((5, DEPTH), np.float32)), "tokens")
    m.output(m.q(m.op("MatMul", m.d(m.q(x, 0.1)), m.weights(DEPTH, 5, axis=1)), 0.1), 1, LENGTH, 5)
    return m


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    make, words = REFUSED[name]
    refused(make().bytes(), *words)


def options(**more: Any) -> Options:
    return Options(methods=(kt.LoRA(rank=2, layers="all"), kt.BiasOnly()), optimizer=kt.SGD(lr=0.1), loss=kt.NextToken(), **more)


LOSSES: dict[str, tuple[Callable[[], Qdq], str]] = {
    "one token": (lambda: language(length=1), "a sequence of one token"),
    "fewer logits": (lambda: language(logits=7), "7 logits cannot tell 11 tokens apart"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_models_that_the_loss_does_not_fit(name: str) -> None:
    make, words = LOSSES[name]
    with pytest.raises(CompileError, match=words):
        pipeline.compile_graph(make().load(), options(), "")


def test_a_model_without_tokens_has_no_next_one() -> None:
    m = Qdq()
    m.output(m.q(m.op("MatMul", m.d(m.input(1, LENGTH, DEPTH)), m.weights(DEPTH, 5, axis=1)), 0.1), 1, LENGTH, 5)
    with pytest.raises(CompileError, match="chooses no rows of a table"):
        pipeline.compile_graph(m.load(), options(), "")


@pytest.mark.parametrize("rows", [11, 256])
def test_calibration_takes_tokens_only(rows: int) -> None:
    """Random ones where none are given; of a table with a row for every code each is one."""
    graph = language(rows, unsigned=rows > 128).load()
    pipeline.compile_graph(graph, options(), "")
    beyond = np.full((3, LENGTH), 11, np.int8)
    if rows == 256:
        pipeline.compile_graph(graph, options(calibration=beyond), "")
        return
    with pytest.raises(CompileError, match="tokens outside the model's vocabulary: its codes are 0 to 10"):
        pipeline.compile_graph(graph, options(calibration=beyond), "")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("language")
    (folder / "tokens.onnx").write_bytes(language().bytes())
    return kt.build(
        kt.load(folder / "tokens.onnx"), folder / "build", method=[kt.LoRA(rank=2, layers="all"), kt.BiasOnly()], loss="next_token",
        optimizer=kt.SGD(lr=0.3), measure=False,
    )  # fmt: skip


def test_a_device_learns_what_follows(build: kt.Build) -> None:
    """Each token is followed by the one after it: the loss falls, and is that of training steps."""
    x = ((np.arange(LENGTH) + np.arange(11)[:, None]) % 11).astype(np.int8)
    with build.open("host") as device:
        before = device.evaluate(x)
        assert device.evaluate(x[3:4])["loss"] == pytest.approx(device.train_step(x[3]), rel=1e-5)
        device.reset()
        device.fit(x, epochs=30, hold_out=0, decay="constant", progress=False)
        after = device.evaluate(x)
        assert after["loss"] < before["loss"] / 2 and after["accuracy"] > before["accuracy"]


def test_tokens_without_a_row_change_nothing(build: kt.Build) -> None:
    x = np.zeros(LENGTH, np.int8)
    with build.open("host") as device:
        state = device.state()
        for wrong in (11, -1, 127, -128):
            x[-1] = wrong
            for call in (device.train_step, lambda x: device.infer(x[None])):
                with pytest.raises(kt.DeviceError, match="outside the model's vocabulary"):
                    call(x)
        for given in (np.full((1, LENGTH), 11), np.full((1, LENGTH), -1)):
            with pytest.raises(ValueError, match="the model has 11, 0 to 10"):
                device.infer(given)
        assert device.state() == state
        x[-1] = 10
        device.train_step(x)
        assert device.state() != state
