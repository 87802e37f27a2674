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
from ._window import Window

OPERAND = "offset_sums"

MOST_TAPS = 128
OFFSETS = 2**16
"""Of a depthwise layer: taps of a window, and bytes that a table of offsets reaches (runtime/src/kernels/depthwise/mve/columns.h)."""


def with_offset_sums(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """A convolution, fully connected or depthwise layer with its table, the table, and why it has none ("" where it has)."""
    weights = values[node.inputs["weights"]].data
    assert weights is not None
    depthwise = node.op.mnemonic == "depthwise_conv_2d"
    slow = without_columns(node.op.window, t.type("x").shape, weights.shape[3]) if depthwise else ""  # type: ignore[attr-defined]
    if depthwise and weights.min() < -127:
        return node, [], slow or "a weight is -128"
    sums = weights.astype(np.int64).sum(tuple(range(weights.ndim - 1)) if depthwise else tuple(range(1, weights.ndim)))
    data = (-t.type("x").zero_point * sums).astype(np.int32)
    value = Value(f"{node.name}.{OPERAND}", TensorType(data.shape, "int32"), "constant", data)
    return replace(node, inputs={**node.inputs, OPERAND: value.name}), [value], slow


def without_columns(window: Window, x: tuple[int, ...], outputs: int) -> str:
    """Why a depthwise layer is not taken one channel at a time, "" where it is; x: shape of its input."""
    (height, width), (stride, dilation) = window.kernel, (window.stride, window.dilation)
    image = x[1:3]
    if x[2] == 1 and window.output(*image)[1] == 1:  # a column of pixels is taken as a row
        height, width, stride, dilation, image = width, height, stride[::-1], dilation[::-1], image[::-1]
    if dilation[1] > 1 and stride[1] > 1:
        return "a dilated window with a stride"
    if height * width > MOST_TAPS:
        return f"a window of more than {MOST_TAPS} values"
    if height * width * outputs > OFFSETS or ((height - 1) * dilation[0] + 1) * image[1] * x[3] > OFFSETS:
        return f"its weights, or the rows under a window, take more than {OFFSETS:,} bytes"
    return ""


def offset_sums_field(t: NodeTypes, n: Names) -> dict[str, Field]:
    """The member of the parameter struct, where the node has the table."""
    return {OPERAND: Argument(n.inputs[OPERAND])} if t.has(OPERAND) else {}
