"""What a file may ask for: numbers out of range, tensors beyond any microcontroller and files without an end are refused, and cost nothing."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tflite
from onnx import TensorProto, helper
from qdq_models import Qdq, one
from tflite_files import FileOperator, FileTensor, build, dense

import kilotune as kt
from kiloc import pipeline
from kiloc.errors import CompileError
from kiloc.frontend import limits
from kiloc.frontend import onnx as onnx_reader
from kiloc.frontend import tflite as tflite_reader
from kiloc.ir.operator import reads_tflite
from kiloc.ir.verify import verify
from kiloc.ops.model.requantize import Requantize
from kiloc.options import Options

MEMORY = 600 << 20
"""That a model may take while it is compiled: a hundredth of what the worst file once took."""
LARGEST = 2**31 - 1


@contextmanager
def little_memory() -> Iterator[None]:
    """Allocations beyond MEMORY fail."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def compiled(data: bytes) -> pipeline.Compilation:
    reader = tflite_reader if data[4:8] == b"TFL3" else onnx_reader
    with little_memory():
        return pipeline.compile_graph(verify(reader.load(data, "model", "model")), Options(), "0")


def refused(data: bytes, *words: str) -> None:
    with pytest.raises(CompileError) as caught:
        compiled(data)
    assert [w for w in words if w not in str(caught.value)] == [], str(caught.value)
    assert caught.value.where and caught.value.what and caught.value.hint


# ---- Windows ----


def tflite_pool(
    kind: str, image: tuple[int, ...], result: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int] = (1, 1), same: bool = True
) -> bytes:
    fields = {"FilterHeight": kernel[0], "FilterWidth": kernel[1], "StrideH": stride[0], "StrideW": stride[1], "Padding": int(not same)}
    return build([FileTensor(image), FileTensor(result)], [FileOperator(kind, (0,), (1,), "Pool2DOptions", fields)], (0,), (1,))


def tflite_conv(
    image: tuple[int, ...], kernel: tuple[int, int], stride: int = 1, dilation: int = 1, same: bool = True, kind: str = "CONV_2D"
) -> bytes:
    """A convolution that keeps the number of channels."""
    channels = image[3]
    shape = (1, *kernel, channels) if kind != "CONV_2D" else (channels, *kernel, channels)
    w = FileTensor(shape, scale=(0.01,), data=np.ones(shape, np.int8))
    fields = {"StrideH": stride, "StrideW": stride, "DilationHFactor": dilation, "DilationWFactor": dilation, "Padding": int(not same)}
    table = "Conv2DOptions" if kind == "CONV_2D" else "DepthwiseConv2DOptions"
    return build([FileTensor(image), w, FileTensor(image)], [FileOperator(kind, (0, 1), (2,), table, fields)], (0,), (2,))


def onnx_pool(kind: str, image: tuple[int, ...], **attributes: Any) -> bytes:
    m = Qdq()
    x = m.input(*image)
    m.output(m.q(m.op(kind, m.d(x), **attributes), 0.05, 3))
    return m.bytes()


def onnx_conv(image: tuple[int, ...], kernel: tuple[int, int], **attributes: Any) -> bytes:
    return one(lambda m, x: m.op("Conv", x, m.weights(2, image[1], *kernel), **attributes), *image).bytes()


