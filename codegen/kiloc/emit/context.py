"""Every decision about the generated C, as plain data for the templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..autodiff import LOSS_VALUE
from ..ir.graph import ADAPTER_KINDS, Graph, Node, Value
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops import Names
from ..ops.kernel import Argument, Field, First, KernelCall, Scratch, Table
from ..ops.loss import Loss
from ..ops.page import Page, PageOut
from ..optim import LEARNING_RATE
from ..plan import Plan
from ..plan.lifetimes import scratch_name
from .c_names import CTYPES, Code, c_array, c_float, c_identifier, c_list
from .paging import Part, around, looped, page_layout, pages_of, parts, transfer
from .state_layout import StateLayout, is_scalar, state_layout


@dataclass(frozen=True)
class CArray:
    """A constant array in flash."""

    name: Code
    ctype: str
    size: int
    text: Code
    comment: str
    bytes: int


@dataclass(frozen=True)
class CStruct:
    """A parameter struct in flash, fields already spelled."""

    name: Code
    type: str
    fields: tuple[tuple[str, Code], ...]
    comment: str


@dataclass(frozen=True)
class CStep:
    """One call of a step function."""

    text: Code
    comment: str


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
    adapter_offset: int
    """In the payload of an adapter, where it is part of one."""
    cleared: bool
    """Forgotten when an adapter is loaded: what belongs to the training before it."""


@dataclass(frozen=True)
class CBlock:
    """A 16-bit parameter whose master values are restored from its codes."""

    master: Code
    master_exponent: Code
    codes: Code
    exponent: Code
    size: int

    ROLES: ClassVar[dict[str, str]] = {"master": "master", "master_exponent": "master_exponent", "codes": "value", "exponent": "exponent"}


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


@dataclass
class ModelContext:
    """What the templates read."""

    name: str
    prefix: str
    origin: str
    version: str
    target: str
    """The core; "" where all kernels are portable."""
    inputs: list[tuple[str, Value]]
    outputs: list[tuple[str, Value]]
    training: bool
    adapters: bool
    """Nothing is trained, but adapters are taken: inference reads the trained values where they lie."""
    loss: str
    classes: int
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
    infer_steps: list[CStep] = field(default_factory=list)
    forward_steps: list[CStep] = field(default_factory=list)
    backward_steps: list[CStep] = field(default_factory=list)
    update_steps: list[CStep] = field(default_factory=list)
    arrays: list[CArray] = field(default_factory=list)
    structs: list[CStruct] = field(default_factory=list)
    state: list[CState] = field(default_factory=list)
    blocks: list[CBlock] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    updates_at_once: bool = False
    loss_offset: int = 0
    infer_peak: str = ""
    train_peak: str = ""
    adapter: CAdapter | None = None
    """None where no adapter is taken."""
    page_bytes: int = 0
    """Of the values in slow memory, all together."""
    moment_bytes: int = 0
    """Of it moments, at its beginning, which outlive a step and start at zero."""
    offsets: dict[str, int] = field(default_factory=dict)
    """Of inputs and results in the arena; empty where they lie in the caller's buffers."""

    @property
    def target_macro(self) -> str:
        """What `kt/target.h` defines."""
        return f"KT_TARGET_{self.target.upper().replace('-', '_')}" if self.target else ""

    @property
    def packed(self) -> bool:
        """Constants are in the order of kernels that need the DSP extension."""
        return any(source.startswith("product/") for source in self.sources)

    @property
    def constant_bytes(self) -> int:
        return sum(a.bytes for a in self.arrays)

    @property
    def pages_in_step(self) -> bool:
        """Whether a training step reads slow memory."""
        return self.page_bytes > self.moment_bytes or (self.moment_bytes > 0 and self.updates_at_once)

    @property
    def pages_in_apply(self) -> bool:
        """Whether an update behind it does."""
        return self.moment_bytes > 0 and not self.updates_at_once

    @property
    def input_parameters(self) -> Code:
        """Of a C function that reads the inputs, behind the model."""
        return Code("" if self.offsets else "".join(f", const int8_t *{name}" for name, _ in self.inputs))

    @property
    def output_parameters(self) -> Code:
        """Of one that writes the results, behind the inputs."""
        return Code("" if self.offsets else "".join(f", int8_t *{name}" for name, _ in self.outputs))

    @property
    def infer_uses_arena(self) -> bool:
        return any(re.search(r"\ba \+ ", step.text) for step in self.infer_steps)

    @property
    def infer_uses_state(self) -> bool:
        return any("s->" in step.text for step in self.infer_steps)

    @property
    def infer_uses_adapter(self) -> bool:
        return any(re.search(r"\bt->", step.text) for step in self.infer_steps)


