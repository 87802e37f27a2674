"""Models of int16 activations and int8 weights: the bits of TensorFlow Lite Micro on the host and on emulated cores, layers of int8 behind them
are trained, and what stands in the way of more is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tflite_files import FileOperator, FileTensor, build
from tflite_micro import runtime

import kilotune as kt
from kiloc import pipeline
from kiloc.errors import CompileError
from kiloc.export import tflite as writer
from kiloc.frontend import tflite as reader
from kiloc.frontend.build import GraphBuilder
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.operator import Op
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.concatenate import Concatenate
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.pad import Pad
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.wide.conv_2d import WideConv2D, WideFullyConnected
from kiloc.ops.wide.depthwise_conv_2d import WideDepthwiseConv2D
from kiloc.ops.wide.elementwise import WideAdd, WideMul, WideSub
from kiloc.ops.wide.functions import WideLogistic, WideTanh
from kiloc.ops.wide.pool_2d import WideAveragePool2D, WideMaxPool2D
from kiloc.ops.wide.softmax import WideSoftmax
from kiloc.options import Options
from kiloc.report.kernels import kernels

BOARDS = (("cortex-m4", "mps2-an386"), ("cortex-m0plus", "microbit"), ("cortex-m55", "mps3-an547"))
UNIT = 2.0**-15
SIDE, CLASSES = 6, 4


class Maker:
    """A model of int16 activations, layer by layer."""

    def __init__(self) -> None:
        self.b, self.rng = GraphBuilder("wide", "wide.tflite"), np.random.default_rng(11)

    def wide(self, shape: tuple[int, ...], step: float) -> TensorType:
        return TensorType(shape, "int16", Quantization((float(np.float32(step)),)))

    def op(self, name: str, op: Op, x: str, shape: tuple[int, ...], step: float, **inputs: str) -> str:
        return self.b.node(name, op, {"x": x, **inputs}, self.wide(shape, step), name)

    def layer(self, name: str, weights: tuple[int, ...], channels: int, bias: str = "int64") -> dict[str, str]:
        q = Quantization((float(np.float32(0.01)),))
        data = self.rng.integers(-127, 128, weights).astype(np.int8), self.rng.integers(-(2**15), 2**15, channels).astype(bias)
        return {"weights": self.b.constant(f"{name}.weights", data[0], q, name), "bias": self.b.constant(f"{name}.bias", data[1], None, name)}

    def body(self) -> str:
        """An image to 8 features."""
        x = self.b.input(self.wide((1, SIDE, SIDE, 2), 1e-4), "x")
        x = self.op("border", Pad((1, 0, 1, 0)), x, (1, 8, 6, 2), 1e-4)
        x = self.op("conv", WideConv2D("relu", Window((3, 3), (1, 1), (0, 1, 0, 1))), x, (1, 6, 6, 4), 2e-4, **self.layer("conv", (4, 3, 3, 2), 4))
        depthwise = WideDepthwiseConv2D("none", Window((3, 3), (1, 1), (1, 1, 1, 1)))
        y = self.op("depthwise", depthwise, x, (1, 6, 6, 4), 3e-4, **self.layer("depthwise", (1, 3, 3, 4), 4))
        gate = self.op("gate", WideLogistic(), y, (1, 6, 6, 4), UNIT)
        y = self.op("gated", WideMul(), y, (1, 6, 6, 4), 2e-4, other=gate)
        y = self.op("sum", WideAdd(), y, (1, 6, 6, 4), 4e-4, other=x)
        shares = self.op("shares", WideSoftmax(), x, (1, 6, 6, 4), UNIT)
        y = self.op("rest", WideSub(), y, (1, 6, 6, 4), 4e-4, other=shares)
        y = self.op("bent", WideTanh(), y, (1, 6, 6, 4), UNIT)
        means = self.op("means", WideAveragePool2D(Window((6, 6))), y, (1, 1, 1, 4), UNIT)
        most = self.op("most", WideMaxPool2D(Window((6, 6))), y, (1, 1, 1, 4), UNIT)
        both = self.b.node("both", Concatenate(3), {"x": means, "x1": most}, self.wide((1, 1, 1, 8), UNIT), "both")
        return self.b.node("flat", Reshape((1, 8)), {"x": both}, self.wide((1, 8), UNIT), "flat")


def whole() -> Graph:
    """All of it in int16, a softmax at the end."""
    m = Maker()
    x = m.op("logits", WideFullyConnected(), m.body(), (1, CLASSES), 3e-4, **m.layer("logits", (CLASSES, 8), CLASSES))
    return verify(m.b.finish([m.op("classes", WideSoftmax(), x, (1, CLASSES), UNIT)]))


def with_head(bits: str = "int64") -> Graph:
    """QUANTIZE to int8 behind the body, and a head of int8. bits: of a bias in front of it."""
    m = Maker()
    x = m.op("mixed", WideFullyConnected("relu"), m.body(), (1, 8), 1e-4, **m.layer("mixed", (8, 8), 8, bits))
    x = m.b.node("narrow", Requantize(), {"x": x}, activation((1, 8), 0.02, -128), "narrow")
    layer = m.layer("logits", (CLASSES, 8), CLASSES, "int32")
    return verify(m.b.finish([m.b.node("logits", FullyConnected(), {"x": x, **layer}, activation((1, CLASSES), 0.1, 3), "logits")]))


def loaded(graph: Graph, folder: Path) -> kt.Model:
    path = folder / "wide.tflite"
    path.write_bytes(writer.write(graph))
    return kt.load(path)


def samples(count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(2)
    level, noise = rng.integers(-20000, 20000, (count, 1, 1, 2)), rng.integers(-(2**13), 2**13, (count, SIDE, SIDE, 2))
    return np.clip(level + noise, -(2**15), 2**15 - 1).astype(np.int16), rng.integers(0, CLASSES, count).astype(np.int32)


def of_interpreter(data: bytes, x: NDArray[Any]) -> NDArray[Any]:
    interpreter, found = runtime.Interpreter.from_bytes(data), []
    for sample in x:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0).copy())
    return np.concatenate(found)


@pytest.mark.parametrize("graph", [whole(), with_head(), with_head("int32")], ids=["whole", "head", "head-int32"])
def test_bits_of_the_interpreter(graph: Graph, tmp_path: Path) -> None:
    model, (x, _) = loaded(graph, tmp_path), samples(12)
    expected = of_interpreter((tmp_path / "wide.tflite").read_bytes(), x)
    assert len(np.unique(expected)) > 16
    assert np.array_equal(interp.infer(model.graph, x)[0], expected)
    build = kt.build(model, tmp_path / "build")
    with build.open("host") as device, build.open("agent:host", sanitize=True) as checked:
        assert np.array_equal(device.infer(x), expected)
        assert np.array_equal(checked.infer(x), expected)


@pytest.mark.qemu
@pytest.mark.parametrize(("target", "board"), BOARDS)
def test_on_emulated_cores(target: str, board: str, tmp_path: Path, qemu: Any) -> None:
    model, (x, y) = loaded(with_head(), tmp_path), samples(6)
    build = kt.build(model, tmp_path / "build", method=kt.BiasOnly(), calibration=(x, y), target=target)
    with build.open("host") as host, build.open(f"qemu:{board}") as device:
        start = host.infer(x)
        assert np.array_equal(device.infer(x), start)
        for i in range(4):
            assert device.train_step(x[i], y[i]) == host.train_step(x[i], y[i])
            host.apply()
            device.apply()
        assert device.state() == host.state()
        assert np.array_equal(device.infer(x), host.infer(x))


def test_the_report_names_portable_kernels(tmp_path: Path) -> None:
    c = pipeline.compile_graph(loaded(whole(), tmp_path).graph, Options(target="cortex-m4"), "test")
    steps = {step["step"]: step for step in kernels(c)["infer"]}
    assert steps["conv"]["kernel"] == "kt_conv2d_s16" and not steps["conv"]["slow"]
    assert "only convolutions and fully connected layers" in steps["depthwise"]["slow"]


def test_no_method_applies_to_them(tmp_path: Path) -> None:
    model, calibration = loaded(with_head(), tmp_path), samples(4)
    assert {layer["name"] for layer in model.layers() if layer["trainable"]} == {"logits"}
    with pytest.raises(CompileError, match="conv"):
        kt.build(model, tmp_path / "build", method=kt.LoRA(rank=2, layers="conv"), calibration=calibration)


def test_no_gradient_goes_through_them() -> None:
    """An int8 layer in front of int16 ones."""
    m = Maker()
    x = m.b.input(activation((1, 8), 0.02, 0), "x")
    x = m.b.node("front", FullyConnected(), {"x": x, **m.layer("front", (8, 8), 8, "int32")}, activation((1, 8), 0.05, 0), "front")
    x = m.op("widened", Requantize(), x, (1, 8), 1e-4)
    x = m.op("bent", WideTanh(), x, (1, 8), UNIT)
    x = m.b.node("narrow", Requantize(), {"x": x}, activation((1, 8), 0.01, 0), "narrow")
    layer = m.layer("logits", (CLASSES, 8), CLASSES, "int32")
    graph = verify(m.b.finish([m.b.node("logits", FullyConnected(), {"x": x, **layer}, activation((1, CLASSES), 0.1, 3), "logits")]))
    rng = np.random.default_rng(0)
    options = Options(methods=(kt.BiasOnly(layers="front"),), calibration=rng.integers(-128, 128, (4, 8)).astype(np.int8))
    with pytest.raises(CompileError, match="gradients are int8"):
        pipeline.compile_graph(graph, options, "test")


@pytest.mark.parametrize(
    ("bits", "size", "what"), [("int64", 2**50, "48 bits"), ("int32", 2**31 - 9, "int32"), ("int64", 2**46, "before they are limited")]
)
def test_sums_that_may_overflow_are_refused(bits: str, size: int, what: str) -> None:
    m = Maker()
    x = m.b.input(m.wide((1, 8), 1e-4), "x")
    layer = {**m.layer("dense", (3, 8), 3, bits), "bias": m.b.constant("large", np.array([size, 0, 0], bits), None, "large")}
    graph = verify(m.b.finish([m.op("dense", WideFullyConnected(), x, (1, 3), 1e-4, **layer)]))
    with pytest.raises(CompileError, match=what):
        pipeline.compile_graph(graph, Options(), "test")


def file_of(kind: str, bias: str | None) -> bytes:
    """A layer as exporters write it; bias: its type, None for none."""
    rng = np.random.default_rng(5)
    depthwise = kind == "DEPTHWISE_CONV_2D"
    shape = {"FULLY_CONNECTED": (3, 6), "CONV_2D": (3, 2, 2, 6), "DEPTHWISE_CONV_2D": (1, 2, 2, 6)}[kind]
    x, y = ((1, 6), (1, 3)) if kind == "FULLY_CONNECTED" else ((1, 3, 3, 6), (1, 2, 2, 6 if depthwise else 3))
    tensors = [
        FileTensor(x, "INT16", (1e-4,), (0,), name="x"),
        FileTensor(shape, scale=(0.01,), data=rng.integers(-127, 128, shape).astype(np.int8), name="layer/w"),
        FileTensor(y, "INT16", (3e-4,), (0,), name="y"),
    ]
    if bias is not None:
        data = rng.integers(-(2**16), 2**16, y[-1]).astype(bias.lower())
        tensors.append(FileTensor(data.shape, bias, (1e-6,), data=data, name="layer/b"))
    table = {"FULLY_CONNECTED": "FullyConnectedOptions", "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions"}[kind]
    fields = {} if kind == "FULLY_CONNECTED" else {"Padding": 1, "StrideH": 1, "StrideW": 1, **({"DepthMultiplier": 1} if depthwise else {})}
    inputs = (0, 1) if bias is None and kind != "FULLY_CONNECTED" else (0, 1, -1 if bias is None else 3)
    return build(tensors, [FileOperator(kind, inputs, (2,), table, fields)], (0,), (2,))


@pytest.mark.parametrize("bias", ["INT64", "INT32", None])
@pytest.mark.parametrize("kind", ["FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"])
def test_files_with_and_without_a_bias(kind: str, bias: str | None) -> None:
    data = file_of(kind, bias)
    if kind == "DEPTHWISE_CONV_2D" and bias == "INT32":
        with pytest.raises(CompileError, match="needs a constant INT64 bias"):
            reader.load(data, "file", "file.tflite")
        return
    graph = reader.load(data, "file", "file.tflite")
    rng = np.random.default_rng(1)
    x = rng.integers(-(2**15), 2**15, (200, *graph.type("input").shape[1:])).astype(np.int16)
    assert np.array_equal(interp.infer(graph, x)[0], of_interpreter(data, x))