IMAGE, FILE_IMAGE = (1, 8, 8, 1), (1, 1, 8, 8)
WINDOWS: dict[str, Callable[[], bytes]] = {
    "a pool of 2^31": lambda: tflite_pool("AVERAGE_POOL_2D", IMAGE, IMAGE, (LARGEST, LARGEST)),
    "a maximum of 2^31": lambda: tflite_pool("MAX_POOL_2D", IMAGE, IMAGE, (LARGEST, LARGEST)),
    "a line of 2^31": lambda: tflite_pool("MAX_POOL_2D", IMAGE, IMAGE, (1, LARGEST)),
    "a pool of 2000": lambda: tflite_pool("AVERAGE_POOL_2D", IMAGE, IMAGE, (2000, 2000)),
    "a pool larger than its image": lambda: tflite_pool("MAX_POOL_2D", IMAGE, (1, 1, 1, 1), (9, 9), same=False),
    "a stride of 2^31": lambda: tflite_pool("MAX_POOL_2D", IMAGE, (1, 1, 1, 1), (2, 2), (LARGEST, LARGEST), same=False),
    "a dilation of 2^31": lambda: tflite_conv(IMAGE, (3, 3), dilation=LARGEST),
    "a dilation beyond the image": lambda: tflite_conv(IMAGE, (3, 3), dilation=4, same=False),
    "a depthwise dilation of 2^31": lambda: tflite_conv((1, 8, 8, 2), (3, 3), dilation=LARGEST, kind="DEPTHWISE_CONV_2D"),
    "a stride of a convolution": lambda: tflite_conv(IMAGE, (3, 3), stride=LARGEST),
    "a long line": lambda: tflite_conv((1, 1 << 22, 1, 1), (1000, 1)),
    "ONNX: a pool of 60000": lambda: onnx_pool("AveragePool", FILE_IMAGE, kernel_shape=[60000, 60000], pads=[30000] * 4),
    "ONNX: a pool of 2^40": lambda: onnx_pool("MaxPool", FILE_IMAGE, kernel_shape=[2**40, 2**40], auto_pad="SAME_UPPER"),
    "ONNX: a pool of 2000": lambda: onnx_pool("MaxPool", FILE_IMAGE, kernel_shape=[2000, 2000], auto_pad="SAME_UPPER"),
    "ONNX: a stride": lambda: onnx_pool("MaxPool", FILE_IMAGE, kernel_shape=[2, 2], strides=[65536, 65536]),
    "ONNX: a dilation": lambda: onnx_conv(FILE_IMAGE, (3, 3), dilations=[65536, 65536], auto_pad="SAME_LOWER"),
    "ONNX: pads": lambda: onnx_conv(FILE_IMAGE, (3, 3), pads=[65536] * 4),
    "ONNX: a border of a pool": lambda: onnx_pool("MaxPool", FILE_IMAGE, kernel_shape=[2, 2], pads=[2**62] * 4),
}


@pytest.mark.parametrize("make", WINDOWS.values(), ids=list(WINDOWS))
def test_windows_are_bounded_by_their_image(make: Callable[[], bytes]) -> None:
    data = make()
    assert len(data) < 10_000
    refused(data)


PERMITTED: dict[str, Callable[[], bytes]] = {
    "a kernel over all of its image": lambda: tflite_pool("AVERAGE_POOL_2D", IMAGE, (1, 1, 1, 1), (8, 8), (8, 8), same=False),
    "a kernel beyond a small image": lambda: tflite_conv((1, 3, 3, 2), (7, 7)),
    "the stride of a signal": lambda: tflite_pool("MAX_POOL_2D", (1, 1, 99, 2), (1, 1, 49, 2), (1, 2), (2, 2), same=False),
    "a large pool of a large image": lambda: tflite_pool("MAX_POOL_2D", (1, 64, 64, 16), (1, 64, 64, 16), (64, 64)),
    "a long filter of a long signal": lambda: tflite_conv((1, 16000, 1, 1), (1000, 1)),
    "as many elements as may be": lambda: tflite_pool("AVERAGE_POOL_2D", (1, 1024, 1024, 4), (1, 1024, 1024, 4), (3, 3)),
    "ONNX: a large pool": lambda: onnx_pool("MaxPool", (1, 16, 64, 64), kernel_shape=[63, 63], pads=[31] * 4),
}


@pytest.mark.parametrize("make", PERMITTED.values(), ids=list(PERMITTED))
def test_windows_that_models_have_take_little_memory(make: Callable[[], bytes]) -> None:
    assert compiled(make()).files


# ---- Tensors ----


def onnx_change(change: Callable[[onnx.ModelProto], None]) -> bytes:
    def layer(m: Qdq, x: str) -> str:
        return m.op("Gemm", m.op("Reshape", x, m.init(np.array([1, 12], np.int64), "shape")), m.weights(5, 12), transB=1)

    proto = one(layer, 1, 3, 4).proto()
    change(proto)
    return bytes(proto.SerializeToString())


def initializer(proto: onnx.ModelProto, base: str) -> TensorProto:
    return next(t for t in proto.graph.initializer if t.name.startswith(base))


