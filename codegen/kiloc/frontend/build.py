"""What both front ends share: collecting values and nodes, and refusing what no graph may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node, Value
from ..ir.operator import Op
from ..ir.types import Quantization, TensorType

QUANTIZE_HINT = (
    "quantise it to full INT8 first: TFLiteConverter with a representative_dataset, supported_ops = [TFLITE_BUILTINS_INT8], "
    "inference_input_type = inference_output_type = tf.int8; or onnxruntime.quantization.quantize_static(quant_format=QDQ)"
)


def checked_quantization(where: str, scales: NDArray[np.float64], zero_points: NDArray[np.int64], axis: int | None) -> Quantization:
    """Quantisation parameters, refused where arithmetic on them would be meaningless."""
    if scales.size == 0:
        raise CompileError(where, "the tensor has no quantisation parameters", QUANTIZE_HINT)
    if not np.all(np.isfinite(scales)) or np.any(scales <= 0):
        bad = int(np.flatnonzero(~(np.isfinite(scales) & (scales > 0)))[0])
        raise CompileError(where, f"scale {scales[bad]} (number {bad}) is not a positive finite number", "export the model again")
    points = np.unique(zero_points) if zero_points.size else np.zeros(1, np.int64)
    if points.size > 1:
        raise CompileError(where, "zero points differ between channels", "export with symmetric per-channel weights")
    if not -128 <= int(points[0]) <= 127:
        raise CompileError(where, f"zero point {int(points[0])} is outside int8", "export the model again")
    return Quantization(tuple(float(s) for s in scales), int(points[0]), axis if scales.size > 1 else None)


@dataclass
class GraphBuilder:
    """Collects a graph in execution order, with unique names."""

    name: str
    origin: str
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def unique(self, base: str) -> str:
        taken = {n.name for n in self.nodes} | set(self.values)
        name, count = base, 2
        while name in taken:
            name, count = f"{base}_{count}", count + 1
        return name

    def input(self, type_: TensorType, origin: str) -> str:
        name = "input" if not self.inputs else f"input_{len(self.inputs) + 1}"
        self.values[name] = Value(name, type_, "input", None, origin)
        self.inputs.append(name)
        return name

    def constant(self, name: str, data: NDArray[np.generic], quantization: Quantization | None, origin: str) -> str:
        type_ = TensorType(tuple(int(d) for d in data.shape), str(data.dtype), quantization)
        self.values[name] = Value(name, type_, "constant", np.ascontiguousarray(data), origin)
        return name

    def node(self, name: str, op: Op, inputs: dict[str, str], result: TensorType, origin: str) -> str:
        """Add a node with one activation as its result, which takes the node's name."""
        self.values[name] = Value(name, result, "activation", None, origin)
        self.nodes.append(Node(name, op, inputs, (name,), origin=origin))
        return name

    def finish(self, outputs: list[str]) -> Graph:
        return Graph(
            self.name, self.values, tuple(self.nodes), tuple(self.inputs), tuple(outputs), origin=self.origin, notes=tuple(self.notes)
        )
