"""TensorFlow Lite flatbuffers as plain data: tensors, operators with their options, inputs and outputs of the graph.

Everything is read here, and only here: what a damaged file does to the accessors of the flatbuffer ends in a CompileError
of this module, so an exception of any other is our own mistake.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.operator import reads_tflite
from ..plain_text import printable
from .limits import NAME_BYTES, PORTS, RANK, check_count

_OPERATORS = {v: k for k, v in vars(tflite.BuiltinOperator).items() if not k.startswith("_")}
_TYPES = {v: k for k, v in vars(tflite.TensorType).items() if not k.startswith("_")}
_DTYPES = {
    "INT8": np.int8, "UINT8": np.uint8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FLOAT32": np.float32, "BOOL": np.bool_,
}  # fmt: skip
_OF_CONSTANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "PACK": ("PackOptions", ("Axis",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis",)),
    "GATHER": ("GatherOptions", ("Axis", "BatchDims")),
    "STRIDED_SLICE": ("StridedSliceOptions", ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask")),
    **dict.fromkeys(("REDUCE_PROD", "SUM", "REDUCE_MAX", "REDUCE_MIN"), ("ReducerOptions", ("KeepDims",))),
}
"""Options that `tflite_constants.fold` reads: the table of the schema, and its fields."""
_DAMAGED = (struct.error, IndexError, ValueError, TypeError, OverflowError)
"""What the accessors raise on offsets that lead nowhere."""


@dataclass
class Tensor:
    """A tensor as the file has it; `data` where it is constant. Constants of 4 bits are unpacked: they are INT8 here."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: NDArray[np.float64]
    zero_points: NDArray[np.int64]
    axis: int
    data: NDArray[Any] | None
    variable: bool = False
    """Kept from call to call."""

    @property
    def where(self) -> str:
        return f"tensor {self.index} '{printable(self.name)}'"


@dataclass
class Operator:
    """An operator as the file has it; a missing optional input is None. options: the fields of its binding, None where the file has none."""

    index: int
    kind: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: Mapping[str, Any] | None

    @property
    def where(self) -> str:
        name = self.outputs[0].name if self.outputs else ""
        return f"operator {self.index} {printable(self.kind)} '{printable(name)}'"

    def input(self, position: int) -> Tensor | None:
        return self.inputs[position] if position < len(self.inputs) else None


@dataclass
class File:
    """The first subgraph of a model. once: the operators of subgraphs that run once, before the first inference."""

    operators: list[Operator]
    inputs: list[Tensor]
    outputs: list[Tensor]
    once: list[Operator]


def read(data: bytes, origin: str) -> File:
    """Raises CompileError for what is no flatbuffer of this kind, or a damaged one."""
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise CompileError(origin, "not a TensorFlow Lite file (its identifier 'TFL3' is missing)", "pass a .tflite or .onnx model")
    try:
        reader = _Reader(data)
        operators = reader.operators()
        return File(operators, reader.tensors("Inputs"), reader.tensors("Outputs"), _once(data, operators))
    except _DAMAGED as error:
        raise CompileError(origin, f"the file is damaged or truncated ({error})", "copy or export the model again") from None


def _once(data: bytes, operators: list[Operator]) -> list[Operator]:
    """The operators of the subgraph that CALL_ONCE names; a second one is named in vain."""
    named = [op.options["InitSubgraphIndex"] for op in operators if op.kind == "CALL_ONCE" and op.options is not None]
    return _Reader(data, int(named[0])).operators() if named else []


