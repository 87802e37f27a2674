"""The steps of generated functions as data: which kernel is called with what, and the names of everything that it is called with.

Values have the model's names. What lies in the arena is a local pointer that is declared in front of the step that uses it first, so that a
reader sees where it lies, how large it is and which steps use it; constants and parameter structs are named in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import STREAM, Graph, Node
from ..ir.kernel_call import Argument, Field, First, KernelCall, KernelPackage, Pointers, Scratch, Table
from ..ir.operator import Names
from ..ir.types import ELEMENT_BYTES, TensorType
from ..ir.verify import node_types
from ..ops.paging.page import Page, PageOut
from ..ops.update.optimizer import PAGE, Optimizer
from ..plan.lifetimes import scratch_name
from ..plan.paging import Layout, page_of, pages_of
from ..plan.slice import kernel_call
from .c_names import CTYPES, EMPTY, MADE, Code, Identifiers, c_array, c_float
from .state_layout import is_scalar


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
class CField:
    """Initialiser of a member: a text, a list of texts, or members of a struct."""

    name: str
    text: Code = EMPTY
    items: tuple[Code, ...] = ()
    members: tuple[CField, ...] = ()


@dataclass(frozen=True)
class CStruct:
    """A parameter struct in flash."""

    name: Code
    type: str
    fields: tuple[CField, ...]
    comment: str


@dataclass
class CBuffer:
    """Bytes of the arena under the name of what they hold, from step `first` to step `last` of the function."""

    name: Code
    ctype: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class CArgument:
    """An argument of a call.

    kind: "params" (address of a struct), "name" (of a buffer, a constant or a parameter of the function), "text" (a literal),
    "label" and "target" (of the caller's target), "state" or "values" (a member of the state, or of the active adapter's values), "pointers" (an
    array of pointers to other arguments, whose type is the name).
    scalar: the member is a number, whose address is meant. behind: elements in front of the one that is meant, "" for none.
    """

    kind: str
    name: Code
    scalar: bool = False
    behind: str = ""
    items: tuple[CArgument, ...] = ()


@dataclass(frozen=True)
class CMade:
    """What is made in front of a call: by `call`; then the kernel's parameters `constant` are copied, and members of the copy point to it.

    members: of the struct of this type, with the local pointers.
    """

    call: CCall
    type: str
    constant: Code
    members: tuple[tuple[str, Code], ...]


@dataclass(frozen=True)
class CCall:
    """made: None where all that the kernel reads is constant, or a value of the graph."""

    symbol: str
    arguments: tuple[CArgument, ...]
    made: CMade | None = None


@dataclass(frozen=True)
class CTransfer:
    """Bytes from slow memory into the arena ("in") or back ("out"). first: their place there, `factor` and `divisor` of the loop's `at` on top."""

    way: str
    first: int
    buffer: Code
    bytes: int
    factor: int = 0
    divisor: int = 0


@dataclass(frozen=True)
class CPart:
    """A call for some elements of a parameter, with the transfers around it. loop: the end of a loop over pages of `page` elements, or 0."""

    call: CCall | None
    before: tuple[CTransfer, ...] = ()
    after: tuple[CTransfer, ...] = ()
    loop: int = 0
    page: int = PAGE


@dataclass(frozen=True)
class CStep:
    """One step of a function; parts: one, but for an update that goes over its parameter in pages."""

    number: int
    name: str
    buffers: tuple[CBuffer, ...]
    parts: tuple[CPart, ...]
    used: tuple[CBuffer, ...] = ()
    """All that it reads or writes in the arena; `buffers` are those that no step before it uses."""

    def behind(self, steps: int) -> CStep:
        """The same behind so many others."""
        moved = [tuple(replace(b, first=b.first + steps, last=b.last + steps) for b in found) for found in (self.buffers, self.used)]
        return replace(self, number=self.number + steps, buffers=moved[0], used=moved[1])


@dataclass(frozen=True)
class _Part:
    """The elements [at, at + size) of a parameter in an update. at: a number, or where a loop goes over pages the variable `at`."""

    at: str
    size: int

    @property
    def name(self) -> str:
        """What tells parameter structs of parts of one node apart."""
        return "_rest" if self.at not in ("0", "at") else ""


