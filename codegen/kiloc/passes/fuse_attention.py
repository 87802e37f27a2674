"""Computes attention by rows: BATCH_MATMUL, scale, mask, SOFTMAX, BATCH_MATMUL as one node, and their gradients as another, with the same bits.

No matrix of queries and keys is in memory then: forward a row of it, backward a row and eight bytes a query (`ops/fast/attention.py`). Between
the first product and the softmax may stand what computes the same function of a code for every score, and one ADD of a constant mask that keeps
keys before or behind a query from having any probability.

What is almost attention runs as ordinary operators, with a note that says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node, Value
from ..ir.operator import Environment
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops.backward.elementwise_gradient import ProductGradient
from ..ops.backward.gradient_mask import ApplyMask, MaskGradient, SaveMask
from ..ops.fast.attention import ALL, Attention, Rows
from ..ops.fast.attention_gradient import AttentionGradient
from ..ops.model._lookup import CODES
from ..ops.model.add import Add
from ..ops.model.batch_matmul import BatchMatMul, BatchMatMulGradient
from ..ops.model.softmax import Softmax, SoftmaxGradient
from ..ops.model.windowed_softmax import WindowedSoftmax
from .fuse_elementwise import codes_of, one_function

Codes = NDArray[np.int8]


class NotAttention(Exception):
    """Why ordinary operators stay; the message belongs into a note."""


@dataclass
class Pattern:
    """The forward nodes: scores = q k^T, steps from there to the softmax, y = probabilities v."""

    scores: Node
    steps: list[Node]
    softmax: Node
    mixed: Node
    backward: Backward | None = None
    saves: list[Node] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        return [self.scores, *self.steps, self.softmax, self.mixed]

    @property
    def inner(self) -> list[str]:
        """Matrices of queries and keys."""
        return [n.outputs[0] for n in self.nodes[:-1]]


@dataclass
class Backward:
    """The backward nodes: to probabilities (rates), through the softmax and the steps, to q, k and v (gradients, by operand)."""

    rates: Node | None
    softmax: Node | None
    steps: list[Node]
    gradients: dict[str, Node]

    @property
    def nodes(self) -> list[Node]:
        return [*(n for n in (self.rates, self.softmax) if n), *self.steps, *self.gradients.values()]


def fuse_attention(part: Graph) -> Graph:
    """The graph with attention by rows; notes say what is almost attention."""
    patterns, notes = list[Pattern](), list[str]()
    for node in part.phase("forward"):
        if isinstance(node.op, Softmax):
            try:
                found = _pattern(part, node)
                patterns += [found] if found else []
            except NotAttention as why:
                notes.append(_note(node, why))
    for pattern in patterns:
        try:
            part = _fused(part, pattern)
        except NotAttention as why:
            notes.append(_note(pattern.softmax, why))
    return replace(part, notes=tuple(dict.fromkeys((*part.notes, *notes))))


def _note(softmax: Node, why: NotAttention) -> str:
    """Raises CompileError where ordinary operators would not do."""
    if isinstance(softmax.op, WindowedSoftmax):
        where = f"attention_window={softmax.op.window}"
        raise CompileError(where, f"'{softmax.name}' cannot be computed by rows: {why}", "leave attention_window out, or train layers behind it")
    return f"'{softmax.name}': attention as ordinary operators, with whole matrices in memory: {why}"


# -- recognition --------------------------------------------------------------------------------------
def _pattern(part: Graph, softmax: Node) -> Pattern | None:
    """The pattern around a softmax; None where it is no part of an attention. Raises NotAttention."""
    producers, readers = part.producers(), defaultdict(list, part.consumers())
    steps, value = list[Node](), softmax.inputs["x"]
    while value in producers and (one_function(part, producers[value]) or isinstance(producers[value].op, Add)):
        steps.insert(0, producers[value])
        value = steps[0].inputs["x"]
    scores = producers.get(value)
    after = [n for n in readers[softmax.outputs[0]] if n.phase == "forward" and not isinstance(n.op, SaveMask)]
    mixed = next((n for n in after if isinstance(n.op, BatchMatMul)), None)
    if scores is None or mixed is None or not isinstance(scores.op, BatchMatMul):
        if mixed is not None and not isinstance(getattr(scores, "op", None), BatchMatMul):
            what = f"{scores.op.mnemonic.upper()} stands" if scores else "the scores do not stand"
            raise NotAttention(f"{what} between the product of queries and keys and the softmax")
        if mixed is None and scores is not None and isinstance(scores.op, BatchMatMul) and after:
            raise NotAttention(f"{after[0].op.mnemonic.upper()} reads the probabilities, not the product with the values")
        return None
    pattern = Pattern(scores, steps, softmax, mixed)
    if mixed.inputs["x"] != softmax.outputs[0] or not isinstance(mixed.op, BatchMatMul) or mixed.op.turn_x:
        raise NotAttention("the softmax runs along another axis than the one that is summed")
    if part.type(softmax.outputs[0]).dtype != "int8":
        raise NotAttention("its probabilities are int16")
    for name in pattern.inner:
        others = [n for n in readers[name] if n.phase == "forward" and n not in pattern.nodes and not isinstance(n.op, SaveMask)]
        if others or name in part.outputs:
            raise NotAttention(f"{others[0].op.mnemonic.upper() if others else 'the caller'} reads {name}, too")
        pattern.saves += [n for n in readers[name] if isinstance(n.op, SaveMask)]
        if part.type(name).shape[-2:] != part.type(scores.outputs[0]).shape[-2:]:
            raise NotAttention(f"{name} has another shape than the product of queries and keys")
    pattern.backward = _backward(part, pattern)
    return pattern


def _backward(part: Graph, pattern: Pattern) -> Backward | None:
    """The gradients of a pattern, all of them; None where nothing is trained through it. Raises NotAttention."""
    readers, producers = defaultdict(list, part.consumers()), part.producers()
    bits = {n.outputs[0] for n in pattern.saves}
    reading = [n for v in (*pattern.inner, *bits) for n in readers[v] if n.phase == "backward"]
    found = Backward(None, None, [], {})
    for node in reading:
        if isinstance(node.op, BatchMatMulGradient) and node.inputs["factor"] == pattern.softmax.outputs[0]:
            found.gradients["v"] = node
        elif isinstance(node.op, SoftmaxGradient):
            found.softmax, found.rates = node, producers[node.inputs["g"]]
    if found.softmax is not None and found.rates is not None:
        _inner_gradients(part, found, readers)
        if not isinstance(found.rates.op, BatchMatMulGradient) or len(readers[found.rates.outputs[0]]) != 1:
            raise NotAttention("the gradient of its probabilities comes from elsewhere, too")
    left = [n for n in reading if n not in found.nodes]
    if left:
        raise NotAttention(f"{left[0].op.mnemonic.upper()} stands in its gradient")
    arriving = {n.inputs["g"] for n in (found.rates, found.gradients.get("v")) if n}
    if len(arriving) > 1:
        raise NotAttention("two gradients arrive at its result")
    return found if found.nodes else None


def _inner_gradients(part: Graph, found: Backward, readers: dict[str, list[Node]]) -> None:
    """From the gradient of what the softmax reads to those of q and k."""
    assert found.softmax is not None
    value = found.softmax.outputs[0]
    while True:
        after = readers[value]
        if after and all(isinstance(n.op, BatchMatMulGradient) for n in after):
            for node in after:
                found.gradients["q" if node.op.of == "x" else "k"] = node  # type: ignore[attr-defined]
            return
        if not after:
            raise NotAttention("nothing reads the gradient of its scores")
        scaled = isinstance(after[0].op, ProductGradient) and part.type(after[0].inputs["factor"]).size == 1
        if len(after) > 1 or not (isinstance(after[0].op, MaskGradient | ApplyMask) or scaled):
            raise NotAttention(f"{after[0].op.mnemonic.upper()} stands in its gradient")
        found.steps.append(after[0])
        value = after[0].outputs[0]


# -- masks --------------------------------------------------------------------------------------------
def _tables(part: Graph, pattern: Pattern) -> tuple[Codes, list[Codes], tuple[int, int]]:
    """What the softmax reads of the 256 codes of a score, what each step gives, and how far before and behind a query the keys are that it sees.
    Raises NotAttention."""
    seen, hidden = [CODES.astype(np.int8)], CODES.astype(np.int8)
    bounds, masked = (ALL, ALL), False
    for node in pattern.steps:
        if one_function(part, node):
            seen.append(codes_of(part, [node], seen[-1]))
            hidden = codes_of(part, [node], hidden)
            continue
        mask = part.values[node.inputs["other"]]
        if mask.data is None or mask.kind != "constant" or mask.type.size != np.prod(mask.type.shape[-2:]):
            raise NotAttention("its mask is no constant, or another one for each head")
        if masked:
            raise NotAttention("it has two masks")
        bounds, (here, there) = _band(mask.data.reshape(mask.type.shape[-2:]), part.type(node.outputs[0]).shape[-2:])
        masked = True
        seen.append(codes_of(part, [node], seen[-1], here))
        hidden = codes_of(part, [node], hidden, there)
    smallest = pattern.softmax.op.scaling(node_types(part, pattern.softmax))[2]  # type: ignore[attr-defined]
    if masked and int(hidden.max()) - int(seen[-1].min()) >= smallest:
        raise NotAttention("keys that its mask hides may keep some probability: it subtracts too little for the range of the scores")
    if isinstance(pattern.softmax.op, WindowedSoftmax):
        near = pattern.softmax.op.window - 1
        bounds = (near if bounds[0] == ALL else min(bounds[0], near)), (near if bounds[1] == ALL else min(bounds[1], near))
    return seen[-1], seen, bounds


def _band(mask: NDArray[np.generic], shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of a mask: how far before and behind each query the keys are that it sees, and its values for those and for others. Raises NotAttention."""
    values = np.unique(mask)
    if mask.shape != shape or shape[0] != shape[1] or len(values) != 2:
        raise NotAttention("its mask is not causal and no window: it has other values than one for keys that are seen and one for others")
    seen = mask == values[1]
    rows, columns = np.nonzero(seen)
    before, after = (int((rows - columns).max(initial=0)), int((columns - rows).max(initial=0)))
    distance = np.arange(shape[1])[None] - np.arange(shape[0])[:, None]
    if not np.array_equal(seen, (distance >= -before) & (distance <= after)):
        raise NotAttention("its mask is not causal and no window")
    most = shape[0] - 1
    return (ALL if before >= most else before, ALL if after >= most else after), (int(values[1]), int(values[0]))


