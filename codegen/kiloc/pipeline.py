"""The stages of a compilation, in order. The only file that knows the order.

load -> simplify -> attach -> diff -> calibrate -> schedule -> reduce -> place -> emit
"""

from __future__ import annotations

import difflib
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import frontend
from .autodiff import differentiate
from .budget import advice, economical, fitted, inference, offloaded, portable, smallest, training
from .emit import ModelContext, adapter_table, build_context, render
from .emit.context import Slice, update_bytes
from .emit.state_layout import state_layout
from .errors import BudgetError, CompileError
from .ir import interp
from .ir.graph import Graph, Node
from .ir.text import print_graph
from .ir.verify import total_macs, verify
from .losses import Loss, as_loss
from .ops._linear import Linear
from .ops.input_gradient import LinearInputGradient
from .ops.lora import DownProjection
from .optim import SGD, STORAGES, Optimizer, with_accumulators, with_storage, with_updates
from .passes.calibrate import calibrate
from .passes.constant_channels import without_constant_channels
from .passes.pack_masks import pack_masks
from .passes.page_updates import page_updates
from .passes.simplify import simplify
from .passes.slices import adapted_slice, inference_slice, prune
from .passes.stream_updates import stream_updates
from .passes.update_early import update_early
from .peft import Calibration, Method, attach_all
from .plan import alignment

STATE_VERSION = 1
SAMPLES = 32
"""Calibration samples used: more change no shift (the exponents move by less than a bit)."""

PROFILES = ("tflm", "litert")
BUFFERS = ("caller", "arena")
OFFLOADS = ("none", "optimizer", "activations", "all")
BACKWARD_WEIGHTS = ("auto", "transposed", "shared")
C_HEADERS = frozenset(
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef "
    "stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype".split()
)
Dump = Callable[[str, Graph], None]


@dataclass(frozen=True)
class SlowMemory:
    """Where offloaded values lie. size: bytes, None: as many as it takes. cost: MACs of the processor in the time of a byte's way in or out."""

    size: int | None = None
    cost: float = 1.0


@dataclass(frozen=True)
class Options:
    """Everything that decides what is generated."""

    methods: tuple[Method, ...] = ()
    optimizer: Optimizer = field(default_factory=SGD)
    loss: Loss | str = "cross_entropy"
    storage: str = "block16"
    """Of trained tensors other than biases: "block16", or "block8" with stochastic rounding."""
    accumulate: int = 1
    """Samples an update. 1: each sample updates at once, part by part, and the state holds no gradients."""
    target: str = "cortex-m4"
    ram: int | None = None
    flash: int | None = None
    stack: int | None = None
    profile: str = "tflm"
    calibration: NDArray[np.int8] | tuple[NDArray[np.int8], ...] | None = None
    """Inputs of the original domain, int8 [N, ...], several in a tuple; None: random inputs, and the report says so."""
    calibration_target: NDArray[Any] | None = None
    seed: int = 0
    name: str | None = None
    buffers: str = "caller"
    """Where inputs and results lie: in buffers of the caller, or in the "arena", which the caller then writes and reads without a copy."""
    offload: str = "none"
    """What lies in slow memory: nothing, the moments of the "optimizer", which each update pages in and out again, saved "activations" where
    the arena has no room for them, or "all" of that."""
    slow: SlowMemory = field(default_factory=SlowMemory)
    speed: bool = False
    """Kernels that are faster for several times the flash."""
    backward_weights: str = "auto"
    """What gradients to inputs read: a second, "transposed" copy, or the weights of inference, "shared"; "auto": these where `sharing` names them."""
    sharing: frozenset[str] = frozenset()
    """Gradients to inputs, nodes of the training slice."""
    optimal: bool = False
    """Search for the best placement and prove how good it is."""
    train: bool = True
    """False: the methods' trained values come as adapters only; nothing is trained."""
    adapters: adapter_table.AdapterOptions = field(default_factory=adapter_table.AdapterOptions)

    @property
    def pages_moments(self) -> bool:
        return self.offload in ("optimizer", "all")

    @property
    def pages_activations(self) -> bool:
        return self.offload in ("activations", "all")


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


def load(path: str | Path) -> Graph:
    """Read a .tflite or .onnx model. Raises CompileError."""
    return simplify(verify(frontend.load(Path(path))))


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


def attach(base: Graph, methods: Sequence[Method], forward: Mapping[str, NDArray[Any]], seed: int = 0) -> Graph:
    """The graph with the trainable values of all methods. forward: activations of a few samples by value name."""
    return attach_all(base, methods, Calibration(forward, seed))


