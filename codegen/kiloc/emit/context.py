"""Every decision about the generated C, as plain data for the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..autodiff import LOSS_VALUE
from ..continual import NewClassPlan, ReplayPlan
from ..cores import FOLDERS, VARIANTS, WITHOUT_DSP, kernels_of, variants_of
from ..errors import CompileError
from ..features import FrontEnd
from ..ir.graph import ADAPTER_KINDS, STREAM, Graph, Value
from ..ir.kernel_call import KernelPackage
from ..ir.types import ELEMENT_BYTES, RANGES
from ..ops.backward.loss import LossOperator
from ..ops.model.embedding import token_codes
from ..optim import LEARNING_RATE, Shard, taking_steps
from ..plan.lifetimes import scratch_name
from ..plan.paging import Layout, page_layout
from ..plan.slice import Slice, caller_buffers, update_bytes
from .c_names import CTYPES, EMPTY, Code, Identifiers, c_array, c_float, c_string
from .channel_limits import CChannelLimits
from .features import CFeatures, c_features
from .model_ends import CEnd, ends, whole
from .new_classes import CNewClasses, c_new_classes
from .replay import CReplay, c_replay, front_of
from .short_loops import SHORT_BLOCKS, has_long_sums, has_rank_four
from .sliced_step import CSliced
from .sliced_step import describe as sliced_step
from .state_layout import StateLayout, is_scalar, state_layout
from .steps import CArray, CFunction, Constants, CStep, CStruct, FunctionWriter


@dataclass(frozen=True)
class CState:
    """A member of the state struct, and how a fresh state fills it."""

    name: Code
    ctype: str
    size: int
    scalar: bool
    bytes: int
    initial: Code
    """"" (zero), a literal, or the name of a constant array; where nothing is trained a literal or the elements."""
    array_initial: bool
    comment: str
    adapter: bool
    """Part of an adapter."""
    cleared: bool
    """Forgotten when an adapter is loaded: what belongs to the training before it."""


@dataclass(frozen=True)
class CAdapter:
    """The adapters that a model takes: made by `adapter_table.describe`."""

    methods: Code
    table: Code
    table_bytes: int
    comment: str
    entries: int
    layers: int
    file_bytes: int
    """The largest file: with digest and signature."""
    public_key: Code
    """Elements of the key that adapters must be signed for; "" where the origin is not checked."""
    ascending: bool
    resident: int
    slot_bytes: int
    test_inputs: Code
    test_labels: Code
    """Of the self test; "" where there is none."""
    test_samples: int
    test_permitted: int
    private: bool
    """Whether the build brings what makes updates private."""
    limits: tuple[CChannelLimits, ...] = ()


@dataclass(frozen=True)
class CTokens:
    """An input of tokens, and the lowest and the highest code that has a row of its table; others are refused."""

    name: str
    low: int
    high: int


@dataclass
class ModelContext:
    """What the templates read."""

    name: str
    prefix: str
    origin: str
    version: str
    target: str
    """The core; "" where all kernels are portable."""
    size: bool
    """Kernels are portable, and compiled for size."""
    inputs: list[tuple[str, Value]]
    outputs: list[tuple[str, Value]]
    training: bool
    adapters: bool
    """Nothing is trained, but adapters are taken: inference reads the trained values where they lie."""
    loss: str
    classes: int
    tokens: list[CTokens]
    class_names: Code
    """Elements of an array of strings; empty where nobody named them."""
    target_values: int
    target_range: tuple[str, ...]
    """Lowest and highest value of a target, as C; empty where targets are no values."""
    base_hash: list[int]
    layout: int
    arena_infer: int
    arena_train: int
    state_bytes: int
    adapter_payload: int
    methods: str
    infer: CFunction = field(default_factory=CFunction)
    train: CFunction = field(default_factory=CFunction)
    apply: CFunction = field(default_factory=CFunction)
    forward_steps: list[CStep] = field(default_factory=list)
    backward_steps: list[CStep] = field(default_factory=list)
    shard_step: CFunction | None = None
    """Of a device that holds a shard of the optimizer's state: what makes its steps; `apply` takes those of all devices."""
    """Those of `train`, up to the loss and from it."""
    arrays: list[CArray] = field(default_factory=list)
    structs: list[CStruct] = field(default_factory=list)
    state: list[CState] = field(default_factory=list)
    state_padding: int = 0
    """Bytes of it between what is kept from call to call and the values of an adapter."""
    sources: list[str] = field(default_factory=list)
    long_sums: bool = False
    """Of a build for size: `has_long_sums`."""
    headers: list[Code] = field(default_factory=list)
    """Of the kernels that are called."""
    packages: list[tuple[KernelPackage, str]] = field(default_factory=list)
    """Sources of kernels that live outside of kilotune."""
    updates_at_once: bool = False
    loss_buffer: Code = EMPTY
    """The local pointer to the loss of a sample."""
    loss_offset: int = 0
    """Where it lies in the arena of a training step."""
    infer_peak: str = ""
    train_peak: str = ""
    adapter: CAdapter | None = None
    """None where no adapter is taken."""
    page_bytes: int = 0
    """Of the values in slow memory, all together."""
    entry_bytes: int = 0
    """Of it entries of a replay buffer, at its end."""
    moment_bytes: int = 0
    """Of it moments, at its beginning, which outlive a step and start at zero."""
    unread: dict[str, list[str]] = field(default_factory=dict)
    """Parameters of "infer" and "train" that their steps do not read: inputs that only other outputs depend on."""
    offsets: dict[str, int] = field(default_factory=dict)
    """Of inputs and results in the arena; empty where they lie in the caller's buffers."""
    features: CFeatures | None = None
    """What makes the input of a recording."""
    sliced: CSliced | None = None
    """A training step that may be left after each of its steps; None: it is done in one."""
    replay: CReplay | None = None
    """The buffer of old samples."""
    new_classes: CNewClasses | None = None
    """What a class is added with."""

    @property
    def reconstructs(self) -> bool:
        """Whether its loss says how far a sample is from what it has learned: an autoencoder's."""
        return self.training and self.loss == "mse" and not self.target_values

    @property
    def checks_values(self) -> bool:
        """Whether targets are values, of which each has to be within `target_range`."""
        return self.training and bool(self.target_values) and not self.classes

    @property
    def sliced_steps(self) -> list[CStep]:
        """Those of a training step in slices, the frozen ones that a replayed step leaves out in front; numbered through."""
        front = self.replay.front.steps if self.replay else []
        return front + [s.behind(len(front)) for s in self.train.steps]

    @property
    def streams(self) -> bool:
        """Inference keeps values from call to call."""
        return any(s.comment == STREAM for s in self.state)

    @property
    def held_state(self) -> list[CState]:
        """The state but for what inference keeps."""
        return [s for s in self.state if s.comment != STREAM]

    @property
    def kept_state(self) -> list[CState]:
        return [s for s in self.state if s.comment == STREAM]

    @property
    def target_macro(self) -> str:
        """What `kt/target.h` defines."""
        return f"KT_TARGET_{self.target.upper().replace('-', '_')}" if self.target else ""

    @property
    def absent_kernels(self) -> tuple[str, ...]:
        """Instructions for which the build has no sources, since its core lacks them."""
        folders = FOLDERS if kernels_of(self.target) in WITHOUT_DSP else VARIANTS["mve"]
        return tuple(name for name in folders if name not in self.variants)

    @property
    def variants(self) -> tuple[str, ...]:
        """Folders of kernels for the core's instructions of which the build has sources beside the portable ones."""
        return () if self.size else variants_of(self.target)

    @property
    def packed(self) -> bool:
        """Constants are in the order of kernels that need the DSP extension."""
        return "dsp" in self.variants and any(source.startswith("product/") for source in self.sources)

    @property
    def rank_four(self) -> bool:
        """Whether packed layers have LoRA, all of rank 4, and gradients no trained path of more rows; in a build for size whether all LoRA has."""
        if self.size:
            return has_rank_four(self.structs)
        ranks = {f.text for s in self.structs if s.type == "kt_packed_lora_params" for f in s.fields if f.name == "rank"}
        rows = {f.text for s in self.structs if s.type == "kt_packed_path_input_gradient_params" for f in s.fields if f.name == "path_channels"}
        return self.packed and ranks == {"4"} and rows <= {"4"}

    @property
    def constant_bytes(self) -> int:
        return sum(a.bytes for a in self.arrays) + (self.features.plan.constant_bytes if self.features else 0)

    @property
    def offset_type(self) -> Code:
        """The smallest C type that holds an offset in the state."""
        return Code("uint16_t" if self.state_bytes <= 0xFFFF else "uint32_t")

    @property
    def pages_in_step(self) -> bool:
        """Whether a training step reads slow memory."""
        return self.page_bytes - self.entry_bytes > self.moment_bytes or (self.moment_bytes > 0 and self.updates_at_once)

    @property
    def pages_in_apply(self) -> bool:
        """Whether an update behind it does."""
        return self.moment_bytes > 0 and not self.updates_at_once

    @property
    def input_parameters(self) -> Code:
        """Of a C function that reads the inputs, behind the model: arrays with their sizes, which compilers hold against what is passed."""
        return Code("" if self.offsets else "".join(f", const {self._array(name, v)}" for name, v in self.inputs))

    @property
    def input_arguments(self) -> Code:
        """What is passed for `input_parameters`."""
        return Code("" if self.offsets else "".join(f", {name}" for name, _ in self.inputs))

    @property
    def output_parameters(self) -> Code:
        """Of one that writes the results, behind the inputs."""
        return Code("" if self.offsets else "".join(f", {self._array(name, v)}" for name, v in self.outputs))

    def _array(self, name: str, value: Value) -> str:
        width = ELEMENT_BYTES[value.type.dtype]
        return f"{CTYPES[value.type.dtype]} {name}[{self.prefix}_{name.upper()}_BYTES{f' / {width}' if width > 1 else ''}]"

    @property
    def input_ends(self) -> list[CEnd]:
        return ends(self.inputs)

    @property
    def output_ends(self) -> list[CEnd]:
        return ends(self.outputs)

    @property
    def input_bytes(self) -> int:
        """Of all inputs in one buffer, as the table of kt/model.h has them."""
        return whole(self.input_ends)

    @property
    def output_bytes(self) -> int:
        return whole(self.output_ends)