def external(proto: onnx.ModelProto) -> None:
    tensor = initializer(proto, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../weights.bin")


def pair(first: FileTensor, second: FileTensor, kind: str, *constants: FileTensor, **options: Any) -> bytes:
    inputs = (0, *range(2, 2 + len(constants)))
    return build([first, second, *constants], [FileOperator(kind, inputs, (1,), **options)], (0,), (1,))


def integers(*values: int, kind: type = np.int32) -> FileTensor:
    return FileTensor((len(values),), "INT64" if kind is np.int64 else "INT32", None, data=np.array(values, kind))


TENSORS: dict[str, tuple[Callable[[], bytes], str]] = {
    "an input of 2^93": (lambda: dense(x={"shape": (1, LARGEST, LARGEST, LARGEST)}), "beyond any microcontroller"),
    "a product that wraps to 4": (lambda: dense(x={"shape": (1, 1 << 20, 1 << 20, 1 << 24)}), "beyond any microcontroller"),
    "a result of 2^30": (lambda: dense(y={"shape": (1, 1 << 30)}), "beyond any microcontroller"),
    "weights without data": (lambda: dense(w={"shape": (LARGEST, 4), "data": None}), "constant"),
    "weights of another size": (lambda: dense(w={"shape": (LARGEST, 4)}), "bytes of data"),
    "nine axes": (lambda: dense(x={"shape": (1, 1, 1, 1, 1, 1, 1, 1, 4)}), "9 axes"),
    "a border of 2^31": (
        lambda: pair(FileTensor(IMAGE), FileTensor((1, LARGEST, 8, 1)), "PAD", FileTensor((4, 2), "INT32", None, data=_amounts(LARGEST))),
        "beyond any microcontroller",
    ),
    "a border below zero": (
        lambda: pair(FileTensor(IMAGE), FileTensor(IMAGE), "PAD", FileTensor((4, 2), "INT32", None, data=_amounts(-1))),
        "pads [",
    ),
    "odd amounts": (lambda: pair(FileTensor(IMAGE), FileTensor(IMAGE), "PAD", integers(0, 0, 1)), "pads ["),
    "a border of floats": (
        lambda: pair(FileTensor(IMAGE), FileTensor(IMAGE), "PAD", FileTensor((2,), "FLOAT32", None, data=np.ones(2, np.float32))),
        "float32",
    ),
    "an axis of 2^31": (lambda: pair(FileTensor(IMAGE), FileTensor((1, 1)), "MEAN", integers(LARGEST)), "names axis"),
    "an axis below zero": (lambda: pair(FileTensor(IMAGE), FileTensor((1, 1)), "MEAN", integers(-5)), "names axis"),
    "no axis": (lambda: pair(FileTensor(IMAGE), FileTensor((1, 1)), "MEAN", integers()), "input 1 must be a constant"),
    "a permutation with a hole": (lambda: pair(FileTensor(IMAGE), FileTensor(IMAGE), "TRANSPOSE", integers(0, 1, 3, 3)), "permutation"),
    "a permutation of many": (lambda: pair(FileTensor(IMAGE), FileTensor(IMAGE), "TRANSPOSE", integers(*range(40))), "input 1"),
    "a view of another size": (lambda: pair(FileTensor(IMAGE), FileTensor((1, LARGEST)), "RESHAPE"), "beyond any microcontroller"),
    "a result that is a constant": (
        lambda: pair(FileTensor((1, 4)), FileTensor((1, 4), data=np.ones((1, 4), np.int8)), "RELU"),
        "computed twice, or a constant",
    ),
    "ONNX: dims without data": (lambda: onnx_change(lambda p: initializer(p, "w").ClearField("raw_data")), "damaged"),
    "ONNX: dims of 2^62": (lambda: onnx_change(lambda p: initializer(p, "w").dims.append(2**62)), "beyond any microcontroller"),
    "ONNX: no elements times 2^62": (lambda: onnx_change(lambda p: initializer(p, "w").dims.extend([0, 2**62])), "beyond any microcontroller"),
    "ONNX: dims below zero": (lambda: onnx_change(lambda p: initializer(p, "w").dims.append(-1)), "beyond any microcontroller"),
    "ONNX: weights elsewhere": (lambda: onnx_change(external), "another file"),
    "ONNX: an input of 2^80": (lambda: one(lambda m, x: m.op("Relu", x), 1, 2**40, 2**40).bytes(), "beyond any microcontroller"),
    "ONNX: nine axes": (lambda: one(lambda m, x: m.op("Relu", x), *[1] * 9).bytes(), "beyond any microcontroller"),
    "ONNX: strings": (
        lambda: onnx_change(lambda p: initializer(p, "shape").CopyFrom(helper.make_tensor("shape_1", TensorProto.STRING, [1], [b"1"]))),
        "is missing",
    ),
    "ONNX: a border of 2^62": (
        lambda: one(lambda m, x: m.op("Pad", x, m.init(np.array([0, 0, 2**62, 0, 0, 0, 0, 0], np.int64))), *FILE_IMAGE).bytes(),
        "pads",
    ),
}


def _amounts(above: int) -> np.ndarray:
    return np.array([[0, 0], [above, 0], [0, 0], [0, 0]], np.int32)


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_no_file_can_hold(name: str) -> None:
    make, words = TENSORS[name]
    data = make()
    assert len(data) < 10_000
    refused(data, words)


def test_too_many_of_anything() -> None:
    tensors = [FileTensor((1, 4)) for _ in range(limits.PORTS + 2)]
    last = len(tensors) - 1
    refused(build(tensors, [FileOperator("RELU", (0,), (last,))], tuple(range(last)), (last,)), f"{last} inputs")
    many = limits.OPERATORS + 1
    tensors = [FileTensor((1, 4)) for _ in range(many + 1)]
    refused(build(tensors, [FileOperator("RELU", (i,), (i + 1,)) for i in range(many)], (0,), (many,)), f"{many:,} operators")
    shape = (1, limits.ELEMENTS)
    count = limits.ALL_ELEMENTS // limits.ELEMENTS
    tensors = [FileTensor(shape) for _ in range(count + 1)]
    refused(build(tensors, [FileOperator("RELU", (i,), (i + 1,)) for i in range(count)], (0,), (count,)), "elements of activations")


def test_vectors_that_lie_over_each_other() -> None:
    """Tensors that share one long name: each would be read anew, and a short file be as long as one likes."""
    count = 400
    tensors = [FileTensor((1, 4), name="n" * 20_000 if i == 0 else "m") for i in range(count)]
    data = bytearray(build(tensors, [FileOperator("RELU", (i,), (i + 1,)) for i in range(count - 1)], (0,), (count - 1,)))
    assert len(tflite_reader.load(bytes(data), "model", "model").nodes) == count - 1
    graph = tflite.Model.GetRootAsModel(data, 0).Subgraphs(0)
    places = [t._tab.Pos + t._tab.Offset(10) for t in (graph.Tensors(i) for i in range(count))]  # of the offset to the name
    name = places[0] + int.from_bytes(data[places[0] : places[0] + 4], "little")
    for at in places[1:]:
        data[at : at + 4] = ((name - at) % 2**32).to_bytes(4, "little")
    refused(bytes(data), "lie over each other")


# ---- Scales and zero points ----


@pytest.mark.parametrize("point", [-(2**63), -(2**31), -129, 128, 129, 255, 2**31, 2**63 - 1])
@pytest.mark.parametrize("which", ["x", "y"])
def test_zero_points_outside_int8(which: str, point: int) -> None:
    refused(dense(**{which: {"zero": (point,)}}), f"zero point {point} is outside int8")


@pytest.mark.parametrize("point", [-128, 127])
def test_the_ends_of_int8_are_zero_points(point: int) -> None:
    graph = tflite_reader.load(dense(x={"zero": (point,)}, y={"zero": (point,)}), "model", "model")
    assert [graph.type(name).zero_point for name in (graph.inputs[0], graph.outputs[0])] == [point, point]


@pytest.mark.parametrize("which", ["x", "w", "y"])
@pytest.mark.parametrize("scale", [1e-45, 1e-39, 1.17e-38])
def test_subnormal_scales(which: str, scale: float) -> None:
    refused(dense(**{which: {"scale": (scale,)}}), "is subnormal")


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -0.5, 0.0, -0.0, 1e-45, 1e-39])
def test_scales_of_onnx(scale: float) -> None:
    """Of an activation, of weights with one scale, and of one channel of several."""
    gemm = lambda m, x: m.op("Gemm", x, m.weights(5, 12), transB=1)  # noqa: E731
    words = "is subnormal" if 0 < scale < 1 else "not a positive finite number"
    refused(one(gemm, 1, 12, scale=scale).bytes(), words)
    for count in (1, 5):
        m = Qdq()
        scales = np.full(count, 0.01, np.float32)
        scales[-1] = scale
        zeros = m.init(np.zeros(count, np.int8))
        w = m.op("DequantizeLinear", m.init(np.ones((5, 12), np.int8), "w"), m.init(scales if count > 1 else scales[0]), zeros, axis=0)
        m.output(m.q(m.op("Gemm", m.d(m.input(1, 12)), w, transB=1), 0.2))
        refused(m.bytes(), words)


