"""What names a build: an adapter is taken where it fits the base, and a state where its bytes mean the same, and nowhere else."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from golden.reference import tiny

import kilotune as kt
from kiloc.emit.identity import STATE_VERSION, base_hash, layout
from kiloc.emit.state_layout import state_layout
from kiloc.ir.graph import Graph
from kiloc.options import Options
from kiloc.peft import Method
from kiloc.pipeline import compile_graph

LORA, BIAS = kt.LoRA(rank=2, layers="first"), kt.BiasOnly("second")


@cache
def whole(*methods: Method, storage: str = "block16", accumulate: int = 1) -> Graph:
    return compile_graph(tiny(), Options(methods, storage=storage, accumulate=accumulate), "0").graph


def changed(graph: Graph, name: str, by: int) -> Graph:
    """One element of a value is another."""
    value = graph.values[name]
    assert value.data is not None
    data = np.array(value.data)
    data.ravel()[-1] += by
    return graph.with_values([replace(value, data=data)])


def test_a_base_is_named_by_what_it_computes() -> None:
    base, trained = tiny(), whole(LORA, BIAS)
    named = base_hash(base, trained)
    assert len(named) == 8 and base_hash(tiny(), trained) == named
    constants = [v.name for v in base.values.values() if v.kind == "constant"]
    other = {base_hash(changed(base, name, 1), trained) for name in constants}
    assert len(constants) > 3 and len(other) == len(constants) and named not in other, "every element of every constant counts"


def moved(graph: Graph) -> Graph:
    """The same of another file."""
    return replace(
        graph,
        name="other",
        origin="elsewhere.tflite",
        notes=("so it is",),
        values={k: replace(v, origin=f"{k} of a file") for k, v in graph.values.items()},
        nodes=tuple(replace(n, origin=f"{n.name} of a file") for n in graph.nodes),
    )


def test_where_a_model_came_from_does_not_count() -> None:
    for methods in ((LORA, BIAS), (kt.Head(),), (kt.BottleneckAdapter(width=2, layers="first"),)):
        trained = whole(*methods)
        assert base_hash(moved(tiny()), moved(trained)) == base_hash(tiny(), trained)


def test_what_an_adapter_holds_counts_but_for_its_rank() -> None:
    def named(*methods: Method) -> bytes:
        return base_hash(tiny(), whole(*methods))

    ranks = {named(kt.LoRA(rank=r, layers="all")) for r in (1, 2, 3)}
    widths = {named(kt.BottleneckAdapter(width=w, layers="first")) for w in (1, 3)}
    assert len(ranks) == len(widths) == 1
    others = [named(*m) for m in ([LORA], [kt.LoRA(rank=2, layers="second")], [BIAS], [LORA, BIAS], [kt.BiasOnly("first")], [kt.Full("first")])]
    assert len({*others, *ranks, *widths}) == len(others) + 2
    alphas = {named(kt.LoRA(rank=2, layers="first", alpha=a)) for a in (2.0, 4.0)}
    assert len(alphas) == 2, "what the addend counts is part of the base"


def test_extents_and_types_of_an_adapter_count() -> None:
    """Rows of A and columns of B are the rank; all other extents, and the exponents, are the base's."""
    base, trained = tiny(), whole(LORA)

    def named(role: str, part: str, **changes: object) -> bytes:
        (p,) = [p for p in trained.parameters if p.name.endswith(role)]
        value = trained.values[p.values[part]]
        kept = replace(trained, nodes=())
        return base_hash(base, kept.with_values([replace(value, type=replace(value.type, **changes))]))  # type: ignore[arg-type]

    usual = base_hash(base, replace(trained, nodes=()))
    shapes = {role: trained.type(next(p.values["value"] for p in trained.parameters if p.name.endswith(role))).shape for role in ("lora_a", "lora_b")}
    (rank, depth), (channels, columns) = shapes["lora_a"], shapes["lora_b"]
    assert rank == columns == 2
    assert named("lora_a", "value", shape=(5, depth)) == usual == named("lora_b", "value", shape=(channels, 5))
    assert len({usual, named("lora_a", "value", shape=(2, depth + 1)), named("lora_b", "value", shape=(channels + 1, 2))}) == 3
    assert named("lora_a", "exponent", shape=(2,)) != usual != named("lora_a", "exponent", shape=(2, 1)), "a rank is one of codes alone"
    assert named("lora_a", "value", dtype="int32") != usual


def test_what_methods_add_to_the_frozen_model_counts() -> None:
    """A head keeps the activations of the model, and gets constants of its own: those are part of what an adapter relies on."""
    base, trained = tiny(), whole(kt.Head())
    added = [v.name for v in trained.values.values() if v.kind == "constant" and v.name not in base.values]
    lora = whole(LORA)
    nodes = [n.name for n in lora.nodes if n.phase == "forward" and n.name not in {m.name for m in base.nodes}]
    assert nodes
    without = replace(lora, nodes=tuple(n for n in lora.nodes if n.name not in nodes))
    assert base_hash(base, without) != base_hash(base, lora)
    for name in added:
        used = any(name in n.inputs.values() for n in trained.phase("forward"))
        assert (base_hash(base, changed(trained, name, 1)) != base_hash(base, trained)) == used


@pytest.mark.parametrize("train", [True, False])
def test_a_layout_is_that_of_the_members_and_of_who_writes_them(train: bool) -> None:
    graph = whole(LORA, BIAS)
    options = Options((LORA, BIAS), train=train)
    trainer = options.optimizer.state_name if train else "adapters"
    lines = [str(STATE_VERSION), trainer, *(f"{v.name} {v.kind} {v.type}" for v in state_layout(graph).values)]
    assert layout(graph, options) == zlib.crc32("\n".join(lines).encode()), "version, trainer, members: states that are kept depend on it"
    assert layout(graph, options) != layout(whole(LORA), options) != layout(whole(LORA, BIAS, storage="block8"), options)
    assert (layout(graph, options) == layout(graph, replace(options, optimizer=kt.Adam()))) == (not train), "another optimizer's is refused"
