"""What both front ends share: collecting values and nodes, and refusing what no graph may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node, Value
from ..ir.operator import Op
from ..ir.types import RANGES, Quantization, TensorType
from ..ops.model.requantize import Requantize
from ..plain_text import printable
from .limits import ALL_ELEMENTS, OPERATORS, check_count, check_size
from .refusals import Refusals

QUANTIZE_HINT = (
    "quantise the float model to full INT8: `kilotune quantize MODEL --data SAMPLES -o FILE`; or TFLiteConverter with a "
    "representative_dataset, supported_ops = [TFLITE_BUILTINS_INT8], inference_input_type = inference_output_type = tf.int8; "
    "or onnxruntime.quantization.quantize_static(quant_format=QDQ)"
)
SMALLEST_SCALE = float(np.finfo(np.float32).smallest_normal)
"""Cores that flush subnormal numbers to zero would compute with another scale than the host."""


def checked_scales(where: str, scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales as float32 values in float64, refused where one is not a positive normal number."""
    if scales.size == 0:
        raise CompileError(where, "the tensor has no quantisation parameters", QUANTIZE_HINT)
    wrong = np.flatnonzero(~(np.isfinite(scales) & (scales > 0)))
    if wrong.size:
        what = f"scale {scales[wrong[0]]} (number {wrong[0]}) is not a positive finite number"
        raise CompileError(where, what, "export the model again")
    if scales.min() < SMALLEST_SCALE:
        what = f"scale {scales.min()} (number {scales.argmin()}) is subnormal: below {SMALLEST_SCALE:.3g}, which not every core can hold"
        raise CompileError(where, what, "calibrate with data that reaches every channel, and export the model again")
    return scales


def checked_quantization(
    where: str, scales: NDArray[np.float64], zero_points: NDArray[np.int64], axis: int | None, dtype: str = "int8"
) -> Quantization:
    """Quantisation parameters of a tensor of an element type, refused where arithmetic on them would be meaningless."""
    checked_scales(where, scales)
    points = np.unique(zero_points) if zero_points.size else np.zeros(1, np.int64)
    if points.size > 1:
        raise CompileError(where, "zero points differ between channels", "export with symmetric per-channel weights")
    low, high = RANGES[dtype]
    if not low <= int(points[0]) <= high:
        raise CompileError(where, f"zero point {int(points[0])} is outside {dtype}", "export the model again")
    if dtype == "int32" and points[0] != 0:
        raise CompileError(where, f"int32 with zero point {int(points[0])}", "export the model again")
    return Quantization(tuple(float(s) for s in scales), int(points[0]), axis if scales.size > 1 else None)


@dataclass
class GraphBuilder:
    """Collects a graph in execution order, with unique names. What the file calls things is kept as text that a terminal can show."""

    name: str
    origin: str
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refusals: Refusals = field(default_factory=Refusals)
    """What stands in the way; `finish` raises it."""
    _taken: dict[str, int] = field(default_factory=dict)
    """The number that a name last got."""
    _elements: dict[str, int] = field(default_factory=dict)

    def unique(self, base: str) -> str:
        name, count = base, self._taken.get(base, 1)
        while name in self.values:
            count += 1
            name = f"{base}_{count}"
        self._taken[base] = count
        return name

    def input(self, type_: TensorType, origin: str) -> str:
        name = "input" if not self.inputs else f"input_{len(self.inputs) + 1}"
        self._add(Value(name, type_, "input", None, printable(origin)))
        self.inputs.append(name)
        return name

    def constant(self, name: str, data: NDArray[np.generic], quantization: Quantization | None, origin: str) -> str:
        type_ = TensorType(tuple(int(d) for d in data.shape), str(data.dtype), quantization)
        self._add(Value(name, type_, "constant", np.ascontiguousarray(data), printable(origin)))
        return name

    def stream(self, name: str, type_: TensorType, data: NDArray[np.generic], origin: str) -> str:
        """A value that is kept from call to call, and what it holds at first."""
        name = self.unique(name)
        self._add(Value(name, type_, "stream", np.ascontiguousarray(data), printable(origin)))
        return name

    def node(self, name: str, op: Op, inputs: dict[str, str], result: TensorType, origin: str) -> str:
        """Add a node with one activation as its result, which takes the node's name."""
        self._add(Value(name, result, "activation", None, printable(origin)))
        kept = tuple(inputs[operand] for operand in op.kept if operand in inputs)
        self.nodes.append(Node(name, op, inputs, (name,), kept, origin=printable(origin)))
        check_count("the graph", "operators", len(self.nodes), OPERATORS)
        return name

    def stand_in(self, type_: TensorType, origin: str) -> str:
        """A value for what was refused, so that reading goes on behind it: there will be no graph."""
        name = self.unique("refused")
        self._add(Value(name, type_, "activation", None, printable(origin)))
        return name

    def _add(self, value: Value) -> None:
        check_size(value.origin or value.name, value.type.shape)
        kind = "constants" if value.kind == "constant" else "activations"
        self._elements[kind] = self._elements.get(kind, 0) + value.type.size
        check_count("the graph", f"elements of {kind}", self._elements[kind], ALL_ELEMENTS)
        self.values[value.name] = value

    def _apart(self, outputs: list[str]) -> list[str]:
        """Outputs with bytes of their own: one that is an input, or another output, under whatever shape, is copied."""
        producers = {node.outputs[0]: node for node in self.nodes if node.op.view}
        taken, found = set(self.inputs), []
        for name in outputs:
            root = name
            while root in producers:
                root = producers[root].inputs["x"]
            if root in taken:
                value = self.values[name]
                name = self.node(self.unique("copy"), Requantize(), {"x": name}, value.type, value.origin)
            taken.add(root)
            found.append(name)
        return found

    def finish(self, outputs: list[str]) -> Graph:
        """The graph. Raises ModelError with all refusals, where there are some."""
        self.refusals.check(self.origin)
        outputs = self._apart(outputs)
        notes = tuple(map(printable, self.notes))
        return Graph(self.name, self.values, tuple(self.nodes), tuple(self.inputs), tuple(outputs), origin=printable(self.origin), notes=notes)
