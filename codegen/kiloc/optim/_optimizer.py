"""The update phase: once an update the schedule and the counters, then for each parameter an optimizer node and the node of
its storage format. An optimizer knows no storage format and a storage format no optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import ACCUMULATED, NEW_HEAD, Graph, Node, Parameter, Value
from ..ir.operator import Op
from ..ir.types import TensorType
from ..ops.model.lora import AdaptRange
from ..ops.update._update import Update
from ..ops.update.integer_sum import FromIntegers
from ..ops.update.optimizer import ClipGradient
from ..ops.update.optimizer import Optimizer as OptimizerOperator
from ..ops.update.schedule import CountUpdate, NextPower, ScaledRate
from ..ops.update.storage_step import StorageStep
from ._checks import number
from .rates import default_rate, head_factor
from .schedule import Schedule
from .shard import Shard, parts, unit_of
from .storage import rounds_stochastically, storage_step

LEARNING_RATE = "learning_rate"
"""The base rate: what `set_learning_rate` changes."""
RATE = "rate"
"""The rate of the update under way, where a schedule makes it from the base."""
HEAD_RATE = "head_rate"
"""The rate of a new head, where it goes by one of its own."""
UPDATES = "updates"
SEED = "seed"


class Optimizer:
    """Base of all optimizers: frozen dataclasses with lr, clip, weight_decay, schedule and state_bits."""

    name: ClassVar[str] = ""

    lr: float | None
    clip: float
    weight_decay: float
    schedule: Schedule | None
    state_bits: int

    @property
    def initial_learning_rate(self) -> float:
        """The rate that training starts with; of an optimizer that `with_rate` made, or whose user named one."""
        assert self.lr is not None, "the rate depends on what is trained: with_rate"
        return self.lr

    def with_rate(self, parameters: Sequence[Parameter], share: float = 1.0) -> Self:
        """This optimizer with a learning rate: its own, or what suits the parameters, of which the loss wants a share."""
        if self.lr is not None or not parameters:
            return self
        return replace(self, lr=share * self.usual_rate([p.method for p in parameters]))  # type: ignore[type-var]

    def usual_rate(self, methods: Sequence[str]) -> float:
        """What suits tensors that these methods train, one entry a tensor; a new head has its own (`head_factor`)."""
        return default_rate(self.name, methods, getattr(self, "momentum", 0.0))

    def head_factor(self, parameters: Sequence[Parameter]) -> float:
        """How much faster than the rest a new head learns."""
        return head_factor(self.name, [p.method for p in parameters], getattr(self, "momentum", 0.0))

    @property
    def moments_per_parameter(self) -> int:
        raise NotImplementedError

    @property
    def powers(self) -> Mapping[str, float]:
        """Running powers that the operator reads: name -> factor of an update."""
        return {}

    @property
    def draws(self) -> bool:
        """Whether the operator draws random numbers."""
        return False

    @property
    def state_name(self) -> str:
        """Names the meaning of the state: another optimizer's is refused, also where it has the same members."""
        return f"{self.name} {self.state_bits}"

    def moments(self, parameter: str, shape: tuple[int, ...]) -> list[Value]:
        """State that the optimizer keeps for a parameter: `<parameter>.<operand>`."""
        raise NotImplementedError

    def operator(self, stream: int = 0) -> Update:
        """stream: names the random numbers of one parameter."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line for reports."""
        raise NotImplementedError

    def _check(self, rate_hint: str) -> None:
        title = type(self).__name__
        if self.lr is not None:
            number(f"{title}(lr=...)", self.lr, 0, 1e18, rate_hint, above=True, below=True)
        number(f"{title}(clip=...)", self.clip, 0, 1e18, "1 is the default, 0 switches it off")
        number(f"{title}(weight_decay=...)", self.weight_decay, 0, 1e18, "0.01 is usual, 0 is none")
        if self.state_bits not in (8, 32) or isinstance(self.state_bits, bool):
            raise CompileError(f"{title}(state_bits=...)", f"{self.state_bits!r} is neither 8 nor 32", "32 keeps float32 moments, 8 blocks of codes")
        if self.schedule is not None and not isinstance(self.schedule, Schedule):
            hint = "pass kt.CosineDecay(updates=1000), kt.LinearDecay(updates=1000) or kt.StepDecay(every=100)"
            raise CompileError(f"{title}(schedule=...)", f"{self.schedule!r} is not a schedule", hint)

    def _rate(self) -> str:
        return "lr=default" if self.lr is None else f"lr={self.lr:g}"

    def _extras(self) -> str:
        found = f" weight_decay={self.weight_decay:g}" if self.weight_decay else ""
        found += f" schedule={self.schedule.describe()}" if self.schedule else ""
        return found + (" state_bits=8" if self.state_bits == 8 and self.moments_per_parameter else "")


