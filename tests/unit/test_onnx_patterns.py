"""What tools leave in ONNX files around the layers: normalisations, functions, QOperator form, ends in FLOAT32, computed shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from qdq_models import IMAGE, Qdq, kinds, load, one, refused, runtime

from kiloc.errors import ModelError
from kiloc.export import onnx as writer
from kiloc.ir import interp
from kiloc.passes.simplify import simplify

MICROSOFT = "com.microsoft"


def reals(m: Qdq, *shape: int, spread: float = 0.4) -> str:
    return m.init(m.rng.normal(0, spread, shape).astype(np.float32))


def normalized(m: Qdq, x: str, channels: int) -> str:
    """BatchNormalization with factors of either sign."""
    scale = m.init((m.rng.uniform(0.5, 2, channels) * m.rng.choice([-1, 1], channels)).astype(np.float32))
    return m.op("BatchNormalization", x, scale, reals(m, channels), reals(m, channels), m.init(m.rng.uniform(0.5, 2, channels).astype(np.float32)))


# ---- Constants and normalisations ----

LINEAR: dict[str, tuple[Callable[[Qdq, str], str], tuple[int, ...], str]] = {
    "normalised_convolution": (lambda m, x: normalized(m, m.op("Conv", x, m.weights(6, 4, 3, 3), m.bias(6)), 6), IMAGE, "conv_2d"),
    "normalised_depthwise": (lambda m, x: normalized(m, m.op("Conv", x, m.weights(4, 1, 3, 3), group=4), 4), IMAGE, "depthwise_conv_2d"),
    "normalised_image": (lambda m, x: normalized(m, x, 4), IMAGE, "depthwise_conv_2d"),
    "normalised_signal": (lambda m, x: normalized(m, x, 4), (1, 4, 9), "depthwise_conv_2d"),
    "normalised_row": (lambda m, x: normalized(m, x, 12), (1, 12), "depthwise_conv_2d"),
    "chain": (lambda m, x: m.op("Relu", m.op("Add", m.op("Mul", x, reals(m, 4, 1, 1)), reals(m, 4, 1, 1))), IMAGE, "depthwise_conv_2d"),
    "scalar": (lambda m, x: m.op("Div", m.op("Sub", x, m.init(np.float32(1.5))), m.init(np.float32(0.7))), (1, 12), "function"),
    "subtracted_from": (lambda m, x: m.op("Sub", m.init(np.float32(1.5)), x), (1, 12), "function"),
    "along_height": (lambda m, x: m.op("Mul", x, reals(m, 9, 1)), IMAGE, "depthwise_conv_2d"),
    "one_element": (lambda m, x: m.op("Add", x, m.init(np.float32(0.3))), (1, 1), "function"),
    "factor_of_zero": (lambda m, x: m.op("Add", m.op("Mul", x, m.init(np.float32([0, 1e-6, 1] * 4))), reals(m, 12)), (1, 12), "depthwise_conv_2d"),
    "scaled_layer": (lambda m, x: m.op("Mul", m.op("Gemm", x, m.weights(12, 5, axis=1), m.bias(5)), reals(m, 5)), (1, 12), "fully_connected"),
    "added_twice": (
        lambda m, x: m.op("Add", m.bias(5), m.op("Sub", m.op("MatMul", x, m.weights(12, 5, axis=1)), m.bias(5))),
        (1, 12),
        "fully_connected",
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_constants_become_part_of_a_layer_or_one_of_their_own(name: str) -> None:
    make, shape, kind = LINEAR[name]
    m = one(make, *shape, scale=0.1)
    assert [k for k in kinds(m.load()) if k not in ("transpose", "reshape")] == [kind]
    assert m.difference(15) <= 1


def test_a_quantised_constant_is_added_behind_a_quantised_product() -> None:
    """MatMul and Add as the static quantiser leaves them: the sum of the product is rounded before the bias is added."""
    m = Qdq()
    product = m.q(m.op("MatMul", m.d(m.input(1, 12)), m.weights(12, 5, axis=None)), 0.2)
    bias = m.op("DequantizeLinear", m.init(np.array([5, -120, 7, 90, 3], np.int8)), m.init(np.float32(0.02)), m.init(np.int8(2)))
    m.output(m.q(m.op("Relu", m.op("Add", m.d(product), bias)), 0.15, -128))
    assert [k for k in kinds(m.load()) if k != "reshape"] == ["fully_connected", "add"]
    assert m.difference() <= 2, "a step of 0.2 in the product is 1.3 steps of the result"


# ---- Layer normalisation ----

NORMALIZED: dict[str, tuple[Callable[[Qdq, str], str], tuple[int, ...]]] = {
    "rows": (lambda m, x: m.op("LayerNormalization", x, reals(m, 8), reals(m, 8), axis=-1), (1, 6, 8)),
    "quantised": (lambda m, x: m.op("LayerNormalization", x, m.weights(8, axis=None), m.bias(8), epsilon=0.1), (1, 6, 8)),
    "image": (lambda m, x: m.op("LayerNormalization", x, reals(m, 9, 7), axis=2), IMAGE),
    "all": (lambda m, x: m.op("LayerNormalization", x, reals(m, 4, 9, 7), reals(m, 4, 1, 7), axis=1), IMAGE),
    "behind_a_layer": (
        lambda m, x: m.op("LayerNormalization", m.d(m.q(m.op("Conv", x, m.weights(6, 4, 1, 1)), 0.4)), reals(m, 6, 9, 7), reals(m, 6, 9, 7), axis=1),
        IMAGE,
    ),
    "channels": (
        lambda m, x: m.op("LayerNormalization", m.op("Transpose", x, perm=[0, 2, 3, 1]), reals(m, 4), reals(m, 4)), IMAGE
    ),
    "one_row": (lambda m, x: m.op("LayerNormalization", x, reals(m, 12), reals(m, 12)), (1, 12)),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMALIZED)
def test_layer_normalisation(name: str) -> None:
    """Within a step of onnxruntime, no order of axes is made for it behind a layer, and what is written is read as the same integers."""
    make, shape = NORMALIZED[name]
    m = one(make, *shape, scale=0.02, zero=10)
    graph = simplify(m.load(17))
    assert m.difference(17) <= (2 if name == "behind_a_layer" else 1)
    assert "transpose" not in kinds(graph)[1:-1]
    again, x = simplify(load(writer.write(graph))), m.rng.integers(-128, 128, (20, *graph.type(graph.inputs[0]).shape[1:])).astype(np.int8)
    assert np.array_equal(interp.infer(again, x)[0].reshape(20, -1), interp.infer(graph, x)[0].reshape(20, -1))


def hard_swish(m: Qdq, x: str) -> str:
    """As exporters spell it out for old opsets."""
    y = m.op("Clip", m.op("Add", x, m.init(np.float32(3))), m.init(np.float32(0)), m.init(np.float32(6)))
    return m.op("Mul", x, m.op("Div", y, m.init(np.float32(6))))


def gelu(m: Qdq, x: str) -> str:
    half = m.op("Mul", x, m.init(np.float32(0.5)))
    return m.op("Mul", half, m.op("Add", m.op("Erf", m.op("Div", x, m.init(np.float32(2**0.5)))), m.init(np.float32(1))))


FUNCTIONS: dict[str, tuple[Callable[[Qdq, str], str], str]] = {
    **{kind: (lambda m, x, kind=kind: m.op(kind, x), kind.lower()) for kind in ("Elu", "Exp", "Abs")},
    **{
        kind: (lambda m, x, kind=kind: m.op(kind, x), "function")
        for kind in ("Sigmoid", "Tanh", "Softplus", "Softsign", "Selu", "Celu", "Erf", "Neg", "Mish")
    },
    "HardSigmoid": (lambda m, x: m.op("HardSigmoid", x, alpha=0.3, beta=0.4), "function"),
    "LeakyRelu": (lambda m, x: m.op("LeakyRelu", x, alpha=0.2), "leaky_relu"),
    "HardSwish": (lambda m, x: m.op("HardSwish", x), "hard_swish"),
    "Gelu": (lambda m, x: m.op("Gelu", x), "gelu"),
    "Gelu tanh": (lambda m, x: m.op("Gelu", x, approximate="tanh"), "gelu"),
    "hard_swish": (hard_swish, "function"),
    "gelu": (gelu, "function"),
    "swish": (lambda m, x: m.op("Mul", x, m.op("Sigmoid", x)), "function"),
    "clip": (lambda m, x: m.op("Clip", x, m.init(np.float32(-0.7)), m.init(np.float32(3))), "function"),
    "power": (lambda m, x: m.op("Pow", x, m.init(np.float32(2))), "function"),
    "inverse_root": (lambda m, x: m.op("Reciprocal", m.op("Sqrt", m.op("Add", m.op("Abs", x), m.init(np.float32(1e-3))))), "function"),
    "quotient": (lambda m, x: m.op("Div", m.init(np.float32(1)), m.op("Add", m.op("Abs", x), m.init(np.float32(1)))), "function"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_tensor_are_tables(name: str) -> None:
    make, kind = FUNCTIONS[name]
    m = one(make, 1, 64, scale=0.03, zero=-20)
    assert kinds(m.load()) in ([kind], [kind, "requantize"], ["requantize", kind])
    assert m.difference(22 if name in ("Mish", "Gelu", "Gelu tanh", "HardSwish") else 13) <= 1


@pytest.mark.parametrize(("kind", "scale", "zero", "mnemonic"), [("Sigmoid", 1 / 256, -128, "logistic"), ("Tanh", 1 / 128, 0, "tanh")])
def test_a_result_in_the_scale_of_other_formats_has_their_integers(kind: str, scale: float, zero: int, mnemonic: str) -> None:
    m = one(lambda m, x: m.op(kind, x), 1, 64, scale=scale, zero=zero)
    assert kinds(m.load()) == [mnemonic]
    assert m.difference() <= 1


def test_a_layer_with_any_clip() -> None:
    limits = [np.float32(0.25), np.float32(3)]
    m = one(lambda m, x: m.op("Clip", m.op("Gemm", x, m.weights(12, 5, axis=1)), *map(m.init, limits)), 1, 12)
    assert kinds(m.load()) == ["fully_connected", "function"]
    assert m.difference() <= 1


def test_a_line_behind_which_channels_differ() -> None:
    m = one(
        lambda m, x: m.op("Mul", m.op("Sub", m.op("Mul", x, m.init(np.float32(0.5))), m.init(np.float32(0.3))), reals(m, 4, 1, 1)), *IMAGE, scale=0.02
    )
    assert "depthwise_conv_2d" in kinds(m.load())
    assert m.difference() <= 1


def quantised(m: Qdq, *shape: int, dtype: Any = np.int8, zero: int = 2) -> str:
    low, high = (0, 256) if dtype is np.uint8 else (-128, 128)
    data = m.rng.integers(low, high, shape).astype(dtype)
    return m.op("DequantizeLinear", m.init(data), m.init(np.float32(0.02)), m.init(dtype(zero)))


def rescaled(m: Qdq, x: str, scale: float) -> str:
    return m.d(m.q(x, scale, 4))


ELEMENTWISE: dict[str, tuple[Callable[[Qdq, str], str], tuple[int, ...], list[str]]] = {
    "constant_channels": (lambda m, x: m.op("Mul", x, quantised(m, 1, 4, 1, 1)), IMAGE, ["mul"]),
    "constant_first": (lambda m, x: m.op("Sub", quantised(m, 12), x), (1, 12), ["sub"]),
    "constant_uint8": (lambda m, x: m.op("Add", quantised(m, 1, 12, dtype=np.uint8, zero=100), x), (1, 12), ["add"]),
    "constant_image": (lambda m, x: m.op("Relu", m.op("Add", x, quantised(m, *IMAGE))), IMAGE, ["add"]),
    "squeezed": (
        lambda m, x: m.op(
            "Mul",
            rescaled(m, m.op("Conv", x, m.weights(6, 4, 1, 1)), 0.5),
            rescaled(m, m.op("ReduceMean", m.op("Identity", x), axes=[1, 2, 3]), 0.02),
        ),
        IMAGE,
        ["conv_2d", "mean", "mul"],
    ),
    "gate": (
        lambda m, x: (lambda y: m.op("Mul", y, rescaled(m, m.op("GlobalAveragePool", y), 0.03)))(
            rescaled(m, m.op("Conv", x, m.weights(6, 4, 1, 1)), 0.5)
        ),
        IMAGE,
        ["conv_2d", "mean", "mul"],
    ),
    "slopes": (lambda m, x: m.op("PRelu", x, quantised(m, 4, 1, 1)), IMAGE, ["prelu"]),
    "log_softmax": (lambda m, x: m.op("LogSoftmax", x, axis=-1), (1, 12), ["log_softmax", "requantize"]),
    "doubled": (lambda m, x: m.op("Add", x, x), (1, 12), ["add"]),
    "rows_and_columns": (lambda m, x: m.op("Add", x, m.op("Transpose", x, perm=[0, 2, 1])), (1, 1, 6), ["add"]),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_operands_stretch_and_may_be_constant(name: str) -> None:
    make, shape, expected = ELEMENTWISE[name]
    m = one(make, *shape, scale=0.1 if len(expected) == 1 else 2.0)
    assert [k for k in kinds(m.load()) if k not in ("transpose", "reshape")] == expected
    assert m.difference() <= (2 if len(expected) > 1 else 1), "a step of each operand"


def test_uint8_stays_uint8_at_the_ends() -> None:
    m = Qdq()
    x = m.input("n", 4, 9, 7, dtype=np.uint8, zero=131)
    m.output(m.q(m.op("Conv", m.d(x), m.weights(6, 4, 3, 3), m.bias(6)), 0.5, 120, np.uint8), kind=TensorProto.UINT8)
    graph, session = m.load(), runtime(m.bytes())
    assert [graph.type(n).dtype for n in (*graph.inputs, *graph.outputs)] == ["uint8", "uint8"]
    codes = m.rng.integers(0, 256, (20, 4, 9, 7)).astype(np.uint8)
    theirs = np.concatenate([session.run(None, {x: sample[None]})[0] for sample in codes])
    assert np.abs(theirs.astype(int) - interp.infer(graph, codes)[0].astype(int)).max() <= 1


def test_several_inputs_and_outputs() -> None:
    """Each keeps its name's place, whatever order the operators have."""
    m = Qdq()
    image, row = m.input(*IMAGE), m.input("n", 12, scale=0.1, zero=-7)
    mean = m.q(m.op("Flatten", m.op("GlobalAveragePool", m.d(image))), 0.02)
    m.output(m.q(m.op("Add", m.d(mean), m.d(m.q(m.op("Gemm", m.d(row), m.weights(12, 4, axis=1)), 0.2))), 0.3))
    m.output(m.q(m.op("Conv", m.d(image), m.weights(6, 4, 3, 3)), 0.7))
    graph = m.load()
    assert len(graph.inputs) == len(graph.outputs) == 2
    assert [graph.type(n).shape for n in graph.outputs] == [(1, 4), (1, 6, 7, 5)]
    assert m.difference() <= 1


