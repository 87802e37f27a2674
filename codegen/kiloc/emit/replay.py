"""The replay buffer as the generated code has it: which steps a replayed one leaves out, and where it finds what they would have made."""

from __future__ import annotations

from dataclasses import dataclass

from ..continual import WORD, Packed, ReplayPlan
from ..errors import CompileError
from ..ir.graph import Node, Value
from ..passes.frozen_front import front_length, handed_on, input_of
from ..plan.slice import Slice, caller_buffers
from .c_names import CTYPES
from .steps import CFunction, FunctionWriter


@dataclass(frozen=True)
class CReplayPart:
    """A value of an entry, `bytes` at `at`.

    input: the name of the model's input that it is, or "". caller: whether that lies in the caller's buffer; else the value lies in the arena at
    `offset`. packed: how its values are four bits each, None where they are kept as they are.
    """

    at: int
    bytes: int
    ctype: str
    input: str
    caller: bool
    offset: int
    packed: Packed | None = None


@dataclass(frozen=True)
class CReplay:
    """front: the steps that are not repeated. front_inputs: what they read of the caller. parts: of an entry. slow_at: where entries begin in
    slow memory, if they lie there."""

    plan: ReplayPlan
    front: CFunction
    front_inputs: tuple[str, ...]
    parts: tuple[CReplayPart, ...]
    slow_at: int

    @property
    def slow(self) -> bool:
        return self.plan.slow

    @property
    def staged(self) -> bool:
        return self.plan.staged

    @property
    def samples(self) -> int:
        return self.plan.options.samples

    @property
    def caller_parts(self) -> tuple[CReplayPart, ...]:
        """Those that the trained part reads in the caller's buffers."""
        return tuple(p for p in self.parts if p.caller)

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(p.input for p in self.parts if p.input)


def front_of(train: Slice, replay: ReplayPlan) -> tuple[Node, ...]:
    """Nodes of a training slice that a replayed step does not run."""
    return train.kernels.nodes[: front_length(train.kernels)] if replay.options.keep == "latent" else ()


def c_replay(replay: ReplayPlan, train: Slice, writer: FunctionWriter, inputs: list[tuple[str, Value]], slow_at: int) -> CReplay:
    """The buffer as data for the templates. slow_at: bytes of slow memory that are taken already.

    Raises CompileError where a memory budget has moved the end of the frozen front.
    """
    kernels, front, caller = train.kernels, front_of(train, replay), caller_buffers(train.kernels)
    if set(handed_on(kernels, len(front), caller)) != set(replay.parts):
        what = "the budget has values of the frozen layers computed twice, or in stripes with trained ones: they end nowhere whole"
        raise CompileError("replay", what, 'a larger ram=, or Replay(keep="input")')
    writer.add(front)
    names = {value.name: name for name, value in inputs}
    read = {input_of(kernels, value) for node in front for value in node.inputs.values() if value in caller}
    parts = [
        CReplayPart(
            at, size, CTYPES[kernels.type(name).dtype], names.get(name, ""), name in caller, train.plan.offsets.get(name, 0), replay.packed.get(name)
        )
        for name, (at, size) in replay.parts.items()
    ]
    return CReplay(replay, writer.function, tuple(name for value, name in names.items() if value in read), tuple(parts), -(-slow_at // WORD) * WORD)
