"""The ONNX front end on small models made here: integers within one step of onnxruntime, and refusals instead of tracebacks.

onnxruntime dequantises, computes in float32 and quantises again; the graph computes in integers. Rounding may differ by
one step after one operator, never by more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from qdq_models import IMAGE, SAMPLES, Array, Qdq, kinds, load, one, runtime

from kiloc.ir import interp
from kiloc.ops._window import Window

# ---- One operator at a time ----

CONVOLUTIONS: dict[str, Callable[[Qdq, str], str]] = {
    "pads": lambda m, x: m.op("Conv", x, m.weights(6, 4, 3, 3), m.bias(6), pads=[1, 0, 2, 1], strides=[2, 1]),
    "same_upper": lambda m, x: m.op("Conv", x, m.weights(6, 4, 3, 2), m.bias(6), auto_pad="SAME_UPPER", strides=[2, 2]),
    "same_lower": lambda m, x: m.op("Conv", x, m.weights(6, 4, 4, 2), m.bias(6), auto_pad="SAME_LOWER", strides=[2, 2]),
    "valid": lambda m, x: m.op("Conv", x, m.weights(6, 4, 3, 3), auto_pad="VALID"),
    "dilated": lambda m, x: m.op("Conv", x, m.weights(6, 4, 3, 3), m.bias(6), dilations=[2, 2], pads=[2, 2, 2, 2]),
    "per_tensor": lambda m, x: m.op("Conv", x, m.weights(6, 4, 1, 1, axis=None), m.bias(6), kernel_shape=[1, 1]),
    "depthwise": lambda m, x: m.op("Conv", x, m.weights(4, 1, 3, 3), m.bias(4), group=4, pads=[1, 1, 1, 1]),
    "depth_multiplier": lambda m, x: m.op("Conv", x, m.weights(8, 1, 3, 3), m.bias(8), group=4, strides=[2, 2]),
    "bias_by_add": lambda m, x: m.op("Add", m.op("Conv", x, m.weights(6, 4, 1, 1)), m.init(m.rng.normal(0, 1, (1, 6, 1, 1)).astype(np.float32))),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str) -> None:
    m = one(CONVOLUTIONS[name], *IMAGE, scale=1.0)
    assert m.difference() <= 1
    expected = "depthwise_conv_2d" if name.startswith("depth") else "conv_2d"
    assert [k for k in kinds(m.load()) if k != "transpose"] == [expected]


def test_channels_first_input_is_transposed_once_at_each_edge() -> None:
    graph = one(CONVOLUTIONS["pads"], *IMAGE).load()
    assert graph.type("input").shape == IMAGE, "the caller sees the file's shape"
    assert kinds(graph) == ["transpose", "conv_2d", "transpose"]
    assert graph.type(graph.outputs[0]).shape == (1, 6, 5, 6)


def test_one_channel_needs_no_transpose_and_no_depthwise_kernel() -> None:
    m = one(lambda m, x: m.op("Conv", x, m.weights(1, 1, 3, 3), m.bias(1), group=1), 1, 1, 6, 5)
    assert kinds(m.load()) == ["reshape", "conv_2d", "reshape"]
    assert m.difference() <= 1


@pytest.mark.parametrize("group", [1, 4])
def test_signals_are_images_of_width_one(group: int) -> None:
    m = one(lambda m, x: m.op("Conv", x, m.weights(8, 4 // group, 5), m.bias(8), group=group, strides=[2], pads=[2, 1]), 1, 4, 20)
    assert m.difference() <= 1
    assert m.load().type(m.load().outputs[0]).shape == (1, 8, 10)


MATRICES: dict[str, Callable[[Qdq, str], str]] = {
    "gemm": lambda m, x: m.op("Gemm", x, m.weights(12, 5, axis=1), m.bias(5)),
    "gemm_transposed": lambda m, x: m.op("Gemm", x, m.weights(5, 12, axis=0), m.bias(5), transB=1),
    "gemm_per_tensor": lambda m, x: m.op("Gemm", x, m.weights(12, 5, axis=None)),
    "matmul_add": lambda m, x: m.op("Add", m.op("MatMul", x, m.weights(12, 5, axis=None)), m.bias(5)),
    "add_matmul": lambda m, x: m.op("Add", m.bias(5), m.op("MatMul", x, m.weights(12, 5, axis=1))),
    "transposed_weights": lambda m, x: m.op("MatMul", x, m.op("Transpose", m.weights(5, 12, axis=0), perm=[1, 0])),
}


@pytest.mark.parametrize("name", MATRICES)
def test_fully_connected(name: str) -> None:
    m = one(MATRICES[name], 1, 12)
    assert kinds(m.load()) == ["fully_connected"]
    assert m.difference() <= 1


def test_matmul_of_rows() -> None:
    m = one(lambda m, x: m.op("MatMul", x, m.weights(12, 5, axis=None)), 1, 7, 12)
    assert m.difference() <= 1
    assert m.load().type(m.load().outputs[0]).shape == (1, 7, 5)


def test_integer_bias_is_taken_as_it_is_and_another_scale_is_converted() -> None:
    for factor in (1.0, 0.5):
        m = Qdq()
        x = m.input(1, 12)
        values, unit = np.array([1000, -78, 12, 6, 30002], np.int32), np.float32(0.05 * factor) * np.float32(0.01)
        b = m.op("DequantizeLinear", m.init(values), m.init(np.float32(unit)), m.init(np.int32(0)))
        m.output(m.q(m.op("Gemm", m.d(x), m.weights(12, 5, axis=None), b), 0.2))
        bias = next(v for n, v in m.load().values.items() if n.endswith(".bias"))
        assert np.array_equal(bias.data, np.rint(values * factor))  # type: ignore[arg-type]
        assert m.difference() <= 1


OTHERS: dict[str, tuple[Callable[[Qdq, str], str], tuple[int, ...], float, int]] = {
    "max_pool": (lambda m, x: m.op("MaxPool", x, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]), IMAGE, 0.05, 3),
    "max_pool_ceil": (lambda m, x: m.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), IMAGE, 0.05, 3),
    "max_pool_rescaled": (lambda m, x: m.op("MaxPool", x, kernel_shape=[2, 2]), IMAGE, 0.07, -9),
    "max_pool_signal": (lambda m, x: m.op("MaxPool", x, kernel_shape=[2], strides=[2]), (1, 4, 10), 0.05, 3),
    "average_pool": (lambda m, x: m.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), IMAGE, 0.05, 3),
    "average_pool_border": (lambda m, x: m.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), IMAGE, 0.05, 3),
    "average_pool_zeros": (lambda m, x: m.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), IMAGE, 0.05, 3),
    "average_pool_whole": (lambda m, x: m.op("AveragePool", x, kernel_shape=[9, 7]), IMAGE, 0.01, -9),
    "global_average": (lambda m, x: m.op("GlobalAveragePool", x), IMAGE, 0.01, -9),
    "global_average_signal": (lambda m, x: m.op("GlobalAveragePool", x), (1, 4, 10), 0.01, -9),
    "mean_keep": (lambda m, x: m.op("ReduceMean", x, axes=[2, 3]), IMAGE, 0.01, -9),
    "sum": (lambda m, x: m.op("ReduceSum", x, m.init(np.array([2, 3])), keepdims=0), IMAGE, 0.7, -9),
    "mean_drop": (lambda m, x: m.op("ReduceMean", x, axes=[-1, -2], keepdims=0), IMAGE, 0.01, -9),
    "mean_channels": (lambda m, x: m.op("ReduceMean", x, axes=[1], keepdims=0), IMAGE, 0.03, -9),
    "mean_apart": (lambda m, x: m.op("ReduceMean", x, axes=[1, 3], keepdims=1), IMAGE, 0.03, -9),
    "softmax": (lambda m, x: m.op("Softmax", x), (1, 10), 1 / 256, -128),
    "softmax_channels": (lambda m, x: m.op("Softmax", x, axis=1), IMAGE, 1 / 256, -128),
    "softmax_rescaled": (lambda m, x: m.op("Softmax", x), (1, 10), 1 / 128, -128),
    "relu": (lambda m, x: m.op("Relu", x), IMAGE, 0.04, -20),
    "relu_same_scale": (lambda m, x: m.op("Relu", x), IMAGE, 0.05, 3),
    "rescaled": (lambda m, x: m.op("Identity", x), IMAGE, 0.04, -20),
    "pad": (lambda m, x: m.op("Pad", x, m.init(np.array([0, 0, 1, 2, 0, 0, 3, 0]))), IMAGE, 0.05, 3),
    "pad_value": (lambda m, x: m.op("Pad", x, m.init(np.array([0, 0, 1, 2, 0, 0, 3, 0])), m.init(np.float32(1.5))), IMAGE, 0.05, 3),
    "transpose": (lambda m, x: m.op("Transpose", x, perm=[0, 3, 1, 2]), IMAGE, 0.05, 3),
    "flatten": (lambda m, x: m.op("Flatten", x), IMAGE, 0.05, 3),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_operators(name: str) -> None:
    make, shape, scale, zero = OTHERS[name]
    assert one(make, *shape, scale=scale, zero=zero).difference() <= 1


@pytest.mark.parametrize("scale", [0.05, 0.2])
def test_add_of_activations_in_different_orders(scale: float) -> None:
    """The residual branch comes channels-first from the input, the other channels-last from a convolution."""
    m = Qdq()
    x = m.input(*IMAGE)
    left = m.q(m.op("Conv", m.d(x), m.weights(4, 4, 1, 1), m.bias(4)), scale)
    m.output(m.q(m.op("Relu", m.op("Add", m.d(left), m.d(x))), 0.3, -128))
    assert m.difference() <= 1 + int(np.ceil(scale / 0.3))
    graph = m.load()
    assert kinds(graph) == ["transpose", "conv_2d", "add", "transpose"]
    assert next(n.op for n in graph.nodes if n.op.mnemonic == "add").activation == "relu"  # type: ignore[attr-defined]


# ---- Activations ----


@pytest.mark.parametrize(
    ("limits", "zero", "expected"),
    [
        (None, -5, "none"), (("Relu",), -5, "relu"), ((0.0, 6.0), -5, "relu6"), ((0.0, None), -5, "relu"),
        ((-1.0, 1.0), -5, "relu_n1_to_1"),
        ((0.0, 1e30), -128, "none"), ((0.0, float("inf")), -128, "relu"), ((-100.0, 100.0), -5, "none"), ((0.0, 100.0), -5, "relu"),
        (("Relu", 0.0, 6.0), -128, "relu6"),
    ],
)  # fmt: skip
def test_clamps_are_fused(limits: tuple[Any, ...] | None, zero: int, expected: str) -> None:
    def make(m: Qdq, x: str) -> str:
        y = m.op("Gemm", x, m.weights(12, 5, axis=1), m.bias(5))
        rest = limits or ()
        if rest and rest[0] == "Relu":
            y, rest = m.op("Relu", y), rest[1:]
        if not rest:
            return y
        return m.op("Clip", y, *("" if limit is None else m.init(np.float32(limit)) for limit in rest))

    m = one(make, 1, 12, scale=0.2, zero=zero)
    (node,) = m.load().nodes
    assert node.op.activation == expected  # type: ignore[attr-defined]
    assert m.difference() <= 1


# ---- Layouts ----


def after_convolution(tail: Callable[[Qdq, str], str]) -> Qdq:
    """An NHWC input, a convolution in NCHW, then `tail` from its quantised result to the matrix of a Gemm."""
    m = Qdq()
    x = m.input("batch", 8, 6, 3)
    first = m.alike(m.op("Transpose", x, perm=[0, 3, 1, 2]), x)
    y = m.q(m.op("Relu", m.op("Conv", m.d(first), m.weights(4, 3, 3, 3), m.bias(4))), 0.5, -128)
    flat = m.alike(tail(m, y), y)
    m.output(m.q(m.op("Gemm", m.d(flat), m.weights(4 * 6 * 4, 5, axis=None), m.bias(5)), 2.0), "batch", 5)
    return m


def batch_of(m: Qdq, y: str) -> str:
    """y.size(0), as exporters write it."""
    return m.op("Unsqueeze", m.op("Gather", m.op("Shape", y), m.init(np.array(0))), m.init(np.array([0])))


TAILS: dict[str, Callable[[Qdq, str], str]] = {
    "flatten": lambda m, y: m.op("Flatten", y),
    "reshape": lambda m, y: m.op("Reshape", y, m.init(np.array([-1, 96]))),
    "reshape_0": lambda m, y: m.op("Reshape", y, m.init(np.array([0, -1]))),
    "channels_last": lambda m, y: m.op("Reshape", m.op("Transpose", y, perm=[0, 2, 3, 1]), m.init(np.array([-1, 96]))),
    "other_order": lambda m, y: m.op("Flatten", m.op("Transpose", y, perm=[0, 3, 1, 2])),
    "squeezed": lambda m, y: m.op("Squeeze", m.op("Unsqueeze", m.op("Flatten", y), m.init(np.array([1, 3]))), m.init(np.array([1, 3]))),
    "shape_arithmetic": lambda m, y: m.op("Reshape", y, m.op("Concat", batch_of(m, y), m.init(np.array([-1])), axis=0)),
}


@pytest.mark.parametrize("name", TAILS)
def test_flattening_moves_weights_instead_of_activations(name: str) -> None:
    m = after_convolution(TAILS[name])
    assert kinds(m.load()) == ["conv_2d", "fully_connected"]
    assert m.load().type("input").shape == (1, 8, 6, 3)
    assert m.difference() <= 1 + 1  # one step of the convolution moves the sum by less than a step of the result


def test_a_mixed_order_without_weights_behind_it_is_transposed() -> None:
    m = Qdq()
    x = m.input(1, 8, 6, 3)
    y = m.q(m.op("Conv", m.d(m.alike(m.op("Transpose", x, perm=[0, 3, 1, 2]), x)), m.weights(4, 3, 3, 3)), 0.5)
    m.output(m.op("Flatten", y))
    assert m.difference() <= 1
    assert kinds(m.load()) == ["conv_2d", "reshape", "transpose", "reshape"]


def test_pools_keep_the_scale_without_a_quantise_between() -> None:
    m = Qdq()
    x = m.input(1, 6, 6, 2)
    pooled = m.op("MaxPool", m.op("Transpose", m.d(x), perm=[0, 3, 1, 2]), kernel_shape=[2, 2], strides=[2, 2])
    m.output(m.q(m.op("Gemm", m.op("Flatten", pooled), m.weights(5, 18), transB=1), 0.4))
    assert m.difference() <= 1
    assert kinds(m.load()) == ["max_pool_2d", "fully_connected"]


# ---- What else is accepted ----


def test_float_inputs_and_outputs_are_left_to_the_caller() -> None:
    m = Qdq()
    m.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 12]))
    y = m.q(m.op("Gemm", m.d(m.q("x", 0.05, 3)), m.weights(5, 12), m.bias(5), transB=1), 0.2)
    m.output(m.op("Softmax", m.d(y)), "n", 5, kind=TensorProto.FLOAT)
    graph = m.load()
    assert kinds(graph) == ["fully_connected"]
    assert graph.notes == (
        "the FLOAT32 input is quantised by the caller (the scale is in the manifest)",
        "Softmax on FLOAT32 after the INT8 core is left to the caller",
    )


def test_uint8_inside_is_held_128_lower() -> None:
    m = Qdq()
    x = m.input(1, 12)
    hidden = m.q(m.op("Relu", m.op("Gemm", m.d(x), m.weights(8, 12), transB=1)), 0.2, 0, np.uint8)
    m.output(m.q(m.op("Gemm", m.d(hidden), m.weights(5, 8), transB=1), 2.0))
    assert m.load().type(m.load().nodes[0].outputs[0]).zero_point == -128
    assert m.difference() <= 1


def test_weights_in_float_in_front_of_their_quantise() -> None:
    m = Qdq()
    x = m.input(1, 12)
    w = m.q(m.init(m.rng.normal(0, 0.3, (5, 12)).astype(np.float32)), 0.01, 0)
    m.output(m.q(m.op("Gemm", m.d(x), m.d(w), transB=1), 0.2))
    assert m.difference() <= 1


def test_layers_are_named_after_their_scopes() -> None:
    m = one(lambda m, x: m.op("Gemm", x, m.weights(5, 12), m.bias(5), transB=1), 1, 12)
    m.nodes[-2].name = "/classifier/Gemm"
    assert m.load().nodes[0].name == "classifier"


def test_a_window_keeps_the_attributes() -> None:
    graph = one(CONVOLUTIONS["pads"], *IMAGE).load()
    assert graph.nodes[1].op.window == Window((3, 3), (2, 1), (1, 0, 2, 1), (1, 1))  # type: ignore[attr-defined]


# ---- What onnxruntime's own quantiser writes ----


class Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.left = [{"x": rng.normal(size=(1, 3, 12, 8)).astype(np.float32)} for _ in range(16)]

    def get_next(self) -> dict[str, Array] | None:
        return self.left.pop() if self.left else None


def float_network() -> onnx.ModelProto:
    """As a PyTorch export: NCHW, named scopes, a symbolic batch."""
    m = Qdq()

    def real(*shape: int) -> str:
        return m.init((m.rng.normal(0, 0.3, shape)).astype(np.float32), "w")

    m.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 12, 8]))
    first = m.op("Relu", m.op("Conv", "x", real(8, 3, 3, 3), real(8), pads=[1, 1, 1, 1], strides=[2, 2]))
    depthwise = m.op("Clip", m.op("Conv", first, real(8, 1, 3, 3), real(8), pads=[1, 1, 1, 1], group=8), m.init(np.float32(0)), m.init(np.float32(6)))
    joined = m.op("Relu", m.op("Add", m.op("Conv", depthwise, real(8, 8, 1, 1), real(8)), first))
    flat = m.op("Flatten", m.op("MaxPool", joined, kernel_shape=[2, 2], strides=[2, 2]))
    hidden = m.op("Relu", m.op("Gemm", flat, real(16, 48), real(16), transB=1))
    m.output(m.op("Softmax", m.op("Gemm", hidden, real(5, 16), real(5), transB=1)), "n", 5, kind=TensorProto.FLOAT)
    return m.proto(17)


@pytest.mark.parametrize(
    ("options", "between"),
    [
        ({"per_channel": True}, []),
        ({"activation_type": QuantType.QUInt8}, []),
        ({"extra_options": {"AddQDQPairToWeight": True}}, []),
        ({"per_channel": True, "extra_options": {"ActivationSymmetric": True}}, ["requantize"]),  # Relu stays on its own
    ],
    ids=["per_channel", "uint8", "float_weights", "symmetric"],
)
def test_quantize_static(options: dict[str, Any], between: list[str], tmp_path: Path) -> None:
    source, target = tmp_path / "float.onnx", tmp_path / "qdq.onnx"
    onnx.save(float_network(), source)
    quantize_static(source, target, Samples(), quant_format=QuantFormat.QDQ, **options)
    data = target.read_bytes()
    graph = load(data)
    body = ["transpose", "conv_2d", *between, "depthwise_conv_2d", *between, "conv_2d", "add", *between, "max_pool_2d"]
    assert kinds(graph) == [*body, "fully_connected", *between, "fully_connected", "softmax"]
    assert graph.notes[1].startswith("the output has the scale of softmax")
    rng, session = np.random.default_rng(2), runtime(data)
    x = rng.normal(size=(SAMPLES, 3, 12, 8)).astype(np.float32)
    q, y = graph.type("input"), graph.type(graph.outputs[0])
    codes = np.clip(np.rint(x / np.float32(q.scale)) + q.zero_point, -128, 127).astype(np.int8)
    ours = (interp.infer(graph, codes)[0].astype(np.float64) - y.zero_point) * y.scale
    theirs = np.concatenate([session.run(None, {"x": r[None]})[0] for r in x])
    assert np.abs(ours - theirs).max() < 0.06, "probabilities: single steps of seven layers, through the softmax"
