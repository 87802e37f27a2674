"""The graph after every stage and the generated C of two small models, against the files in files/.

`make golden` writes the files anew; a person reads the difference before it is committed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from gradients.graphs import every_operator

from kiloc.ir.graph import Graph
from kiloc.ir.text import print_graph
from kiloc.optim import SGD
from kiloc.options import Options
from kiloc.peft import BiasOnly, Head, LoRA, Method
from kiloc.pipeline import compile_graph

from .reference import tiny

CASES: dict[str, tuple[Graph, tuple[Method, ...], str]] = {
    "tiny": (tiny(), (BiasOnly(), LoRA(rank=2, layers="first,second"), Head()), "cross_entropy"),
    "every_operator": (every_operator(), (BiasOnly("dilated,logits"),), "mse"),
}
LOWERING = tuple(f"{stage}.{part}" for part in ("infer", "train") for stage in ("order", "fit", "kernels", "place"))
STAGES = ("simplify", "attach", "diff", "calibrate", "schedule", "reduce", *LOWERING)
PARTS = (*(f"{stage}.txt" for stage in STAGES), "h", "c")
FILES = Path(__file__).parent / "files"


@cache
def compiled(case: str) -> dict[str, str]:
    """File name -> text: graphs without their constants, the model's header and its source."""
    graph, methods, loss = CASES[case]
    texts: dict[str, str] = {}

    def dump(stage: str, g: Graph) -> None:
        texts[f"{stage}.txt"] = print_graph(g, data=False)

    options = Options(methods=methods, optimizer=SGD(lr=0.1, momentum=0.9), loss=loss)
    c = compile_graph(graph, options, "0", dump)
    return texts | {name.removeprefix(f"{case}."): text for name, text in c.files.items() if name in (f"{case}.c", f"{case}.h")}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", CASES)
def test_text(case: str, part: str, request: pytest.FixtureRequest) -> None:
    path, text = FILES / f"{case}.{part}", compiled(case)[part]
    if request.config.getoption("update_snapshots"):  # --snapshot-update, the option of syrupy
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8").splitlines() == text.splitlines(), "see `make golden`"


def test_every_stage_and_every_file_is_compared() -> None:
    assert all(set(compiled(case)) == set(PARTS) for case in CASES)
    assert {path.name for path in FILES.iterdir()} == {f"{case}.{part}" for case in CASES for part in PARTS}