class _Reader:
    """Flatbuffer accessors with bounds that a damaged file cannot talk its way around."""

    def __init__(self, data: bytes, subgraph: int = 0) -> None:
        self._left = 8 * len(data)
        self._bound = reads_tflite()
        self.model = tflite.Model.GetRootAsModel(data, 0)
        if not 0 <= subgraph < self.model.SubgraphsLength():
            raise ValueError(f"no subgraph {subgraph}")
        self.graph = self.model.Subgraphs(subgraph)
        self._count = self._bounded(self.graph.TensorsLength())
        self._tensors: dict[int, Tensor] = {}
        self._buffers: dict[int, bytes] = {}

    def _bounded(self, length: int) -> int:
        """The length of a vector. All that are read are together no longer than a few times the file: else they lie over each other."""
        self._left -= max(length, 0)
        if length < 0 or self._left < 0:
            raise ValueError(f"a vector of {length} entries that is longer than the file, or vectors that lie over each other")
        return length

    def tensors(self, which: str) -> list[Tensor]:
        length = self._bounded(getattr(self.graph, f"{which}Length")())
        check_count("the graph", which.lower(), length, PORTS)
        return [self.tensor(getattr(self.graph, which)(i)) for i in range(length)]

    def tensor(self, index: int) -> Tensor:
        index = int(index)
        if index not in self._tensors:
            if not 0 <= index < self._count:
                raise ValueError(f"tensor {index} does not exist")
            self._tensors[index] = self._read(index)
        return self._tensors[index]

    def _read(self, index: int) -> Tensor:
        t = self.graph.Tensors(index)
        rank = self._bounded(t.ShapeLength())
        if rank > RANK:
            raise ValueError(f"tensor {index} has {rank} axes")
        shape = tuple(int(t.Shape(i)) for i in range(rank))
        q = t.Quantization()
        scales, points, axis = np.zeros(0), np.zeros(0, np.int64), 0
        if q is not None:
            scales = np.array([q.Scale(i) for i in range(self._bounded(q.ScaleLength()))], np.float64)
            points = np.array([q.ZeroPoint(i) for i in range(self._bounded(q.ZeroPointLength()))], np.int64)
            axis = int(q.QuantizedDimension())
        dtype = _TYPES.get(t.Type(), f"type {t.Type()}")
        data = self._data(t, shape, dtype, index)
        kept = "INT8" if dtype == "INT4" and data is not None else dtype
        return Tensor(index, self._text(t.Name()), shape, kept, scales, points, axis, data, bool(t.IsVariable()))

    def _text(self, name: bytes | None) -> str:
        data = name or b""
        self._bounded(len(data))
        return data[:NAME_BYTES].decode("utf-8", "replace")

    def _data(self, t: Any, shape: tuple[int, ...], dtype: str, index: int) -> NDArray[Any] | None:
        data = self._buffer(t.Buffer())
        if not data or (dtype not in _DTYPES and dtype != "INT4"):
            return None
        count = prod(shape)
        if dtype == "INT4":
            return _of_four_bits(data, count, index).reshape(shape)
        if count * np.dtype(_DTYPES[dtype]).itemsize != len(data):
            raise ValueError(f"tensor {index} has {len(data)} bytes of data for shape {shape}")
        return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            if not 0 <= index < self.model.BuffersLength():
                raise ValueError(f"buffer {index} does not exist")
            buffer = self.model.Buffers(index)
            length = self._bounded(buffer.DataLength())
            data = buffer.DataAsNumpy().tobytes() if length else b""
            if len(data) != length:
                raise ValueError(f"buffer {index} is shorter than its {length} bytes")
            self._buffers[index] = data
        return self._buffers[index]

    def operators(self) -> list[Operator]:
        return [self._operator(i) for i in range(self._bounded(self.graph.OperatorsLength()))]

    def _operator(self, index: int) -> Operator:
        op = self.graph.Operators(index)
        if not 0 <= op.OpcodeIndex() < self.model.OperatorCodesLength():
            raise ValueError(f"operator {index} has no operator code")
        code = self.model.OperatorCodes(op.OpcodeIndex())
        kind = _OPERATORS.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "UNKNOWN")
        if kind == "CUSTOM":
            kind = f"CUSTOM:{self._text(code.CustomCode())}"
        inputs = [int(op.Inputs(i)) for i in range(self._bounded(op.InputsLength()))]
        outputs = [int(op.Outputs(i)) for i in range(self._bounded(op.OutputsLength()))]
        tensors = [None if i < 0 else self.tensor(i) for i in inputs]
        return Operator(index, kind, tensors, [self.tensor(i) for i in outputs], self._options(op, kind))

    def _options(self, op: Any, kind: str) -> Mapping[str, Any] | None:
        table = op.BuiltinOptions()
        cls = self._bound.get(kind)
        name, fields = cls.tflite.options(kind) if cls is not None and cls.tflite is not None else ("", ())
        if kind in _OF_CONSTANTS:
            name, fields = _OF_CONSTANTS[kind][0], tuple(dict.fromkeys((*fields, *_OF_CONSTANTS[kind][1])))
        if table is None or not fields:
            return None
        options = getattr(tflite, name)()
        options.Init(table.Bytes, table.Pos)
        return {field: getattr(options, field)() for field in fields}


def _of_four_bits(data: bytes, count: int, index: int) -> NDArray[np.int8]:
    """Two values a byte, the first in the lower half, as int8."""
    if count < 0 or (count + 1) // 2 != len(data):
        raise ValueError(f"tensor {index} has {len(data)} bytes of data for {count} values of 4 bits")
    pairs = np.frombuffer(data, np.int8)
    return np.stack([(pairs << 4) >> 4, pairs >> 4], 1).ravel()[:count]
