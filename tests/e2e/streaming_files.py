"""Streaming models as files: a window that slides over a signal, of which each call brings some rows."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest

schema = pytest.importorskip("tflite_micro.tensorflow.lite.micro.python.schema_py_generated")

ROWS, KEPT, CHANNELS, RESULTS = 2, 3, 4, 5


def edited(data: bytes, drop: int) -> bytes:
    """A file without so many of its last operators: it ends with what they read."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(data), 0))
    graph = model.subgraphs[0]
    graph.operators = graph.operators[: len(graph.operators) - drop]
    graph.outputs = [graph.operators[-1].outputs[0]]
    model.signatureDefs = []
    return packed(model)


def packed(model: Any) -> bytes:
    b = flatbuffers.Builder(1024)
    b.Finish(model.Pack(b), b"TFL3")
    return bytes(b.Output())


class File:
    """Collects a model of two subgraphs: what runs at every call, and what runs once."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version, self.model.buffers, self.model.operatorCodes, self.model.subgraphs = 3, [schema.BufferT()], [], []
        for _ in range(2):
            graph = schema.SubGraphT()
            graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
            self.model.subgraphs.append(graph)

    def tensor(self, shape: tuple[int, ...], dtype: str = "INT8", data: Any = None, scale: float = 0.05, zero: int = -3, subgraph: int = 0) -> int:
        t, graph = schema.TensorT(), self.model.subgraphs[subgraph]
        t.shape, t.type, t.buffer, t.name = list(shape), getattr(schema.TensorType, dtype), 0, f"t{len(graph.tensors)}"
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = list(np.ascontiguousarray(data).tobytes())
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if dtype == "INT8":
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale, t.quantization.zeroPoint = [scale], [zero]
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    def op(self, kind: str, inputs: list[int], outputs: list[int], options: str = "", subgraph: int = 0, **fields: Any) -> None:
        code, op = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        self.model.operatorCodes.append(code)
        op.opcodeIndex, op.inputs, op.outputs = len(self.model.operatorCodes) - 1, inputs, outputs
        if options:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            op.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                setattr(op.builtinOptions, name, value)
        self.model.subgraphs[subgraph].operators.append(op)

    def variable(self, name: str, first: Any) -> int:
        """A variable that starts from these values; the number of its handle."""
        handle, once, value = self.tensor((), "RESOURCE"), self.tensor((), "RESOURCE", subgraph=1), self.tensor(first.shape, data=first, subgraph=1)
        self.op("VAR_HANDLE", [], [handle], "VarHandleOptions", sharedName=name, container="")
        self.op("VAR_HANDLE", [], [once], "VarHandleOptions", 1, sharedName=name, container="")
        self.op("ASSIGN_VARIABLE", [once, value], [], "AssignVariableOptions", 1)
        return handle

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = self.model.subgraphs[0]
        graph.inputs, graph.outputs = inputs, outputs
        once = next((op for op in graph.operators if op.inputs == [] and op.outputs == []), None)
        if once is not None:  # runs in front of all others
            graph.operators.remove(once)
            graph.operators.insert(0, once)
        return packed(self.model)


def window_file(shape: str = "concat first", once: bool = True) -> bytes:
    """A layer over the last KEPT + ROWS rows of a signal. shape: "concat first" cuts what is kept from the window, "slice first" keeps the window
    whole and cuts it in the next call, "read again" reads what was assigned in the same call, "reshaped" and "given back" use what was kept as it is.
    """
    rng, f = np.random.default_rng(0), File()
    x = f.tensor((1, ROWS, CHANNELS))
    held = KEPT + ROWS if shape == "slice first" else KEPT
    handle = f.variable("rows", rng.integers(-128, 128, (1, held, CHANNELS)).astype(np.int8))
    if once:
        f.op("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
    kept, window = f.tensor((1, held, CHANNELS)), f.tensor((1, KEPT + ROWS, CHANNELS))
    f.op("READ_VARIABLE", [handle], [kept], "ReadVariableOptions")
    numbers = [f.tensor((3,), "INT32", np.array(v, np.int32)) for v in ([0, -KEPT, 0], [0, 0, 0], [1, 1, 1])]
    old = kept
    if shape == "slice first":
        old = f.tensor((1, KEPT, CHANNELS))
        f.op("STRIDED_SLICE", [kept, *numbers], [old], "StridedSliceOptions", endMask=7)
    f.op("CONCATENATION", [old, x], [window], "ConcatenationOptions", axis=1)
    new = window
    if shape != "slice first":
        new = f.tensor((1, KEPT, CHANNELS))
        f.op("STRIDED_SLICE", [window, *numbers], [new], "StridedSliceOptions", endMask=7)
    f.op("ASSIGN_VARIABLE", [handle, new], [], "AssignVariableOptions")
    source, count = window, KEPT + ROWS
    if shape in ("read again", "reshaped"):
        source, count = kept, KEPT
    if shape == "read again":
        source = f.tensor((1, KEPT, CHANNELS))
        f.op("READ_VARIABLE", [handle], [source], "ReadVariableOptions")
    size = count * CHANNELS
    flat, wanted = f.tensor((1, size)), f.tensor((2,), "INT32", np.array([1, size], np.int32))
    f.op("RESHAPE", [source, wanted], [flat], "ReshapeOptions")
    weights = f.tensor((RESULTS, size), data=rng.integers(-127, 128, (RESULTS, size)).astype(np.int8), scale=0.01, zero=0)
    bias = f.tensor((RESULTS,), "INT32", rng.integers(-500, 500, RESULTS).astype(np.int32))
    y = f.tensor((1, RESULTS), scale=0.2)
    f.op("FULLY_CONNECTED", [flat, weights, bias], [y], "FullyConnectedOptions")
    return f.finish([x], [y, kept] if shape == "given back" else [y])
