"""Products of ONNX files: constants on either side, groups, and weights around any zero point, of eight bits, nine and four."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper
from qdq_models import IMAGE, Qdq, kinds, one, refused, runtime

from kiloc.ir import interp

PRODUCTS: dict[str, tuple[Callable[[Qdq, str], str], tuple[int, ...]]] = {
    "weights_first": (lambda m, x: m.op("MatMul", m.weights(5, 12), x), (1, 12, 7)),
    "gemm_weights_first": (lambda m, x: m.op("Gemm", m.weights(5, 12), x, transB=1), (1, 12)),
    "gemm_activation_transposed": (
        lambda m, x: m.op("Gemm", m.op("Reshape", x, m.init(np.array([12, 1]))), m.weights(12, 5, axis=1), m.bias(5), transA=1),
        (1, 12),
    ),
    "gemm_weights_first_transposed": (
        lambda m, x: m.op("Gemm", m.weights(12, 5, axis=1), m.op("Reshape", x, m.init(np.array([12, 1]))), transA=1),
        (1, 12),
    ),
    "alpha_and_beta": (lambda m, x: m.op("Gemm", x, m.weights(12, 5, axis=1), m.bias(5), alpha=-0.5, beta=2.0), (1, 12)),
    "weights_with_a_batch": (lambda m, x: m.op("MatMul", x, m.op("Reshape", m.weights(12, 5, axis=None), m.init(np.array([1, 12, 5])))), (1, 7, 12)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_constants_on_either_side(name: str) -> None:
    make, shape = PRODUCTS[name]
    m = one(make, *shape, scale=0.3)
    assert m.difference() <= 1
    assert "fully_connected" in kinds(m.load())


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_run_as_one_convolution(groups: int) -> None:
    m = one(lambda m, x: m.op("Conv", x, m.weights(8, 8 // groups, 3, 3), m.bias(8), group=groups), 1, 8, 6, 5, scale=0.4)
    assert m.difference() <= 1
    assert any("groups run as one" in note for note in m.load().notes)


def with_weights(data: np.ndarray, zero: np.ndarray, scale: np.ndarray, **axis: int) -> Qdq:
    m = Qdq()
    w = m.op("DequantizeLinear", m.init(data), m.init(scale.astype(np.float32)), m.init(zero.astype(data.dtype)), **axis)
    m.output(m.q(m.op("Gemm", m.d(m.input(1, 12)), w, m.bias(5)), 0.2))
    return m


def test_weights_around_any_zero_point_that_fits() -> None:
    rng = np.random.default_rng(5)
    every = [
        with_weights(rng.integers(-100, 100, (12, 5)).astype(np.int8), np.array(7), np.array(0.01)),
        with_weights(rng.integers(0, 256, (12, 5)).astype(np.uint8), np.array(128), np.array(0.01)),
        with_weights(rng.integers(30, 150, (12, 5)).astype(np.uint8), np.array([100, 60, 90, 30, 128]), np.full(5, 0.01), axis=1),
    ]
    assert [m.difference() <= 1 for m in every] == [True] * 3


@pytest.mark.parametrize("zero", [120, 0])
def test_a_channel_whose_weights_need_nine_bits_is_read_twice(zero: int) -> None:
    """Each part of a weight fits int8, and their sum is the weight: of 255 around 0 there are three."""
    data = np.random.default_rng(6).integers(zero, zero + 100, (12, 5)).astype(np.uint8)
    data[3, :2] = 0, 255
    m = with_weights(data, np.array(zero), np.array(0.01))
    graph = m.load()
    assert kinds(graph) == ["gather", "fully_connected"] and "read twice" in graph.notes[0]
    weights = next(v.data for n, v in graph.values.items() if n.endswith(".weights"))
    assert weights is not None and np.array_equal(weights[:, 3] + weights[:, 12:].sum(1), data[3].astype(int) - zero)
    assert weights.shape == (5, 14 if zero == 0 else 13) and m.difference() <= 1


def test_a_depthwise_layer_has_weights_of_eight_bits() -> None:
    m = Qdq()
    w = m.op("DequantizeLinear", m.init(np.array([0, 255, 9, 200], np.uint8).reshape(4, 1, 1, 1)), m.init(np.float32(0.01)), m.init(np.uint8(90)))
    m.output(m.q(m.op("Conv", m.d(m.input(*IMAGE)), w, group=4), 0.2))
    assert "WeightSymmetric" in refused(m.bytes(), "does not fit int8").hint


def test_weights_of_four_bits() -> None:
    m = Qdq()
    m.initializers.append(helper.make_tensor("w", TensorProto.INT4, [12, 5], m.rng.integers(-8, 8, 60)))
    m.initializers.append(helper.make_tensor("z", TensorProto.INT4, [], [0]))
    w = m.op("DequantizeLinear", "w", m.init(np.float32(0.1)), "z")
    m.output(m.q(m.op("Gemm", m.d(m.input(1, 12)), w, m.bias(5)), 0.2))
    ours, theirs = m.load(), runtime(helper_model(m, 21))
    x = m.rng.integers(-128, 128, (20, 12)).astype(np.int8)
    found = np.concatenate([theirs.run(None, {theirs.get_inputs()[0].name: row[None]})[0] for row in x])
    assert np.abs(found.astype(int) - interp.infer(ours, x)[0]).max() <= 1


def helper_model(m: Qdq, opset: int) -> bytes:
    proto = m.proto(opset)
    proto.ir_version = 10
    return bytes(proto.SerializeToString())