def build_context(
    graph: Graph, infer: Slice, train: Slice | None, *, version: str, base_hash: bytes, layout: int, loss: str, methods: str,
    class_names: Sequence[str] = (), features: FrontEnd | None = None, target: str | None = None, size: bool = False,
    replay: ReplayPlan | None = None, new_classes: NewClassPlan | None = None, shard: Shard | None = None,
) -> ModelContext:  # fmt: skip
    """All that the templates need. `graph` is the whole calibrated graph; infer and train are its planned slices."""
    identifiers = [i for i in infer.graph.inputs]
    outputs = infer.graph.outputs
    layout_of_state = state_layout(graph)
    reads = graph.node("loss").inputs if train else {}
    context = ModelContext(
        name=graph.name,
        prefix=graph.name.upper(),
        origin=graph.origin,
        version=version,
        target=infer.target if target is None else target,
        size=size,
        inputs=[("input" if i == 0 else f"input_{i + 1}", graph.values[n]) for i, n in enumerate(identifiers)],
        outputs=[("output" if i == 0 else f"output_{i + 1}", graph.values[n]) for i, n in enumerate(outputs)],
        training=train is not None,
        adapters=train is None and bool(graph.trained_state()),
        loss=loss if train else "",
        classes=graph.type(reads["y"]).size if "label" in reads else 0,
        tokens=_tokens(graph, identifiers),
        class_names=_class_names(class_names, graph.type(outputs[0]).size),
        target_values=graph.type(reads["y"]).size if "target" in reads else 0,
        target_range=_target_range(graph) if "target" in reads else (),
        base_hash=list(base_hash),
        layout=layout,
        arena_infer=infer.plan.arena_bytes,
        arena_train=max(train.plan.arena_bytes, infer.plan.arena_bytes, update_bytes(graph)) if train else 0,
        state_bytes=layout_of_state.bytes if graph.state() else 0,
        adapter_payload=sum(v.type.bytes for v in layout_of_state.adapter),
        methods=methods,
    )
    planned = [v for part in (infer, train) if part for v in part.kernels.values.values()]
    constants = Constants(graph.with_values(planned), Identifiers(graph.name))
    slow = page_layout(constants.graph)
    context.page_bytes, context.moment_bytes = slow.bytes, slow.moments
    _add_inference(context, infer, constants, slow)
    if infer.graph.buffers == "arena":
        names = zip(context.inputs + context.outputs, (*identifiers, *outputs), strict=True)
        context.offsets = {c_name: infer.plan.offsets[value] for (c_name, _), value in names}
        assert train is None or all(train.plan.offsets[i] == infer.plan.offsets[i] for i in identifiers)
    if features is not None:
        _add_features(context, features, graph)
    context.unread = {name: _unread(part, context.inputs) for name, part in (("infer", infer), ("train", train)) if part is not None}
    _add_state(context, constants, layout_of_state)
    if train:
        _add_training(graph, train, context, constants, slow, replay, shard)
        _add_new_classes(new_classes, train, context, constants, slow)
    context.arrays, context.structs = constants.arrays, constants.structs
    context.sources = sorted(constants.sources | ({SHORT_BLOCKS} if size else set()))
    context.long_sums = size and has_long_sums(infer.graph)
    context.headers = [Code(header) for header in sorted(constants.headers)]
    context.packages = sorted(constants.packages, key=lambda p: (p[0].name, p[1]))
    return context


