"""What kernels for Helium read beside a layer's weights: input_offset times the sum of each channel's weights.

They multiply values as they are stored, with their zero point, and start each sum there. Without the table they sum the weights
themselves in every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..ir.graph import Node, Value
from ..ir.kernel_call import Argument, Field
from ..ir.operator import Names, NodeTypes
from ..ir.types import TensorType

OPERAND = "offset_sums"


def with_offset_sums(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """A convolution, fully connected or depthwise layer with its table, the table, and why it has none ("" where it has)."""
    weights = values[node.inputs["weights"]].data
    assert weights is not None
    depthwise = node.op.mnemonic == "depthwise_conv_2d"
    if depthwise and weights.min() < -127:
        return node, [], "a weight is -128"
    sums = weights.astype(np.int64).sum(tuple(range(weights.ndim - 1)) if depthwise else tuple(range(1, weights.ndim)))
    data = (-t.type("x").zero_point * sums).astype(np.int32)
    value = Value(f"{node.name}.{OPERAND}", TensorType(data.shape, "int32"), "constant", data)
    return replace(node, inputs={**node.inputs, OPERAND: value.name}), [value], ""


def offset_sums_field(t: NodeTypes, n: Names) -> dict[str, Field]:
    """The member of the parameter struct, where the node has the table."""
    return {OPERAND: Argument(n.inputs[OPERAND])} if t.has(OPERAND) else {}
