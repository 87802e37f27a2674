"""Attention of one more position: its query meets the keys and values of those before it, which are kept from call to call.

keys and values hold the last so many positions, in a ring; count says where the next one goes, and how many there are. Sums of a row are exact, so
their order does not matter: bits are those of `attention.py` on whole sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import ClassVar

import numpy as np

from ...ir.kernel_call import Argument, Field, KernelCall, Scratch
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .attention import Attention


@register
@dataclass(frozen=True)
class AttentionNext(Op):
    """q, k, v: of one position. keys, values (stream): [1, length, ...], a row of axis 1 for each position kept. count (stream): positions so far,
    less `length` where there were twice as many."""

    role: ClassVar[str] = "kernel"
    mnemonic: ClassVar[str] = "attention_next"
    operands: ClassVar[tuple[str, ...]] = ("q", "k", "v", "table", "keys", "values", "count")
    element_types: ClassVar[tuple[str, ...]] = ("int8",)
    kept: ClassVar[tuple[str, ...]] = ("keys", "values", "count")

    row: Attention = field(default_factory=Attention)

    def check(self, t: NodeTypes) -> str | None:
        length = self.length(t)
        for one, all_ in (("k", "keys"), ("v", "values")):
            x, kept = t.type(one), t.type(all_)
            if x.shape[:2] != (1, 1) or kept.shape != (1, length, *x.shape[2:]) or kept.dtype != "int8":
                return f"keeps {x.shape} in {kept.shape}"
        if (t.type("count").shape, t.type("count").dtype) != ((1,), "int16") or 2 * length > 1 << 15:
            return f"counts {length} positions in {t.type('count')}"
        return self.row.check(self._seen(t, length))

    def length(self, t: NodeTypes) -> int:
        return t.type("keys").shape[1]

    def _seen(self, t: NodeTypes, count: int) -> NodeTypes:
        """Types of an attention to so many positions."""
        types = {o: t.type(o) for o in ("q", "table")}
        for one, all_ in (("k", "keys"), ("v", "values")):
            kept: TensorType = t.type(all_)
            types[one] = replace(t.type(one), shape=(1, count, *kept.shape[2:]))
        return NodeTypes(types, t.results)

    def _after(self, e: Environment) -> tuple[Array, Array, int]:
        """Keys and values with this position, and the count before it."""
        count, length = int(e.array("count")[0]), self.length(e)
        found = []
        for one, all_ in (("k", "keys"), ("v", "values")):
            kept = e.array(all_).copy()
            kept[0, count % length] = e.array(one)[-1, 0]
            found.append(kept)
        return found[0], found[1], count

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        keys, values, count = self._after(e)
        seen = min(count + 1, self.length(e))
        t = self._seen(e, seen)
        arrays = {"q": e.array("q"), "table": e.array("table"), "k": keys[:, :seen], "v": values[:, :seen]}
        return self.row.evaluate(Environment(t.operands, t.results, arrays))

    def evaluate_update(self, e: Environment) -> dict[str, Array]:
        keys, values, count = self._after(e)
        count = count + 1 if count + 1 < 2 * self.length(e) else self.length(e)
        return {"keys": keys, "values": values, "count": np.array([count], np.int16)}

    def macs(self, t: NodeTypes) -> int:
        return self.row.macs(self._seen(t, self.length(t)))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        whole = self.row.kernel_call(self._seen(t, self.length(t)), Names({**n.inputs, "k": n.inputs["keys"], "v": n.inputs["values"]}, n.outputs))
        fields: dict[str, Field] = {
            "row": whole.fields, "length": self.length(t), "bytes": (prod(t.type("k").shape), prod(t.type("v").shape)),
        }  # fmt: skip
        arguments: tuple[Argument | Scratch, ...] = (
            *(Argument(n.inputs[o]) for o in ("q", "k", "v", "keys", "values", "count")),
            Argument(n.outputs[0]),
            Scratch(),
        )
        source, needs = "kernels/matmul/attention_next.c", ("kernels/matmul/attention.c",)
        return KernelCall("kt_attention_next_s8", "kt_attention_next_params", fields, arguments, whole.scratch, source=source, needs=needs)