def test_every_reason_is_told() -> None:
    """What comes behind something that is refused is read too, where the file says its shape."""
    m = Qdq()
    first = m.q(m.op("Det", m.d(m.input(1, 12))), 0.2)
    m.output(m.q(m.op("Gemm", m.d(first), m.init(np.ones((12, 3), np.float32))), 0.2))
    proto = m.proto()
    proto.graph.value_info.append(helper.make_tensor_value_info(first, TensorProto.INT8, [1, 12]))
    with pytest.raises(ModelError) as caught:
        load(proto.SerializeToString())
    assert [r.what.split("'")[0] for r in caught.value.reasons] == ["operator Det is not supported", "its weights "]


# ---- QOperator form, operators that the forms of the quantiser do not show ----


def qoperator(kind: str, shape: tuple[int, ...], more: Callable[[Qdq], list[str]], scale: float = 0.1, **attributes: Any) -> tuple[Qdq, bytes]:
    """x -> the operator, with the scale and zero point of its result at the end of the inputs -> an int8 output."""
    m = Qdq()
    x = m.input(*shape)
    name = m.fresh("y")
    inputs = [x, *m.parameters[x], *more(m), m.init(np.float32(scale)), m.init(np.int8(-5))]
    m.nodes.append(helper.make_node(kind, inputs, [name], domain=MICROSOFT, **attributes))
    m.output(name)
    proto = m.proto(13)
    proto.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return m, bytes(proto.SerializeToString())


