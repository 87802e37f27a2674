"""The stages of a compilation, in order. The only file that knows the order.

load -> simplify -> attach -> diff -> calibrate -> schedule -> reduce -> order -> fit -> kernels -> place -> emit
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from . import frontend
from .autodiff import differentiate
from .emit import ModelContext, adapter_table, build_context, render
from .emit.identity import base_hash, layout
from .emit.state_layout import state_layout
from .errors import BudgetError, CompileError, FlashBudgetError
from .ir import interp
from .ir.graph import Graph
from .ir.verify import total_macs, verify
from .losses import as_loss
from .lowering import choose_kernels, fit_all, offload_least, order_inference, order_training, share_weights
from .ops.backward.input_gradient import LinearInputGradient
from .optim import with_accumulators, with_storage, with_updates
from .options import Options, check_options
from .passes.calibrate import calibrate
from .passes.check_sums import check_sums
from .passes.constant_channels import without_constant_channels
from .passes.pack_masks import pack_masks
from .passes.page_updates import page_updates
from .passes.simplify import simplify
from .passes.slices import adapted_slice, prune
from .passes.stream_updates import stream_updates
from .passes.update_early import update_early
from .peft import Calibration, Method, attach_all
from .plan import alignment
from .plan.slice import Slice, update_bytes
from .samples import run_samples, targets_of

Dump = Callable[[str, Graph], None]


@dataclass(frozen=True)
class Compilation:
    """A compiled model: the graph with its slices and plans, and the text of every generated file.

    graph: with all channels of the model, what is exported and what identifies it; reduced: without the constant ones, what is emitted.
    """

    graph: Graph
    reduced: Graph
    base: Graph
    options: Options
    infer: Slice
    train: Slice | None
    context: ModelContext
    files: dict[str, str]


Measure = Callable[[Compilation], int]
"""Bytes of flash that a compilation takes, as linked, or where nothing can be linked those of its constants."""


def load(path: str | Path) -> Graph:
    """Read a .tflite or .onnx model. Raises CompileError."""
    return simplify(verify(frontend.load(Path(path))))


def compile_graph(graph: Graph, options: Options, version: str, dump: Dump | None = None, measure: Measure | None = None) -> Compilation:
    """All stages after loading. Raises CompileError, and BudgetError where options.ram or, as `measure` tells, options.flash cannot be met."""
    check_options(graph, options)
    check_sums(graph)
    stage = _staged(dump)
    base, whole, options = _trainable(graph, options, stage)
    reduced = stage("reduce", without_constant_channels(whole))
    parts = [stage("order.infer", order_inference(reduced, options.target, options.buffers))]
    if options.methods and options.train:
        parts.append(stage("order.train", order_training(reduced, options.target, options.buffers)))
    shared = frozenset[str]()
    while True:
        compilation: Compilation | None = None
        try:
            slices = _lowered(base, whole, [parts[0], *(_sharing(part, options, shared) for part in parts[1:])], options)
            compilation = _emitted(base, whole, reduced, options, slices, version)
            _check_flash(compilation, measure)
        except BudgetError as error:
            if options.speed:  # the fastest kernels take more than a budget has
                options, note = replace(options, speed=False), "speed: a budget leaves no room for faster kernels"
                base, whole, reduced, *parts = (replace(g, notes=(*g.notes, note)) for g in (base, whole, reduced, *parts))
                continue
            more = _shared_for_flash(compilation, error, options)
            if more <= shared:
                raise
            shared = more
            continue
        _dump_slices(compilation, stage)
        return compilation


# -- stages -------------------------------------------------------------------------------------------
def _staged(dump: Dump | None) -> Callable[[str, Graph], Graph]:
    """What every stage does with its graph: it is verified, and dumped where that is asked for."""

    def stage(name: str, graph: Graph) -> Graph:
        if dump:
            dump(name, graph)
        return verify(graph)

    return stage


def _trainable(graph: Graph, options: Options, stage: Callable[[str, Graph], Graph]) -> tuple[Graph, Graph, Options]:
    """The frozen model, what is made of it to train it, and the options with the rate that the optimizer takes where none is named."""
    base = stage("simplify", _profiled(replace(graph, name=options.name or graph.name), options.profile))
    if not options.methods:
        return base, base, options
    forward, target = run_samples(base, options)
    whole = stage("attach", attach(base, options.methods, forward, options.seed))
    if not options.train:
        return base, stage("adapted", adapted_slice(whole)), options
    whole = _remembering(with_storage(whole, options.storage), options)
    options = replace(options, optimizer=options.optimizer.with_rate(whole.parameters))
    whole = stage("diff", prune(differentiate(whole, options.loss)))
    inputs = {name: forward[name] for name in base.inputs}
    whole = stage("calibrate", calibrate(whole, interp.run(whole, inputs), targets_of(whole, options, target, inputs)))
    return base, stage("schedule", _scheduled(whole, options)), options


def _lowered(base: Graph, whole: Graph, parts: Sequence[Graph], options: Options) -> list[Slice]:
    """The slices of inference and training with their kernels and plans, within the memory budget."""
    arena = _arena_budget(whole, options)
    slices = choose_kernels(parts, alignment(options.target), options.optimal, options.target, arena, speed=options.speed)
    if options.ram is not None:
        forward = run_samples(base, options)[0] if options.methods else {}
        return fit_all(slices, options, arena, update_bytes(whole), lambda other: forecast(base, other, forward).total_bytes)
    if options.pages_activations:
        return [slices[0], offload_least(slices[1], slices[0].plan.arena_bytes)]
    return slices


def _emitted(base: Graph, whole: Graph, reduced: Graph, options: Options, slices: list[Slice], version: str) -> Compilation:
    infer, train = slices[0], slices[1] if len(slices) > 1 else None
    context = build_context(
        whole, infer, train,
        version=version, base_hash=base_hash(base, whole), layout=layout(whole, options), loss=as_loss(options.loss).name,
        methods=_described(options),
    )  # fmt: skip
    _check_slow_memory(context.page_bytes, options)
    if whole.state():
        methods = "; ".join(m.describe() for m in options.methods)
        context.adapter = adapter_table.describe(whole, methods, options.adapters)
    return Compilation(whole, reduced, base, options, infer, train, context, render(context))


def _dump_slices(c: Compilation, stage: Callable[[str, Graph], Graph]) -> None:
    """Verify and dump what lowering made of the slices: which values are computed again, which kernels run, where everything lies."""
    for name, part in (("infer", c.infer), ("train", c.train)):
        if part is not None:
            stage(f"fit.{name}", part.graph)
            stage(f"kernels.{name}", part.kernels)
            stage(f"place.{name}", part.placed)


def attach(base: Graph, methods: Sequence[Method], forward: Mapping[str, NDArray[Any]], seed: int = 0) -> Graph:
    """The graph with the trainable values of all methods. forward: activations of a few samples by value name."""
    return attach_all(base, methods, Calibration(forward, seed))


def _remembering(graph: Graph, options: Options) -> Graph:
    return with_accumulators(graph, options.optimizer, options.seed, at_once=options.accumulate == 1, paged=options.pages_moments)


def _scheduled(graph: Graph, options: Options) -> Graph:
    return update_early(page_updates(stream_updates(with_updates(pack_masks(graph), options.optimizer))))


def _profiled(graph: Graph, profile: str) -> Graph:
    """Rounding of FULLY_CONNECTED: twice as TensorFlow Lite Micro, or once as LiteRT."""
    if profile == "tflm":
        return graph
    nodes = [replace(n, op=replace(n.op, rounding="once")) if n.op.mnemonic == "fully_connected" else n for n in graph.nodes]  # type: ignore[call-arg]
    return replace(graph, nodes=tuple(nodes))


# -- flash --------------------------------------------------------------------------------------------
def _sharing(part: Graph, options: Options, chosen: frozenset[str]) -> Graph:
    """The training slice with the gradients marked that share their weights with inference."""
    every = frozenset(n.name for n in part.nodes if isinstance(n.op, LinearInputGradient))
    return replace(part, shared={"auto": chosen, "transposed": frozenset[str](), "shared": every}[options.backward_weights])


def _check_flash(compilation: Compilation, measure: Measure | None) -> None:
    used, budget = 0 if measure is None else measure(compilation), compilation.options.flash
    if budget is not None and used > budget:
        raise FlashBudgetError(budget, used)


def _shared_for_flash(compilation: Compilation | None, error: BudgetError, options: Options) -> frozenset[str]:
    """The gradients that have to share their weights with inference to take less flash; none where that is not asked for."""
    if compilation is None or compilation.train is None or not isinstance(error, FlashBudgetError) or options.backward_weights != "auto":
        return frozenset()
    return share_weights(compilation.train, error.excess)


# -- memory -------------------------------------------------------------------------------------------
def _arena_budget(graph: Graph, options: Options) -> int:
    """What a budget leaves for the arena; 0 without one."""
    if options.ram is None:
        return 0
    return options.ram - (state_layout(graph).bytes + resident_bytes(graph, options) if graph.state() else 0)


def resident_bytes(graph: Graph, options: Options) -> int:
    """Memory of the adapters that wait beside the active one."""
    return options.adapters.resident * adapter_table.slot_bytes(sum(v.type.bytes for v in state_layout(graph).adapter))


def _check_slow_memory(needed: int, options: Options) -> None:
    if options.slow.size is not None and needed > options.slow.size:
        what = f"{needed:,} bytes are to be offloaded, to a memory of {options.slow.size:,}"
        raise CompileError(f"offload={options.offload!r}", what, "offload less, train fewer layers, or name a larger memory")


def _described(options: Options) -> str:
    parts: Sequence[str] = [m.describe() for m in options.methods]
    if not parts:
        return "inference only"
    return "; ".join([*parts, options.optimizer.describe() if options.train else "adapters only"])


# -- forecasts ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Forecast:
    """What training a set of parameters takes, planned as a build plans it, but neither calibrated nor emitted."""

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
    whole = with_storage(attach(base, options.methods, forward, options.seed), options.storage)
    whole = _scheduled(prune(differentiate(_remembering(whole, options), options.loss)), options)
    reduced = without_constant_channels(whole)
    train = _sharing(order_training(reduced, options.target, options.buffers), options, frozenset())
    parts = [order_inference(reduced, options.target, options.buffers), train]
    infer, training = choose_kernels(parts, alignment(options.target), options.optimal, options.target, check=False)
    return Forecast(whole, infer, offload_least(training, infer.plan.arena_bytes) if options.pages_activations else training)
