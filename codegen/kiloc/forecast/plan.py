"""A training planned as a build plans it, but neither calibrated nor emitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..autodiff import differentiate
from ..emit import build_context
from ..emit.state_layout import state_layout
from ..ir.graph import Graph
from ..ir.verify import total_macs
from ..lowering import choose_kernels, offload_least, order_inference, order_training, with_shared_weights
from ..optim import with_storage
from ..options import Options
from ..passes.constant_channels import without_constant_channels
from ..passes.schedule import remember, schedule
from ..passes.slices import prune
from ..peft import Calibration, attach_all
from ..plan import alignment
from ..plan.slice import Slice


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

    def constant_bytes(self) -> int:
        """Weights and tables in flash. Takes longer than the rest: it walks every kernel call."""
        return build_context(self.graph, self.infer, self.train, version="", base_hash=b"", layout=0, loss="", methods="").constant_bytes


def forecast(base: Graph, options: Options, forward: Mapping[str, NDArray[Any]]) -> Forecast:
    """Plan the training of a graph that `load` gave. Raises CompileError where a method cannot train what it names.

    Of the options those count that decide what is trained and how; forward: activations of a few samples by value name.
    """
    whole = with_storage(attach_all(base, options.methods, Calibration(forward, options.seed)), options.storage)
    whole = schedule(prune(differentiate(remember(whole, options), options.loss)), options)
    reduced = without_constant_channels(whole)
    train = with_shared_weights(order_training(reduced, options.target, options.buffers, reversing=options.ram is None), options)
    parts = [order_inference(reduced, options.target, options.buffers), train]
    infer, training = choose_kernels(parts, alignment(options.target), options.optimal, options.target, check=False)
    return Forecast(whole, infer, offload_least(training, infer.plan.arena_bytes) if options.pages_activations else training)