def _add_inference(context: ModelContext, infer: Slice, constants: Constants, slow: Layout) -> None:
    writer = FunctionWriter(constants, infer.plan.offsets, caller_buffers(infer.graph), slow, "values" if context.adapters else "state")
    writer.add(infer.kernels.nodes)
    context.infer = writer.function
    context.infer_peak = infer.plan.steps[infer.plan.peak_step].name if infer.plan.steps else ""


def add_slices(context: ModelContext, graph: Graph, train: Slice, budget: int, instructions: Mapping[str, int]) -> None:
    """Let the training step be left after each of its nodes, beside inference in the arena. budget: instructions of a slice; of each node."""
    context.sliced = sliced_step(train, context.sliced_steps, state_layout(graph), budget, instructions, context.arena_infer)
    context.arena_train = context.sliced.begin + max(train.plan.arena_bytes, update_bytes(graph))


def _tokens(graph: Graph, inputs: Sequence[str]) -> list[CTokens]:
    """Those inputs that hold tokens; where every code is one nothing is refused."""
    found = [("input" if i == 0 else f"input_{i + 1}", token_codes(graph, name)) for i, name in enumerate(inputs)]
    return [CTokens(name, *codes) for name, codes in found if codes is not None and codes != RANGES["int8"]]


def _class_names(names: Sequence[str], outputs: int) -> Code:
    if names and len(names) != outputs:
        what = f"are {len(names)}, the model tells {outputs} classes apart"
        raise CompileError("class_names", what, "name all of them, in the order of the model's outputs")
    return Code(", ".join(c_string(name.encode()) for name in names))