def forecast(base: Graph, options: Options, forward: Mapping[str, NDArray[Any]]) -> Forecast:
    """Plan the training of a graph that `load` gave. Raises CompileError where a method cannot train what it names.

    Of the options those count that decide what is trained and how; forward: activations of a few samples by value name.
    """
    whole = with_storage(attach(base, options.methods, forward, options.seed), options.storage)
    whole = prune(differentiate(_remembering(whole, options), options.loss))
    whole = _scheduled(whole, options.optimizer)
    reduced = without_constant_channels(whole)
    parts = [inference(reduced, options.target, options.buffers), _sharing(training(reduced, options.target, options.buffers), options)]
    infer, train = economical(parts, alignment(options.target), options.optimal, options.target, check=False)
    return Forecast(whole, infer, offloaded(train, infer.plan.arena_bytes) if options.pages_activations else train)


def compile_graph(graph: Graph, options: Options, version: str, dump: Dump | None = None) -> Compilation:
    """All stages after loading. Raises CompileError, and BudgetError where options.ram cannot be met."""
    _check_options(graph, options)

    def stage(name: str, g: Graph) -> Graph:
        if dump:
            dump(name, g)
        return verify(g)

    base = stage("simplify", _profiled(_named(graph, options), options.profile))
    whole = base
    if options.methods:
        forward, target = _calibration(base, options)
        whole = stage("attach", attach(base, options.methods, forward, options.seed))
    if options.methods and not options.train:
        whole = stage("adapted", adapted_slice(whole))
    elif options.methods:
        stored = with_storage(whole, options.storage)
        whole = _remembering(stored, options)
        options = replace(options, optimizer=options.optimizer.with_rate(whole.parameters))
        whole = differentiate(whole, options.loss)
        whole = stage("diff", prune(whole))
        inputs = {name: forward[name] for name in base.inputs}
        whole = stage("calibrate", calibrate(whole, interp.run(whole, inputs), _target_of(whole, options, target, inputs)))
        whole = stage("schedule", _scheduled(whole, options.optimizer))
    reduced = stage("reduce", without_constant_channels(whole))
    align = alignment(options.target)
    parts = [inference(reduced, options.target, options.buffers)]
    if options.methods and options.train:
        parts.append(_sharing(training(reduced, options.target, options.buffers), options))
    slices = economical(parts, align, options.optimal, options.target, _arena_budget(whole, options), speed=options.speed)
    if options.ram is not None:
        slices = _within(base, whole, slices, options)
    elif options.pages_activations:
        slices = [slices[0], offloaded(slices[1], slices[0].plan.arena_bytes)]
    infer, train = slices[0], slices[1] if len(slices) > 1 else None
    context = build_context(
        whole, infer, train,
        version=version, base_hash=_base_hash(base, whole), layout=_layout(whole, options), loss=as_loss(options.loss).name,
        methods=_described(options),
    )  # fmt: skip
    _check_slow_memory(context.page_bytes, options)
    if whole.state():
        methods = "; ".join(m.describe() for m in options.methods)
        context.adapter = adapter_table.describe(whole, methods, options.adapters)
    return Compilation(whole, reduced, base, options, infer, train, context, render(context))


# -- stages -------------------------------------------------------------------------------------------
def _remembering(graph: Graph, options: Options) -> Graph:
    return with_accumulators(graph, options.optimizer, options.seed, at_once=options.accumulate == 1, paged=options.pages_moments)


def _scheduled(graph: Graph, optimizer: Optimizer) -> Graph:
    return update_early(page_updates(stream_updates(with_updates(pack_masks(graph), optimizer))))


def _profiled(graph: Graph, profile: str) -> Graph:
    """Rounding of FULLY_CONNECTED: twice as TensorFlow Lite Micro, or once as LiteRT."""
    if profile == "tflm":
        return graph
    nodes = [replace(n, op=replace(n.op, rounding="once")) if n.op.mnemonic == "fully_connected" else n for n in graph.nodes]  # type: ignore[call-arg]
    return replace(graph, nodes=tuple(nodes))


def _sharing(part: Graph, options: Options) -> Graph:
    """The training slice with the gradients marked that share their weights with inference."""
    every = frozenset(n.name for n in part.nodes if isinstance(n.op, LinearInputGradient))
    return replace(part, shared={"auto": options.sharing, "transposed": frozenset[str](), "shared": every}[options.backward_weights])


def _named(graph: Graph, options: Options) -> Graph:
    return replace(graph, name=options.name or graph.name)