def codes(m: Qdq, *shape: int) -> list[str]:
    return [m.init(m.rng.integers(-127, 128, shape).astype(np.int8)), m.init(np.float32(0.01)), m.init(np.int8(0))]


FORMS: dict[str, Callable[[], tuple[Qdq, bytes]]] = {
    "pool_channels_last": lambda: qoperator(
        "QLinearAveragePool", (1, 8, 6, 3), lambda m: [], 0.06, kernel_shape=[2, 2], strides=[2, 2], channels_last=1
    ),
    "global_pool_channels_last": lambda: qoperator("QLinearGlobalAveragePool", (1, 8, 6, 3), lambda m: [], 0.02, channels_last=1),
    "pool_into_finer_steps": lambda: qoperator("QLinearAveragePool", (1, 3, 8, 6), lambda m: [], 0.004, kernel_shape=[2, 3]),
    "gemm_alpha": lambda: qoperator(
        "QGemm", (1, 12), lambda m: [*codes(m, 12, 5), m.init(m.rng.integers(-3000, 3000, 5).astype(np.int32))], alpha=0.5
    ),
    "gemm_transposed": lambda: qoperator("QGemm", (1, 12), lambda m: [*codes(m, 5, 12), ""], transB=1),
    "added_constant": lambda: qoperator("QLinearAdd", (1, 12), lambda m: codes(m, 12)),
    "multiplied_constant": lambda: qoperator("QLinearMul", (1, 4, 3, 3), lambda m: codes(m, 4, 1, 1)),
}