class _Emitter:
    """Turns nodes of planned slices into calls, collecting the constants that they need."""

    def __init__(self, graph: Graph, context: ModelContext) -> None:
        self.graph = graph
        self.context = context
        self.by_content: dict[tuple[str, bytes], Code] = {}
        self.structs: dict[tuple[str, tuple[tuple[str, Code], ...]], Code] = {}
        self.names: set[str] = set()
        self.sources: set[str] = set()
        self.slow = page_layout(graph)
        context.page_bytes, context.moment_bytes = self.slow.bytes, self.slow.moments

    def array(self, name: str, ctype: str, data: NDArray[np.generic], comment: str) -> str:
        """Name of a constant array with this content; equal contents share one."""
        key = (ctype, data.tobytes())
        if key not in self.by_content:
            identifier = self.by_content[key] = self.unused(c_identifier(name))
            self.context.arrays.append(CArray(identifier, ctype, data.size, c_array(data), comment, data.nbytes))
        return self.by_content[key]

    def unused(self, identifier: str) -> Code:
        """The identifier, or where two names of a model are one in C the first free number behind it."""
        free, count = identifier, 2
        while free in self.names:
            free, count = f"{identifier}_{count}", count + 1
        self.names.add(free)
        return Code(free)

    def constant(self, name: str) -> str:
        value = self.graph.values[name]
        assert value.data is not None
        shape = "x".join(map(str, value.type.shape))
        return self.array(name, CTYPES[value.type.dtype], value.data, f"{shape}, {value.origin}" if value.origin else shape)

    def pointer(self, name: str, plan: Plan, caller: Mapping[str, str]) -> str:
        """C expression for the address of a value."""
        value = self.graph.values[name]
        if name in caller:
            return caller[name]
        if value.is_state:
            return f"{'&' if is_scalar(value) else ''}{'t' if self.context.adapters else 's'}->{c_identifier(name)}"
        if value.kind == "constant":
            return self.constant(name)
        return f"({CTYPES[value.type.dtype]} *)(a + {plan.offsets[name]})"

    def field_text(self, node: Node, value: Field) -> str:
        if isinstance(value, Mapping):
            return "{" + ", ".join(f".{k} = {self.field_text(node, v)}" for k, v in value.items()) + "}"
        if isinstance(value, Argument):
            return self.constant(value.value)
        if isinstance(value, Table):
            return self.array(f"{node.name}_{value.suffix}", value.ctype, value.data, f"{value.suffix} of {node.name}")
        if isinstance(value, tuple):
            return c_list(value)
        return c_float(value) if isinstance(value, float) else str(value)

    def steps(self, nodes: tuple[Node, ...], plan: Plan, caller: Mapping[str, str], first: int) -> list[CStep]:
        found: list[CStep] = []
        for node in nodes:
            call = kernel_call(self.graph, node)
            if call is not None:
                found.append(self.step(node, call, plan, caller, first + len(found)))
            elif isinstance(node.op, Page):
                address = f"a + {plan.offsets[node.inputs['x'] if isinstance(node.op, PageOut) else node.outputs[0]]}"
                found.append(CStep(Code("\n".join(transfer(self.graph, node, self.slow, address))), f"step {first + len(found)}: {node.name}"))
        return found

    def step(self, node: Node, call: KernelCall, plan: Plan, caller: Mapping[str, str], number: int) -> CStep:
        if not pages_of(self.graph, node)[0]:
            return CStep(Code(self.call(node, call, plan, caller, Part("0", 0))), f"step {number}: {node.name}")
        accumulator = self.graph.type(node.inputs["accumulator"])
        lines: list[str] = []
        for part in parts(self.graph, node):
            call = part_call(self.graph, node, part)
            pages = plan.offsets[scratch_name(node)] + call.scratch
            text = self.call(node, call, plan, caller, part)
            lines += looped(part, accumulator.size, around(self.graph, node, part, self.slow, pages, text))
        return CStep(Code("\n".join(lines)), f"step {number}: {node.name}")

    def call(self, node: Node, call: KernelCall, plan: Plan, caller: Mapping[str, str], part: Part) -> str:
        """C of a call, for an update that goes over its parameter in parts of one of them."""
        self.sources.update(call.files)
        arguments = [f"&{self.struct(node, call, part.name)}"] if call.struct else []
        pages = pages_of(self.graph, node)[0]
        for argument in call.arguments:
            if isinstance(argument, Argument) and argument.value in pages:
                ctype = CTYPES[self.graph.type(argument.value).dtype]
                arguments.append(f"({ctype} *)(a + {plan.offsets[scratch_name(node)] + call.scratch + pages[argument.value]})")
            elif isinstance(argument, Argument):
                address = self.pointer(argument.value, plan, caller)
                arguments.append(part.behind(address) if argument.value == node.inputs.get("accumulator") else address)
            elif isinstance(argument, Scratch):
                arguments.append(f"a + {plan.offsets[scratch_name(node)]}")
            elif isinstance(argument, First):
                arguments.append("(int32_t)at" if part.at == "at" else part.at)
            else:
                arguments.append(argument)
        return f"{call.symbol}({', '.join(arguments)});"

    def struct(self, node: Node, call: KernelCall, part: str = "") -> str:
        """Name of the parameter struct of a call; equal ones are one: the slices share them, and what is computed again."""
        fields = tuple((k, Code(self.field_text(node, v))) for k, v in call.fields.items())
        content = (call.struct, fields)
        if content not in self.structs:
            self.structs[content] = self.unused(c_identifier(node.name) + f"{part}_params")
            self.context.structs.append(CStruct(self.structs[content], call.struct, fields, self.describe(node)))
        return self.structs[content]

    def describe(self, node: Node) -> str:
        def shape(name: str) -> str:
            return "x".join(map(str, self.graph.type(name).shape[1:])) or "1"

        results = ", ".join(shape(o) for o in node.outputs)
        first = node.inputs.get("x", node.inputs.get("g", ""))
        flow = f"{shape(first)} -> {results}" if first and results else ""
        return f"{node.name}: {node.op.mnemonic} {flow}".rstrip()


