"""GELU, x times the normal distribution function of x, or its approximation by tanh, by a table that LiteRT fills in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...ir.binding import OnnxBinding, TFLiteBinding
from ...ir.operator import register
from ...ir.types import TensorType
from ._lookup import Ints, Lookup, Slopes, looked_up

if TYPE_CHECKING:
    from ...frontend.onnx_file import Operator as OnnxOperator

CUBIC = 0.044715
F = np.float32


def _distribution(x: Slopes) -> Slopes:
    """Of the normal distribution."""
    return np.array([math.erfc(-v * math.sqrt(0.5)) / 2 for v in x])


@register
@dataclass(frozen=True)
class Gelu(Lookup):
    mnemonic: ClassVar[str] = "gelu"
    tflite: ClassVar[TFLiteBinding | None] = TFLiteBinding({"GELU": 2}, "GeluOptions", ("Approximate",))
    onnx: ClassVar[OnnxBinding | None] = OnnxBinding(("Gelu",))
    oracle: ClassVar[str] = "LiteRT BUILTIN_REF"

    approximate: bool = False

    def codes(self, x: TensorType, y: TensorType) -> Ints:
        return looked_up(self._approximated if self.approximate else self._exact, x, y)

    @staticmethod
    def _exact(v: Any) -> Any:
        tail = np.array([math.erfc(float(a)) for a in v * F(-math.sqrt(0.5))], F)
        return F(0.5) * v * tail

    @staticmethod
    def _approximated(v: Any) -> Any:
        inner = F(math.sqrt(2 / math.pi)) * (v + F(CUBIC) * v * v * v)
        return F(0.5) * v * (F(1) + np.tanh(inner.astype(np.float64)).astype(F))

    def slope(self, x: Slopes) -> Slopes:
        if self.approximate:
            c = math.sqrt(2 / math.pi)
            t = np.tanh(c * (x + CUBIC * x**3))
            return np.asarray(0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * CUBIC * x**2))
        return np.asarray(_distribution(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))

    @classmethod
    def attributes_of(cls, options: Any) -> dict[str, Any]:
        return {"approximate": bool(options["Approximate"])}

    def options(self) -> dict[str, Any]:
        return {"Approximate": self.approximate}

    @classmethod
    def of_onnx(cls, op: OnnxOperator) -> Lookup:
        return cls(op.text_of("approximate", "none") == "tanh")

    def onnx_attributes(self) -> dict[str, Any]:
        return {"approximate": "tanh" if self.approximate else "none"}
