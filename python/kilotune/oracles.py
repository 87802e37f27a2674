"""Which engines of other people a model can be compared with, and the results of its layers in them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiloc.ir import Graph, Node

from .devices.data import dequantize, quantize
from .devices.errors import DeviceError
from .devices.manifest import Tensor
from .model import Model
from .survey import oracles as engines

Codes = NDArray[Any]
Layers = dict[str, Codes]
"""Results [N, ...] by the name of the node of our graph."""


@dataclass(frozen=True)
class Oracle:
    """name: on the command line. title: for a person. profile: whose rounding it has; None for one that computes in float."""

    name: str
    title: str
    module: str
    package: str
    suffix: str
    profile: str | None


ORACLES = (
    Oracle("tflite-micro", "TensorFlow Lite Micro", "tflite_micro", "tflite-micro", ".tflite", "tflm"),
    Oracle("litert", "LiteRT, reference kernels", "ai_edge_litert", "ai-edge-litert", ".tflite", "litert"),
    Oracle("onnxruntime", "onnxruntime in float32", "onnxruntime", "onnxruntime", ".onnx", None),
)


def installed(oracle: Oracle) -> bool:
    return importlib.util.find_spec(oracle.module) is not None


def choose(model: Model, asked: str | None) -> Oracle:
    """The engine to compare with: the one asked for, else the first that is installed. DeviceError where there is none."""
    fitting = [o for o in ORACLES if o.suffix == model.path.suffix.lower() and asked in (None, o.name)]
    if not fitting:
        raise DeviceError(str(model.path), f"{asked} does not run {model.path.suffix} files", f"{', '.join(_names(model.path.suffix))} does")
    for oracle in fitting:
        if installed(oracle):
            return oracle
    packages = " or ".join(f"pip install {o.package}" for o in fitting)
    raise DeviceError(str(model.path), f"nothing to compare with is installed: {', '.join(o.name for o in fitting)}", packages)


def _names(suffix: str) -> list[str]:
    return [o.name for o in ORACLES if o.suffix == suffix]


def outputs(oracle: Oracle, model: Model, inputs: Sequence[Codes]) -> list[Codes]:
    """What the engine gives for inputs [N, ...] as the model's codes: each output as codes [N, values]."""
    if any("LOG_SOFTMAX" in note for note in model.graph.notes):
        raise DeviceError(
            str(model.path),
            "ends in a LOG_SOFTMAX of floats, which the caller computes: outputs cannot be compared",
            "cut the model before it, and validate that",
        )
    engine = engines.BY_NAME[oracle.name](model.path, model.graph)
    rows = [engine.run([x[row : row + 1] for x in inputs]) for row in range(len(inputs[0]))]
    tensors = [tensor_of(model.graph, name) for name in model.graph.outputs]
    columns = [np.concatenate([a.reshape(1, -1) for a in column]) for column in zip(*rows, strict=True)]
    return [c.astype(t.dtype) if c.dtype.kind in "iu" else quantize(c, t) for c, t in zip(columns, tensors, strict=True)]


def tensor_of(graph: Graph, name: str) -> Tensor:
    """An input or output of a graph as devices describe it."""
    t = graph.type(name)
    return Tensor(t.shape, t.scale, t.zero_point, dtype=t.dtype)


def _given(model: Model, number: int, sample: Codes, dtype: Any) -> NDArray[Any]:
    """A sample [1, ...] as the file's own input takes it."""
    return dequantize(sample, tensor_of(model.graph, model.graph.inputs[number])) if dtype == np.float32 else sample


# ---- .tflite ----


