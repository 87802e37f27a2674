"""The gradient of a depthwise layer to its input with its constants packed for the fast kernels: those that the layer itself reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Scratch, Table
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.types import TensorType
from .._gain import GAIN_OPERANDS
from .._merged import MERGED
from ..model.depthwise_conv_2d import DepthwiseInputGradient
from . import _packing as packing
from .packed_depthwise import COLUMN_PAIR, PackedDepthwise, banded_stream, banded_weights

SHIFTS = range(2, 32)
"""Of the sums, that the kernel can do."""

BAND_ROWS = (4, 2)


@register
@dataclass(frozen=True)
class PackedDepthwiseInputGradient(Op):
    """stream: int32 [channels, 6]. layer: the operator that this stands for, weights its weights' type. rows: of a band."""

    mnemonic: ClassVar[str] = "packed_depthwise_input_gradient"
    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("g", "stream")
    optional: ClassVar[tuple[str, ...]] = GAIN_OPERANDS
    in_place: ClassVar[str | None] = "g"

    layer: DepthwiseInputGradient = field(default_factory=DepthwiseInputGradient)
    weights: TensorType = field(default_factory=lambda: TensorType((1, 1, 1, 1), "int8"))
    rows: int = BAND_ROWS[0]

    def plain(self, t: NodeTypes) -> NodeTypes:
        """Types of the operator that this stands for."""
        return NodeTypes({**{o: v for o, v in t.operands.items() if o != "stream"}, "weights": self.weights}, t.results)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return self.layer.infer(self.plain(t))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        arrays = {o: a for o, a in dict(e.arrays).items() if o != "stream"}
        weights, _ = banded_weights(e.array("stream"), self.weights.shape[3])
        arrays["weights"] = weights.astype(np.int8).T.reshape(self.weights.shape)
        return self.layer.evaluate(Environment(self.plain(e).operands, e.results, arrays))

    def macs(self, t: NodeTypes) -> int:
        return self.layer.macs(self.plain(t))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        op = self.layer
        _, _, width, channels = op.x_shape
        fields: dict[str, Field] = {
            "window": op.window.fields(op.x_shape, op.y_shape),
            "stream": Argument(n.inputs["stream"]),
            "prescale": Table("prescale", "int16_t", op.prescale(self.plain(t)).astype(np.int16)),
            "prescale_shift": op.prescale_shift,
            "shift": op.shift,
            "rows": self.rows,
        }
        gain = [Argument(n.inputs[o]) for o in GAIN_OPERANDS if t.has(o)]
        arguments: tuple[Argument | Scratch, ...] = (Argument(n.inputs["g"]), *gain, Argument(n.outputs[0]), Scratch())
        scratch = COLUMN_PAIR * (-(-width // 2) + 1) + width * channels
        symbol = f"kt_banded_depthwise_{'scaled_' if gain else ''}input_gradient_s8"
        struct = "kt_banded_depthwise_input_gradient_params"
        source = f"kernels/packed_depthwise/banded_depthwise{'_scaled' if gain else ''}.c"
        return KernelCall(symbol, struct, fields, arguments, scratch, source, ("product/band.c",))


def packed_depthwise_gradient(
    rows: int, node: Node, t: NodeTypes, values: Mapping[str, Value], forward: tuple[Node, Value] | None = None
) -> tuple[Node, list[Value], str]:
    """The node that stands for a gradient, in bands of so many rows, and the constant that it reads. Raises NotProved.

    forward: the layer with its kernel, and the stream of this; None where it has none. Without bands of its own the gradient gets a stream.
    """
    layer = node.op
    assert isinstance(layer, DepthwiseInputGradient)
    window, channels = layer.window, layer.x_shape[3]
    if window.kernel != (3, 3) or window.stride != (1, 1) or window.dilation != (1, 1) or window.pad != (1, 1, 1, 1):
        raise packing.NotProved("its window is not 3x3 with a border of 1")
    if layer.y_shape[3] != channels or channels % packing.QUAD:
        raise packing.NotProved(f"its channels are no multiple of {packing.QUAD}, or have several results")
    if layer.prescale_shift > 16:
        raise packing.NotProved(f"its gradient is scaled by a shift of {layer.prescale_shift}")
    if layer.shift not in SHIFTS:
        raise packing.NotProved(f"its sums are shifted by {layer.shift}")
    op = PackedDepthwiseInputGradient(layer, t.type("weights"), rows)
    if t.has(MERGED):
        return replace(node, op=op), [], ""
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    if forward is not None and isinstance(forward[0].op, PackedDepthwise) and forward[0].op.banded:
        value = forward[1]
    else:
        stream = banded_stream(constant.astype(np.int64).reshape(9, channels).T, np.zeros((channels, packing.EPILOGUE), np.int64))
        name = f"{node.inputs['weights']}.banded"
        value = Value(name, TensorType(stream.shape, "int32"), "constant", stream, f"{node.origin or node.name}, in bands")
    inputs = {**{o: v for o, v in node.inputs.items() if o != "weights"}, "stream": value.name}
    return replace(node, op=op, inputs=inputs), [value], ""