def _add_features(context: ModelContext, front: FrontEnd, graph: Graph) -> None:
    """The front end shares the arena: it has done its work before the model begins."""
    context.features = c_features(front, context.inputs, context.offsets.get("input"), graph.values)
    context.arena_infer = max(context.arena_infer, context.features.arena_bytes)
    context.arena_train = max(context.arena_train, context.arena_infer) if context.training else 0


def _unread(part: Slice, inputs: list[tuple[str, Value]]) -> list[str]:
    if part.graph.buffers == "arena":
        return []
    read = {value for node in part.kernels.nodes for value in node.inputs.values()}
    return [name for name, value in inputs if value.name not in read]


def _target_range(graph: Graph) -> tuple[str, ...]:
    op = graph.node("loss").op
    assert isinstance(op, LossOperator)
    return tuple(c_float(end) for end in op.target_range)


def _add_state(context: ModelContext, constants: Constants, layout: StateLayout) -> None:
    context.state = [_state_member(v, context, constants) for v in layout.values]
    context.state_padding = layout.padding if layout.streams else 0


def _add_new_classes(plan: NewClassPlan | None, train: Slice, context: ModelContext, constants: Constants, slow: Layout) -> None:
    if plan is None:
        return
    writer = FunctionWriter(constants, train.plan.offsets, caller_buffers(train.graph), slow, "state")
    context.new_classes = c_new_classes(plan, train, constants, writer)


