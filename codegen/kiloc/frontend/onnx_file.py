"""ONNX protobufs as plain data: operators, initialisers, inputs and outputs, and which of them belong to the INT8 core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from ..errors import CompileError
from .build import QUANTIZE_HINT
from .limits import NAME_BYTES, PORTS, RANK, check_count, check_size

EXPORT_AGAIN = "export the model again"
DAMAGED = (
    DecodeError, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError, MemoryError,
    UnicodeDecodeError, NotImplementedError, onnx.checker.ValidationError,
)  # fmt: skip

CONSTANT_ELEMENTS = 1 << 25
"""Of a constant, which may be float."""
LAYOUT = {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"}
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "LSTM", "GRU", "RNN"}
_DOMAINS = {"", "ai.onnx"}
_ELEMENTS: dict[int, str] = {int(onnx.TensorProto.INT8): "int8", int(onnx.TensorProto.UINT8): "uint8", int(onnx.TensorProto.FLOAT): "float32"}


@dataclass
class Operator:
    """A node as the file has it; a missing optional input is ''."""

    index: int
    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(repr=False)

    @property
    def where(self) -> str:
        return f"node {self.index} {self.kind} '{(self.name or (self.outputs[0] if self.outputs else ''))[:NAME_BYTES]}'"

    def input(self, position: int) -> str:
        return self.inputs[position] if position < len(self.inputs) else ""

    def _attribute(self, name: str, default: Any, fits: Callable[[Any], bool]) -> Any:
        value = self.attributes.get(name, default)
        if value is not default and not fits(value):
            raise CompileError(self.where, f"attribute {name} is {value!r}", EXPORT_AGAIN)
        return value

    def int_of(self, name: str, default: int = 0) -> int:
        return int(self._attribute(name, default, lambda v: isinstance(v, int)))

    def float_of(self, name: str, default: float = 0.0) -> float:
        return float(self._attribute(name, default, lambda v: isinstance(v, int | float)))

    def text_of(self, name: str, default: str) -> str:
        value = self._attribute(name, default, lambda v: isinstance(v, bytes | str))
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def ints_of(self, name: str, default: list[int] | None = None) -> list[int] | None:
        value = self._attribute(name, default, lambda v: isinstance(v, list) and all(isinstance(i, int) for i in v))
        return None if value is None else [int(i) for i in value]

    def floats_of(self, name: str) -> list[float]:
        return list(self._attribute(name, [], lambda v: isinstance(v, list) and all(isinstance(i, int | float) for i in v)))


@dataclass
class Port:
    """An input or output of the model."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def where(self) -> str:
        return f"tensor '{self.name}'"

    def fixed_shape(self) -> tuple[int, ...]:
        """With a batch of 1."""
        if not self.shape:
            raise CompileError(self.where, "has no shape", "export the model with fixed shapes and a batch of 1")
        shape = [1 if i == 0 and isinstance(d, str) else d for i, d in enumerate(self.shape)]
        fixed = tuple(d for d in shape if isinstance(d, int) and d > 0)
        if len(fixed) != len(shape):
            dims = ", ".join(str(d) for d in self.shape)
            raise CompileError(self.where, f"dynamic shape ({dims})", "export the model with fixed shapes and a batch of 1")
        if fixed[0] != 1:
            raise CompileError(self.where, f"has a batch of {fixed[0]} (shape {fixed})", "export the model with a batch of 1")
        check_size(self.where, fixed)
        return fixed


