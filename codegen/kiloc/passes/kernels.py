"""Which kernel computes each node on a target: layers are packed for the fast ones where a proof holds.

Runs last, on a slice: everything before sees layers as the model has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..cores import WITHOUT_DSP, kernels_of
from ..ir.graph import Graph, Node, Value
from ..ir.operator import NodeTypes
from ..ir.verify import node_types
from ..ops._merged import MERGED
from ..ops._offset_sums import with_offset_sums
from ..ops.backward.input_gradient import LinearInputGradient, with_transposed
from ..ops.backward.parameter_gradient import WeightGradient
from ..ops.fast._packing import MEMORY, BoundedValue, NotProved
from ..ops.fast.attention_gradient import AttentionGradient
from ..ops.fast.blocked_input_gradient import blocked_input_gradient, blocks_of
from ..ops.fast.merged import Merged, merged
from ..ops.fast.packed import packed, packed_on_stack, winograd_packed, with_packed_delta
from ..ops.fast.packed_depthwise import band_rows, packed_depthwise
from ..ops.fast.packed_depthwise_gradient import band_rows as gradient_rows
from ..ops.fast.packed_depthwise_gradient import packed_depthwise_gradient, tiles_take_less
from ..ops.fast.packed_input_gradient import packed_input_gradient
from ..ops.fast.repacked import first_channels, repacked_input_gradient
from ..ops.fast.shared_input_gradient import SHARED, shared_input_gradient
from ..ops.fast.triple import FEWER_VALUES, triple, triple_on_stack
from ..ops.fast.triple_depthwise import FEWER_ROWS, triple_depthwise
from ..ops.fast.triple_down_projection import triple_down_projection
from ..ops.fast.triple_input_gradient import triple_input_gradient
from ..ops.fast.weight_gradient import MOST_INPUTS, transposed, with_border
from ..ops.model._linear import Linear
from ..ops.model.conv_2d import Conv2D
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D, DepthwiseInputGradient
from ..ops.model.lora import DownProjection
from ..ops.wide._layer import WideOp
from ..ops.wide.conv_2d import WideLinear
from .bounded_biases import bounds_of
from .recompute import AGAIN
from .stripes import STRIPE

Packer = Callable[[Node, NodeTypes, Mapping[str, Value]], tuple[Node, list[Value], str]]

Maker = Callable[[Node, NodeTypes, Mapping[str, Value], "tuple[Node, Value] | None"], tuple[Node, list[Value], str]]


@dataclass(frozen=True)
class Choice:
    """A node with its kernel, the constants that the kernel adds, and why it is not the fastest of its kind ("" where it is)."""

    node: Node
    values: tuple[Value, ...] = ()
    slow: str = ""


ENOUGH_WEIGHTS = 4096
"""Of a layer with LoRA: a smaller one does not earn a kernel for its row beside others, which need panels."""

LAVISH = -1
"""A form that is faster still for several times the flash: only where it is asked for."""


def choose(graph: Graph, node: Node, target: str, savings: Mapping[str, int] | None = None) -> Choice:
    """The kernel of one node. target "": portable; savings: of nodes, by name, how many of the fastest forms are left out, because they take
    memory, or `LAVISH`."""
    if MERGED in node.inputs and not isinstance(node.op, Merged):
        t, found = node_types(graph, node), _choose(graph, node, target, savings)
        whole = merged(node, found.node, t, graph.values)
        return Choice(whole, tuple(v for v in found.values if v.name in whole.inputs.values()), found.slow)
    return _choose(graph, node, target, savings)


def _choose(graph: Graph, node: Node, target: str, savings: Mapping[str, int] | None) -> Choice:
    """The same; of a layer with a merged delta the kernel of one with constant weights."""
    packers = _packers(node, target, graph, savings)
    if not packers:
        is_slow = isinstance(node.op, WideOp) and not isinstance(node.op, WideLinear) and kernels_of(target) in ("dsp", "mve")
        portable = kernels_of(target) == "mve" and isinstance(node.op, Linear | DepthwiseConv2D)
        return Choice(node, (), WIDE if is_slow else WITHOUT_HELIUM if portable else "")
    saving = (savings or {}).get(layer_of(node), 0)
    if saving == LAVISH:
        try:
            chosen, values, slow = winograd_packed(node, node_types(graph, node), _values(graph, node))
            return Choice(chosen, tuple(values), slow)
        except NotProved:
            saving = 0
    saving = min(saving, forms(graph, node, target) - 1)
    repacking = repacking_forms(graph, node, target)
    if saving < repacking:
        return _repacked(graph, node, target, savings, saving)
    saving -= repacking
    if saving >= len(packers):
        return (shared_on_stack(graph, node, target, savings) if node.name in graph.shared else None) or Choice(node, (), MEMORY)
    if node.name in graph.shared and MERGED not in node.inputs:
        return _shared(graph, node, target, savings, saving)
    try:
        chosen, values, slow = packers[saving](node, node_types(graph, node), _values(graph, node))
    except NotProved as reason:
        return Choice(node, (), str(reason))
    slower = saving > 0 and not getattr(chosen.op, "on_stack", False)
    return Choice(chosen, tuple(values), slow or (MEMORY if slower else ""))


def _values(graph: Graph, node: Node) -> Mapping[str, Value]:
    """Values that a node may read, with what bounds its bias and its LoRA's B."""
    found = dict[str, Value]()
    for operand in ("bias", "lora_b") if isinstance(node.op, Linear | DepthwiseConv2D) else ():
        bounds = bounds_of(graph, node.inputs[operand]) if operand in node.inputs else None
        if bounds is not None:
            read = graph.values[node.inputs[operand]]
            found[read.name] = BoundedValue(read.name, read.type, read.kind, by=bounds)
    return {**graph.values, **found} if found else graph.values