# -- rewriting ----------------------------------------------------------------------------------------
def _fused(part: Graph, pattern: Pattern) -> Graph:
    table, stages, (before, after) = _tables(part, pattern)
    scores, mixed, softmax = pattern.scores, pattern.mixed, pattern.softmax
    assert isinstance(scores.op, BatchMatMul) and isinstance(mixed.op, BatchMatMul) and isinstance(softmax.op, Softmax)
    rank = len(part.type(mixed.outputs[0]).shape)
    given, probability = (part.type(v) for v in (softmax.inputs["x"], softmax.outputs[0]))
    score = part.type(scores.outputs[0])
    op = Attention(
        (score.scale, score.zero_point), (given.scale, given.zero_point), (probability.scale, probability.zero_point), softmax.op.beta, before, after,
        _rows(rank, scores.op.turn_x), _rows(rank, not scores.op.turn_other), _rows(rank, mixed.op.turn_other), _rows(rank, False),
    )  # fmt: skip
    name = part.fresh(f"{mixed.name}.table")
    values = [Value(name, TensorType((256,), "int8"), "constant", table)]
    inputs = {"q": scores.inputs["x"], "k": scores.inputs["other"], "v": mixed.inputs["other"]}
    forward = replace(mixed, op=op, inputs={**inputs, "table": name})
    gone = {n.name for n in (*pattern.nodes, *pattern.saves)} - {mixed.name}
    put: dict[str, Node] = {mixed.name: forward}
    if pattern.backward is not None:
        gradient, through = _gradient(part, pattern, forward, stages)
        values.append(through)
        names = {n.name for n in pattern.backward.nodes}
        first = next(n.name for n in part.nodes if n.name in names)
        gone |= names - {first}
        put[first] = gradient
    complaint = op.check(replace(node_types(part, mixed), operands={o: part.type(v) for o, v in inputs.items()}))
    if complaint:
        raise NotAttention(complaint)
    return part.with_values(values).with_nodes(put.get(n.name, n) for n in part.nodes if n.name not in gone)


