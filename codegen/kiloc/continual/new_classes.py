"""Classes that a device adds: what the first sample of one writes into a last layer with room for it.

`new_class` is the meaning of runtime/src/core/new_class.c in NumPy; `kt/new_class.h` has the formulas and their source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numerics as nm
from ..errors import CompileError
from ..ir.graph import OPEN_HEAD, Graph, Parameter
from ..losses import closed_biases
from ..ops._sums import output_scales
from ..ops.update.storage_step import BIAS_LIMIT, block16_of, block16_values


@dataclass(frozen=True)
class NewClassPlan:
    """A head with room. weights, bias: its trained parameters; x, y: the values that it reads and gives. closed: biases of closed classes;
    unit: real value of a step of each bias; mean: of x - z_x over the calibration samples."""

    weights: Parameter
    bias: str
    x: str
    y: str
    closed: tuple[int, ...]
    unit: NDArray[np.float32]
    mean: NDArray[np.int16]

    @property
    def classes(self) -> int:
        return len(self.unit)

    @property
    def known(self) -> int:
        """Classes that are never closed."""
        return self.classes - len(self.closed)


def plan_new_classes(base: Graph, whole: Graph, forward: Mapping[str, NDArray[Any]], decay: float = 0.0) -> NewClassPlan | None:
    """The head with room of a graph with its methods, or None where there is none. forward: what calibration samples give in the base model.

    Raises CompileError where the head is stored in a way, or trained by a loss, in which no class can be added.
    """
    held = {p.storage: p for p in whole.parameters if p.method == OPEN_HEAD}
    if not held:
        return None
    where = "Head(extra_classes=...)"
    if "block8" in held:
        raise CompileError(where, "weights of 8 bits alone are rounded by chance, a new class is not", 'storage="block16"')
    if whole.node("loss").op.mnemonic != "open_cross_entropy":
        raise CompileError(where, "classes are added to those of a cross entropy", 'loss="cross_entropy"')
    if decay:
        raise CompileError(where, "weight decay would raise the biases that keep classes closed", "leave weight_decay out")
    node, bias = whole.node(held["block16"].layer), held["int32"].values["value"]
    x, y = node.inputs["x"], node.outputs[0]
    samples = forward[base.node(node.name).inputs["x"]].astype(np.int64) - whole.type(x).zero_point
    mean = nm.round_half_up(samples.reshape(len(samples), -1).mean(0).astype(np.float32)).astype(np.int16)
    unit = output_scales(whole.type(x), whole.type(node.inputs["weights"]), whole.type(bias).size).astype(np.float32)
    return NewClassPlan(held["block16"], bias, x, y, closed_biases(whole, bias), unit, mean)


def new_class(
    plan: NewClassPlan, whole: Graph, state: Mapping[str, NDArray[Any]], label: int, x: NDArray[np.int8], y: NDArray[np.int8]
) -> dict[str, Any]:
    """What opening a class changes of a state: value name -> array. x, y: what the layer reads and gives for the sample."""
    names, t = plan.weights.values, whole.type(plan.y)
    bias = state[plan.bias].reshape(-1)
    shut = np.concatenate([np.zeros(plan.known, np.bool_), bias[plan.known :] <= np.array(plan.closed)])
    codes = y.reshape(-1).astype(np.int64)[~shut]
    top = int(codes.max())
    scales = np.float32(t.scale), np.float32(whole.type(plan.x).scale)
    above = np.float32(len(codes) * top - int(codes.sum())) / np.float32(len(codes)) * scales[0]
    q = x.reshape(-1).astype(np.int64) - whole.type(plan.x).zero_point
    d = q - plan.mean
    square, product = int((d * d).sum()), int((d * q).sum())
    a = above / (np.float32(square) * scales[1]) if square else np.float32(0)
    shape = state[names["value"]].shape
    held = block16_values(state[names["value"]], state[names["remainder"]], int(state[names["exponent"]][0])).reshape(plan.classes, -1)
    held[label] = a * d.astype(np.float32)
    value, remainder, exponent = block16_of(held)
    result = np.float32(top + 1 - t.zero_point) * scales[0] - a * scales[1] * np.float32(product)
    opened = int(np.clip(-nm.round_half_up(-result / plan.unit[label]), -BIAS_LIMIT, BIAS_LIMIT))
    after = state[plan.bias].copy()
    after.reshape(-1)[label] = max(opened, plan.closed[label - plan.known] + 1)
    return {
        names["value"]: value.reshape(shape),
        names["exponent"]: np.array([exponent], np.int8),
        names["remainder"]: remainder.reshape(shape),
        plan.bias: after,
    }