def repacking_forms(graph: Graph, node: Node, target: str) -> int:
    """How many of the first forms of a gradient make its transposed weights: all at once, and of a window of one tap a part of them at a time."""
    if node.name not in graph.repacked or not isinstance(node.op, LinearInputGradient) or MERGED in node.inputs or kernels_of(target) != "dsp":
        return 0
    return len(_makers(graph, node))


def _makers(graph: Graph, node: Node) -> list[Maker]:
    """Packers of those forms, which also take the layer as inference computes it."""
    assert isinstance(node.op, LinearInputGradient)
    repeated = node.name in graph.repeated
    blocks: list[Maker] = [partial(blocked_input_gradient, *block) for block in blocks_of(node.op, repeated) if "lora_du" not in node.inputs]
    path = "lora_du" in node.inputs
    fewer: list[Maker] = [partial(repacked_input_gradient, first) for first in first_channels(node.op) if not path]
    return [*([] if blocks and repeated else [partial(repacked_input_gradient, 0)]), *blocks, *fewer]


def _repacked(graph: Graph, node: Node, target: str, savings: Mapping[str, int] | None, form: int) -> Choice:
    """The kernel of a gradient that makes its transposed weights from what its layer reads, or where there is none the usual one."""
    try:
        forward = _packed_layer(graph, node.inputs["weights"], target, savings)
        chosen, values, slow = _makers(graph, node)[form](node, node_types(graph, node), graph.values, forward)
    except NotProved:
        usual = {**(savings or {}), layer_of(node): 0}
        return choose(replace(graph, repacked=graph.repacked - {node.name}), node, target, usual)
    return Choice(chosen, tuple(values), slow)


def _shared(graph: Graph, node: Node, target: str, savings: Mapping[str, int] | None, saving: int) -> Choice:
    """The kernel of a gradient that reads what its layer reads, or where there is none the usual one."""
    usual = replace(graph, shared=graph.shared - {node.name})
    if kernels_of(target) == "mve":
        return Choice(node, (), choose(usual, node, target).slow or SHARED)
    if kernels_of(target) in WITHOUT_DSP:  # they share always
        return choose(usual, node, target, savings)
    try:
        forward = _packed_layer(graph, node.inputs["weights"], target, savings)
        chosen, values, slow = shared_input_gradient(node, node_types(graph, node), graph.values, forward, saving > 0)
    except NotProved as reason:
        return replace(choose(usual, node, target, savings), slow=f"{TWICE}: {reason}")
    return Choice(chosen, tuple(values), slow)


