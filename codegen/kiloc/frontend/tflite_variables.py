"""Variables of a .tflite file: what a streaming model keeps from call to call.

VAR_HANDLE names a variable, CALL_ONCE runs the subgraph that assigns what it holds at first, READ_VARIABLE and ASSIGN_VARIABLE do what they say.
In the graph a variable is a value of kind "stream" that operators read where it lies, so nothing may write it before all of them have run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CompileError
from ..ir.graph import Node
from ..ops.model.keep import Keep
from ..ops.model.slice import Slice

if TYPE_CHECKING:
    from .tflite import TFLiteReader
    from .tflite_file import Operator, Tensor

AGAIN = "export the model again"
Name = tuple[str, str]
"""(container, shared name)"""


def name_of(op: Operator) -> Name:
    """The variable of a VAR_HANDLE."""
    o = op.options or {}
    container, shared = (o.get(key) or b"" for key in ("Container", "SharedName"))
    return container.decode("utf-8", "replace"), shared.decode("utf-8", "replace")


def initial_values(operators: list[Operator]) -> dict[Name, Tensor]:
    """What the subgraph of CALL_ONCE assigns to each variable. Raises CompileError where it does anything else."""
    handles: dict[int, Name] = {}
    found: dict[Name, Tensor] = {}
    for op in operators:
        if op.kind == "VAR_HANDLE" and op.outputs:
            handles[op.outputs[0].index] = name_of(op)
        elif op.kind == "ASSIGN_VARIABLE" and len(op.inputs) == 2 and op.inputs[0] is not None and op.inputs[0].index in handles:
            value = op.inputs[1]
            if value is None or value.data is None:
                raise CompileError(op.where, "the variable does not start from a constant", AGAIN)
            found[handles[op.inputs[0].index]] = value
        else:
            raise CompileError(op.where, "runs once before the first inference; only constants can be assigned there", AGAIN)
    return found


@dataclass
class Variables:
    """The variables of a file while it is read. initial: what each holds at first."""

    initial: dict[Name, Tensor] = field(default_factory=dict)
    handles: dict[int, Name] = field(default_factory=dict)
    kept: dict[Name, str] = field(default_factory=dict)
    """The value of kind "stream" of each variable that is read."""
    assigned: dict[Name, tuple[str, Operator]] = field(default_factory=dict)

    def handle(self, op: Operator) -> None:
        self.handles[op.outputs[0].index] = name_of(op)

    def _name(self, op: Operator) -> Name:
        t = op.input(0)
        if t is None or t.index not in self.handles:
            raise CompileError(op.where, "names no variable", AGAIN)
        return self.handles[t.index]

    def read(self, r: TFLiteReader, op: Operator) -> None:
        """What the variable holds now: what was assigned in this call, or else what it was kept with."""
        name, t = self._name(op), op.outputs[0]
        type_ = r.activation_type(t)
        if name not in self.kept and name not in self.assigned:
            first = self.initial.get(name)
            if first is None or first.data is None:
                raise CompileError(op.where, "the variable is read before anything was assigned to it", "initialise it (CALL_ONCE)")
            if first.data.dtype != np.int8 or first.data.size != type_.size:
                raise CompileError(op.where, f"the variable starts from {first.dtype}{first.shape}, but holds {t.dtype}{t.shape}", AGAIN)
            self.kept[name] = r.b.stream(f"kept_{len(self.kept) + 1}", type_, first.data.reshape(type_.shape), name[1] or t.name)
        value = self.assigned[name][0] if name in self.assigned else self.kept[name]
        if r.b.values[value].type != type_:
            raise CompileError(op.where, f"reads {type_.shape} of what holds {r.b.values[value].type.shape}, or another scale", AGAIN)
        r.known[t.index] = value

    def assign(self, r: TFLiteReader, op: Operator) -> None:
        if op.outputs:
            raise CompileError(op.where, f"has {len(op.outputs)} results", AGAIN)
        self.assigned[self._name(op)] = (r.value(op.input(1), op.where), op)

    def finish(self, r: TFLiteReader, outputs: list[str]) -> list[str]:
        """Adds what writes the variables, each as soon as nothing reads what it held before. Returns the results of the graph: a kept value is
        copied where it is one, or where another shape of it is read."""
        streams = set(self.kept.values())
        for node in list(r.b.nodes):
            if node.op.view and node.inputs["x"] in streams:
                copy = self._copied(r, node.inputs["x"], r.b.nodes.index(node))
                at = r.b.nodes.index(node)
                r.b.nodes[at] = Node(node.name, node.op, {"x": copy}, node.outputs, origin=node.origin)
        outputs = [self._copied(r, name, len(r.b.nodes)) if name in streams else name for name in outputs]
        for name, (value, op) in self.assigned.items():
            kept = self.kept.get(name)
            if kept is None or kept == value:  # nobody reads it, or it stays what it was
                continue
            if value in streams:
                raise CompileError(op.where, "gives a variable what another one held before", "export the model with a copy in between")
            if r.b.values[value].type.size != r.b.values[kept].type.size:
                raise CompileError(op.where, f"assigns {r.b.values[value].type.shape} to {r.b.values[kept].type.shape}", AGAIN)
            places = [i for i, n in enumerate(r.b.nodes) if kept in n.inputs.values() or value in n.outputs]
            node = Node(f"{kept}.keep", Keep(), {"x": value, "kept": kept}, (), (kept,), origin=op.where)
            r.b.nodes.insert(max(places, default=-1) + 1, node)
        return outputs

    def _copied(self, r: TFLiteReader, name: str, at: int) -> str:
        copy = r.b.node(r.b.unique(f"{name}.copy"), Slice.whole(r.b.values[name].type.shape), {"x": name}, r.b.values[name].type, name)
        r.b.nodes.insert(at, r.b.nodes.pop())
        return copy
