"""Chains of operators with constants, and tables that stand for operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_driver import Case, int8, pick, scale, zero_point

from cases._parts import Rng, f32
from kiloc.ir.operator import NodeTypes
from kiloc.ir.types import TensorType, activation
from kiloc.ops.fast.elementwise_chain import CONSTANTS, LookupTable, chain_of, step_of
from kiloc.ops.model.add import Add
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.sub import Sub


def chain_case(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 9)), int(r.integers(1, 40)))
    x = activation(shape, scale(r), zero_point(r))
    types, arrays, steps = {"x": x}, {"x": int8(r, *shape)}, []
    for constant in CONSTANTS[: int(r.integers(2, 5))]:
        op = pick(r, Mul, Add, Sub)(pick(r, "none", "relu", "relu6"))
        other = activation((1, shape[-1]), f32(x.scale * pick(r, 1.0, 0.3, 4.0, 1e-4)), zero_point(r))
        y = activation(shape, f32(x.scale * (other.scale if isinstance(op, Mul) else 1) * pick(r, 1.0, 2.0, 60.0, 1e-4)), zero_point(r))
        step, k = step_of(op, NodeTypes({"x": x, "other": other}, (y,)), int8(r, shape[-1]))
        steps.append(step)
        types[constant], arrays[constant] = TensorType(k.shape, "int32"), k
        x = y
    return Case(chain_of(steps), types, arrays, (x,))


def table_case(r: Rng) -> Case:
    shape = (1, int(r.integers(1, 70)))
    types: dict[str, Any] = {"x": activation(shape, scale(r), zero_point(r)), "table": TensorType((256,), "int8")}
    table = r.integers(-128, 128, 256).astype(np.int8)
    return Case(LookupTable(), types, {"x": int8(r, *shape), "table": table}, (activation(shape, scale(r), zero_point(r)),))


GENERATORS = {"elementwise_chain": (chain_case, 60), "lookup_table": (table_case, 10)}
