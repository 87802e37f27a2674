"""Updates whose gradient is computed for some rows of the parameter at a time, three times, instead of standing in memory as a whole."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ops.backward.parameter_gradient import WeightGradient
from ..ops.update.optimizer import SGD
from ..ops.update.storage_step import StepBlock16
from ..ops.update.streamed_update import StreamedRows

PARTS = 4
"""Parts that the rows of a parameter are taken in, where there are so many."""


def streamable(part: Graph) -> dict[str, str]:
    """Accumulators in the arena that need not be whole, and the gradients that fill them."""
    named = {n.name: n for n in part.nodes}
    return {n.inputs["accumulator"]: n.name for n in part.nodes if _parts(part, named, n) is not None}


def _parts(part: Graph, named: dict[str, Node], gradient: Node) -> tuple[Node, Node, Node] | None:
    """The zeros, optimizer and step of a gradient that can be streamed."""
    base, _, role = gradient.name.rpartition(".")
    found = tuple(named.get(f"{base}.{name}") for name in ("clear", "optimizer", "step"))
    if role != "gradient" or type(gradient.op) is not WeightGradient or gradient.op.unscaled or "rows" in gradient.inputs or not all(found):
        return None
    clear, optimizer, step = (n for n in found if n is not None)
    if clear.outputs != gradient.updates or type(optimizer.op) is not SGD or "momentum" in optimizer.inputs:
        return None
    return (clear, optimizer, step) if isinstance(step.op, StepBlock16) and gradient.op.y_image[2] > 1 else None


def stream_rows(part: Graph, gradients: Collection[str]) -> Graph:
    """The slice with the updates of these gradients streamed, as far as nothing hinders that."""
    for name in gradients:
        part = _streamed(part, name) or part
    return part


def _streamed(part: Graph, name: str) -> Graph | None:
    named = {n.name: n for n in part.nodes}
    gradient, found = named[name], _parts(part, named, named[name])
    if found is None:
        return None
    clear, optimizer, step = found
    assert isinstance(gradient.op, WeightGradient) and isinstance(optimizer.op, SGD) and isinstance(step.op, StepBlock16)
    own = {n.name for n in (clear, gradient, optimizer, step)}
    first, last = part.nodes.index(gradient), part.nodes.index(step)
    reads = set(gradient.inputs.values()) - set(gradient.updates)
    later = [n for n in part.nodes[first + 1 : last] if reads & set(n.updates)]  # of an inner range, which nothing reads before the next sample
    given = {v for n in later for v in (*n.outputs, *n.updates)}
    waits = {v for n in later for v in n.inputs.values()}
    between = [n for n in part.nodes[first + 1 : last] if n not in later and n.name not in own]
    if any(given & set(n.inputs.values()) or waits & {*n.outputs, *n.updates} for n in between):
        return None
    inputs = {o: gradient.inputs[o] for o in ("g", "x", "exponent", "exponent_offset") if o in gradient.inputs}
    inputs |= {"value": step.inputs["value"], "value_exponent": step.inputs["exponent"]}
    inputs |= {"remainder": step.inputs["remainder"], **{o: optimizer.inputs[o] for o in ("count", "learning_rate")}}
    op, rows = gradient.op, gradient.op.y_image[2]
    streamed = StreamedRows(
        optimizer.op.clip, step.op.decay, op.unit, window=op.window, x_image=op.x_image, y_image=op.y_image, part=-(-rows // PARTS)
    )
    updates = tuple(inputs[o] for o in ("value", "value_exponent", "remainder"))
    one = replace(step, op=streamed, inputs=inputs, updates=updates)
    gone = own | {n.name for n in later}
    nodes = [m for n in part.nodes for m in ([one, *later] if n is step else [] if n.name in gone else [n])]
    return part.with_nodes(nodes)
