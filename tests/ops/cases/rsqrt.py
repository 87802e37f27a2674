"""RSQRT, of codes that are not negative: TensorFlow Lite Micro stops at others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cases import _lookup
from cases._parts import Make, Meaning
from kiloc.ir.types import Quantization
from kiloc.ops.model.add import Add
from kiloc.ops.model.maximum import Maximum
from kiloc.ops.model.rsqrt import Rsqrt

GENERATORS = {"rsqrt": (_lookup.kernel_case(lambda r: Rsqrt()), 16)}

JAX = {"rsqrt": Meaning(_lookup.real(lambda jax, op, x: jax.lax.rsqrt(x)))}


def positive(m: Any, x: str, other: str) -> str:
    """The sum of two activations, which a maximum with a constant keeps away from zero."""
    x = m.op(x, "sum", Add("relu"), m.type(x).shape, 0.03, -128, other=other)
    least = m.b.constant("least", np.full((1, 1, 1, 1), -110, np.int8), Quantization((m.type(x).scale,), -128), "least")
    return str(m.op(x, "kept", Maximum(), m.type(x).shape, other=least))


def trained(m: Any, x: str, other: str) -> str:
    y = positive(m, x, other)
    return str(m.op(y, "rsqrt", Rsqrt(), m.type(y).shape, 0.01, -128))


def graphs() -> Iterator[tuple[str, Make]]:
    yield from _lookup.graphs("rsqrt", Rsqrt(), zeros=((-128, -128), (-128, 5)), ratios=(1.0, 0.03, 2.7))
