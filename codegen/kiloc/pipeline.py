"""The stages of a compilation, in order. The only file that knows the order.

load -> simplify -> attach -> diff -> calibrate -> schedule -> reduce -> order -> fit -> kernels -> place -> emit
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from . import frontend
from .autodiff import differentiate
from .continual import NewClassPlan, ReplayPlan, plan_new_classes, plan_replay
from .emit import ModelContext, adapter_table, add_slices, build_context, render
from .emit.identity import base_hash, layout
from .emit.memory import arena_budget, check_arena, check_slow_memory
from .errors import BudgetError, FlashBudgetError
from .features import with_kept
from .forecast import forecast, instructions_of, node_instructions
from .frontend.reversible import Convolution as Convolution
from .frontend.reversible import Dense as Dense
from .frontend.reversible import Reversible as Reversible
from .ir import interp
from .ir.graph import Graph
from .ir.verify import verify
from .losses import as_loss
from .lowering import (
    check_flash,
    choose_kernels,
    dearer,
    fit_all,
    fit_apart,
    offload_least,
    order_inference,
    order_training,
    repeats_for_flash,
    shared_for_flash,
    shared_for_memory,
    with_long_kernels_cut,
    with_shared_weights,
)  # fmt: skip
from .optim import with_storage
from .options import Options, check_options, check_streams
from .passes.bounded_biases import with_bounded_biases
from .passes.calibrate import calibrate
from .passes.channel_moments import with_moments
from .passes.check_sums import check_sums
from .passes.constant_channels import without_constant_channels
from .passes.frozen_front import front_length, frozen_first, handed_on
from .passes.narrowed_training import Limits, NarrowedTraining, narrowed_training
from .passes.repeat_channels import with_repeated_channels
from .passes.schedule import remember, schedule
from .passes.simplify import simplify, with_rounding
from .passes.slices import adapted_slice, prune
from .passes.stripes import STRIPE
from .passes.unmet_taps import without_unmet_taps
from .passes.whole_sequences import with_whole_sequences
from .passes.with_window import with_window
from .peft import Calibration, attach_all
from .plan import alignment
from .plan.slice import Slice, caller_buffers, update_bytes
from .samples import run_samples, targets_of

Dump = Callable[[str, Graph], None]
"""Called with the name of a stage and what it made."""


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
    limits: tuple[Limits, ...] = ()
    """On trained values from elsewhere: `passes/narrowed_training.py`."""


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
    base, whole, narrowed, options, new_classes = _trainable(graph, options, stage)
    reduced = narrowed.graph if narrowed else without_constant_channels(whole)
    reduced = stage("reduce", reduced if options.by_position else without_unmet_taps(reduced))
    parts = [stage("order.infer", order_inference(reduced, options.kernels, options.buffers, options.by_position))]
    limits = narrowed.limits if narrowed else ()
    identity = base_hash(base, whole)
    if options.by_position:  # adapters are those of the model that takes whole sequences
        whole = reduced = parts[0] = with_kept(parts[0], options.features)
    if options.methods and options.train:
        parts.append(stage("order.train", order_training(reduced, options.kernels, options.buffers, reversing=options.ram is None)))
    replay = None
    if options.replay is not None:
        parts[1] = stage("front.train", frozen_first(parts[1]))
        replay = _replay(parts[1], options)
        whole = whole.with_values(replay.values())
    whole = replace(whole, notes=tuple(dict.fromkeys(note for g in (whole, *parts) for note in g.notes)))
    shared, repeated, least = frozenset[str](), False, list[int]()
    while True:
        compilation: Compilation | None = None
        try:
            slices = _lowered(base, whole, [parts[0], *(with_shared_weights(part, options, shared, repeated) for part in parts[1:])], options)
            more = frozenset[str]().union(*(shared_for_memory(part, options) for part in slices[1:]))
            if not more <= shared:
                shared |= more
                continue
            slices = _cut(base, whole, slices, options)
            compilation = _emitted(base, whole, reduced, options, slices, version, replay, new_classes, identity, limits)
            check_flash(measure(compilation) if measure else 0, options)
        except BudgetError as error:
            if options.speed:  # the fastest kernels take more than a budget has
                options, note = replace(options, speed=False), "speed: a budget leaves no room for faster kernels"
                base, whole, reduced, *parts = (replace(g, notes=(*g.notes, note)) for g in (base, whole, reduced, *parts))
                continue
            train = compilation.train if compilation else None
            if repeats_for_flash(train, error, options):
                repeated = True
                continue
            least += [error.used] if isinstance(error, FlashBudgetError) else []
            more = shared_for_flash(train, error, options)
            if more <= shared and least and options.flash is not None:
                raise FlashBudgetError(options.flash, min(least)) from None
            if more <= shared:
                raise
            shared = more
            continue
        _dump_slices(compilation, stage)
        return compilation


# ---- Stages ----


def _staged(dump: Dump | None) -> Callable[[str, Graph], Graph]:
    """What every stage does with its graph: it is verified, and dumped where that is asked for."""

    def stage(name: str, graph: Graph) -> Graph:
        if dump:
            dump(name, graph)
        return verify(graph)

    return stage


def _trainable(
    graph: Graph, options: Options, stage: Callable[[str, Graph], Graph]
) -> tuple[Graph, Graph, NarrowedTraining | None, Options, NewClassPlan | None]:
    """The frozen model, what is made of it to train it, the same on fewer channels, the options with the rate that the optimizer takes where
    none is named, and how classes are added."""
    base = with_rounding(replace(graph, name=options.name or graph.name), options.profile)
    base = stage("simplify", base if options.by_position else with_repeated_channels(base))
    base = with_window(base, options.attention_window)
    if not options.methods:
        base = stage("keep", with_kept(base, options.features)) if options.features else base
        return base, base, None, options, None
    base = with_whole_sequences(base)
    check_streams(base, options)
    forward, target = run_samples(base, options)
    attached = whole = stage("attach", attach_all(base, options.methods, Calibration(forward, options.seed)))
    if not options.train:
        narrowed = narrowed_training(attached, attached, options)
        whole = adapted_slice(whole)
        narrowed = narrowed and narrowed.through(adapted_slice).through(partial(with_bounded_biases, whole=whole))
        return base, stage("adapted", with_bounded_biases(whole)), narrowed, options, None
    whole = remember(with_storage(whole, options.storage), options)
    options = replace(options, optimizer=options.optimizer.with_rate(whole.parameters, as_loss(options.loss).rate_share))
    whole = prune(differentiate(whole, options.loss))
    whole = stage("diff", with_moments(whole) if options.moments else whole)
    inputs = {name: forward[name] for name in (*base.inputs, *(v.name for v in base.streams()))}
    whole = stage(
        "calibrate", calibrate(whole, interp.run(whole, inputs, known=interp.Known(base, forward)), targets_of(whole, options, target, inputs))
    )
    new_classes = plan_new_classes(base, whole, forward, options.optimizer.weight_decay)
    narrowed = narrowed_training(attached, whole, options)
    narrowed = narrowed and narrowed.through(partial(with_bounded_biases, whole=attached))
    return base, stage("schedule", with_bounded_biases(schedule(whole, options))), narrowed, options, new_classes


def _lowered(base: Graph, whole: Graph, parts: Sequence[Graph], options: Options) -> list[Slice]:
    """The slices of inference and training with their kernels and plans, within the memory budget."""
    arena = arena_budget(whole, options)
    taken = partial(instructions_of, target=options.kernels)
    slices = choose_kernels(parts, alignment(options.target), options.optimal, options.kernels, taken, arena, speed=options.speed)
    if options.ram is not None:
        forward = cache(lambda: run_samples(base, options)[0])  # advice alone needs it, where the budget cannot be met
        fitted = fit_all if options.slice_instructions is None else fit_apart
        return fitted(slices, options, arena, update_bytes(whole), lambda other: forecast(base, other, forward()).total_bytes, taken)
    if options.pages_activations:
        return [slices[0], offload_least(slices[1], slices[0].plan.arena_bytes)]
    return slices


def _cut(base: Graph, whole: Graph, slices: list[Slice], options: Options) -> list[Slice]:
    """The same with kernels that are longer than a slice of a step cut by rows, where the budget has the memory for it."""
    most = options.slice_instructions
    if most is None or len(slices) < 2:
        return slices
    taken, shares = node_instructions(slices[1].kernels, options.kernels), [100, 85, 70]  # rows do not divide evenly
    found = slices
    while shares:
        part = with_long_kernels_cut(slices[1], taken, most, max(1, most * shares[0] // 100))
        if part is slices[1].graph:
            return slices
        try:
            found = _lowered(base, whole, [slices[0].graph, part], options)
        except BudgetError:  # the report lists what is longer than a slice
            return slices
        stripes = node_instructions(found[1].kernels, options.kernels)
        if dear := dearer(taken, stripes):
            taken = {name: n for name, n in taken.items() if name not in dear}
        elif all(n <= most for name, n in stripes.items() if STRIPE in name):
            break
        else:
            shares.pop(0)
    return found


def _replay(part: Graph, options: Options) -> ReplayPlan:
    """The replay buffer of a training slice in its order, whose front is frozen."""
    assert options.replay is not None
    position = front_length(part) if options.replay.keep == "latent" else 0
    caller = caller_buffers(part)
    return plan_replay(options.replay, part, handed_on(part, position, caller), options.seed, caller)


def _emitted(
    base: Graph,
    whole: Graph,
    reduced: Graph,
    options: Options,
    slices: list[Slice],
    version: str,
    replay: ReplayPlan | None,
    new_classes: NewClassPlan | None,
    identity: bytes,
    limits: tuple[Limits, ...],
) -> Compilation:
    """Everything together: the decisions of the generated code, and its text."""
    infer, train = slices[0], slices[1] if len(slices) > 1 else None
    context = build_context(
        whole, infer, train,
        version=version, base_hash=identity, layout=layout(whole, options), loss=as_loss(options.loss).name,
        methods=options.describe(), class_names=options.class_names, features=options.features,
        target=options.target, size=options.size, shard=options.shard, replay=replay, new_classes=new_classes,
    )  # fmt: skip
    if train and options.slice_instructions is not None:
        add_slices(context, whole, train, options.slice_instructions, node_instructions(train.kernels, options.kernels))
    check_slow_memory(context.page_bytes, options)
    check_arena(whole, context.arena_train if context.sliced else context.arena_infer, options)
    if whole.trained_state():
        methods = "; ".join(m.describe() for m in options.methods)
        context.adapter = adapter_table.describe(whole, methods, options.adapters, limits)
    return Compilation(whole, reduced, base, options, infer, train, context, render(context), limits)


def _dump_slices(c: Compilation, stage: Callable[[str, Graph], Graph]) -> None:
    """Verify and dump what lowering made of the slices: which values are computed again, which kernels run, where everything lies."""
    for name, part in (("infer", c.infer), ("train", c.train)):
        if part is not None:
            stage(f"fit.{name}", part.graph)
            stage(f"kernels.{name}", part.kernels)
            stage(f"place.{name}", part.placed)
