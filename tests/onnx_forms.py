"""One small model in every form that onnxruntime's static quantiser writes.

    python tests/onnx_forms.py FOLDER [--model dense] [--form qdq] [--opset 13]

writes `<model>.<form>.<opset>.onnx` into the folder, and tells of each file how far its integers are from onnxruntime, or why
it is refused. `float_model` gives the model before it was quantised, `quantized` one of its forms: the tests walk all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

Array = NDArray[Any]
OPSETS = (11, 13, 15, 17, 19, 21, 22)
IR_VERSIONS = {11: 6, 13: 7, 15: 8, 17: 8, 19: 9, 21: 10, 22: 10}
CALIBRATION, SAMPLES = 24, 40


class Network:
    """A float model under construction, as exporters write it: channels first, weights as initialisers."""

    def __init__(self, opset: int, *shape: int | str) -> None:
        self.opset, self.shape = opset, shape
        self.rng = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.count = 0

    def constant(self, data: Any, base: str = "const") -> str:
        self.count += 1
        self.initializers.append(numpy_helper.from_array(np.asarray(data), f"{base}_{self.count}"))
        return f"{base}_{self.count}"

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def real(self, *shape: int, spread: float = 0.3, mean: float = 0.0) -> str:
        return self.constant(self.rng.normal(mean, spread, shape).astype(np.float32), "w")

    def op(self, kind: str, *inputs: str, results: int = 1, **attributes: Any) -> Any:
        self.count += 1
        names = [f"{kind.lower()}_{self.count}" + (f"_{i}" if results > 1 else "") for i in range(results)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"/{kind.lower()}_{self.count}/{kind}", **attributes))
        return names[0] if results == 1 else names

    def axes(self, kind: str, x: str, since: int, *axes: int, **attributes: Any) -> str:
        """An operator whose axes were an attribute before an opset."""
        if self.opset < since:
            return str(self.op(kind, x, axes=list(axes), **attributes))
        return str(self.op(kind, x, self.integers(*axes), **attributes))

    def normalized(self, x: str, channels: int) -> str:
        variance = self.constant(self.rng.uniform(0.5, 2, channels).astype(np.float32), "variance")
        scale = self.constant((self.rng.uniform(0.5, 1.5, channels) * self.rng.choice([-1, 1], channels)).astype(np.float32), "scale")
        return str(self.op("BatchNormalization", x, scale, self.real(channels), self.real(channels), variance))

    def finished(self, *outputs: str) -> onnx.ModelProto:
        ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in outputs]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        graph = helper.make_graph(self.nodes, "forms", [x], ports, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=IR_VERSIONS[self.opset])


# ---- Models ----


def dense(m: Network) -> onnx.ModelProto:
    """MatMul and Add as Keras has them, Gemm either way."""
    x = m.op("Relu", m.op("Add", m.op("MatMul", "x", m.real(12, 16)), m.real(16)))
    x = m.op("Relu", m.op("Gemm", x, m.real(8, 16), m.real(8), transB=1))
    return m.finished(m.op("Gemm", x, m.real(8, 5), m.real(5)))


def convolution(m: Network) -> onnx.ModelProto:
    """A convolution, a depthwise one, a residual, pools and a softmax."""
    first = m.op("Relu", m.op("Conv", "x", m.real(8, 3, 3, 3), m.real(8), pads=[1, 1, 1, 1], strides=[2, 2]))
    low, high = m.constant(np.float32(0)), m.constant(np.float32(6))
    x = m.op("Clip", m.op("Conv", first, m.real(8, 1, 3, 3), m.real(8), pads=[1, 1, 1, 1], group=8), low, high)
    x = m.op("Relu", m.op("Add", m.op("Conv", x, m.real(8, 8, 1, 1), m.real(8)), first))
    x = m.op("Flatten", m.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    return m.finished(m.op("Softmax", m.op("Gemm", x, m.real(5, 48), m.real(5), transB=1), axis=1))


def normalization(m: Network) -> onnx.ModelProto:
    """BatchNormalization that nothing fused, behind a convolution and on its own; a pool over everything."""
    x = m.op("Relu", m.normalized(m.op("Conv", "x", m.real(8, 3, 3, 3), pads=[1, 1, 1, 1]), 8))
    x = m.op("Relu", m.normalized(m.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), 8))
    return m.finished(m.op("Gemm", m.op("Flatten", m.op("GlobalAveragePool", x)), m.real(8, 5), m.real(5)))


def reshaped(m: Network) -> onnx.ModelProto:
    """x.view(x.size(0), -1) as PyTorch exports it, ReduceMean, Squeeze."""
    x = m.op("Relu", m.op("Conv", "x", m.real(6, 3, 3, 3), m.real(6), strides=[2, 2]))
    size = m.op("Gather", m.op("Shape", x), m.constant(np.int64(0)), axis=0)
    batch = m.axes("Unsqueeze", size, 13, 0)
    shape = m.op("Concat", batch, m.integers(-1), axis=0)
    dense = m.op("Relu", m.op("Gemm", m.op("Reshape", x, shape), m.real(6 * 5 * 3, 6), m.real(6)))
    mean = m.axes("ReduceMean", x, 18, 2, 3, keepdims=1)
    flat = m.axes("Squeeze", mean, 13, 2, 3)
    return m.finished(m.op("Gemm", m.op("Add", flat, dense), m.real(6, 5), m.real(5)))


def signal(m: Network) -> onnx.ModelProto:
    """Convolutions and pools of one dimension."""
    x = m.op("Relu", m.op("Conv", "x", m.real(8, 3, 5), m.real(8), pads=[2, 2], strides=[2]))
    x = m.op("MaxPool", m.op("Relu", m.op("Conv", x, m.real(8, 1, 3), m.real(8), group=8)), kernel_shape=[2], strides=[2])
    return m.finished(m.op("Gemm", m.op("Flatten", m.op("GlobalAveragePool", x)), m.real(8, 5), m.real(5)))


def gates(m: Network) -> onnx.ModelProto:
    """Functions of one tensor, and channels multiplied by what a pool makes of them."""
    x = m.op("LeakyRelu", m.op("Conv", "x", m.real(8, 3, 3, 3), m.real(8), pads=[1, 1, 1, 1], strides=[2, 2]), alpha=0.1)
    squeezed = m.op("Relu", m.op("Conv", m.op("GlobalAveragePool", x), m.real(4, 8, 1, 1), m.real(4)))
    x = m.op("Mul", x, m.op("Sigmoid", m.op("Conv", squeezed, m.real(8, 4, 1, 1), m.real(8))))
    x = m.op("Conv", x, m.real(6, 8, 1, 1), m.real(6))
    x = m.op("Mul", x, m.op("HardSigmoid", x))
    x = m.op("Tanh", m.op("Conv", x, m.real(5, 6, 1, 1), m.real(5)))
    x = m.op("Elu", m.op("Gemm", m.op("Flatten", m.op("GlobalMaxPool", x)), m.real(5, 8), m.real(8)))
    return m.finished(m.op("Gemm", x, m.real(8, 5), m.real(5)))


def branches(m: Network) -> onnx.ModelProto:
    """Parts of channels, joined again beside a part of the image that was made larger."""
    x = m.op("Relu", m.op("Conv", "x", m.real(8, 3, 3, 3), m.real(8), pads=[1, 1, 1, 1]))
    halves = m.op("Split", x, axis=1, results=2) if m.opset < 18 else m.op("Split", x, axis=1, num_outputs=2, results=2)
    part = m.op("Slice", x, m.integers(0, 2), m.integers(12, 6), m.integers(2, 3), m.integers(2, 1))
    scales = m.constant(np.array([1, 1, 2, 2], np.float32))
    larger = m.op("Resize", part, m.constant(np.zeros(0, np.float32)), scales, mode="nearest", nearest_mode="floor")
    left = m.op("Relu", m.op("Conv", halves[0], m.real(4, 4, 1, 1), m.real(4)))
    left = m.op("Conv", left, m.real(4, 1, 3, 1), group=4)
    right = m.op("MaxPool", halves[1], kernel_shape=[3, 1], strides=[1, 1])
    x = m.op("Concat", left, right, axis=1)
    flat = m.op("Concat", m.op("Flatten", m.op("GlobalAveragePool", x)), m.op("Flatten", m.op("GlobalAveragePool", larger)), axis=1)
    return m.finished(m.op("Gemm", flat, m.real(16, 5), m.real(5)))


def upsampled(m: Network) -> onnx.ModelProto:
    """A transposed convolution and a linear resize."""
    x = m.op("Relu", m.op("Conv", "x", m.real(4, 3, 3, 3), m.real(4), pads=[1, 1, 1, 1], strides=[2, 2]))
    x = m.op("Relu", m.op("ConvTranspose", x, m.real(4, 6, 3, 3), m.real(6), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]))
    x = m.op("ConvTranspose", x, m.real(6, 1, 2, 2), group=6)
    scales = m.constant(np.array([1, 1, 2, 2], np.float32))
    x = m.op("Resize", x, m.constant(np.zeros(0, np.float32)), scales, mode="linear")
    return m.finished(m.op("Gemm", m.op("Flatten", m.op("AveragePool", x, kernel_shape=[13, 9], strides=[13, 9])), m.real(24, 5), m.real(5)))


def attention(m: Network) -> onnx.ModelProto:
    """A softmax of products of activations, and of these and a third."""
    query, key, value = (m.op("Add", m.op("MatMul", "x", m.real(8, 8)), m.real(8)) for _ in range(3))
    scores = m.op("Mul", m.op("MatMul", query, m.op("Transpose", key, perm=[0, 2, 1])), m.constant(np.float32(0.35)))
    mixed = m.op("MatMul", m.op("Softmax", scores, axis=2), value)
    x = m.op("Add", m.op("MatMul", mixed, m.real(8, 8)), "x")
    return m.finished(m.op("Gemm", m.op("Flatten", x), m.real(48, 5), m.real(5)))


def joined(m: Network) -> onnx.ModelProto:
    """A row with a border and with constants behind it; HardSwish."""
    x = m.op("Relu", m.op("Gemm", "x", m.real(12, 8), m.real(8)))
    x = m.op("Pad", x, m.integers(0, 1, 0, 2), m.constant(np.float32(0)))
    x = m.op("Gemm", m.op("Concat", x, m.real(1, 3), axis=1), m.real(14, 8), m.real(8))
    x = m.op("HardSwish", x) if m.opset >= 14 else m.op("Mul", x, m.op("HardSigmoid", x, alpha=1 / 6))
    return m.finished(m.op("Gemm", x, m.real(8, 5), m.real(5)))


def normalized_rows(m: Network) -> onnx.ModelProto:
    """Layer normalisation in front of a layer, behind it, and of everything."""
    first = m.op("MatMul", "x", m.real(8, 8))
    x = m.op("LayerNormalization", first, m.real(8, mean=1.0), m.real(8), axis=-1)
    x = m.op("Add", m.op("MatMul", x, m.real(8, 8)), first)
    x = m.op("Relu", m.op("LayerNormalization", x, m.real(8, mean=1.0), m.real(8), axis=-1, epsilon=1e-3))
    x = m.op("LayerNormalization", m.op("Conv", x, m.real(4, 6, 3), m.real(4)), m.real(4, 6, mean=1.0), axis=1)
    return m.finished(m.op("Gemm", m.op("Flatten", x), m.real(24, 5), m.real(5)))


def long_memory(m: Network) -> onnx.ModelProto:
    """An LSTM of which every step is read, as PyTorch exports it."""
    x = m.op("Transpose", m.op("Relu", m.op("MatMul", "x", m.real(8, 8))), perm=[1, 0, 2])
    y = m.op("LSTM", x, m.real(1, 24, 8), m.real(1, 24, 6), m.real(1, 48), results=3, hidden_size=6)[0]
    x = m.op("Transpose", m.axes("Squeeze", y, 13, 1), perm=[1, 0, 2])
    return m.finished(m.op("Gemm", m.op("Flatten", x), m.real(36, 5), m.real(5)))


def gated_unit(m: Network) -> onnx.ModelProto:
    """A GRU of which the last state is read."""
    x = m.op("Transpose", m.op("Relu", m.op("MatMul", "x", m.real(8, 8))), perm=[1, 0, 2])
    h = m.op("GRU", x, m.real(1, 18, 8), m.real(1, 18, 6), m.real(1, 36), results=2, hidden_size=6, linear_before_reset=1)[1]
    return m.finished(m.op("Gemm", m.axes("Squeeze", h, 13, 0), m.real(6, 5), m.real(5)))


@dataclass(frozen=True)
class Model:
    make: Callable[[Network], onnx.ModelProto]
    shape: tuple[int | str, ...]
    since: int = OPSETS[0]
    """The first opset that has its operators."""

    @property
    def sample(self) -> tuple[int, ...]:
        return tuple(d if isinstance(d, int) else 1 for d in self.shape)


MODELS = {
    "dense": Model(dense, ("n", 12)),
    "convolution": Model(convolution, ("n", 3, 12, 8)),
    "normalization": Model(normalization, (1, 3, 12, 8)),
    "reshaped": Model(reshaped, ("n", 3, 12, 8)),
    "signal": Model(signal, ("n", 3, 40)),
    "gates": Model(gates, ("n", 3, 12, 8)),
    "branches": Model(branches, ("n", 3, 12, 8)),
    "upsampled": Model(upsampled, ("n", 3, 12, 8)),
    "attention": Model(attention, (1, 6, 8), 13),
    "joined": Model(joined, (1, 12)),
    "normalized_rows": Model(normalized_rows, (1, 6, 8), 17),
    "long_memory": Model(long_memory, (1, 6, 8), 13),
    "gated_unit": Model(gated_unit, (1, 6, 8), 13),
}

logging.getLogger().setLevel(logging.ERROR)
_MICROSOFT = {"UseQDQContribOps": True}
FORMS: dict[str, dict[str, Any]] = {
    "qdq": {},
    "qdq_per_channel": {"per_channel": True},
    "qdq_uint8": {"activation_type": QuantType.QUInt8},
    "qdq_uint8_weights": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8, "extra_options": {"WeightSymmetric": True}},
    "qdq_asymmetric_weights": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8},
    "qdq_symmetric": {"extra_options": {"ActivationSymmetric": True}},
    "qdq_float_weights": {"extra_options": {"AddQDQPairToWeight": True}},
    "qdq_microsoft": {"extra_options": _MICROSOFT},
    "qdq_reduced": {"reduce_range": True, "activation_type": QuantType.QUInt8},
    "qoperator": {"quant_format": QuantFormat.QOperator},
    "qoperator_per_channel": {"quant_format": QuantFormat.QOperator, "per_channel": True},
    "qoperator_uint8": {"quant_format": QuantFormat.QOperator, "activation_type": QuantType.QUInt8},
    "qoperator_symmetric": {"quant_format": QuantFormat.QOperator, "extra_options": {"ActivationSymmetric": True}},
}


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(1)
        self.left = [{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(CALIBRATION)]

    def get_next(self) -> dict[str, Array] | None:
        return self.left.pop() if self.left else None


def float_model(name: str, opset: int) -> bytes:
    model = MODELS[name]
    proto = onnx.shape_inference.infer_shapes(model.make(Network(opset, *model.shape)))
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def exists(name: str, form: str, opset: int) -> bool:
    """onnxruntime refuses its own quantiser's scales for each channel in QDQ form before opset 13."""
    return opset >= MODELS[name].since and (opset >= 13 or form != "qdq_per_channel")


