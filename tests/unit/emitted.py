"""Small models compiled in every way that the emitter tells apart, for the tests of what it decides."""

from __future__ import annotations

from functools import cache
from typing import Any

from golden.reference import image, tiny
from gradients.graphs import Maker, every_operator

import kilotune as kt
from kiloc.emit.c_names import Identifiers
from kiloc.emit.steps import CArgument, CFunction, Constants, CStep, FunctionWriter
from kiloc.ir.graph import Graph
from kiloc.ops.model.add import Add
from kiloc.ops.model.reshape import Reshape
from kiloc.options import Options
from kiloc.pipeline import Compilation, compile_graph
from kiloc.plan.paging import page_layout
from kiloc.plan.slice import Slice

LORA = (kt.LoRA(rank=2, layers="all"), kt.BiasOnly())


def two_inputs() -> Graph:
    """Two inputs, and three results: a sum, and two views of it."""
    m = Maker("several", (1, 4, 2), 1)
    other = m.b.input(m.type("input"), "other")
    y = m.op("input", "sum", Add(), (1, 4, 2), 0.05, 0, other=other)
    flat = m.op(y, "flat", Reshape((1, 8)), (1, 8))
    return m.finish(m.dense(flat, "head", 3), flat)


GRAPHS = {"tiny": tiny, "image": image, "every_operator": every_operator, "several": two_inputs}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "infer": ("tiny", {}),
    "lora": ("tiny", {"methods": LORA}),
    "mse": ("image", {"methods": (kt.Full(),), "loss": "mse", "target": "cortex-m7"}),
    "accumulated": ("tiny", {"methods": LORA, "accumulate": 2, "optimizer": kt.SGD(momentum=0.9)}),
    "portable": ("every_operator", {"methods": (kt.BiasOnly(),), "target": "cortex-m0plus"}),
    "only adapters": ("tiny", {"methods": LORA, "train": False}),
    "in the arena": ("tiny", {"methods": LORA, "buffers": "arena"}),
    "several": ("several", {}),
    "paged": ("image", {"methods": LORA, "loss": "mse", "offload": "all", "optimizer": kt.Adam()}),
    "paged later": ("image", {"methods": LORA, "loss": "mse", "offload": "optimizer", "optimizer": kt.Adam(), "accumulate": 2}),
}


@cache
def built(case: str) -> Compilation:
    name, options = CASES[case]
    return compile_graph(GRAPHS[name](), Options(**options), "1.2.3")


def functions(c: Compilation) -> list[tuple[Slice | None, CFunction]]:
    """Each function that there is, and the slice whose nodes it runs: none for an update, which runs between slices."""
    found: list[tuple[Slice | None, CFunction]] = [(c.infer, c.context.infer)]
    if c.train is not None:
        found.append((c.train, c.context.train))
    if c.train is not None and not c.graph.updates_at_once:
        found.append((None, c.context.apply))
    return found


def of_nodes(c: Compilation, nodes: Any, offsets: Any, caller: Any, held: str) -> CFunction:
    """A function that runs these."""
    writer = FunctionWriter(Constants(whole(c), Identifiers(c.graph.name)), offsets, caller, page_layout(whole(c)), held)
    writer.add(nodes)
    return writer.function


def whole(c: Compilation) -> Graph:
    return c.graph.with_values([v for part in (c.infer, c.train) if part for v in part.kernels.values.values()])


def steps(c: Compilation) -> list[CStep]:
    return [s for _, function in functions(c) for s in function.steps]


def passed(step: CStep) -> list[CArgument]:
    """Arguments of the calls of a step, also of those that make what a kernel reads, with the struct that stands for the kernel's own copy."""
    made = [p.call.made for p in step.parts if p.call and p.call.made]
    found = [a for m in made for a in (*m.call.arguments, CArgument("params", m.constant))]
    return found + [a for p in step.parts if p.call for a in p.call.arguments[1 if p.call.made else 0 :]]
