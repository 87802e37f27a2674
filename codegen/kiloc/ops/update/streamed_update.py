"""SGD without momentum on one sample, where the gradient is cheaper to compute again than to keep.

For one position a weight's gradient is the outer product of g and x, a bias's gradient is g. These nodes are the gradient, the
optimizer and the storage step of a parameter in one, bit for bit, without the float32 buffer between them. For more positions they have one for
some rows of the parameter at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir.kernel_call import Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .._sums import Image
from .._window import Window
from ..backward.parameter_gradient import BiasGradient, ParameterGradient, WeightGradient
from ._update import Update, pointers
from .optimizer import SGD
from .storage_step import StepBlock16, StepInt32, StorageStep


@dataclass(frozen=True)
class StreamedUpdate(Update):
    """Base: the three parts, composed. clip, decay: of `SGD` and `StorageStep`."""

    stored: ClassVar[Mapping[str, str]] = {}
    """What the storage step changes: its operand -> ours."""

    clip: float = 1.0
    decay: float = 0.0

    def gradient_part(self, t: NodeTypes) -> ParameterGradient:
        raise NotImplementedError

    def storage_part(self) -> StorageStep:
        raise NotImplementedError

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        shape = e.type("value").shape
        own = {o: o for o in e.operands}
        gradient = _part(e, self.gradient_part(e), own, np.zeros(shape, np.float32))["accumulator"]
        step = _part(e, SGD(self.clip), own, gradient)["accumulator"]
        rate = {"learning_rate": "learning_rate"} if self.decay else {}
        moved = _part(e, self.storage_part(), {**self.stored, **rate}, step)
        return {ours: moved[theirs] for theirs, ours in self.stored.items()}

    def fields(self, t: NodeTypes, rows: int) -> dict[str, Field]:
        quantization = t.type("x").quantization if t.has("x") else None
        return {
            "rows": rows,
            "columns": t.type("value").size // rows,
            "input_offset": -quantization.zero_point if quantization else 0,
            "scale": self.gradient_part(t).scale(t),
            "clip": self.clip,
            "decay": self.decay,
        }


def _part(e: Environment, op: Op, names: Mapping[str, str], accumulator: Array) -> dict[str, Array]:
    """One part on the operands that it knows (its name -> ours) and the accumulator that stands between the parts."""
    known = {o: names[o] for o in (*op.operands, *op.optional) if o in names}
    types = {o: e.type(v) for o, v in known.items()} | {"accumulator": TensorType(accumulator.shape, "float32")}
    return op.evaluate_update(Environment(types, (), {o: e.array(v) for o, v in known.items()} | {"accumulator": accumulator}))


@register
@dataclass(frozen=True)
class StreamedBias(StreamedUpdate):
    """Gradient, SGD and storage step of an int32 bias in one pass, without a gradient in memory; unit: that of `StepInt32`."""

    mnemonic: ClassVar[str] = "streamed_bias"
    operands: ClassVar[tuple[str, ...]] = ("g", "exponent", "value", "count", "learning_rate")
    stored: ClassVar[Mapping[str, str]] = {"value": "value"}

    unit: tuple[float, ...] = ()

    def gradient_part(self, t: NodeTypes) -> ParameterGradient:
        return BiasGradient()

    def storage_part(self) -> StorageStep:
        return StepInt32(self.unit, decay=self.decay)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields = {**self.fields(t, t.type("g").size), "unit": Table("unit", "float", np.array(self.unit, np.float32))}
        return KernelCall("kt_streamed_bias", "kt_streamed_params", fields, pointers(n, *self.operands), source="optim/streamed.c")


@register
@dataclass(frozen=True)
class StreamedWeights(StreamedUpdate):
    """The same for 16-bit weights [rows, ...] of one position, whose gradient is an outer product; gradient_unit, rows: `unit` and rows of
    `WeightGradient`."""

    mnemonic: ClassVar[str] = "streamed_weights"
    operands: ClassVar[tuple[str, ...]] = (
        "g", "x", "exponent", "value", "value_exponent", "remainder", "count", "learning_rate",
    )  # fmt: skip
    optional: ClassVar[tuple[str, ...]] = ("exponent_offset", "rows")
    stored: ClassVar[Mapping[str, str]] = {
        "value": "value", "exponent": "value_exponent", "remainder": "remainder",
    }  # fmt: skip

    gradient_unit: float = 1.0

    def gradient_part(self, t: NodeTypes) -> ParameterGradient:
        columns = t.type("value").size // self.trained(t)
        return WeightGradient(Window((1, 1)), (1, 1, columns), (1, 1, t.type("g").size), self.gradient_unit)

    def trained(self, t: NodeTypes) -> int:
        """Rows of the weights."""
        return t.type("value").shape[0] if t.has("rows") else t.type("g").size

    def storage_part(self) -> StorageStep:
        return StepBlock16(decay=self.decay)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        order = ("g", "x", "exponent", "exponent_offset", "value", "value_exponent", "remainder", "count", "learning_rate")
        fields: dict[str, Field] = {**self.fields(t, self.trained(t)), "unit": "NULL"}
        if not t.has("rows"):
            return KernelCall("kt_streamed_weights", "kt_streamed_params", fields, pointers(n, *order), source="optim/streamed.c")
        arguments = (*pointers(n, "g", "rows", *order[1:]), Scratch())
        named: dict[str, Field] = {"streamed": fields, "channels": t.type("g").size}
        source, needs = "optim/streamed_channels.c", ("optim/streamed.c",)
        return KernelCall("kt_streamed_channels", "kt_streamed_channels_params", named, arguments, self.trained(t), source, needs)


@register
@dataclass(frozen=True)
class StreamedRows(StreamedWeights):
    """The same for weights [rows, ...] of a layer of more positions; part: rows whose gradient stands in scratch at a time."""

    mnemonic: ClassVar[str] = "streamed_rows"

    window: Window = Window((1, 1))
    x_image: Image = (1, 1, 1)
    y_image: Image = (1, 1, 1)
    part: int = 1

    def gradient_part(self, t: NodeTypes) -> WeightGradient:
        return WeightGradient(self.window, self.x_image, self.y_image, self.gradient_unit)

    def macs(self, t: NodeTypes) -> int:
        return (3 if self.clip > 0 else 2) * self.y_image[0] * self.y_image[1] * t.type("value").size

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        order = ("g", "x", "exponent", "exponent_offset", "value", "value_exponent", "remainder", "count", "learning_rate")
        rows = self.y_image[2]
        usual = self.fields(t, rows)
        call = self.gradient_part(t).kernel_call(t, Names({**n.inputs, "accumulator": ""}, ()))
        fields: dict[str, Field] = {"gradient": call.fields, **{f: usual[f] for f in ("rows", "columns", "clip", "decay")}, "part": self.part}
        scratch = 4 * self.part * (t.type("value").size // rows) + 2 * rows
        source, needs = "optim/streamed_rows.c", (call.source,)
        arguments = (*pointers(n, *order), Scratch())
        return KernelCall("kt_streamed_rows", "kt_streamed_rows_params", fields, arguments, scratch, source, needs, call.unreached)
