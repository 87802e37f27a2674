"""What the generated code needs to add a class to a head with room for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..continual import NewClassPlan
from ..errors import CompileError
from ..plan.slice import Slice
from .c_names import Code, c_float
from .steps import CArgument, CFunction, Constants, FunctionWriter

MEMBERS = ("value", "exponent", "remainder", "bias")
"""Of the state, as kt_open_class takes them."""


@dataclass(frozen=True)
class CNewClasses:
    """fields: of kt_new_class_params. forward: the steps whose results x and y are. Trained values: members of the state."""

    plan: NewClassPlan
    fields: dict[str, Code]
    forward: CFunction
    x: CArgument
    y: CArgument
    members: dict[str, Code]


def c_new_classes(plan: NewClassPlan, train: Slice, constants: Constants, writer: FunctionWriter) -> CNewClasses:
    """As data for the templates. Raises CompileError where constant channels of what the layer reads were removed."""
    graph = train.kernels
    x, y = graph.type(plan.x), graph.type(plan.y)
    if x.size != len(plan.mean):
        what = f"{len(plan.mean) - x.size} of the values that the last layer reads never change, and were removed"
        raise CompileError("Head(extra_classes=...)", what, "train a head without room: Head(), or Head(classes=...)")
    steps = len(writer.add(graph.phase("forward")))
    tables: dict[str, tuple[NDArray[np.generic], str]] = {
        "unit": (plan.unit, "float"),
        "closed": (np.array(plan.closed, np.int32), "int32_t"),
        "mean": (plan.mean, "int16_t"),
    }
    fields = {
        "classes": Code(str(plan.classes)),
        "known": Code(str(plan.known)),
        "depth": Code(str(x.size)),
        "x_zero_point": Code(str(x.zero_point)),
        "y_zero_point": Code(str(y.zero_point)),
        "x_scale": Code(c_float(x.scale)),
        "y_scale": Code(c_float(y.scale)),
        **{name: constants.array(f"new_class_{name}", ctype, data, f"{name} of classes to come") for name, (data, ctype) in tables.items()},
    }
    names = {role: constants.identifiers.member(value) for role, value in (*plan.weights.values.items(), ("bias", plan.bias)) if role in MEMBERS}
    return CNewClasses(plan, fields, writer.function, writer.value(plan.x, steps), writer.value(plan.y, steps), names)
