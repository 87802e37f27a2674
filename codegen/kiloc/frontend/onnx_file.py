"""Operators, inputs and outputs of an ONNX file as plain data."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import onnx

from ..errors import CompileError
from .limits import NAME_BYTES, check_size
from .onnx_tensors import EXPORT_AGAIN, text

LAYOUT = {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"}
MOVES = {"MaxPool", "GlobalMaxPool", "Split", "Slice", "Gather", "Resize"}
"""What takes some of the codes of a tensor as they are."""
RECURRENT = {"LSTM", "GRU"}
TAKE_INT16 = {"Add", "LayerNormalization", "Mul", "Sub"}
"""What has a form for activations of int16."""
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
STANDARD, MICROSOFT = ("", "ai.onnx"), "com.microsoft"
UNNAMED = "?"
"""A dimension that the file leaves open without a name."""
_ELEMENTS: dict[int, str] = {
    int(onnx.TensorProto.INT8): "int8", int(onnx.TensorProto.UINT8): "uint8", int(onnx.TensorProto.FLOAT): "float32",
    int(onnx.TensorProto.INT32): "int32", int(onnx.TensorProto.INT64): "int64",
}  # fmt: skip


@dataclass
class Operator:
    """A node as the file has it; a missing optional input is ''.

    kind: with the domain in front where it is no standard one. written: the file's kind, where this operator stands for a part of another.
    """

    index: int
    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(repr=False)
    written: str = ""

    @property
    def where(self) -> str:
        return f"node {self.index} {self.written or self.kind} '{(self.name or (self.outputs[0] if self.outputs else ''))[:NAME_BYTES]}'"

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

    def fixed_shape(self, batch: int = 0) -> tuple[int, ...]:
        """With a batch of 1, where the file leaves it open. batch: its axis."""
        if not self.shape:
            raise CompileError(self.where, "has no shape", "export the model with fixed shapes and a batch of 1")
        shape = [1 if i == batch and not _is_fixed(d) else d for i, d in enumerate(self.shape)]
        fixed = tuple(d for d in shape if isinstance(d, int) and d > 0)
        if len(fixed) != len(shape):
            raise CompileError(self.where, f"dynamic shape ({', '.join(str(d) for d in self.shape)})", self._fix(shape))
        if fixed[batch] != 1:
            raise CompileError(
                self.where, f"has a batch of {fixed[batch]} (shape {fixed})", "export the model with a batch of 1, or with one that is open"
            )
        check_size(self.where, fixed)
        return fixed

    def _fix(self, shape: list[int | str]) -> str:
        """The command that gives the input a shape. SIZE is for the user to replace."""
        command = "python -m onnxruntime.tools.make_dynamic_shape_fixed"
        sizes = [str(d) if _is_fixed(d) else "SIZE" for d in shape]
        named = {d for d in shape if isinstance(d, str)}
        if len(named) == 1 and UNNAMED not in named and all(isinstance(d, str) or d > 0 for d in shape):
            return f"{command} --dim_param {shlex.quote(named.pop())} --dim_value SIZE model.onnx fixed.onnx, with a number for SIZE"
        return f"{command} --input_name {shlex.quote(self.name)} --input_shape {','.join(sizes)} model.onnx fixed.onnx, with numbers for SIZE"


def _is_fixed(extent: int | str) -> bool:
    return isinstance(extent, int) and extent > 0


def operator_of(index: int, node: onnx.NodeProto) -> Operator:
    kind, domain = text(node.op_type), text(node.domain)
    if domain not in STANDARD and not (domain == MICROSOFT and kind in (QUANTIZE, DEQUANTIZE)):
        kind = f"{domain}.{kind}"
    attributes = {text(a.name): onnx.helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    return Operator(index, kind, text(node.name), [text(i) for i in node.input], [text(o) for o in node.output], attributes)


def port_of(value: onnx.ValueInfoProto) -> Port:
    t = value.type.tensor_type
    dims = tuple(d.dim_value if d.HasField("dim_value") else text(d.dim_param) or UNNAMED for d in t.shape.dim)
    return Port(text(value.name), _ELEMENTS.get(t.elem_type, f"type {t.elem_type}"), dims)
