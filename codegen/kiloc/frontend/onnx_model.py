"""The graph of an ONNX file: operators, constants, inputs and outputs, and which of them belong to the INT8 core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from ..errors import CompileError
from .build import QUANTIZE_HINT
from .limits import PORTS, RANK, check_count
from .onnx_ends import core_begin, core_end
from .onnx_file import DEQUANTIZE, QUANTIZE, STANDARD, Operator, Port, operator_of, port_of
from .onnx_qoperator import as_qdq
from .onnx_tensors import DAMAGED, EXPORT_AGAIN, Folder, constant_data, text

_DYNAMIC = {
    "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.MatMulIntegerToFloat",
    "com.microsoft.DynamicQuantizeLSTM", "com.microsoft.QAttention", "com.microsoft.MatMulNBits",
}  # fmt: skip
STATIC_HINT = "quantise with a calibration set instead: onnxruntime.quantization.quantize_static"


class Model:
    """The file's graph in QDQ form. `operators` holds only what the INT8 core needs, in file order."""

    def __init__(self, data: bytes, folder: Path | None = None) -> None:
        try:
            proto = onnx.load_model_from_string(data)
            if not proto.graph.node and not proto.graph.output:
                raise ValueError("no graph")
            self.opset = max((o.version for o in proto.opset_import if text(o.domain) in STANDARD), default=1)
            self._initializers = {text(t.name): t for t in proto.graph.initializer}
            every = [operator_of(i, n) for i, n in enumerate(proto.graph.node)]
            self.inputs = [port_of(v) for v in proto.graph.input if text(v.name) not in self._initializers]
            outputs = [port_of(v) for v in proto.graph.output]
            self._shapes = {port.name: port.shape for port in map(port_of, proto.graph.value_info)}
        except DAMAGED as error:
            raise CompileError("the file", f"is no ONNX file, or damaged or truncated ({error})", "pass a .tflite or .onnx model") from None
        self.folder = Folder(folder) if folder else None
        self.notes: list[str] = []
        every = as_qdq(every)
        _check_format(every)
        if not outputs:
            raise CompileError("the graph", "has no outputs", EXPORT_AGAIN)
        check_count("the graph", "inputs", len(self.inputs), PORTS)
        check_count("the graph", "outputs", len(outputs), PORTS)
        self.producer = {name: op for op in every for name in op.outputs if name}
        self.quantizers = {op.input(0): op for op in every if op.kind == QUANTIZE}
        """By what they take, those included whose results nothing reads: they tell scales."""
        self.constants = self._computed_from_constants(every)
        takers: dict[str, list[Operator]] = {}
        for op in every:
            for name in dict.fromkeys(op.inputs):
                takers.setdefault(name, []).append(op)
        self.inputs = [core_begin(port, takers, self.constants, self.notes) for port in self.inputs]
        self.refused: list[CompileError] = []
        """What stands in the way at the ends."""
        self.outputs = self._core_ends(outputs)
        self.operators = self._needed(every)
        self._consumers: dict[str, list[Operator]] = {}
        for op in self.operators:
            for name in dict.fromkeys(op.inputs):
                self._consumers.setdefault(name, []).append(op)
        for port in self.inputs:
            if port.name not in self._consumers and port.name not in self.outputs and not self.refused:
                raise CompileError(port.where, "no output depends on this input", "remove it from the model")

    def initializer(self, name: str) -> NDArray[Any] | None:
        tensor = self._initializers.get(name)
        return None if tensor is None else constant_data(tensor, self.folder)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """What the file says of a tensor's shape, with a batch of 1 where it is open; None where it says too little."""
        shape = [1 if i == 0 and isinstance(d, str) else d for i, d in enumerate(self._shapes.get(name, ()))]
        fixed = tuple(d for d in shape if isinstance(d, int) and d > 0)
        return fixed if fixed and len(fixed) == len(shape) <= RANK else None

    def _core_ends(self, outputs: list[Port]) -> list[str]:
        found: list[str] = []
        for port in outputs:
            try:
                found.append(core_end(port, self.producer, self.constants, self.notes))
            except CompileError as error:
                self.refused.append(error)
                found.append(port.name)
        return list(dict.fromkeys(found))

    def consumers(self, name: str) -> list[Operator]:
        return self._consumers.get(name, [])

    def _computed_from_constants(self, every: list[Operator]) -> set[str]:
        found = set(self._initializers)
        for op in every:
            if all(i in found for i in op.inputs if i):
                found.update(op.outputs)
        return found

    def _needed(self, every: list[Operator]) -> list[Operator]:
        wanted, seen, entries = list(self.outputs), set(), {port.name for port in self.inputs}
        while wanted:
            name = wanted.pop()
            op = None if name in entries else self.producer.get(name)
            if op is not None and id(op) not in seen:
                seen.add(id(op))
                wanted += [i for i in op.inputs if i]
        return [op for op in every if id(op) in seen]


def _check_format(every: list[Operator]) -> None:
    """Says what a file is that has no scales for its activations."""
    dynamic = next((op for op in every if op.kind in _DYNAMIC), None)
    if dynamic:
        raise CompileError(dynamic.where, "the scales of activations are computed at run time (dynamic quantisation)", STATIC_HINT)
    if any(op.kind in (QUANTIZE, DEQUANTIZE) for op in every):
        return
    learner = next((op for op in every if op.kind.startswith("ai.onnx.ml.")), None)
    if learner and not any(op.kind in ("MatMul", "Gemm", "Conv") for op in every):
        what = f"is no neural network: operator {learner.kind} of classical machine learning"
        raise CompileError(learner.where, what, "train a network and quantise it with onnxruntime.quantization.quantize_static")
    raise CompileError("the graph", "computes in FLOAT32: it has no QuantizeLinear and no DequantizeLinear", QUANTIZE_HINT)