WHOLE = _Part("0", 0)


@dataclass
class CFunction:
    """What a generated function needs of its own: steps, and what they read beside them."""

    steps: list[CStep] = field(default_factory=list)
    buffers: dict[str, CBuffer] = field(default_factory=dict)
    state: bool = False
    values: bool = False
    """Whether it reads the state, or the active adapter's values."""

    @property
    def uses_arena(self) -> bool:
        return bool(self.buffers)

    @property
    def uses_model(self) -> bool:
        """Whether anything is read of the model's struct."""
        return self.uses_arena or self.state or self.values or any(t for s in self.steps for p in s.parts for t in (*p.before, *p.after))


class Constants:
    """Constants of a file, each once: arrays, parameter structs, and the names of everything."""

    def __init__(self, graph: Graph, identifiers: Identifiers) -> None:
        self.graph = graph
        self.identifiers = identifiers
        self.arrays: list[CArray] = []
        self.structs: list[CStruct] = []
        self.sources: set[str] = set()
        self.headers: set[str] = set()
        self.packages: set[tuple[KernelPackage, str]] = set()
        """Sources of kernels from outside."""
        self._arrays: dict[tuple[str, bytes], Code] = {}
        self._structs: dict[tuple[str, tuple[CField, ...]], Code] = {}

    def array(self, name: str, ctype: str, data: NDArray[np.generic], comment: str) -> Code:
        """Name of a constant array with this content; equal contents share one."""
        key = (ctype, data.tobytes())
        if key not in self._arrays:
            self._arrays[key] = self.identifiers.file(name)
            self.arrays.append(CArray(self._arrays[key], ctype, data.size, c_array(data), comment, data.nbytes))
        return self._arrays[key]

    def constant(self, name: str) -> Code:
        """Name of the array that holds a constant of the graph."""
        value = self.graph.values[name]
        assert value.data is not None
        shape = "x".join(map(str, value.type.shape))
        return self.array(name, CTYPES[value.type.dtype], value.data, f"{shape}, {value.origin}" if value.origin else shape)

    def struct(self, node: Node, call: KernelCall, part: str = "") -> Code:
        """Name of the parameter struct of a call; equal ones are one: the slices share them, and what is computed again."""
        fields = tuple(self._field(node, name, value) for name, value in call.fields.items())
        content = (call.struct, fields)
        if content not in self._structs:
            self._structs[content] = self.identifiers.file(f"{node.name}{part}_params")
            self.structs.append(CStruct(self._structs[content], call.struct, fields, self._described(node)))
        return self._structs[content]

    def _field(self, node: Node, name: str, value: Field) -> CField:
        if isinstance(value, Mapping):
            return CField(name, members=tuple(self._field(node, k, v) for k, v in value.items()))
        if isinstance(value, tuple):
            return CField(name, items=tuple(Code(v) for v in value))
        if isinstance(value, Argument):
            return CField(name, self.constant(value.value))
        if isinstance(value, Table):
            return CField(name, self.array(f"{node.name}_{value.suffix}", value.ctype, value.data, f"{value.suffix} of {node.name}"))
        return CField(name, Code(c_float(value) if isinstance(value, float) else value))

    def _described(self, node: Node) -> str:
        def shape(name: str) -> str:
            return "x".join(map(str, self.graph.type(name).shape[1:])) or "1"

        results = ", ".join(shape(o) for o in node.outputs)
        first = node.inputs.get("x", node.inputs.get("g", ""))
        flow = f"{shape(first)} -> {results}" if first and results else ""
        return f"{node.name}: {node.op.mnemonic} {flow}".rstrip()


