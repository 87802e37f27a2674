"""Parts of a real training step in stripes of rows, every part that the planner looks at: the bits stay, and no layer multiplies more."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from gradients.graphs import residual

from kiloc import lowering
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ir.verify import verify
from kiloc.ops.backward.gradient_of_sums import MOST_EXACT
from kiloc.optim import SGD
from kiloc.options import Options
from kiloc.passes import row_stripes
from kiloc.passes.row_stripes import in_stripes
from kiloc.peft import BiasOnly, LoRA, Method
from kiloc.pipeline import compile_graph, load
from kiloc.plan.row_stripes import _regions

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.tflite"
METHODS: dict[str, tuple[Method, ...]] = {"biases": (BiasOnly(),), "LoRA": (LoRA(rank=2, layers="all"), BiasOnly())}
GRAPHS: dict[str, Callable[[], Graph]] = {"digits": lambda: load(DIGITS), "shortcut": lambda: residual(kernel=3, shortcut_first=True)}
"""The shortcut reads every second row, in the last stripe fewer than the layers beside it have had computed; its gradients come behind theirs."""
CASES = [*product(("digits",), METHODS, (1, 2), (MOST_EXACT,)), ("shortcut", "LoRA", 1, MOST_EXACT), ("digits", "LoRA", 2, 1 << 18)]
"""The last number is up to where sums are taken to be exact: with a small one they come to int32 totals, as those of large images do."""
CHECKED = 12
"""Parts whose bits are compared, spread over all that there are."""


def state_after(part: Graph, whole: Graph, x: np.ndarray) -> dict[str, bytes]:
    state = interp.initial_state(whole)
    for label in (1, 0):
        interp.train_step(part, {part.inputs[0]: x[label : label + 1], "label": np.array([label], np.int32)}, state)
    return {k: v.tobytes() for k, v in state.items()}


@pytest.mark.parametrize(("network", "method", "accumulate", "exact"), CASES)
def test_every_part_keeps_the_bits(network: str, method: str, accumulate: int, exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_stripes, "MOST_EXACT", exact)
    graph = GRAPHS[network]()
    x = np.random.default_rng(1).integers(-128, 128, (4, *graph.type(graph.inputs[0]).shape[1:])).astype(np.int8)
    compiled = compile_graph(graph, Options(methods=METHODS[method], optimizer=SGD(lr=0.5), calibration=x, accumulate=accumulate), "0")
    assert compiled.train is not None
    train, whole = compiled.train.graph, compiled.graph
    parts = list(dict.fromkeys((names, count) for step in range(len(train.nodes)) for names in _regions(train, step) for count in (2, 4)))
    cuts = [verify(cut) for cut in (in_stripes(train, names, count) for names, count in parts) if cut is not None]
    summed = [cut for cut in cuts if any(n.op.mnemonic == "gradient_of_sums" for n in cut.nodes)]
    assert len(cuts) > CHECKED and summed
    total = [cut for cut in cuts if any(n.op.mnemonic == "total_of_sums" for n in cut.nodes)]
    over = [cut for cut in cuts if any(n.op.mnemonic == "write_rows" and n.name.endswith("stripe0.write") and "x" in n.inputs for n in cut.nodes)]
    assert over and bool(total) == (exact < MOST_EXACT)
    expected = state_after(train, whole, x)
    for cut in [*cuts[:: len(cuts) // CHECKED], *(c for some in (summed, over, total) for c in some[:: max(len(some) * 3 // CHECKED, 1)])]:
        lowering.place(cut)
        assert state_after(cut, whole, x) == expected
