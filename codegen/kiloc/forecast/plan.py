"""A training planned as a build plans it, but neither calibrated nor emitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from ..autodiff import differentiate
from ..emit import build_context, entries_of, write_table
from ..emit.adapter_table import file_bytes
from ..emit.state_layout import state_layout
from ..ir.graph import Graph, Node
from ..ir.verify import node_types, total_macs
from ..lowering import choose_kernels, offload_least, order_inference, order_training, shared_for_memory, with_shared_weights
from ..ops.backward._gradient import RequantizedGradient
from ..optim import with_storage
from ..options import Options
from ..passes.constant_channels import without_constant_channels
from ..passes.narrowed_training import narrowed_training
from ..passes.schedule import remember, schedule
from ..passes.slices import prune
from ..peft import Calibration, attach_all
from ..plan import alignment
from ..plan.slice import Slice, kernel_call
from .each_node import instructions_of

TYPICAL_SHIFT = 8
"""Of the sums of gradients, before calibration chooses one: fast kernels take nearly all of those that it does."""


@dataclass(frozen=True)
class Forecast:
    """What training a set of parameters takes: the graph with its update, and the planned slices."""

    graph: Graph
    infer: Slice
    train: Slice

    @property
    def arena_bytes(self) -> int:
        return max(self.infer.plan.arena_bytes, self.train.plan.arena_bytes)

    @property
    def state_bytes(self) -> int:
        return state_layout(self.graph).bytes

    @property
    def total_bytes(self) -> int:
        return self.arena_bytes + self.state_bytes

    @property
    def macs(self) -> tuple[int, int]:
        """Of one sample: forward, backward."""
        return total_macs(self.infer.graph), total_macs(self.graph, self.graph.phase("backward"))

    def calls(self) -> Iterator[tuple[Graph, Node, str, bool]]:
        """Every kernel call of a training step, and of an update of accumulated gradients (True): where it stands, its node, its kernel; and
        what makes weights in front of one."""
        parts = [(self.train.kernels, self.train.kernels.nodes, False)]
        if not self.graph.updates_at_once:
            parts.append((self.graph, self.graph.phase("update"), True))
        for graph, nodes, updates in parts:
            for node in nodes:
                call = kernel_call(graph, node)
                if call is not None and call.made is not None:
                    yield graph, node, call.made.call.symbol, updates
                if call is not None:
                    yield graph, node, call.symbol, updates

    @property
    def adapter_bytes(self) -> int:
        """Of an adapter file with everything that was trained, a signature and a digest."""
        entries = entries_of(self.graph)
        return file_bytes(len(write_table(entries)), sum(e.bytes for e in entries))

    def constant_bytes(self) -> int:
        """Weights and tables in flash. Takes longer than the rest: it walks every kernel call."""
        return build_context(self.graph, self.infer, self.train, version="", base_hash=b"", layout=0, loss="", methods="").constant_bytes


def forecast(base: Graph, options: Options, forward: Mapping[str, NDArray[Any]]) -> Forecast:
    """Plan the training of a graph that `load` gave. Raises CompileError where a method cannot train what it names.

    Of the options those count that decide what is trained and how; forward: activations of a few samples by value name.
    """
    attached = attach_all(base, options.methods, Calibration(forward, options.seed))
    shifted = _with_typical_shifts(prune(differentiate(remember(with_storage(attached, options.storage), options), options.loss)))
    whole, narrowed = schedule(shifted, options), narrowed_training(attached, shifted, options)
    reduced = narrowed.graph if narrowed else without_constant_channels(whole)
    order = order_training(reduced, options.kernels, options.buffers, reversing=options.ram is None)
    inference, shared = order_inference(reduced, options.kernels, options.buffers), frozenset[str]()
    taken = partial(instructions_of, target=options.kernels)
    while True:
        parts = [inference, with_shared_weights(order, options, shared)]
        infer, training = choose_kernels(parts, alignment(options.target), options.optimal, options.kernels, taken, check=False)
        more = shared_for_memory(training, options)
        if more <= shared:
            break
        shared |= more
    return Forecast(whole, infer, offload_least(training, infer.plan.arena_bytes) if options.pages_activations else training)


def _with_typical_shifts(graph: Graph) -> Graph:
    """What stands for calibration, which needs samples: gradients with a shift that kernels are chosen by."""
    values, nodes = dict(graph.values), list[Node]()
    for node in graph.nodes:
        if isinstance(node.op, RequantizedGradient):
            node = replace(node, op=replace(node.op, shift=TYPICAL_SHIFT))
        if node.phase == "backward":
            for name, type_ in zip(node.outputs, node.op.infer(node_types(replace(graph, values=values), node)) or (), strict=True):
                values[name] = replace(values[name], type=type_)
        nodes.append(node)
    return replace(graph, values=values, nodes=tuple(nodes))