def _rows(rank: int, turned: bool) -> Rows:
    order = list(range(rank))
    return Rows(tuple([*order[:-2], order[-1], order[-2]] if turned else order))


def _gradient(part: Graph, pattern: Pattern, forward: Node, stages: Sequence[Codes]) -> tuple[Node, Value]:
    """The node of all gradients, and its table. Raises NotAttention."""
    b = pattern.backward
    assert b is not None and isinstance(forward.op, Attention)
    of = tuple(o for o in ("q", "k", "v") if o in b.gradients)
    passed = _through(part, pattern, b, stages)
    name = part.fresh(f"{b.gradients[of[-1]].name}.through")
    shifts = tuple(b.gradients[o].op.shift for o in of)  # type: ignore[attr-defined]
    inner = (b.rates.op.shift, b.softmax.op.shift) if b.rates and b.softmax else (0, 0)  # type: ignore[attr-defined]
    op = AttentionGradient(forward.op, _rows(len(part.type(pattern.mixed.outputs[0]).shape), False), of, shifts, inner)
    g = next(n.inputs["g"] for n in (b.rates, b.gradients.get("v")) if n)
    if part.type(g).shape != part.type(forward.outputs[0]).shape:
        raise NotAttention("the gradient of its result has another shape")
    outputs = tuple(b.gradients[o].outputs[0] for o in of)
    node = Node(f"{forward.name}.gradient", op, {"g": g, **forward.inputs, "through": name}, outputs, phase="backward", origin=forward.origin)
    return node, Value(name, TensorType((512,), "int8"), "constant", passed)