def test_the_smallest_normal_scale_is_one() -> None:
    smallest = float(np.finfo(np.float32).smallest_normal)
    graph = tflite_reader.load(dense(w={"scale": (smallest,)}), "model", "model")
    assert graph.type("head.weights").scale == smallest


@pytest.mark.parametrize("point", [0, 255])
def test_uint8_zero_points_of_onnx(point: int) -> None:
    """Held 128 lower; every code of uint8 is one of int8."""
    m = Qdq()
    x = m.q(m.op("Relu", m.d(m.input(1, 4))), 0.1, point, np.uint8)
    m.output(m.q(m.op("Relu", m.d(x)), 0.1))
    graph = onnx_reader.load(m.bytes(), "model", "model")
    assert graph.type(graph.nodes[0].outputs[0]).zero_point == point - 128


@pytest.mark.parametrize(("dtype", "point"), [(np.int16, 128), (np.int16, -129), (np.uint16, 300), (np.int32, 128)])
def test_zero_points_of_other_types_of_onnx(dtype: Any, point: int) -> None:
    m = Qdq()
    m.output(m.q(m.op("Relu", m.d(m.input(1, 4))), 0.1, point, dtype))
    refused(m.bytes(), f"int16 with zero point {point}" if dtype is np.int16 else "only int8")


