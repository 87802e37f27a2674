"""Attention by rows: y = softmax(q k^T) v with whole rows of scores, one at a time, in place of BATCH_MATMUL, scale, mask, SOFTMAX, BATCH_MATMUL.

`passes/fuse_attention.py` makes it. Bits are those of the operators one after the other, whose int8 intermediates it goes through: scores, a table
of what element-wise operators make of their 256 codes, probabilities. Of these a row is all that is ever in memory. For query i of each batch
(each head)

    s[j] = clamp(requantize(sum (q[i] - z_q) (k[j] - z_k)) + z_s),  x = table[s],  p = softmax(x),
    y[i] = clamp(requantize(sum_j p[j] (v[j] - z_v)) + z_y)

over the keys j that the query sees: i - before <= j <= i + after. The compiler has proved of all others that their probability is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import Quantization, TensorType
from .._activation import far_apart
from .._fixed_point import exp_negative
from .._walk import strides
from ..model.batch_matmul import LONGEST_SUM, product_fields
from ..model.softmax import DIFFERENCE_BITS, Softmax

Ints = NDArray[np.int64]
ALL = -1
"""Of `before` and `after`: no bound."""


@dataclass(frozen=True)
class Rows:
    """How a tensor is stored of which the attention reads or writes a matrix [rows, depth] for each batch: axis i of [..., rows, depth] is axis
    order[i] of the tensor."""

    order: tuple[int, ...] = (0, 1, 2)

    def of(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(batches, rows, depth)."""
        turned = [shape[i] for i in self.order]
        return prod(turned[:-2]), turned[-2], turned[-1]

    def steps(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Elements from one batch, row and value of a row to the next."""
        of = [strides(shape)[i] for i in self.order]
        batches = [step for step, i in zip(of[:-2], self.order, strict=False) if shape[i] > 1]
        return batches[-1] if batches else 0, of[-2], of[-1]

    def complaint(self, shape: tuple[int, ...]) -> str | None:
        """Of a tensor whose batches do not lie at equal distances."""
        if sorted(self.order) != list(range(len(shape))) or self.order[0] != 0 or len(shape) < 3:
            return f"order {self.order} does not fit {shape}"
        leading = [(shape[i], strides(shape)[i]) for i in self.order[:-2] if shape[i] > 1]
        even = all(step == inner * count for (_, step), (count, inner) in pairwise(leading))
        return None if even else f"batches of {shape} lie at different distances in order {self.order}"

    def matrices(self, a: NDArray[Any]) -> NDArray[Any]:
        """[N, batches, rows, depth] of an array [N, ...]."""
        turned = a.transpose(self.order)
        return turned.reshape(len(a), -1, *turned.shape[-2:])

    def stored(self, a: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """An array [N, ...] of the tensor's shape, of its matrices."""
        turned = a.reshape(len(a), *(shape[i] for i in self.order[1:]))
        return np.ascontiguousarray(turned.transpose(np.argsort(self.order)))


@register
@dataclass(frozen=True)
class Attention(Op):
    """score, given, probability: scale and zero point of the scores, of what the softmax reads, and of its result."""

    role: ClassVar[str] = "kernel"
    mnemonic: ClassVar[str] = "attention"
    operands: ClassVar[tuple[str, ...]] = ("q", "k", "v", "table")

    score: tuple[float, int] = (1.0, 0)
    given: tuple[float, int] = (1.0, 0)
    probability: tuple[float, int] = (1 / 256, -128)
    beta: float = 1.0
    before: int = ALL
    after: int = ALL
    q: Rows = field(default_factory=Rows)
    k: Rows = field(default_factory=Rows)
    v: Rows = field(default_factory=Rows)
    y: Rows = field(default_factory=Rows)

    @property
    def in_place(self) -> str | None:  # type: ignore[override]
        """A row of the result may take the place of its query where both are stored alike."""
        return "q" if self.q == self.y else None

    def check(self, t: NodeTypes) -> str | None:
        for operand, rows in (("q", self.q), ("k", self.k), ("v", self.v)):
            if complaint := rows.complaint(t.type(operand).shape):
                return complaint
        q, k, v = self.sizes(t)
        if (q[0], q[2], k[1]) != (k[0], k[2], v[1]) or v[0] != q[0]:
            return f"queries {q}, keys {k} and values {v} do not fit"
        if complaint := self.y.complaint(t.result().shape):
            return complaint
        if self.y.of(t.result().shape) != (q[0], q[1], v[2]):
            return f"result is {t.result().shape}, expected {q[0]} times {q[1]} rows of {v[2]}"
        if (self.before, self.after) != (ALL, ALL) and q[1] != k[1]:
            return f"masks {q[1]} queries and {k[1]} keys"
        if max(q[2], k[1]) > LONGEST_SUM:
            return f"sums {max(q[2], k[1])} products; an int32 sum holds {LONGEST_SUM}"
        return self.softmax().check(self.softmax_types(t)) or far_apart(self.score_multiplier(t)[1], self.multiplier(t)[1])

    def sizes(self, t: NodeTypes) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]:
        """(batches, rows, depth) of q, k and v."""
        return self.q.of(t.type("q").shape), self.k.of(t.type("k").shape), self.v.of(t.type("v").shape)

    def softmax(self) -> Softmax:
        return Softmax(self.beta)

    def softmax_types(self, t: NodeTypes) -> NodeTypes:
        """Of a softmax of all rows."""
        q, k, _ = self.sizes(t)
        x, y = (TensorType((1, q[0] * q[1], k[1]), "int8", Quantization((s,), z)) for s, z in (self.given, self.probability))
        return NodeTypes({"x": x}, (y,))

    def score_multiplier(self, t: NodeTypes) -> tuple[int, int]:
        product = np.float64(t.type("q").scale) * np.float64(t.type("k").scale)
        return nm.quantize_multiplier(float(product / np.float64(self.score[0])))

    def multiplier(self, t: NodeTypes) -> tuple[int, int]:
        product = np.float64(self.probability[0]) * np.float64(t.type("v").scale)
        return nm.quantize_multiplier(float(product / np.float64(t.result().scale)))

    def seen(self, queries: int, keys: int) -> NDArray[np.bool_]:
        """[queries, keys]"""
        distance = np.arange(keys)[None] - np.arange(queries)[:, None]
        first, last = (n if n != ALL else keys + queries for n in (self.before, self.after))
        return np.asarray((distance >= -first) & (distance <= last))

    # -- meaning --------------------------------------------------------------------------------------
    def centred(self, e: Environment, operand: str) -> Ints:
        """q, k or v without its zero point, [N, batches, rows, depth]."""
        rows: Rows = getattr(self, operand)
        return rows.matrices(e.wide(operand)) - e.type(operand).zero_point

    def probabilities(self, e: Environment) -> tuple[Ints, Ints]:
        """[N, batches, queries, keys]: codes of the scores, and probabilities in 1/256."""
        q, k = self.centred(e, "q"), self.centred(e, "k")
        s = np.clip(nm.requantize(np.matmul(q, k.swapaxes(2, 3)), *self.score_multiplier(e)) + self.score[1], -128, 127)
        x = e.wide("table").reshape(-1)[s + 128]
        return s, self.softmax().probabilities(self.softmax_types(e), x, self.seen(q.shape[2], k.shape[2]))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        _, p = self.probabilities(e)
        y = nm.requantize(np.matmul(p, self.centred(e, "v")), *self.multiplier(e)) + e.result().zero_point
        return (self.y.stored(np.clip(y, -128, 127).astype(np.int8), e.result().shape),)

    def pairs(self, t: NodeTypes) -> int:
        """Of a query and a key that it sees, in all batches."""
        q, k, _ = self.sizes(t)
        return q[0] * int(self.seen(q[1], k[1]).sum())

    def macs(self, t: NodeTypes) -> int:
        q, _, v = self.sizes(t)
        return self.pairs(t) * (q[2] + v[2])

    # -- C --------------------------------------------------------------------------------------------
    def exponentials(self, t: NodeTypes) -> NDArray[np.int32]:
        """Of the differences 0, -1, ... -255 of what the softmax reads, in 1/2^31; 0 of those that do not count."""
        multiplier, shift, smallest = self.softmax().scaling(self.softmax_types(t))
        difference = -np.arange(256, dtype=np.int64)
        counts = difference >= smallest
        scaled = nm.high_multiply(nm.saturate32(np.where(counts, difference, 0) << shift), multiplier)
        return np.where(counts, exp_negative(scaled, DIFFERENCE_BITS), 0).astype(np.int32)

    def fields(self, t: NodeTypes, n: Names) -> dict[str, Field]:
        """Members of kt_attention."""
        q, k, v = self.sizes(t)
        (batch, row, value), multiplier = self.v.steps(t.type("v").shape), self.score_multiplier(t)
        steps = self.q.steps(t.type("q").shape), self.k.steps(t.type("k").shape)
        bound = max(q[1], k[1])
        return {
            "scores": product_fields(q[0], q[1], k[1], (1, q[2]), steps, (-t.type("q").zero_point, -t.type("k").zero_point)),
            "score_offset": self.score[1],
            "multiplier": multiplier[0],
            "shift": multiplier[1],
            "table": Argument(n.inputs["table"]),
            "exponentials": Table("exponentials", "int32_t", self.exponentials(t)),
            "before": bound if self.before == ALL else self.before,
            "after": bound if self.after == ALL else self.after,
            "channels": v[2],
            "v": (batch, row, value),
            "v_offset": -t.type("v").zero_point,
        }

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        _, k, v = self.sizes(t)
        multiplier, shift = self.multiplier(t)
        fields: dict[str, Field] = {
            "attention": self.fields(t, n),
            "y": self.y.steps(t.result().shape),
            "output_offset": t.result().zero_point,
            "multiplier": multiplier,
            "shift": shift,
        }
        operands = tuple(Argument(n.inputs[o]) for o in ("q", "k", "v"))
        arguments: tuple[Argument | Scratch, ...] = (*operands, Argument(n.outputs[0]), Scratch())
        scratch = 4 * v[2] + -(-k[1] // 4) * 4
        return KernelCall("kt_attention_s8", "kt_attention_params", fields, arguments, scratch, source="kernels/matmul/attention.c")