def shared_on_stack(graph: Graph, node: Node, target: str, savings: Mapping[str, int] | None) -> Choice | None:
    """A gradient that reads what its layer reads in place of the portable kernel: both take no memory but the stack, and this less time. None
    where there is none."""
    if not isinstance(node.op, LinearInputGradient) or MERGED in node.inputs or kernels_of(target) != "dsp":
        return None
    try:
        forward = _packed_layer(graph, node.inputs["weights"], target, savings)
        chosen, values, _ = shared_input_gradient(node, node_types(graph, node), graph.values, forward, on_stack=True)
    except NotProved:
        return None
    return Choice(chosen, tuple(values), MEMORY)


def _packed_layer(graph: Graph, weights: str, target: str, savings: Mapping[str, int] | None) -> tuple[Node, Value] | None:
    """The layer with these weights as inference computes it, and the stream that it reads; None where it reads none."""
    for layer in graph.nodes:
        if isinstance(layer.op, Linear | DepthwiseConv2D) and layer.inputs["weights"] == weights:
            choice = _choose(graph, layer, target, savings)
            if MERGED in layer.inputs:
                return choice.node, graph.values[weights]
            return next(((choice.node, v) for v in choice.values if v.name == choice.node.inputs.get("stream")), None)
    return None


def _through_stream(
    graph: Graph | None, target: str, savings: Mapping[str, int] | None, node: Node, t: NodeTypes, values: Mapping[str, Value]
) -> tuple[Node, list[Value], str]:
    """A packer of the gradient that reads what its layer reads."""
    assert graph is not None
    return triple_input_gradient(node, t, _packed_layer(graph, node.inputs["weights"], target, savings))


def _in_bands(
    rows: int, graph: Graph | None, target: str, savings: Mapping[str, int] | None, node: Node, t: NodeTypes, values: Mapping[str, Value]
) -> tuple[Node, list[Value], str]:
    """A packer of a depthwise gradient that reads what its layer reads."""
    assert graph is not None
    return packed_depthwise_gradient(rows, node, t, values, _packed_layer(graph, node.inputs["weights"], target, savings))


def second_copy(graph: Graph, node: Node, target: str, savings: Mapping[str, int] | None = None) -> int:
    """Bytes of flash that a gradient to an input takes for weights of its own, and could share with inference."""
    if not isinstance(node.op, LinearInputGradient) or MERGED in node.inputs:
        return 0
    alone = choose(replace(graph, shared=frozenset[str]()), node, target, savings)
    sharing = replace(graph, shared=frozenset({node.name}), repacked=graph.repacked - {node.name})
    shared = choose(sharing, node, target, {**(savings or {}), layer_of(node): 0})
    constants = {**graph.values, **{v.name: v for v in alone.values}}
    names = set(alone.node.inputs.values()) - set(shared.node.inputs.values())
    return sum(constants[name].type.bytes for name in names if constants[name].kind == "constant")


def forms(graph: Graph, node: Node, target: str) -> int:
    """How many forms a node has on a target, from the fastest to the portable one, which takes least memory. With Helium layers take none."""
    few = kernels_of(target) == "mve" and not isinstance(node.op, (AttentionGradient, WeightGradient))
    return 1 if few else len(_packers(node, target)) + 1 + repacking_forms(graph, node, target)


def spend_flash(graph: Graph, target: str) -> dict[str, int]:
    """`LAVISH` for every node that has such a form."""
    return {node.name: LAVISH for node in graph.nodes if kernels_of(target) == "dsp" and isinstance(node.op, Conv2D)}


WIDE = "of int16 activations only convolutions and fully connected layers have kernels other than portable C"
WITHOUT_HELIUM = "kernels for Helium have no form for its rounding or its trained values"
TWICE = "its weights are in flash twice"


