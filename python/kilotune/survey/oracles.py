"""Interpreters of other people that run a model file: what a build's results are held against.

Each is an optional package: `load` says which one runs a file, or why none does.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
from numpy.typing import NDArray

from kiloc.ir import Graph

Array = NDArray[Any]
ARENA = 16 << 20
"""Bytes of memory that TensorFlow Lite Micro is given."""

EXACT_SUMS = ("session.x64quantprecision", "1")
"""Setting of onnxruntime: without it products of uint8 and int8 saturate in 16 bits on x86-64 processors without VNNI. It says nothing where graph
optimisations are off."""


@dataclass(frozen=True)
class Oracle:
    """An interpreter with a model. run: inputs of one sample with the batch axis, as the model's codes, to its outputs as codes, or as real
    numbers where the file's own outputs are."""

    name: str
    run: Callable[[Sequence[Array]], list[Array]]


def load(path: Path, graph: Graph) -> tuple[Oracle | None, str]:
    """The oracle of a file, or None and why."""
    kinds = (_onnxruntime,) if path.suffix == ".onnx" else (_micro, _litert)
    reasons = []
    for kind in kinds:
        try:
            kind(path, graph).run([np.zeros(graph.type(name).shape, graph.type(name).dtype) for name in graph.inputs])
            return kind(path, graph), ""  # anew: what a model keeps from call to call has seen nothing
        except Exception as error:  # whatever an interpreter does with a model that it does not run
            reasons.append(f"{kind.__name__.strip('_')}: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}")
    return None, "; ".join(reasons)


def _micro(path: Path, graph: Graph) -> Oracle:
    runtime = importlib.import_module("tflite_micro").runtime
    data, count = with_integer_outputs(path.read_bytes())
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=ARENA)

    def run(sample: Sequence[Array]) -> list[Array]:
        for i, (codes, name) in enumerate(zip(sample, graph.inputs, strict=True)):
            details = interpreter.get_input_details(i)
            interpreter.set_input(_given(codes, graph.type(name), details["dtype"]).reshape(details["shape"]), i)
        interpreter.invoke()
        return [np.array(interpreter.get_output(i)) for i in range(count)]

    return Oracle("tflite-micro", run)


def _litert(path: Path, graph: Graph) -> Oracle:
    module = importlib.import_module("ai_edge_litert.interpreter")
    data, count = with_integer_outputs(path.read_bytes())
    interpreter = module.Interpreter(model_content=data, experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(sample: Sequence[Array]) -> list[Array]:
        for details, codes, name in zip(inputs, sample, graph.inputs, strict=True):
            interpreter.set_tensor(details["index"], _given(codes, graph.type(name), details["dtype"]).reshape(details["shape"]))
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(details["index"])) for details in outputs[:count]]

    return Oracle("LiteRT", run)


def _onnxruntime(path: Path, graph: Graph) -> Oracle:
    module = importlib.import_module("onnxruntime")
    options = module.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry(*EXACT_SUMS)
    session = module.InferenceSession(with_ends_of_core(path, graph.notes), options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}

    def run(sample: Sequence[Array]) -> list[Array]:
        fed = {}
        for port, codes, name in zip(session.get_inputs(), sample, graph.inputs, strict=True):
            shape = tuple(d if isinstance(d, int) and d > 0 else 1 for d in port.shape)
            fed[port.name] = _given(codes, graph.type(name), types[port.type]).reshape(shape)
        return [np.array(result) for result in session.run(None, fed)]

    return Oracle("onnxruntime", run)


BY_NAME: dict[str, Callable[[Path, Graph], Oracle]] = {"tflite-micro": _micro, "litert": _litert, "onnxruntime": _onnxruntime}


def _given(codes: Array, t: Any, dtype: Any) -> Array:
    """Codes of a type of the graph as the file's input takes them: real numbers where that is float."""
    if np.dtype(dtype).kind == "f":
        return ((codes.astype(np.float32) - np.float32(t.zero_point)) * np.float32(t.scale)).astype(dtype)
    return (codes.astype(np.int64) + (128 if codes.dtype == np.int8 and dtype == np.uint8 else 0)).astype(dtype)


def with_ends_of_core(path: Path, notes: Sequence[str]) -> bytes:
    """The .onnx file with outputs behind operators that its front end leaves to the caller replaced by what those operators read."""
    model = onnx.load(path)
    left = {note.split()[0] for note in notes if re.search("(behind|after) the INT8 core is left to the caller$", note)}
    producers = {name: node for node in model.graph.node for name in node.output}
    for i, port in enumerate(model.graph.output):
        name = port.name
        while name in producers and producers[name].op_type in left:
            name = producers[name].input[0]
        if name != port.name:
            model.graph.output[i].CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


def with_integer_outputs(data: bytes) -> tuple[bytes, int]:
    """The file with outputs that are FLOAT32 replaced by the integer tensors that they are made from, and how many outputs there are.

    Nothing else changes: what computes the float tensors stays, and is not looked at.
    """
    changed = bytearray(data)
    graph = tflite.Model.GetRootAsModel(changed, 0).Subgraphs(0)
    producers: dict[int, Any] = {}
    for i in range(graph.OperatorsLength()):
        op = graph.Operators(i)
        producers.update((op.Outputs(k), op) for k in range(op.OutputsLength()))
    begin = graph._tab.Vector(graph._tab.Offset(8))  # the third field: outputs
    for k in range(graph.OutputsLength()):
        index = graph.Outputs(k)
        while graph.Tensors(index).Type() == tflite.TensorType.FLOAT32 and index in producers:
            index = producers[index].Inputs(0)
        changed[begin + 4 * k : begin + 4 * k + 4] = int(index).to_bytes(4, "little")
    return bytes(changed), int(graph.OutputsLength())