def kernel_call(graph: Graph, node: Node) -> KernelCall | None:
    return node.op.kernel_call(node_types(graph, node), Names(node.inputs, node.outputs))


def part_call(graph: Graph, node: Node, part: Part) -> KernelCall:
    """The call of an update for a part of its parameter."""
    types = node_types(graph, node)
    operands = {**types.operands, "accumulator": TensorType((part.size,), types.type("accumulator").dtype)}
    call = node.op.kernel_call(replace(types, operands=operands), Names(node.inputs, node.outputs))
    assert call is not None
    return call


def scratch_bytes(graph: Graph, node: Node) -> int:
    """Bytes of the arena that a node needs while it runs: of its kernel, and behind it pages of values in slow memory."""
    call = kernel_call(graph, node)
    return (call.scratch if call else 0) + pages_of(graph, node)[1]


def update_bytes(graph: Graph) -> int:
    """Bytes of the arena that an update of accumulated gradients needs: between training steps, where it is empty, so at its beginning."""
    if graph.updates_at_once:
        return 0
    return max((scratch_bytes(graph, node) for node in graph.phase("update")), default=0)


def caller_buffers(graph: Graph) -> dict[str, str]:
    """Values that lie in the caller's memory: targets, and unless the arena holds them inputs and results with the views that make them."""
    targets = {"label": "&target->label", "target": "target->values"}
    if graph.buffers == "arena":
        return targets
    names = [n for n in graph.inputs if n not in targets]
    found = {name: ("input" if i == 0 else f"input_{i + 1}") for i, name in enumerate(names)} | targets
    producers = graph.producers()
    for i, name in enumerate(graph.outputs):
        if name == LOSS_VALUE:
            continue
        expression = "output" if i == 0 else f"output_{i + 1}"
        while name in producers and producers[name].op.view:
            found[name] = expression
            name = producers[name].inputs["x"]
        found[name] = expression
    for node in graph.nodes:
        if node.op.view and node.inputs["x"] in found:
            found[node.outputs[0]] = found[node.inputs["x"]]
    return found