def _calibration(base: Graph, options: Options) -> tuple[dict[str, NDArray[Any]], NDArray[Any] | None]:
    """Forward activations of the calibration samples, and their targets where given."""
    rng = np.random.Generator(np.random.Philox([options.seed, 1]))
    if options.calibration is None:
        inputs = [np.clip(rng.normal(0, 42, (SAMPLES, *base.type(i).shape[1:])).round(), -128, 127).astype(np.int8) for i in base.inputs]
        return interp.run(base, dict(zip(base.inputs, inputs, strict=True))), None
    x, y = options.calibration, options.calibration_target
    arrays = x if isinstance(x, tuple) else (x,)
    if len(arrays) != len(base.inputs):
        raise CompileError("calibration", f"holds {len(arrays)} inputs, {base.name} has {len(base.inputs)}", "pass one array for each")
    count = len(arrays[0])
    for name, a in zip(base.inputs, arrays, strict=True):
        expected = base.type(name).shape[1:]
        if a.dtype != np.int8 or a.shape[1:] != expected or len(a) == 0 or len(a) != count:
            takes = f"the model takes int8 [N, {', '.join(map(str, expected))}]"
            raise CompileError("calibration", f"is {a.dtype}{a.shape}, {takes}", "pass samples of the original domain")
    if y is not None and len(y) != count:
        raise CompileError("calibration", f"{len(y)} targets for {count} samples", "pass as many targets as samples")
    chosen = rng.permutation(count)[:SAMPLES]
    given = {name: a[chosen] for name, a in zip(base.inputs, arrays, strict=True)}
    return interp.run(base, given), None if y is None else np.asarray(y)[chosen]