@pytest.mark.parametrize("name", FORMS)
def test_qoperator_form(name: str) -> None:
    m, data = FORMS[name]()
    graph, session = load(data), runtime(data)
    shape = graph.type("input").shape
    x = m.rng.integers(-128, 128, (20, *shape[1:])).astype(np.int8)
    theirs = np.concatenate([session.run(None, {session.get_inputs()[0].name: row[None]})[0] for row in x])
    assert np.abs(theirs.astype(int).reshape(20, -1) - interp.infer(graph, x)[0].reshape(20, -1)).max() <= 1


# ---- Beginnings and ends in FLOAT32 ----


def classifier(*tail: tuple[str, dict[str, Any]], kind: int = TensorProto.INT64) -> Qdq:
    """A layer between a FLOAT32 input and what picks a label."""
    m = Qdq()
    m.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 12]))
    y = m.d(m.q(m.op("Gemm", m.d(m.q("x", 0.05, 3)), m.weights(5, 12), m.bias(5), transB=1), 0.2))
    for name, attributes in tail:
        y = m.op(name, y, **attributes)
    m.output(y, "n", kind=kind)
    return m


def test_a_label_is_left_to_the_caller() -> None:
    graph = classifier(("Softmax", {}), ("ArgMax", {"axis": 1}), ("Cast", {"to": TensorProto.INT64})).load()
    assert kinds(graph) == ["fully_connected"]
    behind = [f"{name} the INT8 core is left to the caller" for name in ("Softmax on FLOAT32 after", "ArgMax behind", "Cast behind")]
    assert list(graph.notes[1:]) == behind


