"""Chains of operators with constants in one pass over the data: a table where all are the same for every element, else step by step.

`passes/fuse_elementwise.py` makes them. Bits are those of the operators one after the other: a table holds what they compute of each of the
256 codes; a step computes what its operator does, with what does not depend on x computed before.

    mul    y = clamp(requantize((x + input_offset) k, m_0) + output_offset),                          k = other - z_other
    add    y = clamp(requantize(requantize((x + input_offset) 2^20, m_0) + k, m_1) + output_offset),  k = the other term, on the common scale
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import numerics as nm
from ...ir.kernel_call import Argument, Field, KernelCall
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from ..model._sum import LEFT_SHIFT, Sum
from ..model.mul import Mul

MOST_STEPS = 4
CONSTANTS = ("first", "second", "third", "fourth")


@register
@dataclass(frozen=True)
class LookupTable(Op):
    """y = table[x + 128], in place of operators that are functions of one code."""

    role: ClassVar[str] = "kernel"
    mnemonic: ClassVar[str] = "lookup_table"
    operands: ClassVar[tuple[str, ...]] = ("x", "table")
    in_place: ClassVar[str | None] = "x"

    def check(self, t: NodeTypes) -> str | None:
        return None if t.type("x").size == t.result().size and t.type("table").size == 256 else "its table has no 256 codes, or sizes differ"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (e.array("table").reshape(-1)[e.wide("x") + 128].reshape(-1, *e.result().shape[1:]),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {"size": t.result().size, "table": Argument(n.inputs["table"])}
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall("kt_lookup_s8", "kt_lookup_params", fields, arguments, source="kernels/elementwise/lookup.c")


@dataclass(frozen=True)
class Step:
    """One operator of a chain. multipliers: (multiplier, shift) of a product; of x and of the sum."""

    adds: bool
    input_offset: int
    output_offset: int
    multipliers: tuple[tuple[int, int], ...]
    clamp: tuple[int, int]


@register
@dataclass(frozen=True)
class ElementwiseChain(Op):
    """MUL, ADD and SUB by constants of a value a channel, one after the other: the constants k as int32 [channels]."""

    role: ClassVar[str] = "kernel"
    mnemonic: ClassVar[str] = "elementwise_chain"
    operands: ClassVar[tuple[str, ...]] = ("x", *CONSTANTS[:2])
    optional: ClassVar[tuple[str, ...]] = CONSTANTS[2:]
    in_place: ClassVar[str | None] = "x"

    adds: tuple[bool, ...] = ()
    input_offset: tuple[int, ...] = ()
    output_offset: tuple[int, ...] = ()
    multiplier: tuple[tuple[int, int], ...] = ()
    shift: tuple[tuple[int, int], ...] = ()
    clamp: tuple[tuple[int, int], ...] = ()

    def check(self, t: NodeTypes) -> str | None:
        channels = {t.type(o).size for o in CONSTANTS[: len(self.adds)]}
        return None if channels == {t.result().shape[-1]} and t.type("x").size == t.result().size else "its constants have no value a channel"

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        x = e.wide("x")
        for i, constant in enumerate(CONSTANTS[: len(self.adds)]):
            k, (m, n) = e.wide(constant), zip(self.multiplier[i], self.shift[i], strict=True)
            x = x + self.input_offset[i]
            y = nm.requantize(nm.requantize(x << LEFT_SHIFT, *m) + k, *n) if self.adds[i] else nm.requantize(x * k, *m)
            x = np.clip(y + self.output_offset[i], *self.clamp[i])
        return (x.astype(np.int8).reshape(-1, *e.result().shape[1:]),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        channels = t.result().shape[-1]
        fields: dict[str, Field] = {"rows": t.result().size // channels, "channels": channels, "count": len(self.adds)}
        for i, constant in enumerate(CONSTANTS[: len(self.adds)]):
            fields[constant] = {
                "constants": Argument(n.inputs[constant]),
                "adds": int(self.adds[i]),
                "input_offset": self.input_offset[i],
                "output_offset": self.output_offset[i],
                "multiplier": self.multiplier[i],
                "shift": self.shift[i],
                "clamp": self.clamp[i],
            }
        arguments = (Argument(n.inputs["x"]), Argument(n.outputs[0]))
        return KernelCall(
            "kt_elementwise_chain_s8", "kt_elementwise_chain_params", fields, arguments, source="kernels/elementwise/elementwise_chain.c"
        )


def step_of(op: Op, t: NodeTypes, constant: NDArray[np.generic]) -> tuple[Step, NDArray[np.int32]]:
    """The step of MUL, ADD or SUB by a constant, and its constants k, flat."""
    assert isinstance(op, Mul | Sum)
    value = constant.astype(np.int64).ravel() - t.type("other").zero_point
    if isinstance(op, Mul):
        multipliers = (op.multiplier(t), (0, 0))
    else:
        first, second, last = op.multipliers(t)
        value, multipliers = op.sign * nm.requantize(value << LEFT_SHIFT, *second), (first, last)
    step = Step(isinstance(op, Sum), -t.type("x").zero_point, t.result().zero_point, multipliers, op.clamp(t))
    return step, value.astype(np.int32)


def chain_of(steps: list[Step]) -> ElementwiseChain:
    return ElementwiseChain(
        tuple(s.adds for s in steps),
        tuple(s.input_offset for s in steps),
        tuple(s.output_offset for s in steps),
        tuple((s.multipliers[0][0], s.multipliers[1][0]) for s in steps),
        tuple((s.multipliers[0][1], s.multipliers[1][1]) for s in steps),
        tuple(s.clamp for s in steps),
    )


def constant_type(data: NDArray[np.generic]) -> TensorType:
    return TensorType(data.shape, str(data.dtype))