@contextmanager
def _litert_engine(model: Model, keep: bool) -> Iterator[Any]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    engine = Interpreter(
        str(model.path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, experimental_preserve_all_tensors=keep
    )  # fmt: skip
    engine.allocate_tensors()
    yield engine


def _invoked(engine: Any, model: Model, inputs: Sequence[Codes], row: int) -> None:
    for i, (detail, x) in enumerate(zip(engine.get_input_details(), inputs, strict=True)):
        engine.set_tensor(detail["index"], _given(model, i, x[row : row + 1], detail["dtype"]).reshape(detail["shape"]))
    engine.invoke()


def _litert_layers(model: Model, inputs: Sequence[Codes]) -> Layers:
    with _litert_engine(model, keep=True) as engine:
        places = {op["index"]: op["outputs"][0] for op in engine._get_ops_details() if len(op["outputs"])}
        wanted = {n.name: places[i] for n in model.graph.nodes if (i := _place(n, "operator")) in places}
        found: dict[str, list[Any]] = {name: [] for name in wanted}
        for row in range(len(inputs[0])):
            _invoked(engine, model, inputs, row)
            for name, index in wanted.items():
                found[name].append(engine.get_tensor(index).copy())
    layers = {name: np.concatenate([np.atleast_1d(a) for a in arrays]) for name, arrays in found.items()}
    return {name: a for name, a in layers.items() if a.dtype == np.int8}


# ---- .onnx ----


def _onnx_run(model: Model, proto: Any, inputs: Sequence[Codes], names: list[str] | None) -> list[NDArray[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # the file's own meaning, not that of fused kernels
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    dtypes = {"tensor(float)": np.float32, "tensor(int8)": np.int8}
    rows: list[list[NDArray[Any]]] = []
    for row in range(len(inputs[0])):
        feed = {}
        for i, (given, x) in enumerate(zip(session.get_inputs(), inputs, strict=True)):
            sample = _given(model, i, x[row : row + 1], dtypes.get(given.type, np.void))
            feed[given.name] = sample.reshape([n if isinstance(n, int) else 1 for n in given.shape])
        rows.append([np.asarray(a) for a in session.run(names, feed)])
    return [np.concatenate([_channels_last(a) for a in column]) for column in zip(*rows, strict=True)]


def _channels_last(a: NDArray[Any]) -> NDArray[Any]:
    return a.transpose(0, 2, 3, 1) if a.ndim == 4 else a


def _onnx_layers(model: Model, inputs: Sequence[Codes]) -> Layers:
    import onnx

    proto = onnx.load(str(model.path))
    consumers: dict[str, list[Any]] = {}
    for node in proto.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    wanted = {}
    for node in model.graph.nodes:
        place = _place(node, "node")
        if place is not None and place < len(proto.graph.node):
            quantized = _quantized(proto.graph.node[place].output[0], consumers)
            if quantized is not None:
                wanted[node.name] = quantized
    present = {o.name for o in proto.graph.output}
    for name in dict.fromkeys(wanted.values()):
        if name not in present:
            proto.graph.output.append(onnx.ValueInfoProto(name=name))
    names = list(dict.fromkeys(wanted.values()))
    found = dict(zip(names, _onnx_run(model, proto, inputs, names), strict=True)) if names else {}
    return {node: found[name] for node, name in wanted.items() if found[name].dtype == np.int8}


def _quantized(name: str, consumers: Mapping[str, Sequence[Any]]) -> str | None:
    """The integers that a value becomes, behind what is fused into its node; None where it goes several ways before."""
    for _ in range(4):
        after = consumers.get(name, [])
        if len(after) != 1 or len(after[0].output) != 1:
            return None
        name = after[0].output[0]
        if after[0].op_type == "QuantizeLinear":
            return name
    return None


def _place(node: Node, kind: str) -> int | None:
    """Which operator of a .tflite or node of an .onnx file a node is from."""
    found = re.match(rf"{kind} (\d+)\b", node.origin)
    return int(found[1]) if found else None


def layers(model: Model, inputs: Sequence[Codes]) -> tuple[Oracle, Layers] | None:
    """Results of layers within the model, by LiteRT or onnxruntime: tflite-micro does not give them. None where neither is installed."""
    oracle = next(o for o in reversed(ORACLES) if o.suffix == model.path.suffix.lower())
    if not installed(oracle):
        return None
    return oracle, (_litert_layers if oracle.name == "litert" else _onnx_layers)(model, inputs)