def _target_of(graph: Graph, options: Options, target: NDArray[Any] | None, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """What the graph's last input holds for calibration: the targets, or where the loss takes none the model's own input."""
    count = len(next(iter(inputs.values())))
    found = as_loss(options.loss).targets(graph.type(graph.node("loss").inputs["y"]), target, count)
    return inputs[graph.inputs[-1]] if found is None else found


# -- checks -------------------------------------------------------------------------------------------
def _check_options(graph: Graph, options: Options) -> None:
    name = options.name or graph.name
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise CompileError("name", f"{name!r} is not a lower-case C identifier of at most 40 characters", 'pass name="kws"')
    if name == "kt" or name.startswith("kt_"):
        raise CompileError("name", f"{name!r} begins as the runtime's own names do", f'pass name="my_{name}", for example')
    if name in C_HEADERS:
        raise CompileError("name", f"{name}.h would hide C's own header <{name}.h>", f'pass name="{name}_model", for example')
    as_loss(options.loss)
    _check_known("storage", options.storage, STORAGES, "formats")
    _check_known("profile", options.profile, PROFILES, "profiles")
    _check_known("buffers", options.buffers, BUFFERS, "places")
    _check_known("backward_weights", options.backward_weights, BACKWARD_WEIGHTS, "values")
    if options.offload in OFFLOADS[1:] and not (options.methods and options.train):
        raise CompileError(f"offload={options.offload!r}", "nothing is trained, so nothing waits for an update", "leave offload out, or train")
    check_offload(options.offload, options.optimizer)
    if options.profile == "litert" and options.methods:
        raise CompileError("profile", "training needs the tflm rounding profile", "leave profile out, or build without a method")
    if options.accumulate < 1:
        raise CompileError("accumulate", f"{options.accumulate} samples an update", "pass 1 or more")
    for node in graph.nodes:
        if isinstance(node.op, Linear) or node.op.mnemonic == "depthwise_conv_2d":
            _check_sums(graph, node.inputs["weights"], node.inputs["bias"], node.origin)


def check_offload(offload: str, optimizer: Optimizer) -> None:
    """Raises CompileError where there is nothing of that name, or nothing of it to offload."""
    _check_known("offload", offload, OFFLOADS, "values")
    if offload == "optimizer" and not optimizer.moments_per_parameter:
        where = f"offload={offload!r}"
        raise CompileError(where, f"{optimizer.name} without momentum keeps no moments", "leave offload out, or pass kt.Adam(), for example")


def _check_slow_memory(needed: int, options: Options) -> None:
    if options.slow.size is not None and needed > options.slow.size:
        what = f"{needed:,} bytes are to be offloaded, to a memory of {options.slow.size:,}"
        raise CompileError(f"offload={options.offload!r}", what, "offload less, train fewer layers, or name a larger memory")


def _check_known(option: str, value: str, known: Sequence[str], plural: str) -> None:
    if value not in known:
        near = difflib.get_close_matches(str(value), known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CompileError(f"{option}={value!r}", f"unknown {option}", f"{hint}{plural} are {', '.join(known)}")


def _check_sums(graph: Graph, weights: str, bias: str, where: str) -> None:
    """|bias| + 255 sum |w| stays in int32 for every channel, so that plain C sums cannot overflow."""
    w, b = graph.values[weights].data, graph.values[bias].data
    assert w is not None and b is not None
    magnitude = np.abs(w.astype(np.int64))
    sums = magnitude.reshape(len(b), -1).sum(1) if w.shape[0] == len(b) else magnitude.sum(tuple(range(w.ndim - 1)))
    worst = np.abs(b.astype(np.int64)) + 255 * sums
    if worst.max() >= 2**31:
        raise CompileError(where, f"the sums of channel {int(worst.argmax())} may leave int32", "export with smaller biases or fewer inputs a layer")


def _arena_budget(graph: Graph, options: Options) -> int:
    """What a budget leaves for the arena; 0 without one."""
    if options.ram is None:
        return 0
    return options.ram - (state_layout(graph).bytes + resident_bytes(graph, options) if graph.state() else 0)


def _within(base: Graph, graph: Graph, parts: list[Slice], options: Options) -> list[Slice]:
    """The slices that fit the budget, with portable kernels, layers in stripes and values computed again where they must.

    Raises BudgetError.
    """
    arena = _arena_budget(graph, options)
    if update_bytes(graph) > max(arena, 0):
        need = f"an update pages {update_bytes(graph):,} bytes of moments into the arena, for which {max(arena, 0):,} are left"
        raise BudgetError(f"ram={options.ram}", need, "leave offload out, or pass accumulate=1")
    cost = options.slow.cost if options.pages_activations else None
    for kind in (parts, [portable(part) for part in parts]):
        found = [fitted(part, arena, cost) for part in kind]
        if all(found):
            return [part for part in found if part]
    parts, state = kind, (options.ram or 0) - arena
    train = len(parts) > 1
    usual, least = (max(p.plan.arena_bytes for p in ps) + state for ps in (parts, [smallest(p, cost is not None) for p in parts]))
    what, widest = "training" if train else "inference", max(parts, key=lambda p: p.plan.arena_bytes)
    peak = widest.plan.steps[widest.plan.peak_step].name if widest.plan.steps else "no step"
    need = f"{what} needs at least {least:,} bytes ({usual:,} with nothing computed twice, peak at {peak})"
    if not train:
        raise BudgetError(f"ram={options.ram}", need, "choose a smaller model")
    forward = _calibration(base, options)[0]
    raise BudgetError(f"ram={options.ram}", need, advice(options, lambda other: forecast(base, other, forward).total_bytes, usual))


def resident_bytes(graph: Graph, options: Options) -> int:
    """Memory of the adapters that wait beside the active one."""
    return options.adapters.resident * adapter_table.slot_bytes(sum(v.type.bytes for v in state_layout(graph).adapter))


# -- identity -----------------------------------------------------------------------------------------
def _base_hash(base: Graph, whole: Graph) -> bytes:
    """8 bytes that name the frozen model and what an adapter of it holds; where the model came from does not count."""
    values = {k: replace(v, origin="") for k, v in base.values.items()}
    nodes = tuple(replace(n, origin="") for n in base.nodes)
    frozen = print_graph(replace(base, name="", origin="", notes=(), values=values, nodes=nodes))
    held = [" ".join((e.name, e.dtype, *_fixed_extents(e))) for e in adapter_table.entries_of(whole)]
    return hashlib.sha256("\n".join([frozen, *held, *_attached(base, whole)]).encode()).digest()[:8]


def _fixed_extents(entry: adapter_table.Entry) -> list[str]:
    """Rows and columns, but for a rank: an adapter of a lower one fits too."""
    axis = adapter_table.RANK_AXIS.get(entry.role) if entry.part == "value" else None
    return ["rank" if i == axis else str(n) for i, n in enumerate((entry.rows, entry.columns))]


def _without_rank(node: Node) -> Node:
    return replace(node, op=replace(node.op, u_image=(*node.op.u_image[:2], 0))) if isinstance(node.op, DownProjection) else node


def _attached(base: Graph, whole: Graph) -> list[str]:
    """What the methods added to the frozen model and an adapter relies on: constants, and the nodes that read trained values."""
    part = inference_slice(whole)
    added = {k: replace(v, origin="") for k, v in part.values.items() if v.kind == "constant" and k not in base.values}
    changed = [_without_rank(replace(n, origin="", updates=())) for n in part.nodes if n not in base.nodes]
    return [print_graph(replace(whole, name="", origin="", notes=(), inputs=(), outputs=(), parameters=(), values=added, nodes=tuple(changed)))]


def _layout(graph: Graph, options: Options) -> int:
    """Names the state's members and what they mean: another optimizer's state is refused, also where the members agree."""
    members = [f"{v.name} {v.kind} {v.type}" for v in state_layout(graph).values]
    trainer = options.optimizer.state_name if options.train else "adapters"
    return zlib.crc32("\n".join([str(STATE_VERSION), trainer, *members]).encode())


def _described(options: Options) -> str:
    parts: Sequence[str] = [m.describe() for m in options.methods]
    if not parts:
        return "inference only"
    return "; ".join([*parts, options.optimizer.describe() if options.train else "adapters only"])