def _through(part: Graph, pattern: Pattern, b: Backward, stages: Sequence[Codes]) -> Codes:
    """What becomes of the gradients of what the softmax reads, and at which codes of a score any pass."""
    codes, passes = CODES.astype(np.int8)[None], np.ones(256, bool)
    made = dict(zip((pattern.scores.outputs[0], *(n.outputs[0] for n in pattern.steps)), stages, strict=True))
    saved = {n.outputs[0]: n for n in pattern.saves}
    for node in b.steps:
        if isinstance(node.op, MaskGradient | ApplyMask):
            mask = node.op if isinstance(node.op, MaskGradient) else saved[node.inputs["mask"]].op
            y = made[node.inputs["y"] if isinstance(node.op, MaskGradient) else saved[node.inputs["mask"]].inputs["y"]]
            passes &= (y > mask.low) & (y < mask.high)  # type: ignore[attr-defined]
            continue
        assert isinstance(node.op, ProductGradient)
        factor = part.values[node.inputs["factor"]]
        if factor.data is None:
            raise NotAttention("its scores are scaled by a value that is computed")
        types = {"g": replace(part.type(node.inputs["g"]), shape=(1, 256)), "factor": replace(factor.type, shape=(1, 1))}
        arrays = {"g": codes, "factor": factor.data.reshape(1, 1)}
        codes = replace(node.op, of=(1, 256)).evaluate(Environment(types, (), arrays))[0]
    return np.concatenate([codes.reshape(256), np.where(passes, -1, 0)]).astype(np.int8)
