"""The gradient of attention by rows: nothing of the forward pass is kept but q, k and v, and rows are computed again.

Bits are those of the gradients of the operators that attention stands for, whose int8 gradients it goes through. With s and p of `attention.py`

    p'[i, j] = sat8(sum g[i] (v[j] - z_v) >> n_p),       x'[i, j] = sat8(softmax_gradient(p'[i], p[i]) >> n_x),
    s'[i, j] = through[x'[i, j]], 0 where s[i, j] or what became of it was clamped,
    q'[i] = sat8(sum_j s'[i, j] (k[j] - z_k) >> n_q),    k'[j] = sat8(sum_i s'[i, j] (q[i] - z_q) >> n_k),    v'[j] = sat8(sum_i p[i, j] g[i] >> n_v)

all shifts rounding to nearest. Sums are exact in int32, so that their order does not matter:

    one pass     row by row, with int32 sums of k' and v' of a head: 4 bytes for each value of them
    two passes   the first finds q', and of each row 8 bytes: largest value, scale and mean of its softmax. The second goes column by column,
                 computes scores, p and s' of a key again from those, and finds its k' and v'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ..model.batch_matmul import product_fields
from ..model.softmax import softmax_gradient_sums
from .attention import Attention, Ints, Rows

FACTORS = ("q", "k", "v")
OF_A_ROW = 8
"""Bytes that two passes keep of a query."""


@register
@dataclass(frozen=True)
class AttentionGradient(Op):
    """of: which of q, k and v have a gradient, in this order; shifts: theirs. inner: n_p and n_x. through: s' of the codes of x' from -128 on, and
    behind these for the codes of s -1 where a gradient passes, else 0."""

    role: ClassVar[str] = "kernel"
    mnemonic: ClassVar[str] = "attention_gradient"
    operands: ClassVar[tuple[str, ...]] = ("g", "q", "k", "v", "table", "through")

    attention: Attention = field(default_factory=Attention)
    g: Rows = field(default_factory=Rows)
    of: tuple[str, ...] = FACTORS
    shifts: tuple[int, ...] = (0, 0, 0)
    inner: tuple[int, int] = (0, 0)
    passes: int = 2

    def check(self, t: NodeTypes) -> str | None:
        if complaint := self.g.complaint(t.type("g").shape):
            return complaint
        q, _, v = self.attention.sizes(t)
        if self.g.of(t.type("g").shape) != (q[0], q[1], v[2]):
            return f"the gradient is {t.type('g').shape}, expected {q[0]} times {q[1]} rows of {v[2]}"
        if len(t.results) != len(self.of) or any(y.size != t.type(o).size for o, y in zip(self.of, t.results, strict=True)):
            return f"gives {len(t.results)} gradients of {self.of}"
        return None

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        q, k, v = (self.attention.centred(e, o) for o in FACTORS)
        g = self.g.matrices(e.wide("g"))
        s, p = self.attention.probabilities(e)
        rates = self._narrowed(np.matmul(g, v.swapaxes(2, 3)), self.inner[0])
        slopes = self._narrowed(softmax_gradient_sums(rates, p), self.inner[1])
        through = e.wide("through").reshape(-1)
        slopes = through[slopes + 128] & through[256 + s + 128]
        sums = {"q": np.matmul(slopes, k), "k": np.matmul(slopes.swapaxes(2, 3), q), "v": np.matmul(p.swapaxes(2, 3), g)}
        found = []
        for operand, shift in zip(self.of, self.shifts, strict=True):
            rows: Rows = getattr(self.attention, operand)
            found.append(rows.stored(self._narrowed(sums[operand], shift).astype(np.int8), e.type(operand).shape))
        return tuple(found)

    @staticmethod
    def _narrowed(sums: NDArray[Any], shift: int) -> Ints:
        assert np.array_equal(sums, nm.saturate32(sums)), "gradient sums leave int32"
        return nm.saturate8(nm.shift_round(sums, shift))

    @property
    def through_scores(self) -> bool:
        return "q" in self.of or "k" in self.of

    def macs(self, t: NodeTypes) -> int:
        q, _, v = self.attention.sizes(t)
        pairs, products = self.attention.pairs(t), {"q": q[2], "k": q[2], "v": v[2]}
        again = q[2] + v[2] * self.through_scores
        return pairs * (self.passes * again + sum(products[o] for o in self.of))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        q, k, v = self.attention.sizes(t)
        steps = self.g.steps(t.type("g").shape), self.attention.v.steps(t.type("v").shape)
        shifts = dict(zip(self.of, self.shifts, strict=True))
        outputs = dict(zip(self.of, n.outputs, strict=True))
        fields: dict[str, Field] = {
            "attention": self.attention.fields(t, n),
            "rates": product_fields(q[0], q[1], k[1], (1, v[2]), steps, (0, -t.type("v").zero_point)),
            "through": Argument(n.inputs["through"]),
            "rate_shift": self.inner[0],
            "softmax_shift": self.inner[1],
            "shift": tuple(shifts.get(o, 0) for o in FACTORS),
        }
        results = (Argument(outputs[o]) if o in outputs else "NULL" for o in FACTORS)
        arguments = (*(Argument(n.inputs[o]) for o in ("g", *FACTORS)), *results, Scratch())
        row = 3 * -(-max(q[1], k[1]) // 4) * 4
        if self.passes == 1:
            sums = q[2] + k[1] * (q[2] * ("k" in self.of) + v[2] * ("v" in self.of))
            symbol, scratch = "kt_attention_gradient_one_pass_s8", 4 * sums + row
        else:
            symbol, scratch = "kt_attention_gradient_s8", 4 * max(q[2], v[2]) + OF_A_ROW * q[1] + row
        file = symbol.removeprefix("kt_").removesuffix("_s8")
        return KernelCall(symbol, "kt_attention_gradient_params", fields, arguments, scratch, source=f"kernels/matmul/{file}.c")
