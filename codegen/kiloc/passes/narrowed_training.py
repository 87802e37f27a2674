"""Training on fewer channels: a layer computes, forwards and backwards, without channels that are constant and that training cannot move.

What is proved, for a graph with methods attached and no gradients yet:

- A channel whose results the layer's clamp holds at an end for every input has no gradient (`ops/backward/gradient_mask.py`), so its bias, its
  gain and its row of LoRA's B keep what an update leaves to a gradient of 0: everything but a bias under weight decay, and that only on its way
  to 0 (`channel_bounds.py`). No optimizer moves without a gradient: moments start at 0 and stay, a rounding, stochastic or not, leaves 0.
- What reads the channel, as a constant at its zero point, gets nothing of it, also no gradient: LoRA's A has no column for it. A frozen layer takes
  another constant into its bias.
- A channel that nothing reads has a gradient of 0 on the way to everything, so it goes whatever is trained about it.
- What channels share stays: the largest scale of a layer's weights, to which gradients to its input are relative; shifts and pre-scales are those
  of the whole graph.

State, adapters and updates have all channels, of which a step takes some (`ops/paging/some_channels.py`): no random number, no norm and no layout
is another one. Values from elsewhere may break what was proved, so `limits` says what they have to keep, and what loads them checks it.

All channels stay where a layer has a delta or a bottleneck adapter, at a single position (a fully connected layer, whose updates need no gradient
in memory), and in layers that a loss reads, which are not masked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..autodiff import differentiate
from ..ir.graph import Graph, Node, Parameter, Value
from ..ir.verify import node_types
from ..ops.backward.clear_gradient import ClearGradient
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.lora import LoRADown
from ..ops.paging.some_channels import AddChannels, TakeChannels
from ..optim import with_storage
from ..options import Options
from .channel_bounds import Bounds, bias_limits, channel_bounds, clamp_of, is_narrowable, read_by_a_loss
from .constant_channels import Mask, needed_channels, on_fewer_channels, some_channels, source_channels
from .schedule import remember, schedule
from .slices import prune

CALIBRATED = ("shift", "prescale_shift")
"""Fields of backward operators that depend on all channels."""


@dataclass(frozen=True)
class Limits:
    """What values of a trained tensor have to keep for the removed channels to stay what they are.

    channels: ascending. limit: of a bias, for each channel the greatest where its result stays at the lower end (`at_low`), else the least;
    empty: of codes, which have to be 0 in these channels.
    """

    value: str
    layer: str
    channels: tuple[int, ...]
    limit: tuple[int, ...] = ()
    at_low: tuple[bool, ...] = ()


@dataclass(frozen=True)
class NarrowedTraining:
    """graph: forward, and where it trains with gradients and updates, on fewer channels. limits: on values from elsewhere."""

    graph: Graph
    limits: tuple[Limits, ...]

    def through(self, change: Callable[[Graph], Graph]) -> NarrowedTraining:
        """The same of a graph that is changed."""
        return replace(self, graph=change(self.graph))


def why_channels_stay(options: Options) -> str:
    """Why a build computes with all channels of what is trained; "" where it need not."""
    if options.constant_channels == "frozen":
        return 'constant_channels="frozen"'
    if options.shard is not None:
        return "sums of gradients come from other devices"
    if options.adapters.private_updates:
        return "private updates carry noise in every channel"
    if options.moments:
        return "moments are of every channel"
    return "inference takes one position a call" if options.by_position else ""


def narrowed_training(attached: Graph, calibrated: Graph, options: Options) -> NarrowedTraining | None:
    """The training of a graph on fewer channels than where only what no training reaches has fewer; None where there are no fewer.

    attached: with methods. calibrated: the same with gradients and their shifts, or where adapters alone are taken, as it is.
    """
    if why_channels_stay(options):
        return None
    bounds = channel_bounds(attached, options.train and options.optimizer.weight_decay > 0)
    active = _active(attached)
    kept = needed_channels(attached, bounds, _quiet(attached, bounds, active), _largest_scales(attached, active))
    if all(mask.all() for mask in kept.values()):
        return None
    usual = needed_channels(attached, channel_bounds(attached))
    if all((usual[v] <= mask).all() for v, mask in kept.items()):
        return None
    some = _trained_channels(attached, kept)
    narrow = on_fewer_channels(attached, bounds, kept)
    taken = {r: c for p in narrow.parameters if p.values["value"] in some for r, c in _taken(p, some).items()}
    narrow = narrow.with_values(some_channels(narrow.values[v], c.mask, c.axis) for v, c in taken.items())
    if options.train:
        unpaged = replace(options, offload="none")  # its moments are those of the whole graph
        narrow = prune(differentiate(remember(with_storage(narrow, options.storage), unpaged), options.loss))
        narrow = _calibrated(narrow, calibrated)
    narrow = _on_whole_state(narrow, calibrated, some)
    limits = tuple(limit for node in attached.phase("forward") for limit in _limits(attached, node, bounds))
    return NarrowedTraining(schedule(narrow, options, calibrated) if options.train else narrow, limits)


# -- what can go --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Channels:
    """Of a trained tensor, along an axis those that are computed with."""

    axis: int
    mask: Mask


def _active(graph: Graph) -> set[str]:
    """Values that something trained comes before: a gradient reaches them."""
    found: set[str] = set()
    for node in graph.phase("forward"):
        if any(v in found or graph.values[v].is_state for v in node.inputs.values()):
            found.update(node.outputs)
    return found


def _largest_scales(graph: Graph, active: Collection[str]) -> Iterator[tuple[str, int]]:
    """Of layers with a gradient to their input, which is relative to the largest scale of their weights, the channel that has it."""
    for node in graph.phase("forward"):
        if isinstance(node.op, Linear | DepthwiseConv2D) and node.inputs["x"] in active:
            channel = int(np.argmax(graph.type(node.inputs["weights"]).channel_scales))
            if channel < graph.type(node.outputs[0]).shape[-1] and len(set(graph.type(node.inputs["weights"]).channel_scales)) > 1:
                yield node.outputs[0], channel


def _quiet(graph: Graph, bounds: Mapping[str, Bounds], active: Collection[str]) -> dict[str, Mask]:
    """Channels whose gradient changes nothing, whatever it is: none reaches them, or the clamp of their layer masks it."""
    unmasked = read_by_a_loss(graph)
    quiet = {name: np.full(len(b.low), name not in active) for name, b in bounds.items()}
    for node in graph.phase("forward"):
        for y in (v for v in node.outputs if v in active and v in bounds):
            if isinstance(node.op, Linear | DepthwiseConv2D):
                low, high = clamp_of(graph, node)
                by_clamp = bounds[y].constant & ((bounds[y].low == low) | (bounds[y].low == high))
                quiet[y] = by_clamp & (y not in unmasked)
                continue
            source = source_channels(graph, node)
            operands = [v for o, v in node.inputs.items() if o in ("x", "other")]
            if source is not None and all(v in quiet for v in operands):
                quiet[y] = np.asarray(np.logical_and.reduce([quiet[v][source] for v in operands]))
    return quiet


def _trained_channels(graph: Graph, kept: Mapping[str, Mask]) -> dict[str, _Channels]:
    """Trained tensors of which not all channels are computed with."""
    found: dict[str, _Channels] = {}
    for node in graph.phase("forward"):
        if isinstance(node.op, LoRADown):
            x = kept[node.inputs["x"]]
            depth = graph.type(node.inputs["lora_a"]).shape[1]
            found[node.inputs["lora_a"]] = _Channels(1, np.tile(x, depth // len(x)) if depth % len(x) == 0 else np.ones(depth, bool))
        elif is_narrowable(graph, node):
            for operand in ("bias", "gain", "lora_b"):
                if operand in node.inputs and graph.values[node.inputs[operand]].is_state:
                    found[node.inputs[operand]] = _Channels(0, kept[node.outputs[0]])
    return {v: c for v, c in found.items() if not c.mask.all()}


def _taken(p: Parameter, some: Mapping[str, _Channels]) -> dict[str, _Channels]:
    """The values of a parameter that have its channels."""
    return {p.values[role]: some[p.values["value"]] for role in ("value", "remainder") if role in p.values}


def _limits(graph: Graph, node: Node, bounds: Mapping[str, Bounds]) -> list[Limits]:
    if not is_narrowable(graph, node):
        return []
    still, x = bounds[node.outputs[0]], bounds[node.inputs["x"]]
    channels = tuple(int(c) for c in np.flatnonzero(still.constant))
    if not channels:
        return []
    found = [Limits(node.inputs[o], node.name, channels) for o in ("gain", "lora_b") if o in node.inputs]
    if graph.values[node.inputs["bias"]].is_state:
        limit, low = bias_limits(graph, node, x, still), clamp_of(graph, node)[0]
        at_low = tuple(bool(still.low[c] == low) for c in channels)
        found.append(Limits(node.inputs["bias"], node.name, channels, tuple(int(limit[c]) for c in channels), at_low))
    return found


# -- the graph on them --------------------------------------------------------------------------------
def _calibrated(narrow: Graph, like: Graph) -> Graph:
    """The graph with the shifts of another that has all channels."""
    values, nodes, named = dict(narrow.values), list[Node](), {n.name: n for n in like.nodes}
    for node in narrow.nodes:
        if node.phase == "backward":
            other = named[node.name].op
            assert type(other) is type(node.op), node.name
            node = replace(node, op=replace(node.op, **{f: getattr(other, f) for f in CALIBRATED if hasattr(other, f)}))
            for name, type_ in zip(node.outputs, node.op.infer(node_types(replace(narrow, values=values), node)) or (), strict=True):
                values[name] = replace(values[name], type=type_)
        nodes.append(node)
    return replace(narrow, values=values, nodes=tuple(nodes))


def _on_whole_state(narrow: Graph, whole: Graph, some: Mapping[str, _Channels]) -> Graph:
    """The graph with whole trained tensors, of which each phase takes the channels that it reads, and with whole gradients."""
    state = {v.name: v for v in whole.values.values() if v.is_state}
    widened = [p for p in whole.parameters if p.values["value"] in some]
    gradients = {p.values["accumulator"]: p for p in widened if "accumulator" in p.values}
    values = {**narrow.values, **state, **{v: whole.values[v] for v in gradients}}
    nodes: list[Node] = []
    taken: dict[tuple[str, str], str] = {}

    def take(name: str, phase: str) -> str:
        if (name, phase) not in taken:
            part, c = f"{name}.kept" if phase == "forward" else f"{name}.kept.{phase}", some[name]
            op = TakeChannels(c.axis, len(c.mask), tuple(int(i) for i in np.flatnonzero(c.mask)))
            values[part] = Value(part, replace(narrow.type(name), quantization=None), "activation" if phase == "forward" else "gradient")
            nodes.append(Node(part, op, {"x": name}, (part,), phase=phase))
            taken[name, phase] = part
        return taken[name, phase]

    for node in narrow.nodes:
        inputs = {o: take(v, node.phase) if v in some else v for o, v in node.inputs.items()}
        changed = next((v for v in (*node.outputs, *node.updates) if v in gradients), None)
        if changed is None:
            nodes.append(replace(node, inputs=inputs))
            continue
        p, part = gradients[changed], f"{changed}.kept"
        values[part] = Value(part, narrow.type(changed), "gradient")
        if changed in node.outputs:
            nodes.append(replace(node, name=f"{p.name}.kept.clear", outputs=(part,)))
            continue
        if state.get(changed) is not None:
            nodes.append(Node(f"{p.name}.kept.clear", ClearGradient(values[part].type.shape), {}, (part,), phase="backward"))
        inputs = {o: part if v == changed else v for o, v in inputs.items()}
        nodes.append(replace(node, name=f"{p.name}.kept.gradient", inputs=inputs, updates=(part,)))
        if changed not in state:
            nodes.append(Node(f"{p.name}.clear", ClearGradient(values[changed].type.shape), {}, (changed,), phase="backward"))
        c = some[p.values["value"]]
        op_add = AddChannels(c.axis, len(c.mask), tuple(int(i) for i in np.flatnonzero(c.mask)))
        nodes.append(Node(f"{p.name}.gradient", op_add, {"part": part, "accumulator": changed}, (), (changed,), "backward"))
    return replace(narrow, values=values, nodes=tuple(nodes), parameters=whole.parameters)