# ---- Operators ----

OTHERS = {k for k in vars(tflite.BuiltinOperator) if not k.startswith("_")} - set(reads_tflite()) - {"CUSTOM", "PLACEHOLDER_FOR_GREATER_OP_CODES"}


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_every_other_operator_is_refused_by_its_name(kind: str) -> None:
    """SHAPE, NAME, CONVERT and the like are no methods of the reader."""
    data = build([FileTensor((1, 4)), FileTensor((1, 4))], [FileOperator(kind, (0,), (1,))], (0,), (1,))
    refused(data, f"operator {kind} is not supported", "CONV_2D")


def test_a_custom_operator_named_as_one_of_ours() -> None:
    for name in ("", "shape", "relu", "RELU", "\x1b[2J"):
        data = build([FileTensor((1, 4)), FileTensor((1, 4))], [FileOperator("CUSTOM", (0,), (1,), custom=name)], (0,), (1,))
        refused(data, "operator CUSTOM:", "is not supported")


@pytest.mark.parametrize("error", [AttributeError, TypeError, KeyError, ValueError, IndexError])
def test_a_mistake_of_ours_is_no_fault_of_the_file(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: Any) -> None:
        raise error("ours")

    from kiloc.frontend import onnx_ops

    monkeypatch.setattr(Requantize, "read_tflite", mistaken)
    monkeypatch.setitem(onnx_ops.FORMAT_OPERATORS, "Relu", mistaken)
    with pytest.raises(error, match="ours"):
        tflite_reader.load(pair(FileTensor((1, 4)), FileTensor((1, 4)), "RELU"), "model", "model")
    with pytest.raises(error, match="ours"):
        onnx_reader.load(one(lambda m, x: m.op("Relu", x), 1, 4).bytes(), "model", "model")


def test_names_that_are_no_utf8() -> None:
    data = one(lambda m, x: m.op("Relu", x), 1, 4).bytes()
    changed = data.replace(b"/relu_", b"/re\x94u_")
    assert changed != data
    assert onnx_reader.load(changed, "model", "model").nodes


# ---- Long graphs ----

SECONDS = 20
"""Of processor time: a hundred times what 20,000 operators take, a quarter of what they took when each looked at all others."""


@pytest.mark.parametrize("kind", ["Identity", "Relu"])
def test_long_chains_are_read_in_linear_time(kind: str) -> None:
    m = Qdq()
    y = m.d(m.input(1, 12))
    for _ in range(20_000):
        y = m.op(kind, y)
    m.output(m.q(m.op("Relu", y), 0.2))
    data, start = m.bytes(), time.process_time()
    assert len(onnx_reader.load(data, "model", "model").nodes) == 1
    assert time.process_time() - start < SECONDS


# ---- Files ----


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tflite")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "device.tflite").symlink_to("/dev/zero")
    for path in ("/dev/zero", "/dev/full", tmp_path / "pipe.tflite", tmp_path / "folder.onnx", tmp_path / "device.tflite"):
        with pytest.raises(CompileError, match="is not a regular file") as caught:
            kt.load(path)
        assert caught.value.where == str(path)
    for path in ("model\0.tflite", tmp_path / ("x" * 300 + ".tflite"), tmp_path / "none.onnx"):
        with pytest.raises(CompileError, match="cannot be read"):
            kt.load(path)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_file_without_an_end(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\0\0\0\0TFL3")
    os.truncate(path, 1 << 40)
    with little_memory(), pytest.raises(CompileError, match="longer than 64 MiB"):
        kt.load(path)
    os.truncate(path, limits.FILE_BYTES)
    with pytest.raises(CompileError) as caught:
        kt.load(path)
    assert not re.search("longer than", str(caught.value))


def test_a_link_to_a_model_is_one(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(dense())
    (tmp_path / "link.tflite").symlink_to(tmp_path / "model.tflite")
    assert kt.load(tmp_path / "link.tflite").name == "link"