def _add_training(
    graph: Graph, train: Slice, context: ModelContext, constants: Constants, slow: Layout, replay: ReplayPlan | None, shard: Shard | None
) -> None:
    plan = train.plan
    front = frozenset[str]()
    if replay is not None:
        writer = FunctionWriter(constants, plan.offsets, caller_buffers(train.graph), slow, "state")
        context.replay = c_replay(replay, train, writer, context.inputs, context.page_bytes)
        if replay.slow:
            context.page_bytes, context.entry_bytes = context.replay.slow_at + replay.slow_bytes, replay.slow_bytes
        front = frozenset(node.name for node in front_of(train, replay))
    writer = FunctionWriter(constants, plan.offsets, caller_buffers(train.graph), slow, "state")
    context.forward_steps = writer.add(node for node in train.kernels.phase("forward") if node.name not in front)
    context.backward_steps = writer.add(train.kernels.phase("backward", "update"))
    context.loss_buffer = Code(writer.value(LOSS_VALUE, len(writer.function.steps)).name)
    context.train = writer.function
    context.loss_offset = plan.offsets[LOSS_VALUE]
    context.updates_at_once = graph.updates_at_once
    if not graph.updates_at_once:
        updates = graph.phase("update")
        writer = FunctionWriter(constants, {scratch_name(n): 0 for n in updates}, {}, slow, "state")
        if shard is not None and shard[1] > 1:
            last = taking_steps(graph)
            writer.add(updates[: -len(last)])
            context.shard_step, updates = writer.function, last
            writer = FunctionWriter(constants, {}, {}, slow, "state")
        writer.add(updates)
        context.apply = writer.function
    context.train_peak = plan.steps[plan.peak_step].name


def _state_member(v: Value, context: ModelContext, constants: Constants) -> CState:
    assert v.data is not None
    scalar, initial, is_array = is_scalar(v), "", False
    if v.kind == STREAM:
        first = int(v.data.ravel()[0])
        same = bool(np.all(v.data == first)) and (v.data.itemsize == 1 or first == 0)  # memset writes bytes
        is_array = not same
        initial = str(first) if same else constants.array(f"{v.name}_initial", CTYPES[v.type.dtype], v.data, f"{v.name} before the first call")
    elif context.adapters:
        is_array, initial = not scalar, c_array(v.data).rstrip(",") if scalar else c_array(v.data)
    elif np.any(v.data):
        is_array = not scalar
        literal = c_float(float(v.data[0])) if scalar and v.type.dtype == "float32" else str(v.data.ravel()[0])
        initial = literal if scalar else constants.array(f"{v.name}_initial", CTYPES[v.type.dtype], v.data, f"{v.name} of the base model")
    return CState(
        constants.identifiers.member(v.name),
        CTYPES[v.type.dtype],
        v.type.size,
        scalar,
        v.type.bytes,
        Code(initial),
        is_array,
        v.kind,
        v.kind in ADAPTER_KINDS,
        v.kind in ("remainder", "accumulator", "optimizer") or (v.kind == "control" and v.name != LEARNING_RATE),
    )
