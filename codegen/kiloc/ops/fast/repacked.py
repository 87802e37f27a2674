"""The gradient of a packed layer to its input whose transposed weights are made from inference's, in front of each call.

They lie in the scratch of the call, behind its own, so that there is one copy of the weights in flash. Making them takes about two instructions a
weight, and the product as many as with a copy. Where the arena has room for those of some input channels alone, the others have a copy in flash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...ir.graph import Node, Value
from ...ir.kernel_call import Argument, Field, KernelCall, Made, Member
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.types import TensorType
from .._window import Window
from ..backward.input_gradient import LinearInputGradient
from . import _packing as packing
from .packed_input_gradient import LORA, SHIFTS, UNCALIBRATED, PackedInputGradient, packed_input_gradient, transposed_stream
from .shared_input_gradient import stream_of_layer, stream_step, weights_of

ALIGNMENT = 4


@register
@dataclass(frozen=True)
class RepackStream(Op):
    """stream int32 [words], of a `PackedLinear` -> that of a `PackedInputGradient`. weights: their type; step: words from four output channels to
    the next four; first: input channels whose weights are made, of a 1x1 window; 0: all."""

    mnemonic: ClassVar[str] = "repack_stream"
    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("stream",)

    weights: TensorType = field(default_factory=lambda: TensorType((1, 1), "int8"))
    window: Window = Window((1, 1))
    step: int = 2
    first: int = 0

    @property
    def depth(self) -> int:
        """Input channels."""
        return self.weights.size // self.weights.shape[0] // (self.window.kernel[0] * self.window.kernel[1])

    @property
    def made(self) -> int:
        """Weights that a call makes."""
        return self.weights.size * (self.first or self.depth) // self.depth

    def transposed(self, weights: Array) -> Array:
        shaped = weights.astype(np.int64).reshape(self.weights.shape[0], *self.window.kernel, self.depth)
        return transposed_stream(shaped[..., : self.first or self.depth], self.window)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return (TensorType(self.transposed(np.zeros(self.weights.shape)).shape, "int32"),)

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        return (self.transposed(weights_of(e.array("stream"), self.step, self.window, self.weights)),)

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        fields: dict[str, Field] = {
            "stream": Argument(n.inputs["stream"]),
            "step": self.step,
            "kernel": self.window.kernel,
            "stride": self.window.stride,
            "channels": self.weights.shape[0],
            "depth": self.first or self.depth,
        }
        made = tuple(Argument(o) for o in n.outputs)
        symbol = "kt_repack_pointwise" if self.window.pointwise else "kt_repack_stream"
        return KernelCall(symbol, "kt_repacking_params", fields, made, source="kernels/packed_convolution/repack_stream.c")


@register
@dataclass(frozen=True)
class RepackedInputGradient(Op):
    """operator: what computes the gradient, from the stream that `making` makes of `stream`, the layer's own."""

    mnemonic: ClassVar[str] = "repacked_input_gradient"
    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("g", "stream")
    optional: ClassVar[tuple[str, ...]] = ("rest", *LORA)

    operator: PackedInputGradient = field(default_factory=PackedInputGradient)
    making: RepackStream = field(default_factory=RepackStream)

    @property
    def layer(self) -> object:
        """The gradient that the operator stands for."""
        return self.operator.layer

    def made(self, t: NodeTypes) -> TensorType:
        return self.making.infer(t)[0]

    def plain(self, t: NodeTypes) -> NodeTypes:
        """Types as the operator sees them."""
        return NodeTypes({**t.operands, "stream": self.made(t)}, t.results)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...]:
        return self.operator.infer(self.plain(t))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        (made,) = self.making.evaluate(Environment({"stream": e.type("stream")}, (), {"stream": e.array("stream")}))
        return self.operator.evaluate(Environment(self.plain(e).operands, e.results, {**dict(e.arrays), "stream": made}))

    def macs(self, t: NodeTypes) -> int:
        return self.operator.macs(self.plain(t))

    def reach(self, t: NodeTypes) -> tuple[str, Reach]:
        return self.operator.reach(self.plain(t))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        made = self.made(t)
        call = self.operator.kernel_call(self.plain(t), n)
        making = self.making.kernel_call(t, Names(n.inputs, ()))
        at = -(-call.scratch // ALIGNMENT) * ALIGNMENT
        member = Member("stream", made.dtype, made.size, at)
        return replace(call, fields={**call.fields, "stream": "NULL"}, scratch=at + made.bytes, made=Made(making, (member,)))


def first_channels(layer: LinearInputGradient) -> list[int]:
    """Of how many input channels weights may be made while the others have a copy, most first; none where the product gives no results."""
    if not layer.window.pointwise or layer.shift not in (UNCALIBRATED, *SHIFTS):
        return []
    quarters = [layer.x_image[2] * quarter // 4 // packing.QUAD * packing.QUAD for quarter in (3, 2, 1)]
    return [first for first in dict.fromkeys(quarters) if first > 0]


def repacked_input_gradient(
    first: int, node: Node, t: NodeTypes, values: Mapping[str, Value], forward: tuple[Node, Value] | None
) -> tuple[Node, list[Value], str]:
    """The node that stands for a gradient, and the constants that it reads, of which one is the layer's. Raises NotProved.

    first: input channels whose weights are made, of `first_channels`; 0: all.
    forward: the layer with its kernel, and the stream of this; None where it has none.
    """
    stream = stream_of_layer(node, forward)
    try:  # in less scratch where the panel may lie on the stack
        found, copies, _ = packed_input_gradient(node, t, values, on_stack=True)
    except packing.NotProved:
        found, copies, _ = packed_input_gradient(node, t, values)
    operator = found.op
    assert isinstance(operator, PackedInputGradient)
    step = stream_step(operator.layer, stream)
    op = RepackedInputGradient(replace(operator, first=first), RepackStream(operator.weights, operator.layer.window, step, first))
    inputs, constants = {**{o: v for o, v in node.inputs.items() if o != "weights"}, "stream": stream.name}, [stream]
    if first:
        constants.append(_behind(copies[0], first, operator.layer.x_image[2]))
        inputs["rest"] = constants[-1].name
    return replace(node, op=op, inputs=inputs), constants, ""


def _behind(copy: Value, first: int, depth: int) -> Value:
    """The words of a transposed stream of a 1x1 window from an input channel on."""
    assert copy.data is not None
    words = np.asarray(copy.data)[copy.type.size * first // depth :]
    return replace(copy, name=f"{copy.name}.from_{first}", type=TensorType(words.shape, "int32"), data=words)