def test_scores_and_label_of_one_layer_are_one_output() -> None:
    m = classifier(("ArgMax", {"axis": 1}))
    m.output(m.op("Softmax", m.nodes[-2].output[0]), "n", 5, kind=TensorProto.FLOAT)
    graph = m.load()
    assert len(graph.outputs) == 1


def test_a_classical_classifier_is_said_to_be_none_of_ours() -> None:
    m = Qdq()
    m.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4]))
    m.nodes.append(helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml"))
    m.output("label", kind=TensorProto.INT64)
    refused(m.bytes(), "no neural network", "TreeEnsembleClassifier")


@pytest.mark.parametrize("kind", ["DynamicQuantizeLinear", "MatMulInteger"])
def test_scales_that_are_found_at_run_time(kind: str) -> None:
    m = classifier()
    m.op(kind, "x")
    assert "quantize_static" in refused(m.bytes(), "dynamic quantisation").hint


def test_a_bias_at_the_output_gets_a_scale() -> None:
    """The product is quantised, its bias and the softmax behind it are not: the graph holds their sum in a scale of its own."""
    m = Qdq()
    product = m.d(m.q(m.op("MatMul", m.d(m.input(1, 12)), m.weights(12, 5, axis=1)), 0.2))
    total = m.op("Add", product, m.bias(5))
    m.output(m.op("Softmax", total), 1, 5, kind=TensorProto.FLOAT)
    m.output(total, 1, 5, kind=TensorProto.FLOAT)
    graph, session = m.load(), runtime(m.bytes())
    assert len(graph.outputs) == 1 and any(note.startswith("Add at the output has no scale in the file") for note in graph.notes)
    y = graph.type(graph.outputs[0])
    x = m.rng.integers(-128, 128, (20, 12)).astype(np.int8)
    real = (interp.infer(graph, x)[0].astype(np.float64) - y.zero_point) * y.scale
    theirs = np.concatenate([session.run(None, {session.get_inputs()[0].name: row[None]})[1] for row in x])
    assert np.abs(real - theirs).max() <= 0.2 + y.scale / 2


def test_what_prepares_an_input_is_left_to_the_caller() -> None:
    m = Qdq()
    m.inputs.append(helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 12]))
    real = m.op("Div", m.op("Cast", "x", to=TensorProto.FLOAT), m.init(np.float32(255)))
    m.output(m.q(m.op("Gemm", m.d(m.q(real, 1 / 255, -128)), m.weights(5, 12), transB=1), 0.01))
    graph = m.load()
    assert graph.notes[1:] == ("Cast in front of the INT8 core is left to the caller", "Div in front of the INT8 core is left to the caller")
    assert graph.type("input").zero_point == -128