@cache
def quantized(name: str, form: str, opset: int) -> bytes:
    """The model as the static quantiser writes it."""
    silent = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        source, target = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
        source.write_bytes(float_model(name, opset))
        options: dict[str, Any] = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt8, **FORMS[form]}
        quantize_static(source, target, _Samples(MODELS[name].sample), **options)
        return target.read_bytes()


# ---- Distance to onnxruntime ----


def session_of(data: bytes) -> onnxruntime.InferenceSession:
    """onnxruntime without optimisations, which would fuse what the file keeps apart."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@cache
def saturates() -> bool:
    """Whether onnxruntime loses large sums here: on x86-64 processors without VNNI it adds two products of uint8 and int8 in 16 bits."""
    scalars = {"one": np.float32(1), "zero": np.uint8(0), "signed": np.int8(0), "scale": np.float32(1024)}
    names = ["x", "one", "zero", "w", "one", "signed", "scale", "zero"]
    held = [numpy_helper.from_array(np.asarray(v), n) for n, v in scalars.items()] + [numpy_helper.from_array(np.full((64, 16), 127, np.int8), "w")]
    ends = [helper.make_tensor_value_info(n, TensorProto.UINT8, shape) for n, shape in (("x", (1, 64)), ("y", (1, 16)))]
    graph = helper.make_graph([helper.make_node("QLinearMatMul", names, ["y"])], "probe", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (found,) = session_of(model.SerializeToString()).run(None, {"x": np.array([[255] * 4 + [0] * 60], np.uint8)})
    return bool(found[0, 0] != round(4 * 255 * 127 / 1024))


def distances(data: bytes, shape: tuple[int, ...]) -> Array:
    """Steps of the output between the graph's integers and onnxruntime's results, for every element of some samples."""
    from kiloc.frontend import onnx as frontend
    from kiloc.ir import interp
    from kiloc.ir.verify import verify
    from kiloc.passes.simplify import simplify

    graph = simplify(verify(frontend.load(data, "m", "m.onnx")))
    rng = np.random.default_rng(3)
    x = rng.normal(size=(SAMPLES, *shape[1:])).astype(np.float32)
    q = graph.type(graph.inputs[0])
    codes = np.clip(np.rint(x / np.float32(q.scale)) + q.zero_point, -128, 127).astype(np.int8)
    session = session_of(data)
    found = []
    for name, ours in zip(session.get_outputs(), interp.infer(graph, codes.reshape(-1, *q.shape[1:])), strict=True):
        y = graph.type(graph.outputs[len(found)])
        theirs = np.concatenate([session.run([name.name], {"x": sample[None]})[0].ravel() for sample in x])
        steps = np.clip(np.rint(theirs / np.float32(y.scale)) + y.zero_point, -128, 127)
        found.append(np.abs(steps - ours.ravel()))
    return np.concatenate(found).astype(int)


def quantised_tensors(proto: onnx.ModelProto) -> list[str]:
    """The tensors that are rounded: what each QuantizeLinear and each operator of QOperator form gives."""
    kinds = ("QuantizeLinear", "QLinear", "QGemm")
    constants = {t.name for t in proto.graph.initializer}
    return [n.output[0] for n in proto.graph.node if n.op_type.startswith(kinds) and not set(n.input) <= constants]


def pieces(proto: onnx.ModelProto) -> Iterator[tuple[onnx.ModelProto, list[str], str]]:
    """The model cut at its quantised tensors: of each the piece that computes it from those before it, these, and its name."""
    producer = {name: n for n in proto.graph.node for name in n.output}
    constants = {t.name: t for t in proto.graph.initializer}
    ends = quantised_tensors(proto)
    for end in ends[1:]:
        wanted, nodes, inputs, kept = [end], [], [], []
        while wanted:
            name = wanted.pop()
            if name in constants:
                kept += [constants[name]] if constants[name] not in kept else []
            elif name in ends and name != end:
                inputs += [name] if name not in inputs else []
            elif producer[name] not in nodes:
                nodes.append(producer[name])
                wanted += [i for i in producer[name].input if i]
        ordered = [n for n in proto.graph.node if n in nodes]
        graph = helper.make_graph(ordered, "piece", [], [helper.make_tensor_value_info(end, 0, None)], kept)
        piece = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
        yield piece, inputs, end


def steps_of_pieces(data: bytes, shape: tuple[int, ...], samples: int = SAMPLES) -> dict[str, int]:
    """The largest distance to onnxruntime of each quantised tensor, computed from onnxruntime's own integers of those before it.

    shape: of the input, which is float32.
    """
    from kiloc.frontend import onnx as frontend
    from kiloc.ir import interp

    proto = onnx.load_model_from_string(data)
    names = quantised_tensors(proto)
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    whole.graph.output.extend(helper.make_tensor_value_info(name, 0, None) for name in names)
    for value in whole.graph.output[-len(names) :]:
        value.ClearField("type")
    session = session_of(whole.SerializeToString())
    x = np.random.default_rng(3).normal(size=(samples, *shape[1:])).astype(np.float32)
    entry = session.get_inputs()[0].name
    runs = [dict(zip(names, session.run(names, {entry: sample[None]}), strict=True)) for sample in x]
    found = {}
    for piece, inputs, end in pieces(proto):
        for name in (*inputs, end):
            array = runs[0][name]
            port = helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            if name == end:
                piece.graph.output[0].CopyFrom(port)
            else:
                piece.graph.input.append(port)
        graph = frontend.load(piece.SerializeToString(), "m", "m.onnx")
        arrays = [
            np.concatenate([run[name][None] for run in runs]).reshape(-1, *graph.type(g).shape[1:])
            for name, g in zip(inputs, graph.inputs, strict=True)
        ]
        theirs = np.concatenate([run[end].ravel() for run in runs]).astype(int)
        found[end] = int(np.abs(interp.infer(graph, *arrays)[0].ravel().astype(int) - theirs).max())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files are written")
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--form", choices=FORMS, action="append")
    parser.add_argument("--opset", type=int, choices=OPSETS, action="append")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in chosen.model or MODELS:
        for form in chosen.form or FORMS:
            for opset in chosen.opset or OPSETS:
                if not exists(name, form, opset):
                    continue
                (chosen.folder / f"{name}.{form}.{opset}.onnx").write_bytes(data := quantized(name, form, opset))
                try:
                    found = distances(data, MODELS[name].sample)
                    single = max(steps_of_pieces(data, MODELS[name].sample).values())
                    told = f"{found.max()} steps at most, {(found > 0).mean():.1%} differ; {single} in one operator"
                except Exception as error:  # told, and the next one
                    told, failed = f"{type(error).__name__}: {error}", failed + 1
                print(f"{name:16} {form:22} {opset:3} {told}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