def with_accumulators(
    graph: Graph, optimizer: Optimizer, seed: int = 0, *, at_once: bool = False, in_ram: int | None = None, shard: Shard | None = None
) -> Graph:
    """Add what training keeps besides the parameters: accumulators, moments, learning rate, counters, seed.

    at_once: each sample updates by itself, so gradients need no state: they stand in the arena until their update.
    in_ram: bytes of moments that stay in the state, the others lie in slow memory; None: all stay. shard: the part of them that this device
    keeps; accumulators then hold integers, and each gradient stands in the arena until it is added; they lie behind the number of their samples,
    and marks of saturation at the end.
    A new head gets a rate of its own unless the user named one, which is every tensor's.
    """
    factor = optimizer.head_factor(graph.parameters) if optimizer.lr is None else 1.0
    optimizer = optimizer.with_rate(graph.parameters)
    values = _controls(optimizer, seed, optimizer.draws or rounds_stochastically(graph), factor)
    parameters: list[Parameter] = []
    own = None if shard is None else own_part(graph, optimizer, shard)
    if own is not None:
        values.append(values.pop(next(i for i, v in enumerate(values) if v.name == ACCUMULATED)))
        flags = {p.values["saturated"]: None for p in graph.parameters if "saturated" in p.values}
        graph = replace(graph, values={k: v for k, v in graph.values.items() if k not in flags} | {k: graph.values[k] for k in flags})
    kept: list[Value] = []
    staying = {p.name for p in graph.parameters} if in_ram is None else _staying(graph, optimizer, in_ram)
    for p in graph.parameters:
        shape = graph.type(p.values["value"]).shape
        accumulator = _accumulator(f"{p.name}.accumulator", shape, at_once)
        part = shape if own is None else (own[p.name][1],) if p.name in own else ()
        moments = optimizer.moments(p.name, part) if part else []
        moments = list(moments) if p.name in staying else [replace(m, kind="paged") for m in moments]
        roles = {**p.values, "accumulator": accumulator.name, **{m.name.rsplit(".", 1)[1]: m.name for m in moments}}
        values.append(accumulator)
        if own is None:
            values += moments
        else:
            kept += [_accumulator(f"{p.name}.gradient", shape, True), *moments]
            roles["gradient"] = f"{p.name}.gradient"
        parameters.append(replace(p, values=roles))
    return replace(graph.with_values([*values, *kept]), parameters=tuple(parameters))


def _staying(graph: Graph, optimizer: Optimizer, budget: int) -> set[str]:
    """The parameters whose moments stay in the state within so many bytes: the largest first, so that an update moves little."""
    shapes = {p.name: graph.type(p.values["value"]).shape for p in graph.parameters}
    sizes = {name: sum(m.type.bytes for m in optimizer.moments(name, shape)) for name, shape in shapes.items()}
    found = set[str]()
    for name in sorted(sizes, key=lambda n: -sizes[n]):
        if sizes[name] <= budget:
            found.add(name)
            budget -= sizes[name]
    return found


def own_part(graph: Graph, optimizer: Optimizer, shard: Shard) -> dict[str, tuple[int, int]]:
    """The elements of each parameter whose moments this device keeps: (first, number)."""
    if not optimizer.moments_per_parameter:
        raise CompileError(f"shard={shard!r}", f"{optimizer.name} without momentum keeps no moments", "leave shard out, or pass kt.Adam()")
    return parts({p.name: graph.type(p.values["value"]).size for p in graph.parameters}, shard, unit_of(optimizer.state_bits))


def _accumulator(name: str, shape: tuple[int, ...], at_once: bool) -> Value:
    type_ = TensorType(shape, "float32")
    return Value(name, type_, "gradient") if at_once else Value(name, type_, "accumulator", np.zeros(shape, np.float32))


def _controls(optimizer: Optimizer, seed: int, draws: bool, factor: float) -> list[Value]:
    """Scalars of the state; those that nothing reads are left out. factor: of a new head's rate."""

    def control(name: str, dtype: str, value: float) -> Value:
        data: NDArray[np.generic] = np.array([value], dtype)
        return Value(name, TensorType((1,), dtype), "control", data)

    values = [control(LEARNING_RATE, "float32", optimizer.initial_learning_rate), control(ACCUMULATED, "int32", 0)]
    if optimizer.schedule is not None:
        values.append(control(RATE, "float32", optimizer.initial_learning_rate))
    if factor != 1:
        values.append(control(HEAD_RATE, "float32", optimizer.initial_learning_rate * factor))
    values += [control(name, "float32", 1) for name in optimizer.powers]
    if optimizer.schedule is not None or draws:
        values.append(control(UPDATES, "int32", 0))
    if draws:
        values.append(control(SEED, "int32", seed & 0x7FFFFFFF))
    return values