def _packers(node: Node, target: str, graph: Graph | None = None, savings: Mapping[str, int] | None = None) -> list[Packer]:
    """The fast forms of a node, fastest first; graph: where it stands, of which some need another node."""
    linear, depthwise = isinstance(node.op, Linear), isinstance(node.op, DepthwiseConv2D)
    if isinstance(node.op, AttentionGradient):
        return [_in_one_pass]
    if kernels_of(target) in WITHOUT_DSP and linear and "delta" in node.inputs:
        return [partial(triple, 0)]
    if kernels_of(target) in WITHOUT_DSP and linear:
        return [partial(triple, 0), triple_on_stack, *(partial(triple, most) for most in FEWER_VALUES)]
    if kernels_of(target) in WITHOUT_DSP and depthwise:
        return [partial(triple_depthwise, most) for most in (0, *FEWER_ROWS)]
    if kernels_of(target) in WITHOUT_DSP and isinstance(node.op, DownProjection):
        return [triple_down_projection]
    if kernels_of(target) in WITHOUT_DSP and isinstance(node.op, DepthwiseInputGradient) and tiles_take_less(node.op, kernels_of(target)):
        return [partial(_in_bands, rows, graph, target, savings) for rows in gradient_rows(node)]
    if kernels_of(target) in WITHOUT_DSP and isinstance(node.op, LinearInputGradient):
        return [partial(_through_stream, graph, target, savings)]
    if kernels_of(target) == "dsp" and linear:
        return [with_packed_delta, packed] if "delta" in node.inputs else [partial(packed, panels=_beside_panels(graph, node)), packed_on_stack]
    if kernels_of(target) == "dsp" and depthwise:
        return [partial(packed_depthwise, rows) for rows in (*band_rows(node), 0)]
    if kernels_of(target) == "dsp" and isinstance(node.op, LinearInputGradient):
        return [packed_input_gradient, partial(packed_input_gradient, on_stack=True)]
    if kernels_of(target) == "dsp" and isinstance(node.op, DepthwiseInputGradient):
        return [partial(_in_bands, rows, graph, target, savings) for rows in gradient_rows(node)]
    if kernels_of(target) in ("dsp", "mve") and isinstance(node.op, WeightGradient) and node.op.window.kernel != (1, 1):
        return [with_border]
    if kernels_of(target) == "mve" and isinstance(node.op, WeightGradient):
        return [partial(transposed, most) for most in MOST_INPUTS]
    if kernels_of(target) == "mve" and (linear or depthwise) and not _is_portable(node):
        return [with_offset_sums]
    if kernels_of(target) == "mve" and isinstance(node.op, LinearInputGradient):
        return [with_transposed]
    return []


def _beside_panels(graph: Graph | None, node: Node) -> bool:
    """Whether a small layer with LoRA takes the kernel of panels with others that need one: for a row of its own it would save less than its code."""
    if graph is None or "lora_u" not in node.inputs or graph.type(node.inputs["weights"]).size >= ENOUGH_WEIGHTS:
        return False
    others = (n for n in graph.nodes if "lora_u" in n.inputs and isinstance(n.op, Linear))
    return any(n.op.images(node_types(graph, n))[1][:2] != (1, 1) for n in others if isinstance(n.op, Linear))


def _in_one_pass(node: Node, t: NodeTypes, values: Mapping[str, Value]) -> tuple[Node, list[Value], str]:
    """The gradient of attention in the form that takes fewer MACs and more memory."""
    assert isinstance(node.op, AttentionGradient)
    return replace(node, op=replace(node.op, passes=1)), [], ""


def _is_portable(node: Node) -> bool:
    """A layer whose kernel has no form for Helium."""
    return getattr(node.op, "rounding", "twice") != "twice"


def with_kernels(graph: Graph, target: str, saving: Mapping[str, int] | None = None) -> Graph:
    """The slice with each node's kernel chosen; constants that nothing reads any more are gone. saving: of nodes, by name."""
    nodes, added = list[Node](), dict[str, Value]()
    for node in graph.nodes:
        choice = choose(graph, node, target, saving)
        nodes.append(_with_values(choice, added))
    read = {v for n in nodes for v in n.inputs.values()}
    values = {k: v for k, v in graph.values.items() if v.kind != "constant" or k in read}
    return replace(graph, values={**values, **added}, nodes=tuple(nodes))


def layer_of(node: Node) -> str:
    """The node that this one computes again, or a stripe of."""
    return AGAIN.sub("", AGAIN.sub("", node.name).partition(STRIPE)[0])


def _with_values(choice: Choice, added: dict[str, Value]) -> Node:
    """Collects the constants of a choice: layers with the same constants share them, others get names of their own."""
    renamed = {}
    for value in choice.values:
        name = value.name
        while name in added and not np.array_equal(added[name].data, value.data):  # type: ignore[arg-type]
            name = f"{name}.{choice.node.name}"
        added.setdefault(name, replace(value, name=name))
        renamed[value.name] = name
    return replace(choice.node, inputs={o: renamed.get(v, v) for o, v in choice.node.inputs.items()})
