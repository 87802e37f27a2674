"""QOperator form to QDQ form: QLinearConv and its like are Conv and its like between DequantizeLinear and QuantizeLinear.

What runtimes compute for both forms is the same up to the rounding of the last bit of float32, and the graph has its own
rounding anyway: so the rest of the front end knows QDQ form alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import CompileError
from .onnx_file import DEQUANTIZE, MICROSOFT, QUANTIZE, Operator
from .onnx_tensors import EXPORT_AGAIN

TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class _Expansion:
    """The operators that one operator of the file becomes."""

    def __init__(self, op: Operator, taken: set[str]) -> None:
        self.op, self.taken = op, taken
        self.found: list[Operator] = []

    def emit(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        name = output or self._fresh(kind)
        self.found.append(Operator(self.op.index, kind, self.op.name, list(inputs), [name], attributes, self.op.kind))
        return name

    def _fresh(self, kind: str) -> str:
        count = len(self.found)
        while (name := f"{self.op.outputs[0]}/{kind}_{count}") in self.taken:
            count += 1
        self.taken.add(name)
        return name

    def real(self, position: int, **attributes: Any) -> str:
        """An input with its scale and zero point, dequantised."""
        return self.emit(DEQUANTIZE, [self.op.input(position + i) for i in range(3)], **attributes)

    def result(self, kind: str, inputs: Sequence[str], scale: int, **attributes: Any) -> None:
        """What the operator computes, quantised; scale: where its scale and zero point stand among the inputs."""
        kept = {k: v for k, v in self.op.attributes.items() if k != "channels_last"} | attributes
        last = kind in ("AveragePool", "GlobalAveragePool") and self.op.int_of("channels_last") != 0
        if last:
            inputs = [self.emit("Transpose", [inputs[0]], perm=TO_FIRST), *inputs[1:]]
        real = self.emit(kind, inputs, **kept)
        if last:
            real = self.emit("Transpose", [real], perm=TO_LAST)
        self.emit(QUANTIZE, [real, self.op.input(scale), self.op.input(scale + 1)], self.op.outputs[0])

    def bias(self, position: int, scales: Sequence[int]) -> list[str]:
        """An int32 bias in units of the product of two scales; none where there is none."""
        if not self.op.input(position):
            return []
        unit = self.emit("Mul", [self.op.input(i) for i in scales])
        return [self.emit(DEQUANTIZE, [self.op.input(position), unit], axis=0)]


def _convolution(e: _Expansion) -> None:
    e.result("Conv", [e.real(0), e.real(3, axis=0), *e.bias(8, (1, 4))], 6)


def _matmul(e: _Expansion) -> None:
    e.result("MatMul", [e.real(0, axis=-2), e.real(3, axis=-1)], 6)


def _gemm(e: _Expansion) -> None:
    """The bias is in units of alpha and both scales: Gemm multiplies it by beta."""
    real = [e.real(0), e.real(3, axis=0 if e.op.int_of("transB") else 1), *e.bias(6, (1, 4))]
    attributes = {"beta": e.op.float_of("alpha", 1.0)}
    if e.op.input(7):
        e.result("Gemm", real, 7, **attributes)
    else:
        e.emit("Gemm", real, e.op.outputs[0], **{**e.op.attributes, **attributes})


def _binary(kind: str) -> Callable[[_Expansion], None]:
    return lambda e: e.result(kind, [e.real(0), e.real(3)], 6)


def _unary(kind: str) -> Callable[[_Expansion], None]:
    return lambda e: e.result(kind, [e.real(0)], 3)


def _concatenation(e: _Expansion) -> None:
    e.result("Concat", [e.real(i) for i in range(2, len(e.op.inputs), 3)], 0)


def _where(e: _Expansion) -> None:
    e.result("Where", [e.op.input(0), e.real(1), e.real(4)], 7)


_FORMS: dict[str, Callable[[_Expansion], None]] = {
    "QLinearConv": _convolution,
    "QLinearMatMul": _matmul,
    f"{MICROSOFT}.QLinearConv": _convolution,
    f"{MICROSOFT}.QGemm": _gemm,
    f"{MICROSOFT}.QLinearAdd": _binary("Add"),
    f"{MICROSOFT}.QLinearMul": _binary("Mul"),
    f"{MICROSOFT}.QLinearSigmoid": _unary("Sigmoid"),
    f"{MICROSOFT}.QLinearLeakyRelu": _unary("LeakyRelu"),
    f"{MICROSOFT}.QLinearSoftmax": _unary("Softmax"),
    f"{MICROSOFT}.QLinearAveragePool": _unary("AveragePool"),
    f"{MICROSOFT}.QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    f"{MICROSOFT}.QLinearConcat": _concatenation,
    f"{MICROSOFT}.QLinearWhere": _where,
}


def as_qdq(every: list[Operator]) -> list[Operator]:
    """The operators, with those of QOperator form as what they stand for."""
    taken = {name for op in every for name in (*op.inputs, *op.outputs)}
    found: list[Operator] = []
    for op in every:
        if op.kind not in _FORMS:
            found.append(op)
            continue
        if len(op.outputs) != 1 or not op.outputs[0]:
            raise CompileError(op.where, f"has {len(op.outputs)} results", EXPORT_AGAIN)
        expansion = _Expansion(op, taken)
        _FORMS[op.kind](expansion)
        found += expansion.found
    return found
