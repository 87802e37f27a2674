"""Embedding: a row of a constant table for each token, in .onnx files a Gather whose indices are an input of the model.

A token is a code of an int8 input with scale 1: its number is the code minus the zero point, which is 0 for up to 128 rows, else -128. The generated
functions refuse a sample with a token that has no row before they change anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...ir.binding import OnnxBinding
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import Quantization, TensorType

if TYPE_CHECKING:
    from ...export.onnx import OnnxWriter
    from ...ir.graph import Graph, Node, Value

LARGEST = 256
"""Rows of a table: what a code of 8 bits tells apart."""


def token_quantization(rows: int) -> Quantization:
    """Of an input whose codes are numbers of rows."""
    return Quantization((1.0,), 0 if rows <= LARGEST // 2 else -LARGEST // 2)


@register
@dataclass(frozen=True)
class Embedding(Op):
    """y[..., :] = table[x - z_x, :]. table: int8 [rows, depth] with the scale and zero point of y."""

    mnemonic: ClassVar[str] = "embedding"
    operands: ClassVar[tuple[str, ...]] = ("x", "table")
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(also=("Gather",))
    oracle: ClassVar[str] = "onnxruntime"
    no_gradient: ClassVar[str] = "a token has no neighbours that it could move to"

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        table = t.type("table")
        return (TensorType((*t.type("x").shape, table.shape[-1]), "int8", table.quantization),)

    def check(self, t: NodeTypes) -> str | None:
        table = t.type("table")
        if len(table.shape) != 2 or not 1 <= table.shape[0] <= LARGEST:
            return f"a table of {table.shape}; tables of up to {LARGEST} rows are supported"
        wanted = token_quantization(table.shape[0])
        if t.type("x").quantization != wanted:
            return f"tokens of {table.shape[0]} rows have scale 1 and zero point {wanted.zero_point}, not {t.type('x').quantization}"
        return None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (e.array("table")[e.wide("x") - e.type("x").zero_point],)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"count": t.type("x").size, "depth": t.type("table").shape[1], "offset": -t.type("x").zero_point}
        arguments = tuple(Argument(v) for v in (n.inputs["x"], n.inputs["table"], n.outputs[0]))
        return KernelCall("kt_embedding_s8", "kt_embedding_params", fields, arguments, source="kernels/layout/embedding.c")

    def write_onnx(self, w: OnnxWriter, node: Node) -> None:
        w.embedded(node)


def tokens_of(graph: Graph) -> dict[str, Value]:
    """Inputs whose codes are tokens -> the table that they choose rows of, the smallest where there are several."""
    found: dict[str, Value] = {}
    for node in graph.nodes:
        if isinstance(node.op, Embedding) and node.inputs["x"] in graph.inputs:
            table = graph.values[node.inputs["table"]]
            before = found.get(node.inputs["x"], table)
            found[node.inputs["x"]] = min(table, before, key=lambda v: v.type.shape[0])
    return found


def token_codes(graph: Graph, name: str) -> tuple[int, int] | None:
    """Lowest and highest code of an input's tokens; None where it holds none."""
    table = tokens_of(graph).get(name)
    zero = graph.type(name).zero_point
    return None if table is None else (zero, zero + table.type.shape[0] - 1)
