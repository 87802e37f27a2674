"""The TensorFlow Lite front end: what it accepts, what it refuses and with which words, and that nothing else ever escapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tflite_files import FileOperator, FileTensor, build, dense

from kiloc.errors import CompileError
from kiloc.export import tflite as writer
from kiloc.frontend import load as load_file
from kiloc.frontend import tflite as reader
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax


def load(data: bytes) -> Graph:
    return verify(reader.load(data, "model", "model.tflite"))


def refused(data: bytes, *words: str) -> CompileError:
    """The model is refused, and the message holds every one of these words."""
    with pytest.raises(CompileError) as caught:
        load(data)
    text = str(caught.value)
    assert caught.value.where and caught.value.what and caught.value.hint
    missing = [w for w in words if w.lower() not in text.lower()]
    assert not missing, f"{missing} not in: {text}"
    return caught.value


def small_model() -> Graph:
    """A convolution, a depthwise one, a sum, a pool, a layer and a softmax: a little of everything."""
    rng = np.random.default_rng(1)
    b = GraphBuilder("small", "small.tflite")

    def weights(name: str, shape: tuple[int, ...], axis: int) -> dict[str, str]:
        scales = Quantization(tuple(float(np.float32(s)) for s in rng.uniform(0.005, 0.02, shape[axis])), 0, axis)
        return {
            "weights": b.constant(f"{name}.weights", rng.integers(-127, 128, shape).astype(np.int8), scales, ""),
            "bias": b.constant(f"{name}.bias", rng.integers(-500, 500, shape[axis]).astype(np.int32), None, ""),
        }

    image = activation((1, 6, 5, 4), 0.05000000074505806, -4)
    x = b.input(activation((1, 6, 5, 2), 0.05000000074505806, 3), "x")
    same = Window((3, 3), (1, 1), (1, 1, 1, 1))
    c = b.node("first", Conv2D(activation="relu", window=same), {"x": x, **weights("first", (4, 3, 3, 2), 0)}, image, "")
    d = b.node("second", DepthwiseConv2D(same, "relu6"), {"x": c, **weights("second", (1, 3, 3, 4), 3)}, image, "")
    s = b.node("sum", Add(), {"x": c, "other": d}, image, "")
    p = b.node("pool", AveragePool2D(Window((2, 2), (2, 2))), {"x": s}, activation((1, 3, 2, 4), 0.05000000074505806, -4), "")
    r = b.node("flat", Reshape((1, 24)), {"x": p}, activation((1, 24), 0.05000000074505806, -4), "")
    f = b.node("head", FullyConnected(), {"x": r, **weights("head", (3, 24), 0)}, activation((1, 3), 0.10000000149011612, 0), "")
    y = b.node("classes", Softmax(), {"x": f}, activation((1, 3), 1 / 256, -128), "")
    return verify(b.finish([y]))


SMALL = writer.write(small_model())


def image_of(graph: Graph, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (5, *graph.type(graph.inputs[0]).shape[1:])).astype(np.int8)


# -- what is accepted ---------------------------------------------------------------------------------
def test_names_types_and_results_survive() -> None:
    before, after = small_model(), load(SMALL)
    assert [(n.op, after.type(n.outputs[0])) for n in after.nodes] == [(n.op, before.type(n.outputs[0])) for n in before.nodes]
    assert {"first", "second", "sum", "head"} <= {n.name for n in after.nodes}
    x = image_of(before)
    assert np.array_equal(interp.infer(before, x)[0], interp.infer(after, x)[0])


def test_bias_may_be_missing() -> None:
    for inputs in ((0, 1), (0, 1, -1)):
        graph = load(dense(inputs=inputs))
        assert not graph.values["head.bias"].data.any()


def test_batch_of_minus_one() -> None:
    assert load(dense(x={"signature": (-1, 4)}, y={"signature": (-1, 3)})).type("input").shape == (1, 4)
    assert load(dense(x={"shape": (-1, 4)}, y={"shape": (-1, 3)})).type("input").shape == (1, 4)


def test_bias_with_any_quantized_dimension() -> None:
    assert load(dense(bias={"axis": 3})).nodes[0].name == "head"


def test_weights_with_one_scale_a_channel() -> None:
    assert load(dense(w={"scale": (0.01, 0.02, 0.03), "zero": (0, 0, 0)})).type("head.weights").channel_scales[2] == np.float32(0.03)


def test_reshape_without_options() -> None:
    x, y = FileTensor((1, 6)), FileTensor((1, 2, 3))
    graph = load(build([x, y], [FileOperator("RESHAPE", (0,), (1,))], (0,), (1,)))
    assert graph.nodes[0].op == Reshape((1, 2, 3))


def test_rows_without_a_batch_axis() -> None:
    """RESHAPE to [rows, depth] before a layer: the graph has a batch axis in front."""
    rng = np.random.default_rng(3)
    w = FileTensor((2, 4), scale=(0.01,), data=rng.integers(-127, 128, (2, 4)).astype(np.int8))
    axes = FileTensor((1,), "INT32", None, data=np.array([0], np.int32))
    tensors = [FileTensor((1, 3, 4)), FileTensor((3, 4)), w, FileTensor((3, 2)), FileTensor((2,)), axes]
    operators = [
        FileOperator("RESHAPE", (0,), (1,)),
        FileOperator("FULLY_CONNECTED", (1, 2), (3,), "FullyConnectedOptions"),
        FileOperator("MEAN", (3, 5), (4,), "ReducerOptions"),
    ]
    graph = load(build(tensors, operators, (0,), (4,)))
    assert [graph.type(n.outputs[0]).shape for n in graph.nodes] == [(1, 3, 4), (1, 3, 2), (1, 2)]
    x = image_of(graph)
    whole = interp.infer(graph, x)[0]
    assert whole.shape == (5, 2)
    assert np.array_equal(whole, np.concatenate([interp.infer(graph, x[i : i + 1])[0] for i in range(5)]))


def test_float_input_and_output_around_an_int8_core() -> None:
    w = FileTensor((3, 4), scale=(0.01,), data=np.ones((3, 4), np.int8), name="model/head/MatMul")
    tensors = [FileTensor((1, 4), "FLOAT32", None), FileTensor((1, 4)), w, FileTensor((1, 3)), FileTensor((1, 3), "FLOAT32", None)]
    operators = [
        FileOperator("QUANTIZE", (0,), (1,)),
        FileOperator("FULLY_CONNECTED", (1, 2), (3,), "FullyConnectedOptions"),
        FileOperator("DEQUANTIZE", (3,), (4,)),
    ]
    graph = load(build(tensors, operators, (0,), (4,)))
    assert [n.op.mnemonic for n in graph.nodes] == ["fully_connected"]
    assert graph.type("input").dtype == "int8" and any("quantised by the caller" in note for note in graph.notes)


# -- what is refused ----------------------------------------------------------------------------------
@pytest.mark.parametrize("size", range(0, len(SMALL), 97))
def test_truncated(size: int) -> None:
    with pytest.raises(CompileError):
        load(SMALL[:size])


def test_not_a_model() -> None:
    refused(b"", "TFL3")
    refused(b"\x1c\x00\x00\x00TFL2" + SMALL[8:], "not a TensorFlow Lite file")
    refused(b"TFL3", "TFL3")
    refused(b"\xff" * 4 + b"TFL3" + b"\xff" * 64, "damaged")
    refused(b"\x00" * 4 + b"TFL3" + b"\x00" * 64)


def test_files_that_are_not_there(tmp_path: Any) -> None:
    with pytest.raises(CompileError, match="cannot be read"):
        load_file(tmp_path / "missing.tflite")
    other = tmp_path / "model.h5"
    other.write_bytes(b"x")
    with pytest.raises(CompileError, match="unknown model format"):
        load_file(other)


def test_float_only() -> None:
    w = FileTensor((3, 4), "FLOAT32", None, data=np.ones((3, 4), np.float32))
    tensors = [FileTensor((1, 4), "FLOAT32", None), w, FileTensor((1, 3), "FLOAT32", None)]
    layer = FileOperator("FULLY_CONNECTED", (0, 1), (2,), "FullyConnectedOptions")
    refused(build(tensors, [layer], (0,), (2,)), "FLOAT32", "kilotune quantize MODEL")


def test_float_in_a_circle() -> None:
    refused(build([FileTensor((1, 4)), FileTensor((1, 4), "FLOAT32", None)], [FileOperator("DEQUANTIZE", (1,), (1,))], (0,), (1,)), "FLOAT32")


@pytest.mark.parametrize("which", ["x", "y"])
def test_types_other_than_int8(which: str) -> None:
    for kind in ("UINT8", "INT16", "INT4"):
        refused(dense(**{which: {"type": kind}}), kind, "INT8")


def test_weights_of_other_types() -> None:
    refused(dense(w={"type": "UINT8", "data": None}), "constant")
    refused(dense(w={"type": "INT32", "data": np.ones((3, 4), np.int32)}), "INT8 weights")
    refused(dense(w={"data": None}), "constant")
    refused(dense(bias={"type": "INT8", "data": np.ones(3, np.int8)}), "INT32 bias")
    refused(dense(bias={"shape": (2,), "data": np.ones(2, np.int32)}), "INT32 bias of 3")


def test_unsupported_operators() -> None:
    pair = [FileTensor((1, 4)), FileTensor((1, 4))]
    error = refused(
        build(pair, [FileOperator("LOCAL_RESPONSE_NORMALIZATION", (0,), (1,))], (0,), (1,)), "LOCAL_RESPONSE_NORMALIZATION", "not supported"
    )
    assert "CONV_2D" in error.hint and "FULLY_CONNECTED" in error.hint
    refused(build(pair, [FileOperator("CUSTOM", (0,), (1,), custom="MyOperator")], (0,), (1,)), "MyOperator")


def test_square_is_a_product_with_itself() -> None:
    graph = load(build([FileTensor((1, 4)), FileTensor((1, 4))], [FileOperator("SQUARE", (0,), (1,))], (0,), (1,)))
    (node,) = graph.nodes
    assert node.op == Mul() and node.inputs == {"x": "input", "other": "input"} and "no kernel for it in int8" in graph.notes[0]


def test_dynamic_shapes() -> None:
    refused(dense(x={"shape": (1, -1)}), "dynamic shape")
    refused(dense(y={"shape": ()}), "dynamic shape")
    refused(dense(y={"shape": (1, 0)}), "dynamic shape")
    refused(dense(x={"shape": (1, 1 << 30)}), "beyond any microcontroller")


@pytest.mark.parametrize("which", ["x", "w", "y"])
@pytest.mark.parametrize("scale", [float("nan"), 0.0, -0.1, float("inf")])
def test_scales_without_meaning(which: str, scale: float) -> None:
    refused(dense(**{which: {"scale": (scale,)}}), "not a positive finite number")


def test_quantisation_without_meaning() -> None:
    refused(dense(x={"scale": None}), "no quantisation parameters")
    refused(dense(x={"scale": (0.1, 0.2, 0.3, 0.4), "zero": (0, 0, 0, 0)}), "one scale a channel")
    refused(dense(x={"zero": (200,)}), "outside int8")
    refused(dense(w={"zero": (3,)}), "zero point 3", "symmetric")
    refused(dense(w={"scale": (0.1, 0.2, 0.3), "zero": (0, 1, 0)}), "differ between channels")
    refused(dense(w={"scale": (0.1, 0.2), "zero": (0, 0)}), "2 scales for 3 channels")
    refused(dense(x={"scale": (1e30,)}, y={"scale": (1e-30,)}), "apart")


def test_results_that_no_operator_gives() -> None:
    pair = [FileTensor((1, 4)), FileTensor((1, 4))]
    refused(build(pair, [], (0,), (1,)), "before it is computed")
    refused(build(pair, [], (0,), ()), "no inputs or no outputs")
    refused(build(pair, [FileOperator("RELU", (7,), (1,))], (0,), (1,)), "damaged")
    refused(build([FileTensor((1, 4)), FileTensor((1, 5))], [FileOperator("RESHAPE", (0,), (1,))], (0,), (1,)), "view")


def test_batches_are_refused() -> None:
    pool = FileOperator("MAX_POOL_2D", (0,), (1,), "Pool2DOptions", {"StrideH": 1, "StrideW": 1, "FilterHeight": 1, "FilterWidth": 1})
    refused(build([FileTensor((8, 2, 2, 1)), FileTensor((8, 2, 2, 1))], [pool], (0,), (1,)), "batch of 1")


# -- anything at all ----------------------------------------------------------------------------------
MUTATIONS = 3000


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """One to four bytes changed, a run overwritten, cut out or doubled."""
    changed = bytearray(data)
    kind = rng.integers(10)
    at = int(rng.integers(len(changed)))
    run = int(rng.integers(1, 24))
    if kind < 7:
        for _ in range(int(rng.integers(1, 5))):
            changed[int(rng.integers(len(changed)))] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
    elif kind == 7:
        changed[at : at + run] = bytes(rng.integers(0, 256, len(changed[at : at + run])).astype(np.uint8))
    elif kind == 8:
        del changed[at : at + run]
    else:
        changed[at:at] = changed[at : at + run]
    return bytes(changed)


@pytest.mark.parametrize("make", [lambda: SMALL, dense], ids=["small", "dense"])
def test_mutations(make: Callable[[], bytes]) -> None:
    """A Graph that the verifier accepts, or a CompileError: never another exception, and never a hang."""
    rng = np.random.default_rng(20)
    data = make()
    accepted = refusals = 0
    for number in range(MUTATIONS):
        changed = mutate(rng, data)
        try:
            load(changed)
            accepted += 1
        except CompileError:
            refusals += 1
        except Exception as error:  # the failure must say which mutation it was
            raise AssertionError(f"mutation {number} raised {type(error).__name__}: {error}") from error
    assert accepted > 100 and refusals > 100
