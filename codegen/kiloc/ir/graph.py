"""The graph: values, nodes and trainable parameters. Everything is frozen; a pass makes another graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from .types import TensorType

if TYPE_CHECKING:
    from .operator import Op

STATE_KINDS: Final = ("trainable", "remainder", "exponent", "accumulator", "optimizer", "control", "paged", "stream", "replay")
"""Kinds of value that outlive a step: they live in the state, not in the arena.

trainable: what inference reads (int32 bias, int8 codes); remainder: the lower byte of 16-bit values, whose upper one the codes are;
exponent: the power of two of a block of codes; accumulator: summed gradients; optimizer: its moments;
control: learning rate, counters, powers and seed; paged: moments that lie in slow memory, and in the arena only during the
update that reads them; stream: what a model keeps from one call of inference to the next, such as the last rows of a signal;
replay: samples that training goes back to, which no node reads."""

STREAM: Final = "stream"
"""The kind of what inference itself changes."""

REPLAY: Final = "replay"
"""The kind of what a replay buffer holds: `kiloc/continual/replay.py`."""

ADAPTER_KINDS: Final = ("trainable", "exponent")
"""The part of the state that changes what inference computes: what an adapter carries."""

NEW_HEAD: Final = "new-head"
"""The method of a parameter of a last layer that replaces the model's own: it starts from nothing."""

OPEN_HEAD: Final = "open-head"
"""The method of a parameter of a last layer with room for classes that the device adds."""

ACCUMULATED: Final = "accumulated"
"""State: samples whose gradients are in the accumulators."""

KINDS: Final = ("input", "constant", "activation", "saved", "gradient", "scalar", "offloaded", *STATE_KINDS)
"""offloaded: a saved value while it waits in slow memory, between the two transfers of `ops/paging/page.py`."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor: `data` holds a constant, or what a state value starts from."""

    name: str
    type: TensorType
    kind: str
    data: NDArray[np.generic] | None = None
    origin: str = ""

    @property
    def is_state(self) -> bool:
        return self.kind in STATE_KINDS

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Value):
            return NotImplemented
        same = (self.name, self.type, self.kind, self.origin) == (other.name, other.type, other.kind, other.origin)
        if self.data is None or other.data is None:
            return same and self.data is other.data
        return same and self.data.dtype == other.data.dtype and np.array_equal(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Node:
    """One operation.

    inputs: operand name -> value name. outputs: value names, in the operator's order.
    updates: values that the node changes in place (also listed in inputs): state, or a parameter's gradient in the arena.
    phase: "forward", "backward" (one sample) or "update" (one optimizer step).
    """

    name: str
    op: Op
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    updates: tuple[str, ...] = ()
    phase: str = "forward"
    origin: str = ""


@dataclass(frozen=True)
class Parameter:
    """A trainable tensor and the state values that hold it.

    storage: "int32" (a bias in accumulator units), "block16" (16-bit values with one power of two: the
    int8 codes that inference reads, and remainders) or "block8" (the int8 codes alone). values: role -> value name; roles are
    "value" (what inference reads), "exponent", "remainder", "accumulator" (of gradients; in the arena,
    or nowhere, if each sample updates by itself), "gradient" (of one sample, where the accumulator holds sums of integers), "range",
    "saturated" and the moments of the optimizer, named as its operands.
    """

    name: str
    layer: str
    method: str
    storage: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Graph:
    """A model: forward nodes, then (after `autodiff`) backward and update nodes, in execution order."""

    name: str
    values: Mapping[str, Value]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    origin: str = ""
    notes: tuple[str, ...] = field(default=())
    buffers: str = "caller"
    """Where inputs and results of a slice lie: in the caller's buffers, or in the "arena"."""
    shared: frozenset[str] = frozenset()
    """Names of input-gradient nodes that should read the inference weight stream instead of a transposed copy: a request, which
    `passes/kernels.py` may decline."""
    repacked: frozenset[str] = frozenset()
    """Names of those that should make their transposed copy from that stream in front of each call: a request in the same way, which comes before."""
    repeated: frozenset[str] = frozenset()
    """Names of those of them that may make it several times in a call, a part at a time, where memory has no room for it."""
    offsets: Mapping[str, int] = field(default_factory=dict)
    """Of a placed slice: value, or name of a node's scratch, to its byte offset in the arena."""

    def type(self, name: str) -> TensorType:
        return self.values[name].type

    @property
    def model_inputs(self) -> tuple[str, ...]:
        """Inputs of the model itself, which are quantised: without what training adds, a label or a target."""
        return tuple(i for i in self.inputs if self.values[i].type.quantization is not None)

    def phase(self, *phases: str) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.phase in phases)

    def before(self, value: str) -> set[str]:
        """Names of the nodes that a value depends on."""
        wanted, found = {value}, set()
        for node in reversed(self.nodes):
            if wanted & set(node.outputs):
                found.add(node.name)
                wanted.update(node.inputs.values())
        return found

    def producers(self) -> dict[str, Node]:
        return {out: node for node in self.nodes for out in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs.values()):
                found.setdefault(name, []).append(node)
        return found

    @property
    def updates_at_once(self) -> bool:
        """Whether each sample updates the parameters by itself: then no state accumulates gradients."""
        accumulators = [p.values["accumulator"] for p in self.parameters if "accumulator" in p.values]
        return bool(accumulators) and not any(a in self.values and self.values[a].is_state for a in accumulators)

    def node(self, name: str) -> Node:
        return next(n for n in self.nodes if n.name == name)

    def state(self) -> list[Value]:
        return [v for v in self.values.values() if v.is_state]

    def streams(self) -> list[Value]:
        """What inference keeps from call to call."""
        return [v for v in self.values.values() if v.kind == STREAM]

    def trained_state(self) -> list[Value]:
        """The state but for streams: what a method or an optimizer made."""
        return [v for v in self.state() if v.kind != STREAM]

    def with_values(self, values: Iterable[Value]) -> Graph:
        merged = dict(self.values)
        merged.update((v.name, v) for v in values)
        return replace(self, values=merged)

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """The graph with these nodes and only the values that they, the interface or the state need."""
        kept = tuple(nodes)
        used = set(self.inputs) | set(self.outputs)
        used.update(v.name for v in self.values.values() if v.is_state)
        for node in kept:
            used.update(node.inputs.values())
            used.update(node.outputs)
        return replace(self, nodes=kept, values={k: v for k, v in self.values.items() if k in used})

    def fresh(self, base: str, taken: Iterable[str] = ()) -> str:
        """A value name that is not in use yet."""
        used = set(taken)
        for candidate in _numbered(base):
            if candidate not in self.values and candidate not in used:
                return candidate
        raise AssertionError("unreachable")


def _numbered(base: str) -> Iterator[str]:
    yield base
    count = 2
    while True:
        yield f"{base}_{count}"
        count += 1