def with_updates(graph: Graph, optimizer: Optimizer, shard: Shard | None = None) -> Graph:
    """Append the update phase. shard: first all that makes the steps of this part of the parameters, then what takes the steps of all."""
    shared = {"count": ACCUMULATED, **{name: name for name in (*optimizer.powers, UPDATES, SEED) if name in graph.values}}
    shared["learning_rate"] = LEARNING_RATE if optimizer.schedule is None else RATE
    nodes, steps, ranges = _before(optimizer), list[Node](), list[Node]()
    head = shared
    if HEAD_RATE in graph.values:
        inputs = {"base": shared["learning_rate"], "rate": HEAD_RATE}
        nodes.append(Node("head_rate.scale", ScaledRate(optimizer.head_factor(graph.parameters)), inputs, (), (HEAD_RATE,), "update"))
        head = {**shared, "learning_rate": HEAD_RATE}
    own = None if shard is None else own_part(graph, optimizer, shard)
    one = Value(graph.fresh("one"), TensorType((1,), "int32"), "constant", np.ones(1, np.int32))
    for index, p in enumerate(graph.parameters):
        available = {**(head if p.method == NEW_HEAD else shared), **p.values}
        operator = optimizer.operator(2 * index)
        if own is None:
            nodes.append(_update(f"{p.name}.optimizer", operator, available, shared))
        elif p.name in own:
            nodes += _step_of_part(p, operator, own[p.name], available, shared, one.name)
        step = storage_step(graph, p, float(optimizer.weight_decay), 2 * index + 1)
        if not optimizer.weight_decay:
            available.pop("learning_rate")
        (nodes if own is None else steps).append(_update(f"{p.name}.step", step, available, shared))
        if "saturated" in p.values:
            inputs = {"lora_range": p.values["range"], "saturated": p.values["saturated"]}
            ranges.append(Node(f"{p.name}.range", AdaptRange(), inputs, (), tuple(inputs.values()), "update"))
    nodes += steps + ranges
    if UPDATES in graph.values:
        nodes.append(Node("updates.count", CountUpdate(), {"updates": UPDATES}, (), (UPDATES,), "update"))
    return replace(graph if own is None else graph.with_values([one]), nodes=(*graph.nodes, *nodes))


def _step_of_part(p: Parameter, op: Update, part: tuple[int, int], available: Mapping[str, str], shared: Mapping[str, str], one: str) -> list[Node]:
    """The steps of some elements of a parameter. The norm is one of all elements, so that the gradient is clipped before."""
    assert isinstance(op, OptimizerOperator)
    accumulator = p.values["accumulator"]
    clip = {"accumulator": accumulator, "count": ACCUMULATED}
    return [
        Node(f"{p.name}.whole", FromIntegers(), {"accumulator": accumulator}, (), (accumulator,), "update"),
        Node(f"{p.name}.clip", ClipGradient(op.clip), clip, (), (accumulator,), "update"),
        _update(f"{p.name}.optimizer", replace(op, clip=0.0, first=part[0], elements=part[1]), {**available, "count": one}, {**shared, one: one}),
    ]


def taking_steps(graph: Graph) -> tuple[Node, ...]:
    """Of an update phase with a shard the part behind the exchange of steps: what takes those of all parameters."""
    nodes = graph.phase("update")
    return nodes[next(i for i, n in enumerate(nodes) if isinstance(n.op, StorageStep)) :]


def _before(optimizer: Optimizer) -> list[Node]:
    """What every parameter's update reads: the rate that the schedule makes, and the powers of this update."""
    nodes = []
    if optimizer.schedule is not None:
        inputs = {"base": LEARNING_RATE, "updates": UPDATES, "rate": RATE}
        nodes.append(Node("rate.schedule", optimizer.schedule.operator(), inputs, (), (RATE,), "update"))
    for name, factor in optimizer.powers.items():
        nodes.append(Node(f"{name}.next", NextPower(factor), {"power": name}, (), (name,), "update"))
    return nodes


def _update(name: str, op: Op, available: Mapping[str, str], shared: Mapping[str, str]) -> Node:
    """A node of the update phase with those operands that there are; what is not shared it changes."""
    inputs = {o: available[o] for o in (*op.operands, *op.optional) if o in available}
    changed = tuple(v for o, v in inputs.items() if o not in shared)
    return Node(name, op, inputs, (), changed, "update")