class Model:
    """The file's graph. `operators` holds only what the INT8 core needs, in file order."""

    def __init__(self, data: bytes) -> None:
        try:
            proto = onnx.load_model_from_string(data)
            if not proto.graph.node and not proto.graph.output:
                raise ValueError("no graph")
            self.opset = max((o.version for o in proto.opset_import if text(o.domain) in _DOMAINS), default=1)
            self._initializers = {text(t.name): t for t in proto.graph.initializer}
            every = [_operator(i, n) for i, n in enumerate(proto.graph.node)]
            self.inputs = [_port(v) for v in proto.graph.input if text(v.name) not in self._initializers]
            outputs = [_port(v) for v in proto.graph.output]
        except DAMAGED as error:
            raise CompileError("the file", f"is no ONNX file, or damaged or truncated ({error})", "pass a .tflite or .onnx model") from None
        self.producer = {name: op for op in every for name in op.outputs if name}
        self.notes: list[str] = []
        _check_format(every)
        if not outputs:
            raise CompileError("the graph", "has no outputs", EXPORT_AGAIN)
        check_count("the graph", "inputs", len(self.inputs), PORTS)
        check_count("the graph", "outputs", len(outputs), PORTS)
        self._constants = self._computed_from_constants(every)
        self.outputs = [self._core_end(p) for p in outputs]
        self.operators = self._needed(every)
        self._consumers: dict[str, list[Operator]] = {}
        for op in self.operators:
            for name in dict.fromkeys(op.inputs):
                self._consumers.setdefault(name, []).append(op)
        for port in self.inputs:
            if port.name not in self._consumers and port.name not in self.outputs:
                raise CompileError(port.where, "no output depends on this input", "remove it from the model")

    def initializer(self, name: str) -> NDArray[Any] | None:
        tensor = self._initializers.get(name)
        return None if tensor is None else constant_data(tensor)

    def consumers(self, name: str) -> list[Operator]:
        return self._consumers.get(name, [])

    def _core_end(self, port: Port) -> str:
        """The last tensor of the INT8 core on the way to an output; what follows is noted and left to the caller."""
        if port.dtype in ("int8", "uint8"):
            return port.name
        end = name = port.name
        path: list[Operator] = []
        after = 0
        while (op := self.producer.get(name)) is not None and op.kind not in (DEQUANTIZE, QUANTIZE) and len(path) <= len(self.producer):
            path.append(op)
            if op.kind in _LAYERS:
                raise CompileError(op.where, "its result reaches the output without QuantizeLinear", QUANTIZE_HINT)
            if not op.inputs or not all(i in self._constants for i in op.inputs[1:] if i):
                raise CompileError(op.where, "computes in FLOAT32 on the way to the output", QUANTIZE_HINT)
            name = op.inputs[0]
            if op.kind not in LAYOUT:
                after, end = len(path), name
        if op is None or op.kind != DEQUANTIZE:
            raise CompileError(port.where, "the output is computed in FLOAT32", QUANTIZE_HINT)
        self.notes += [f"{op.kind} on FLOAT32 after the INT8 core is left to the caller" for op in reversed(path[:after])]
        return end

    def _computed_from_constants(self, every: list[Operator]) -> set[str]:
        found = set(self._initializers)
        for op in every:
            if all(i in found for i in op.inputs if i):
                found.update(op.outputs)
        return found

    def _needed(self, every: list[Operator]) -> list[Operator]:
        wanted, seen = list(self.outputs), set()
        while wanted:
            op = self.producer.get(wanted.pop())
            if op is not None and op.index not in seen:
                seen.add(op.index)
                wanted += [i for i in op.inputs if i]
        return [op for op in every if op.index in seen]


def _check_format(every: list[Operator]) -> None:
    if any(op.kind in (QUANTIZE, DEQUANTIZE) for op in every):
        return
    integer = next((op.kind for op in every if op.kind.startswith(("QLinear", "com.microsoft.QLinear", "com.microsoft.QGemm"))), None)
    if integer:
        raise CompileError("the graph", f"is in QOperator format ({integer})", "quantise it with quant_format=QuantFormat.QDQ")
    raise CompileError("the graph", "computes in FLOAT32: it has no QuantizeLinear and no DequantizeLinear", QUANTIZE_HINT)


def _operator(index: int, node: onnx.NodeProto) -> Operator:
    kind, domain = text(node.op_type), text(node.domain)
    if domain not in _DOMAINS and not (domain == "com.microsoft" and kind in (QUANTIZE, DEQUANTIZE)):
        kind = f"{domain}.{kind}"
    attributes = {text(a.name): onnx.helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    return Operator(index, kind, text(node.name), [text(i) for i in node.input], [text(o) for o in node.output], attributes)


def text(value: str | bytes) -> str:
    """A string of the file: protobuf hands over bytes where it is not UTF-8."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _port(value: onnx.ValueInfoProto) -> Port:
    t = value.type.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else text(d.dim_param) or "?" for d in t.shape.dim)
    return Port(text(value.name), _ELEMENTS.get(t.elem_type, f"type {t.elem_type}"), dims)


def constant_data(tensor: onnx.TensorProto) -> NDArray[Any]:
    where = f"tensor '{text(tensor.name)[:NAME_BYTES]}'"
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise CompileError(where, "its data is in another file", "save the model as one file: onnx.save(model, path, save_as_external_data=False)")
    count = 1
    for extent in tensor.dims:
        count *= max(extent, 1)
    if any(d < 0 for d in tensor.dims) or count > CONSTANT_ELEMENTS or len(tensor.dims) > RANK:
        raise CompileError(where, f"shape {tuple(tensor.dims)} is beyond any microcontroller", EXPORT_AGAIN)
    try:
        data = np.asarray(onnx.numpy_helper.to_array(tensor))
    except DAMAGED as error:
        raise CompileError(where, f"its data is damaged ({error})", "copy or export the model again") from None
    if data.dtype.kind not in "iufb" or data.shape != tuple(tensor.dims):
        raise CompileError(where, f"holds {data.dtype} of shape {data.shape}", "store weights as int8, and what else is constant as float32 or int64")
    return data
