"""A layer with a merged delta, or a gradient to its input, as the kernel of a plain one that reads weights made in front of it.

The kernel is that of frozen weights, chosen and proved for whatever training may make of them (`_merged.py`). What it reads in place of constants
lies in the scratch of the call, behind its own: there is no second copy of the weights in memory between calls, and nothing to keep up to date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ...ir.graph import Node, Value
from ...ir.kernel_call import Field, KernelCall, Made, Member
from ...ir.operator import Array, Environment, Names, NodeTypes, Op, register
from ...ir.reach import Reach
from ...ir.types import ELEMENT_BYTES, TensorType
from .._gain import GAIN_OPERANDS
from .._merged import MERGED_OPERANDS
from .._offset_sums import OPERAND as OFFSET_SUMS
from .._window import Window
from ..backward.input_gradient import TRANSPOSED, LinearInputGradient
from ..model._linear import Linear
from ..model.depthwise_conv_2d import DepthwiseConv2D, DepthwiseInputGradient
from .merge_weights import EPILOGUE, MergeWeights, merge_weights
from .packed import PackedLinear
from .packed_depthwise import PackedDepthwise
from .packed_depthwise_gradient import PackedDepthwiseInputGradient, is_banded
from .packed_input_gradient import PackedInputGradient
from .triple import TripleLinear
from .triple_depthwise import TripleDepthwise
from .triple_input_gradient import TripleInputGradient

ALIGNMENT = 4


@register
@dataclass(frozen=True)
class Merged(Op):
    """operator: what computes the result, of weights that `making` makes. Its operands are those of the layer, and `epilogue`."""

    mnemonic: ClassVar[str] = "merged"
    role: ClassVar[str] = "kernel"
    operands: ClassVar[tuple[str, ...]] = ("weights", *MERGED_OPERANDS[:2])
    optional: ClassVar[tuple[str, ...]] = ("x", "g", "bias", *MERGED_OPERANDS[2:], *GAIN_OPERANDS, EPILOGUE)

    operator: Op = field(default_factory=DepthwiseConv2D)
    making: MergeWeights = field(default_factory=MergeWeights)

    @property
    def layer(self) -> object:
        """The layer or gradient that the operator stands for."""
        return getattr(self.operator, "layer", self.operator)

    @property
    def window(self) -> Window | None:
        return getattr(self.layer, "window", None)

    def making_types(self, t: NodeTypes) -> NodeTypes:
        names = (*self.making.operands, *self.making.optional)
        return NodeTypes({o: v for o, v in t.operands.items() if o in names}, ())

    def made(self, t: NodeTypes) -> dict[str, TensorType]:
        """What the operator reads in place of constants: operand -> its type."""
        found = self.making.results(self.making_types(t))
        if "weights" in found:
            found["weights"] = replace(found["weights"], quantization=t.type("weights").quantization)
        return found

    def plain(self, t: NodeTypes) -> NodeTypes:
        """Types as the operator sees them."""
        held = {o: v for o, v in t.operands.items() if o not in ("weights", *MERGED_OPERANDS, EPILOGUE)}
        return NodeTypes({**held, **self.made(t)}, t.results)

    def infer(self, t: NodeTypes) -> tuple[TensorType, ...] | None:
        return self.operator.infer(self.plain(t))

    def check(self, t: NodeTypes) -> str | None:
        return self.operator.check(self.plain(t))

    def evaluate(self, e: Environment) -> tuple[Array, ...]:
        types = self.plain(e)
        making = self.making_types(e)
        made = self.making.evaluate(Environment(making.operands, (), {o: e.array(o) for o in making.operands}))
        held = {o: a for o, a in dict(e.arrays).items() if o in types.operands}
        found = dict(zip(self.made(e), made, strict=True))
        return self.operator.evaluate(Environment(types.operands, types.results, {**held, **found}))

    def macs(self, t: NodeTypes) -> int:
        return self.operator.macs(self.plain(t))

    @property
    def in_place(self) -> str | None:  # type: ignore[override]
        return self.operator.in_place

    def reach(self, t: NodeTypes) -> tuple[str, Reach] | None:
        return self.operator.reach(self.plain(t))

    def kernel_call(self, t: NodeTypes, n: Names) -> KernelCall:
        made = self.made(t)
        names = Names({**n.inputs, **{o: o for o in made}}, n.outputs)
        call = self.operator.kernel_call(self.plain(t), names)
        assert call is not None
        inner = call.fields.get("layer")  # where a kernel has its weights in an inner struct
        nested = isinstance(inner, Mapping)
        members, at = list[Member](), -(-call.scratch // ALIGNMENT) * ALIGNMENT
        for name, type_ in made.items():
            members.append(Member(f"layer.{name}" if nested else name, type_.dtype, type_.size, at))
            at += -(-type_.size * ELEMENT_BYTES[type_.dtype] // ALIGNMENT) * ALIGNMENT
        fields = {**call.fields, "layer": without(inner, made)} if isinstance(inner, Mapping) else without(call.fields, made)
        making = self.making.kernel_call(self.making_types(t), Names(n.inputs, ()))
        return replace(call, fields=fields, scratch=at, made=Made(making, tuple(members)))


def without(fields: Mapping[str, Field], made: Mapping[str, TensorType]) -> dict[str, Field]:
    """Members of a struct without the pointers to what is made."""
    assert set(made) <= set(fields), made
    return {k: "NULL" if k in made else v for k, v in fields.items()}


def layout_of(op: Op, inputs: Mapping[str, str]) -> tuple[str, int]:
    """The layout that an operator reads its weights in, and the axis of its output channels."""
    if isinstance(op, TripleLinear):
        return "triple", 0
    if isinstance(op, PackedLinear):
        return "packed", 0
    if isinstance(op, TripleInputGradient):
        return "triple_gradient", 0
    if isinstance(op, PackedInputGradient):
        return "packed_gradient", 0
    if isinstance(op, TripleDepthwise):
        return "triple_depthwise", 3
    if isinstance(op, PackedDepthwise):
        return "banded_depthwise" if op.banded else "packed_depthwise", 3
    if isinstance(op, PackedDepthwiseInputGradient):
        return "banded_gradient" if is_banded(op.layer) else "tiled_gradient", 3
    if isinstance(op, LinearInputGradient):
        return "transposed" if TRANSPOSED in inputs else "plain", 0
    if isinstance(op, DepthwiseInputGradient):
        return "plain", 3
    assert isinstance(op, Linear | DepthwiseConv2D)
    return "offsets" if OFFSET_SUMS in inputs else "plain", 0 if isinstance(op, Linear) else 3


def merged(node: Node, chosen: Node, t: NodeTypes, values: Mapping[str, Value]) -> Node:
    """The node of a layer or gradient with a merged delta, whose kernel was chosen as that of `chosen`."""
    op = chosen.op
    layer = getattr(op, "layer", op)
    layout, axis = layout_of(op, chosen.inputs)
    constant = values[node.inputs["weights"]].data
    assert constant is not None
    if isinstance(layer, Linear):
        window, depth = layer.window_of(t), layer.images(t)[0][2]
    else:
        assert isinstance(layer, LinearInputGradient | DepthwiseConv2D | DepthwiseInputGradient)
        window, depth = layer.window, layer.x_image[2] if isinstance(layer, LinearInputGradient) else 1
    zero_point = t.type("x").zero_point if t.has("x") else 0
    making = merge_weights(layout, constant, axis, window, depth, zero_point, getattr(op, "chunk", 0), isinstance(op, PackedLinear) and op.exact)
    inputs = {**node.inputs, **{o: v for o, v in chosen.inputs.items() if o == EPILOGUE}}
    return replace(node, op=Merged(op, making), inputs=inputs)