# ---- Shapes ----


def test_an_open_dimension_is_refused_with_the_command_that_closes_it(tmp_path: Path) -> None:
    from onnxruntime.tools import make_dynamic_shape_fixed

    m = one(lambda m, x: m.op("Conv", x, m.weights(6, 4, 3), m.bias(6)), "n", 4, "length's")
    command = refused(m.bytes(), "dynamic shape (n, 4, length's)").hint
    assert command.startswith(
        "python -m onnxruntime.tools.make_dynamic_shape_fixed --dim_param 'length'\"'\"'s' --dim_value SIZE model.onnx fixed.onnx"
    )
    proto = m.proto()
    make_dynamic_shape_fixed.make_dim_param_fixed(proto.graph, "length's", 20)
    assert load(proto.SerializeToString()).type("input").shape == (1, 4, 20)
    other = one(lambda m, x: m.op("Relu", x), "n", "rows", "columns")
    assert "--input_shape 1,SIZE,SIZE model.onnx" in refused(other.bytes(), "dynamic shape").hint


def test_a_batch_of_minus_one_is_open() -> None:
    assert one(lambda m, x: m.op("Relu", x), -1, 12).load().type("input").shape == (1, 12)


SHAPES: dict[str, Callable[[Qdq, str], str]] = {
    "product": lambda m, y: m.op("ReduceProd", m.op("Slice", m.op("Shape", y), m.init(np.array([1])), m.init(np.array([9]))), keepdims=1),
    "arithmetic": lambda m, y: m.op("Div", m.op("Mul", m.op("Size", y), m.init(np.array([2]))), m.init(np.array([2]))),
    "chosen": lambda m, y: m.op("Where", m.op("Equal", m.init(np.array([1])), m.init(np.array([2]))), m.init(np.array([3])), m.init(np.array([-1]))),
    "cast": lambda m, y: m.op("Cast", m.op("Floor", m.op("Cast", m.op("Size", y), to=TensorProto.FLOAT)), to=TensorProto.INT64),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_are_computed(name: str) -> None:
    m = Qdq()
    x = m.input("n", 4, 9, 7)
    wanted = m.op("Concat", m.init(np.array([1])), m.op("Reshape", SHAPES[name](m, x), m.init(np.array([1]))), axis=0)
    flat = m.alike(m.op("Reshape", x, wanted), x)
    m.output(m.q(m.op("Gemm", m.d(flat), m.weights(252, 5, axis=1)), 0.5))
    assert kinds(m.load()) == ["fully_connected"] or kinds(m.load())[-1] == "fully_connected"
    assert m.difference() <= 1


# ---- Written back ----


def test_uint8_ends_are_written_and_read_back(tmp_path: Path) -> None:
    m = Qdq()
    x = m.input("n", 4, 9, 7, dtype=np.uint8, zero=131)
    m.output(m.q(m.op("Conv", m.d(x), m.weights(6, 4, 3, 3), m.bias(6)), 0.5, 120, np.uint8), kind=TensorProto.UINT8)
    graph = simplify(m.load())
    again = simplify(load(writer.write(graph)))
    codes = m.rng.integers(0, 256, (20, 4, 9, 7)).astype(np.uint8)
    assert [again.type(n) for n in (*again.inputs, *again.outputs)] == [graph.type(n) for n in (*graph.inputs, *graph.outputs)]
    assert np.array_equal(interp.infer(again, codes)[0], interp.infer(graph, codes)[0])


EXPORTED = {**{f"function {k}": (v[0], (1, 64)) for k, v in FUNCTIONS.items()}, **{f"elementwise {k}": v[:2] for k, v in ELEMENTWISE.items()}}


@pytest.mark.parametrize("name", EXPORTED)
def test_what_was_read_is_written(name: str) -> None:
    """The file that the writer makes of a model is read as the same integers."""
    make, shape = EXPORTED[name]
    graph = simplify(one(make, *shape, scale=0.05).load(22))
    again = simplify(load(writer.write(graph)))
    x = np.random.default_rng(3).integers(-128, 128, (20, *shape[1:])).astype(np.int8)
    assert np.array_equal(interp.infer(again, x)[0], interp.infer(graph, x)[0])