class FunctionWriter:
    """Turns the nodes of a planned slice into the steps of one function.

    offsets: value, or name of a node's scratch, to its place in the arena. caller: value -> name of the caller's buffer that it lies in.
    held: "state", or "values" where inference reads an adapter where it lies.
    """

    def __init__(self, constants: Constants, offsets: Mapping[str, int], caller: Mapping[str, str], slow: Layout, held: str) -> None:
        self.constants = constants
        self.graph = constants.graph
        self.offsets = offsets
        self.caller = caller
        self.slow = slow
        self.held = held
        self.function = CFunction()
        self._declared: list[CBuffer] = []
        self._used: dict[str, CBuffer] = {}

    def add(self, nodes: Iterable[Node]) -> list[CStep]:
        """Append the steps of nodes, in order; returns these."""
        start = len(self.function.steps)
        for node in nodes:
            call, number = kernel_call(self.graph, node), len(self.function.steps) + 1
            if call is None and not isinstance(node.op, Page):
                continue
            self._declared, self._used = [], {}
            parts = self._parts(node, call, number) if call is not None else (self._moved(node, number),)
            self.function.steps.append(CStep(number, node.name, tuple(self._declared), parts, tuple(self._used.values())))
        return self.function.steps[start:]

    def buffer(self, name: str, ctype: str, offset: int, size: int, number: int) -> Code:
        """Name of the local pointer to bytes of the arena, which step `number` uses."""
        known = self.function.buffers.get(name)
        if known is None:
            known = CBuffer(self.constants.identifiers.local(name), ctype, offset, size, number, number)
            self.function.buffers[name] = known
            self._declared.append(known)
        known.last = number
        self._used[name] = known
        return known.name

    def value(self, name: str, number: int) -> CArgument:
        """What a step passes for a value."""
        value = self.graph.values[name]
        if name in self.caller:
            buffer = self.caller[name]
            return CArgument(buffer if buffer in ("label", "target") else "name", Code(buffer))
        if value.is_state:
            held = "state" if value.kind == STREAM else self.held
            self.function.state |= held == "state"
            self.function.values |= held == "values"
            return CArgument(held, self.constants.identifiers.member(name), is_scalar(value))
        if value.kind == "constant":
            return CArgument("name", self.constants.constant(name))
        return CArgument("name", self.buffer(name, CTYPES[value.type.dtype], self.offsets[name], value.type.bytes, number))

    # -- calls ------------------------------------------------------------------------------------------
    def _parts(self, node: Node, call: KernelCall, number: int) -> tuple[CPart, ...]:
        if isinstance(node.op, Optimizer) and node.op.elements:
            part = _Part(str(node.op.first), node.op.elements)
            return (CPart(self._call(node, part_call(self.graph, node, part), part, number)),)
        if not pages_of(self.graph, node)[0]:
            return (CPart(self._call(node, call, WHOLE, number)),)
        found = []
        for part in _paged_parts(self.graph, node):
            size = self.graph.type(node.inputs["accumulator"]).size
            before, after = self._around(node, part, call.scratch, number)
            text = self._call(node, part_call(self.graph, node, part), part, number)
            found.append(CPart(text, before, after, size - size % PAGE if part.at == "at" else 0))
        return tuple(found)

    def _call(self, node: Node, call: KernelCall, part: _Part, number: int) -> CCall:
        """The call of a node, for an update that goes over its parameter in parts of one of them."""
        self.constants.sources.update(call.files)
        self.constants.headers.add(call.header)
        made = self._made(node, call, number) if call.made is not None else None
        if call.package is not None:
            self.constants.packages.add((call.package, call.file))
        parameters = self.constants.struct(node, call, part.name) if call.struct else EMPTY
        arguments = [CArgument("params", MADE if made is not None else parameters)] if call.struct else []
        pages = pages_of(self.graph, node)[0]
        for argument in call.arguments:
            if isinstance(argument, Argument) and argument.value in pages:
                arguments.append(CArgument("name", self._page(node, argument.value, call.scratch, number)))
            elif isinstance(argument, Argument):
                found = self.value(argument.value, number)
                behind = part.at if part.at != "0" and argument.value == node.inputs.get("accumulator") else ""
                arguments.append(replace(found, behind=behind))
            elif isinstance(argument, Pointers):
                ctype = Code(CTYPES[self.graph.type(argument.values[0]).dtype])
                arguments.append(CArgument("pointers", ctype, items=tuple(self.value(v, number) for v in argument.values)))
            elif isinstance(argument, Scratch):
                name = scratch_name(node)
                arguments.append(CArgument("name", self.buffer(name, "void", self.offsets[name], call.scratch, number)))
            elif isinstance(argument, First):
                arguments.append(CArgument("index" if part.at == "at" else "text", Code(part.at)))
            else:
                arguments.append(CArgument("text", Code(argument)))
        return CCall(call.symbol, tuple(arguments), made)

    def _made(self, node: Node, call: KernelCall, number: int) -> CMade:
        """What is made in front of the call of a node."""
        assert call.made is not None
        making, start = call.made.call, self.offsets[scratch_name(node)]
        self.constants.headers.add(making.header)
        pointers = {}
        for member in call.made.members:
            size = member.count * ELEMENT_BYTES[member.dtype]
            name = f"{node.name} {member.name.rpartition('.')[2]}"
            pointers[member.name] = self.buffer(name, CTYPES[member.dtype], start + member.offset, size, number)
        given = [self.value(a.value, number) for a in making.arguments if isinstance(a, Argument)]
        left_out = [CArgument("text", Code(a)) for a in making.arguments if isinstance(a, str)]
        parameters = CArgument("params", self.constants.struct(node, making, "_making"))
        arguments = (parameters, *given, *(CArgument("name", p) for p in pointers.values()), *left_out)
        return CMade(CCall(making.symbol, arguments), call.struct, self.constants.struct(node, call), tuple(pointers.items()))

    # -- slow memory ------------------------------------------------------------------------------------
    def _moved(self, node: Node, number: int) -> CPart:
        """A transfer of a saved value."""
        out = isinstance(node.op, PageOut)
        near, slow = (node.inputs["x"], node.outputs[0]) if out else (node.outputs[0], node.inputs["x"])
        transfer = CTransfer("out" if out else "in", self.slow.offsets[slow], self.value(near, number).name, self.graph.type(slow).bytes)
        return CPart(None, before=(transfer,))

    def _page(self, node: Node, name: str, behind: int, number: int) -> Code:
        """The local pointer to a page of a moment, in the scratch of its node behind that of its kernel."""
        size = min(self.graph.type(node.inputs["accumulator"]).size, PAGE)
        offset = self.offsets[scratch_name(node)] + behind + pages_of(self.graph, node)[0][name]
        page = page_of(self.graph, node, name, size)
        return self.buffer(f"{name}_page", CTYPES[self.graph.type(name).dtype], offset, page.bytes, number)

    def _around(self, node: Node, part: _Part, behind: int, number: int) -> tuple[tuple[CTransfer, ...], tuple[CTransfer, ...]]:
        """The moments of a part into the arena, and out again."""
        found = []
        for name in pages_of(self.graph, node)[0]:
            start, page = self.slow.offsets[name], page_of(self.graph, node, name, PAGE).bytes
            looped = part.at == "at"
            first = start if looped else start + int(part.at) * page // PAGE
            ratio = (max(page // PAGE, 1), max(PAGE // page, 1)) if looped else (0, 0)
            size = page_of(self.graph, node, name, part.size).bytes
            found.append(CTransfer("in", first, self._page(node, name, behind, number), size, *ratio))
        return tuple(found), tuple(replace(t, way="out") for t in found)


def _paged_parts(graph: Graph, node: Node) -> Sequence[_Part]:
    """Of an update with paged moments: the whole, or a loop over pages and what it leaves."""
    size = graph.type(node.inputs["accumulator"]).size
    if size <= PAGE:
        return (_Part("0", size),)
    assert isinstance(node.op, Optimizer) and node.op.clip == 0, f"{node.name} needs all elements for its norm"
    rest = (_Part(str(size - size % PAGE), size % PAGE),) if size % PAGE else ()
    return (_Part("at", PAGE), *rest)


def part_call(graph: Graph, node: Node, part: _Part) -> KernelCall:
    """The call of an update for a part of its parameter."""
    types = node_types(graph, node)
    operands = {**types.operands, "accumulator": TensorType((part.size,), types.type("accumulator").dtype)}
    call = node.op.kernel_call(replace(types, operands=operands), Names(node.inputs, node.outputs))
    assert call is not None
    return call
