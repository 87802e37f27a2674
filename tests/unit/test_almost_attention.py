"""What looks like attention in an .onnx file: by rows where it is attention, else as ordinary operators with a note that says why; in either case
near to what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qdq_models import Qdq, kinds

from kiloc import pipeline
from kiloc.options import Options

HEADS, POSITIONS, DEPTH = 2, 6, 4
CAUSAL = np.where(np.tri(POSITIONS), 0, -60)


def attention(
    scored: Callable[[Qdq, str], str] = lambda m, x: x,
    shared: Callable[[Qdq, str], str] = lambda m, x: x,
    axis: int = 3,
    more: Callable[[Qdq, str], str] | None = None,
) -> Qdq:
    """scored: what is done to the scores, shared: to their softmax along an axis, whose result `more` reads, too."""
    m = Qdq(2)
    q, k, v = (m.d(m.input(1, HEADS, POSITIONS, DEPTH, scale=0.015, zero=z)) for z in (3, -4, 0))
    scores = m.d(m.q(m.op("MatMul", q, m.op("Transpose", k, perm=[0, 1, 3, 2])), 0.06))
    shares = m.d(m.q(m.op("Softmax", scored(m, scores), axis=axis), 1 / 256, -128))
    m.output(m.q(m.op("MatMul", shared(m, shares), v), 0.05), 1, HEADS, POSITIONS, DEPTH)
    if more:
        m.output(m.q(more(m, shares), 0.01), 1, HEADS, POSITIONS, POSITIONS)
    return m


def masked(mask: Any) -> Callable[[Qdq, str], str]:
    """An addend with a scale of its own."""

    def made(m: Qdq, x: str) -> str:
        codes = np.asarray(mask, np.int8).reshape(1, -1, POSITIONS, POSITIONS)
        addend = m.op("DequantizeLinear", m.init(codes), m.init(np.float32(2)), m.init(np.int8(0)))
        return m.d(m.q(m.op("Add", x, addend), 0.15, 100))

    return made


def dropped(training: bool | None) -> Callable[[Qdq, str], str]:
    def made(m: Qdq, x: str) -> str:
        given = [] if training is None else [m.init(np.array(training))]
        return m.op("Dropout", x, m.init(np.float32(0.4)), *given)

    return made


CASES: dict[str, tuple[Callable[[], Qdq], str, str]] = {
    "attention": (attention, "", ""),
    "causal": (lambda: attention(masked(CAUSAL)), "", ""),
    "dropout": (lambda: attention(shared=dropped(None)), "", ""),
    "dropout, not in training": (lambda: attention(shared=dropped(False)), "", ""),
    "dropout in training mode": (lambda: attention(shared=dropped(True)), "", "is in training mode and left out, as in inference"),
    "another axis": (lambda: attention(axis=2), "ordinary", "TRANSPOSE"),
    "a mask with a gap": (lambda: attention(masked(np.where(np.eye(POSITIONS, k=-2), -60, 0))), "ordinary", "its mask is not causal and no window"),
    "a mask a head": (lambda: attention(masked(np.stack([CAUSAL, 0 * CAUSAL]))), "ordinary", "another one for each head"),
    "a weak mask": (lambda: attention(masked(CAUSAL // 20)), "ordinary", "may keep some probability"),
    "shares that are read twice": (lambda: attention(more=lambda m, x: m.op("Mul", x, x)), "ordinary", "MUL reads"),
    "something in between": (lambda: attention(shared=lambda m, x: m.d(m.q(m.op("Mul", x, x), 1 / 256, -128))), "ordinary", "MUL reads"),
}
"""Name -> model, "ordinary" where it is not computed by rows, words of the note."""


@pytest.mark.parametrize("name", CASES)
def test_by_rows_or_with_a_note_why(name: str) -> None:
    make, how, words = CASES[name]
    m = make()
    c = pipeline.compile_graph(m.load(), Options(), "")
    found = kinds(c.infer.graph)
    assert ("attention" in found) == (not how) and ("softmax" in found) == bool(how)
    assert [note for note in c.graph.notes if words in note] if words else not c.graph.notes, c.graph.notes
    assert all("as ordinary operators, with whole matrices in memory" in note for note in c.graph.notes) or not how
    if name != "dropout in training mode":
        assert m.difference() <= 2
