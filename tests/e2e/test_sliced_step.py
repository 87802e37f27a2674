"""A training step in slices gives the bits of the whole step, whatever is inferred between them, on the host and on emulated cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attention_graph import Block
from golden.reference import samples, tiny
from gradients.graphs import residual
from toy_model import needs_qemu

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.lowering.fit import _alike
from kiloc.lowering.kernels import use_portable
from kiloc.ops.fast.packed import PackedLinear
from kiloc.options import Options
from kiloc.pipeline import compile_graph

LORA = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]
CASES: dict[str, tuple[Callable[[], Graph], dict[str, Any]]] = {
    "at_once": (residual, {"optimizer": kt.SGD(lr=0.3, momentum=0.5)}),
    "summed_rows": (residual, {"optimizer": kt.SGD(lr=0.3), "accumulate": 2}),
    "summed": (tiny, {"optimizer": kt.Adam(), "accumulate": 2}),
}
Built = Callable[[str, int | None], kt.Build]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """built("summed", 5000): a build with slices of so many instructions, or without slices, made once."""
    folder, made = tmp_path_factory.mktemp("sliced"), dict[tuple[str, int | None], kt.Build]()

    def build(case: str, instructions: int | None) -> kt.Build:
        if (case, instructions) not in made:
            make, options = CASES[case]
            graph, path = make(), folder / f"{case}.tflite"
            path.write_bytes(tflite.write(tiny()))
            model = kt.Model(path, graph)
            made[case, instructions] = kt.build(
                model, folder / f"{case}_{instructions}", method=LORA, slice_instructions=instructions, measure=False, name="m", **options
            )
        return made[case, instructions]

    return build


def trained(device: kt.Device, x: Any, budgets: list[int], between: bool) -> tuple[bytes, list[float], list[int]]:
    """State, losses and slices of four steps. budgets: instructions of a slice, in turn; empty: whole steps. between: infer after each."""
    losses, slices = [], []
    for i in range(4):
        count, loss = 0, None
        while loss is None:
            budget = budgets[count % len(budgets)] if budgets else 0
            loss = device.train_slice(x[i], i % 3, budget) if budgets else device.train_step(x[i], i % 3)
            count += 1
            if between:
                device.infer(x[4:5])
        losses.append(loss)
        slices.append(count)
        if i % 2:
            device.apply()
    return device.state(), losses, slices


@pytest.mark.parametrize("case", CASES)
def test_same_bits_whatever_the_slices(case: str, built: Built) -> None:
    x = samples(CASES[case][0](), 5)
    with built(case, None).open() as device:
        whole = trained(device, x, [], between=False)
    sliced = built(case, 5000)
    steps = len(sliced.manifest["sliced_step"]["steps"])
    runs = [("host", [1]), ("host", [20_000, 1, 300]), ("host", [2**32 - 1]), ("host", []), ("agent:host", [5000])]
    for name, budgets in runs if case == "summed" else runs[:3]:
        with sliced.open(name, **({"sanitize": True} if name != "host" else {})) as device:
            found = trained(device, x, budgets, between=True)
        assert found[:2] == whole[:2], budgets
        assert found[2] == ([steps] * 4 if budgets == [1] else found[2])
        assert budgets not in ([], [2**32 - 1]) or found[2] == [1] * 4
    longest = max(s["instructions"] for s in sliced.manifest["sliced_step"]["steps"])
    assert sliced.report["sliced_step"]["longest"]["instructions"] == longest
    assert [s["step"] for s in sliced.report["sliced_step"]["over"]] == [
        s["name"] for s in sliced.manifest["sliced_step"]["steps"] if s["instructions"] > 5000
    ]


@needs_qemu
def test_slices_on_a_core_with_inference_between(built: Built) -> None:
    """The slices are as many as the report says, and no longer than its longest step by much."""
    x, sliced = samples(tiny(), 5), built("summed", 5000)
    with sliced.open() as device:
        expected = trained(device, x, [], between=False)
        outputs = device.infer(x)
    with sliced.open("qemu:mps2-an386") as device:
        assert trained(device, x, [5000], between=True) == (*expected[:2], [sliced.report["sliced_step"]["slices"]] * 4)
        assert np.array_equal(device.infer(x), outputs)


def test_what_a_step_that_was_left_permits(built: Built) -> None:
    x = samples(tiny(), 5)
    with built("summed", 5000).open() as device:
        before = device.infer(x)
        start = device.state()
        assert device.train_slice(x[0], 0, 1) is None
        assert np.array_equal(device.infer(x), before), "sums are in accumulators until apply"
        for call in (device.apply, lambda: device.set_learning_rate(0.1), lambda: device.train_step(x[0], 0)):
            with pytest.raises(kt.DeviceError, match="training step was left"):
                call()
        with pytest.raises(ValueError, match="another sample"):
            device.train_slice(x[1], 0, 1)
        device.set_state(start)
        whole = device.train_step(x[1], 0), device.state()
        device.set_state(start)
        assert device.train_slice(x[0], 0, 1) is None
        device.set_state(start)
        assert (device.train_slice(x[1], 0, 2**32 - 1), device.state()) == whole, "a state that is set gives up the step"
        with pytest.raises(ValueError, match="from 1"):
            device.train_slice(x[0], 0, 0)
    with built("summed", None).open() as device, pytest.raises(kt.DeviceError, match=r"(?s)in one.*slice_instructions"):
        device.train_slice(x[0], 0)


def test_memory_is_that_of_both_and_budgets_know(built: Built) -> None:
    plain, sliced = (built("summed", n).report["memory"] for n in (None, 5000))
    assert sliced["infer_arena"] == plain["infer_arena"]
    assert sliced["infer_arena"] + plain["train_arena"] <= sliced["train_arena"] + 8 <= sliced["infer_arena"] + plain["train_arena"] + 16
    model = kt.Model(Path("tiny.tflite"), tiny())
    options = Options(methods=tuple(LORA), optimizer=kt.Adam(), accumulate=2, slice_instructions=5000)
    roomy = compile_graph(model.graph, replace(options, ram=100_000), "0").context
    total = roomy.arena_train + roomy.state_bytes
    assert compile_graph(model.graph, replace(options, ram=total), "0").context.arena_train == roomy.arena_train
    with pytest.raises(kt.BudgetError, match="inference beside it need at least"):
        compile_graph(model.graph, replace(options, ram=roomy.state_bytes + 24), "0")


@pytest.mark.parametrize(("shape", "method"), [((9, 2, 18), kt.BiasOnly("last:1")), ((9, 1, 9), kt.LoRA(rank=4, layers="last:2"))])
def test_the_least_that_a_refusal_names_is_enough(shape: tuple[int, int, int], method: kt.BiasOnly | kt.LoRA) -> None:
    """Inference of any number of bytes: the step lies behind it at a multiple of eight."""
    graph, options = Block(*shape).graph(), Options(methods=(method,), slice_instructions=20_000, target="cortex-m3", ram=1)
    with pytest.raises(kt.BudgetError, match="at least") as refused:
        compile_graph(graph, options, "0")
    least = int(refused.value.what.split("at least ")[1].split(" bytes")[0].replace(",", ""))
    assert compile_graph(graph, replace(options, ram=least), "0").infer.plan.arena_bytes % 8
    with pytest.raises(kt.BudgetError, match=f"at least {least:,} bytes"):
        compile_graph(graph, replace(options, ram=least - 1), "0")


def test_long_kernels_are_cut_by_rows() -> None:
    """What has rows ends sooner, what has none stays whole; a budget of memory holds."""

    def steps(**changes: Any) -> dict[str, int]:
        found = compile_graph(residual(), Options(methods=tuple(LORA), **({"slice_instructions": 9000} | changes)), "0").context  # type: ignore[arg-type]
        assert found.sliced is not None
        sizes.append(found.arena_train + found.state_bytes)
        return {s.name: s.instructions for s in found.sliced.steps}

    sizes = list[int]()
    whole, cut = steps(slice_instructions=2**32 - 1), steps()
    assert max(n for name, n in cut.items() if name.startswith("first.stripe")) <= 9000 < whole["first"]
    assert {"first", "second", "third"}.isdisjoint(cut) and "second.lora_a.gradient" in cut
    assert sum(cut.values()) < 2 * sum(whole.values()) and sizes[1] > sizes[0]
    steps(ram=sizes[0])
    assert sizes[2] <= sizes[0]


def test_a_small_budget_keeps_some_fast_kernels() -> None:
    """Where the fastest kernels have no room, each layer has the fastest that fit, the same beside each other."""
    options = Options(methods=tuple(LORA), optimizer=kt.Adam(), accumulate=2, slice_instructions=5000, target="cortex-m4")
    roomy = compile_graph(residual(), options, "0").context
    ram = roomy.state_bytes + int(0.7 * roomy.arena_train)
    small = compile_graph(residual(), replace(options, ram=ram), "0")
    assert small.train is not None and small.infer.saving == small.train.saving
    assert all(any(isinstance(node.op, PackedLinear) for node in part.kernels.nodes) for part in (small.infer, small.train))
    assert small.context.arena_train + small.context.state_bytes <= ram


def test_inference_takes_the_kernels_of_the_step_beside_it() -> None:
    """So that the weights of a layer are in flash once; its own where there is no room."""
    c = compile_graph(residual(), Options(methods=tuple(LORA), optimizer=kt.Adam(), accumulate=2, target="cortex-m4"), "0")
    assert c.train is not None
    train = use_portable(c.train)
    assert c.infer.saving != train.saving and _alike(c.infer, train, 100_000).saving == train.saving
    assert _alike(c.infer, train, train.plan.arena_bytes) is c.infer and _alike(c.infer, c.train, 100_000) is c.infer


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slice_instructions": 0}, "no number of instructions"),
        ({"slice_instructions": True}, "no number of instructions"),
        ({"slice_instructions": 1000, "methods": ()}, "nothing is trained"),
        ({"slice_instructions": 1000, "buffers": "arena"}, "keeps its own"),
    ],
)
def test_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(kt.CompileError, match=words):
        compile_graph(tiny(), Options(**({"methods": tuple(LORA)} | changes)), "0")