@dataclass(frozen=True)
class Slice:
    """A part of the graph with its plan.

    graph: layers as the model has them, without constant channels. kernels: the same nodes as they are emitted and planned, each with
    its kernel for the target, "" where all are portable.
    """

    graph: Graph
    plan: Plan
    kernels: Graph
    target: str
    saving: Mapping[str, int] = field(default_factory=dict)
    """Of nodes whose fastest forms take too much memory; see `passes/kernels.py`."""


def build_context(
    graph: Graph, infer: Slice, train: Slice | None, *, version: str, base_hash: bytes, layout: int, loss: str, methods: str
) -> ModelContext:
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
        target=infer.target,
        inputs=[("input" if i == 0 else f"input_{i + 1}", graph.values[n]) for i, n in enumerate(identifiers)],
        outputs=[("output" if i == 0 else f"output_{i + 1}", graph.values[n]) for i, n in enumerate(outputs)],
        training=train is not None,
        adapters=train is None and bool(graph.state()),
        loss=loss if train else "",
        classes=graph.type(reads["y"]).size if "label" in reads else 0,
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
    emitter = _Emitter(graph.with_values(planned), context)
    context.infer_steps = emitter.steps(infer.kernels.nodes, infer.plan, caller_buffers(infer.graph), 1)
    context.infer_peak = infer.plan.steps[infer.plan.peak_step].name if infer.plan.steps else ""
    if infer.graph.buffers == "arena":
        names = zip(context.inputs + context.outputs, (*identifiers, *outputs), strict=True)
        context.offsets = {c_name: infer.plan.offsets[value] for (c_name, _), value in names}
        assert train is None or all(train.plan.offsets[i] == infer.plan.offsets[i] for i in identifiers)
    _add_state(emitter, layout_of_state)
    if train:
        _add_training(graph, train, emitter)
    context.sources = sorted(emitter.sources)
    return context


def _target_range(graph: Graph) -> tuple[str, ...]:
    op = graph.node("loss").op
    assert isinstance(op, Loss)
    return tuple(c_float(end) for end in op.target_range)


def _add_state(emitter: _Emitter, layout: StateLayout) -> None:
    offset = 0
    for v in layout.values:
        emitter.context.state.append(_state_member(v, emitter, offset))
        offset += v.type.bytes if v.kind in ADAPTER_KINDS else 0


def _add_training(graph: Graph, train: Slice, emitter: _Emitter) -> None:
    context, plan, caller = emitter.context, train.plan, caller_buffers(train.graph)
    context.forward_steps = emitter.steps(train.kernels.phase("forward"), plan, caller, 1)
    backward = train.kernels.phase("backward", "update")
    context.backward_steps = emitter.steps(backward, plan, caller, 1 + len(context.forward_steps))
    context.updates_at_once = graph.updates_at_once
    if not graph.updates_at_once:
        updates = graph.phase("update")
        context.update_steps = emitter.steps(updates, replace(plan, offsets={scratch_name(n): 0 for n in updates}), {}, 1)
    context.loss_offset = plan.offsets[LOSS_VALUE]
    context.train_peak = plan.steps[plan.peak_step].name
    for p in graph.parameters:
        if p.storage == "block16":
            names = {r: c_identifier(p.values[v]) for r, v in CBlock.ROLES.items()}
            context.blocks.append(CBlock(**names, size=graph.type(p.values["value"]).size))


def _state_member(v: Value, emitter: _Emitter, offset: int) -> CState:
    assert v.data is not None
    scalar, initial, is_array = is_scalar(v), "", False
    if emitter.context.adapters:
        is_array, initial = not scalar, c_array(v.data).rstrip(",") if scalar else c_array(v.data)
    elif np.any(v.data) and v.kind != "master":
        is_array = not scalar
        literal = c_float(float(v.data[0])) if scalar and v.type.dtype == "float32" else str(v.data.ravel()[0])
        initial = literal if scalar else emitter.array(f"{v.name}_initial", CTYPES[v.type.dtype], v.data, f"{v.name} of the base model")
    return CState(
        c_identifier(v.name),
        CTYPES[v.type.dtype],
        v.type.size,
        scalar,
        v.type.bytes,
        Code(initial),
        is_array,
        v.kind,
        v.kind in ADAPTER_KINDS,
        offset,
        v.kind in ("accumulator", "optimizer") or (v.kind == "control" and v.name != LEARNING_RATE),
    )
