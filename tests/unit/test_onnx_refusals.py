"""The ONNX front end on files it cannot take: a refusal that names place, cause and remedy, never a traceback."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qdq_models import IMAGE, Qdq, kinds, load, one, refused

from kiloc.errors import CompileError


def small() -> Qdq:
    """A convolution, a residual, a pool and a fully connected layer."""
    m = Qdq()
    x = m.input("batch", 6, 6, 2)
    first = m.alike(m.op("Transpose", x, perm=[0, 3, 1, 2]), x)
    y = m.q(m.op("Relu", m.op("Conv", m.d(first), m.weights(2, 2, 3, 3), m.bias(2), pads=[1, 1, 1, 1])), 0.3, -128)
    z = m.q(m.op("Add", m.d(y), m.d(first)), 0.3)
    p = m.q(m.op("GlobalAveragePool", m.op("MaxPool", m.d(z), kernel_shape=[2, 2], strides=[2, 2])), 0.1)
    m.output(m.q(m.op("Softmax", m.d(m.q(m.op("Gemm", m.op("Flatten", m.d(p)), m.weights(3, 2), transB=1), 0.2))), 1 / 256, -128), "batch", 3)
    return m


def test_the_small_model_is_sound() -> None:
    graph = small().load()
    assert kinds(graph) == ["conv_2d", "add", "max_pool_2d", "mean", "fully_connected", "softmax"]


@pytest.mark.parametrize("data", [b"", b"\0", b"not a model at all", bytes(range(256)) * 8, b"TFL3" * 100], ids=range(5))
def test_what_is_no_onnx_file(data: bytes) -> None:
    refused(data, "m.onnx")


def test_every_truncation_is_refused_or_sound() -> None:
    data = small().bytes()
    for length in range(0, len(data), 7):
        attempt(data[:length])


def test_a_float_model_says_how_to_quantise() -> None:
    m = Qdq()
    m.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4]))
    m.output(m.op("Gemm", "x", m.init(np.ones((4, 3), np.float32))), 1, 3, kind=TensorProto.FLOAT)
    assert "quantize_static" in refused(m.bytes(), "FLOAT32").hint


def with_scale(value: float) -> bytes:
    return one(lambda m, x: m.op("Gemm", x, m.weights(5, 12), transB=1), 1, 12, scale=value).bytes()


def without_initializers() -> bytes:
    proto = small().proto()
    del proto.graph.initializer[:]
    return bytes(proto.SerializeToString())


def gemm_between(first: Callable[[Qdq, str], str], *shape: int | str) -> bytes:
    m = Qdq()
    x = m.input(*shape)
    m.output(m.q(first(m, m.d(x)), 0.2))
    return m.bytes()


def gru(m: Qdq, x: str, units: int = 2, **attributes: Any) -> str:
    return m.op("GRU", x, m.weights(1, 6, 4, axis=None), m.weights(1, 6, 2, axis=None), hidden_size=units, **attributes)


def recurrent_input() -> bytes:
    """As the static quantiser leaves a recurrent layer at the input."""
    m = Qdq()
    m.inputs.append(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (3, 1, 4)))
    m.output(m.q(gru(m, "x", linear_before_reset=1), 0.01))
    return m.bytes()


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nan_scale": (lambda: with_scale(float("nan")), "scale nan"),
    "zero_scale": (lambda: with_scale(0.0), "scale 0.0"),
    "negative_scale": (lambda: with_scale(-1.0), "scale -1.0"),
    "infinite_scale": (lambda: with_scale(float("inf")), "scale inf"),
    "missing_initializers": (without_initializers, "initialiser is missing"),
    "unknown_operator": (lambda: gemm_between(lambda m, x: m.op("Det", x), 1, 12), "operator Det is not supported"),
    "two_activations": (lambda: gemm_between(lambda m, x: m.op("Gemm", x, x), 1, 1), "two activations"),
    "rnn": (lambda: gemm_between(lambda m, x: m.op("RNN", x, m.weights(1, 2, 4), m.weights(1, 2, 2)), 1, 1, 4), "and a state in FLOAT32"),
    "reset_first": (lambda: gemm_between(lambda m, x: gru(m, x), 3, 1, 4), "linear_before_reset = 0"),
    "backwards": (lambda: gemm_between(lambda m, x: gru(m, x, linear_before_reset=1, direction="reverse"), 3, 1, 4), "runs reverse"),
    "gates": (lambda: gemm_between(lambda m, x: gru(m, x, linear_before_reset=1, activations=["Relu", "Tanh"]), 3, 1, 4), "activations Relu"),
    "sequences": (lambda: gemm_between(lambda m, x: gru(m, x, linear_before_reset=1), 1, 3, 4), "sequence of shape (1, 3, 4)"),
    "units": (lambda: gemm_between(lambda m, x: gru(m, x, 5, linear_before_reset=1), 3, 1, 4), "not (1, 15, 4)"),
    "lstm_input": (lambda: recurrent_input(), "takes the float32 input 'x' without QuantizeLinear"),
    "group_normalization": (
        lambda: gemm_between(lambda m, x: m.op("InstanceNormalization", x, m.bias(4), m.bias(4)), *IMAGE),
        "a variance and a root",
    ),
    "long_rows": (lambda: gemm_between(lambda m, x: m.op("LayerNormalization", x, m.bias(2049)), 1, 2049), "rows of 2049"),
    "gamma": (lambda: gemm_between(lambda m, x: m.op("LayerNormalization", x, m.bias(5)), 1, 12), "of shape (5,), for (12,)"),
    "float_weights": (lambda: gemm_between(lambda m, x: m.op("Gemm", x, m.init(np.ones((12, 3), np.float32))), 1, 12), "not quantised"),
    "dynamic_shape": (lambda: gemm_between(lambda m, x: m.op("Relu", x), 1, "length"), "dynamic shape (1, length)"),
    "batch": (lambda: gemm_between(lambda m, x: m.op("Relu", x), 8, 12), "batch of 8"),
    "groups": (lambda: gemm_between(lambda m, x: m.op("Conv", x, m.weights(4, 2, 1, 1), group=3), 1, 4, 3, 3), "in 3 groups"),
    "broadcast": (lambda: gemm_between(lambda m, x: m.op("Add", x, m.init(np.ones((3, 12), np.float32))), 1, 12), "constant of shape (3, 12)"),
    "alpha": (lambda: gemm_between(lambda m, x: m.op("Gemm", x, m.weights(12, 3, axis=1), alpha=0.0), 1, 12), "weights by 0.0"),
    "wrong_axis": (lambda: gemm_between(lambda m, x: m.op("Gemm", x, m.weights(12, 3, axis=0)), 1, 12), "another axis"),
    "int16": (lambda: (lambda m: (m.output(m.q(m.op("Relu", m.d(m.input(1, 4))), 0.1, 0, np.int16)), m.bytes())[1])(Qdq()), "int16"),
    "no_quantise": (lambda: gemm_between(lambda m, x: m.op("Gemm", m.op("Gemm", x, m.weights(12, 3)), m.weights(3, 2)), 1, 12), "axis"),
    "empty_window": (lambda: gemm_between(lambda m, x: m.op("AveragePool", x, kernel_shape=[2, 2], pads=[2, 2, 2, 2]), *IMAGE), "pads"),
    "big_pads": (lambda: gemm_between(lambda m, x: m.op("Conv", x, m.weights(4, 4, 1, 1), pads=[60000] * 4), *IMAGE), "beyond any microcontroller"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, words = REFUSED[name]
    refused(make(), words)


def test_an_unquantised_result_between_layers_is_refused() -> None:
    data = gemm_between(lambda m, x: m.op("Gemm", m.op("Gemm", x, m.weights(3, 12), transB=1), m.weights(2, 3), transB=1), 1, 12)
    refused(data, "without QuantizeLinear")


def test_the_last_layer_must_be_quantised() -> None:
    m = Qdq()
    m.output(m.op("Gemm", m.d(m.input(1, 12)), m.weights(3, 12), transB=1), kind=TensorProto.FLOAT)
    refused(m.bytes(), "without QuantizeLinear")


# ---- Mutations ----


def attempt(data: bytes) -> bool:
    """Whether a mutant loads; anything but a graph or a CompileError fails the test."""
    try:
        load(data)
    except CompileError:
        return False
    return True


def test_mutated_bytes_never_end_in_a_traceback() -> None:
    data, random_ = small().bytes(), random.Random(1)
    loaded = 0
    for _ in range(400):
        mutant = bytearray(data)
        for _ in range(random_.randint(1, 4)):
            where = random_.randrange(len(mutant))
            choice = random_.random()
            if choice < 0.7:
                mutant[where] = random_.randrange(256)
            elif choice < 0.85:
                del mutant[where : where + random_.randint(1, 9)]
            else:
                mutant[where:where] = random_.randbytes(random_.randint(1, 9))
        loaded += attempt(bytes(mutant))
    assert 0 < loaded < 400


KINDS = ("Conv", "Gemm", "MatMul", "Add", "Pad", "Softmax", "AveragePool", "MaxPool", "ReduceMean", "Squeeze", "Clip", "Slice", "Cast")
ATTRIBUTES = ("axis", "group", "pads", "kernel_shape", "perm", "axes", "auto_pad", "ceil_mode")


def mutate(proto: onnx.ModelProto, r: random.Random) -> None:
    """One change that the protobuf parser does not notice."""
    node = r.choice(proto.graph.node)
    numbers = (-(2**62), -1000, -2, -1, 0, 1, 2, 3, 7, 1000, 70000, 2**40)
    tensor = r.choice(proto.graph.initializer)
    kind = r.randrange(9)
    if kind == 0 and node.input:
        node.input[r.randrange(len(node.input))] = r.choice(["", "nowhere", *(i for n in proto.graph.node for i in n.input)])
    elif kind == 1:
        node.op_type = r.choice(KINDS)
    elif kind == 2 and node.attribute:
        attribute = r.choice(node.attribute)
        attribute.i = r.choice(numbers)
        if attribute.ints:
            attribute.ints[r.randrange(len(attribute.ints))] = r.choice(numbers)
    elif kind == 3 and node.attribute:
        node.attribute[0].type = r.choice([1, 2, 3, 4, 6, 7, 8])
    elif kind == 4:
        node.attribute.append(helper.make_attribute(r.choice(ATTRIBUTES), r.choice(numbers)))
    elif kind == 5 and tensor.dims:
        tensor.dims[r.randrange(len(tensor.dims))] = r.choice(numbers)
    elif kind == 6:
        tensor.data_type = r.randrange(30)
    elif kind == 7:
        proto.graph.node.remove(node)
    else:
        dims = proto.graph.input[0].type.tensor_type.shape.dim
        dims[r.randrange(len(dims))].dim_value = r.choice(numbers)


def test_mutated_models_never_end_in_a_traceback() -> None:
    r, loaded = random.Random(2), 0
    for _ in range(600):
        proto = small().proto()
        for _ in range(r.randint(1, 2)):
            mutate(proto, r)
        loaded += attempt(proto.SerializeToString())
    assert 0 < loaded < 600
