"""Placement: the greedy one and the solver's against all placements there are, alignment, determinism, what is reported."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from golden.reference import image, tiny
from gradients.graphs import Maker

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.lowering import kernels
from kiloc.ops.model.softmax import Softmax
from kiloc.options import Options
from kiloc.pipeline import Compilation, compile_graph
from kiloc.plan.first_fit import Placement, greedy
from kiloc.plan.lifetimes import Buffer, Lifetimes, Overlap
from kiloc.plan.optimal import optimal
from kiloc.plan.problem import Problem, alignment, problem


def drawn(seed: int, count: int, steps: int = 6, largest: int = 4, inputs: int = 0) -> Problem:
    """A random problem in words of 4 bytes, with overlaps where a buffer dies in the step that makes another; inputs stand in front."""
    rng = random.Random(seed)
    buffers = [Buffer([f"i{i}"], 4 * rng.randint(1, largest), 0, rng.randrange(steps), {"activation"}, True) for i in range(inputs)]
    for i in range(count):
        first = rng.randrange(steps)
        buffers.append(Buffer([f"b{i}"], 4 * rng.randint(1, largest), first, min(steps - 1, first + rng.choice((0, 1, 1, 2, 3))), {"activation"}))
    overlaps: list[Overlap] = []
    for i, result in enumerate(buffers):
        dying = [j for j, b in enumerate(buffers) if j != i and b.last == result.first and b.first < b.last]
        if dying and result.first not in {buffers[o.result].first for o in overlaps}:
            j = rng.choice(dying)
            overlaps.append(Overlap(i, j, rng.randrange(result.size + 1), rng.randint(1, buffers[j].size)))
    return problem(Lifetimes(tuple(buffers), tuple(overlaps)), steps, 4)


def fits(p: Problem, offsets: list[int], i: int) -> bool:
    """Whether buffer i keeps its distance to those before it."""
    for d in p.distances[i]:
        if d.other < i and not (offsets[i] + d.before <= offsets[d.other] or offsets[i] >= offsets[d.other] + d.after):
            return False
    return True


def first_fit(p: Problem, order: Iterable[int]) -> Placement:
    """Each buffer in turn at the lowest offset that is free."""
    offsets: dict[int, int] = {}
    for i in order:
        near = [d for d in p.distances[i] if d.other in offsets]
        offset = 0
        while any(offsets[d.other] - d.before < offset < offsets[d.other] + d.after for d in near):
            offset += p.alignment
        offsets[i] = offset
    placed = tuple(offsets[i] for i in range(len(offsets)))
    return Placement(placed, max(offset + size for offset, size in zip(placed, p.sizes, strict=True)))


def lowest(p: Problem) -> int:
    """The least height of all placements, by trying every offset of every buffer."""

    def possible(height: int, offsets: list[int]) -> bool:
        i = len(offsets)
        if i == len(p.sizes):
            return True
        fixed = p.fixed[i]
        for offset in range(0, height - p.sizes[i] + 1, p.alignment) if fixed is None else (fixed,):
            offsets.append(offset)
            if fits(p, offsets, i) and possible(height, offsets):
                return True
            offsets.pop()
        return False

    height = 0
    while not possible(height, []):
        height += p.alignment
    return height


def assert_valid(p: Problem, placed: Placement) -> None:
    offsets = list(placed.offsets)
    assert all(fits(p, offsets, i) for i in range(len(offsets)))
    assert all(offset >= 0 and offset % p.alignment == 0 for offset in offsets)
    assert placed.height == max(offset + size for offset, size in zip(offsets, p.sizes, strict=True))


HARD = (41, 306, 635, 1131, 1183)
"""Seeds of seven buffers that no placement fits into the bytes alive at one step."""


def test_greedy_and_solver_against_every_placement(ortools: None) -> None:
    above_the_bound = greedy_misses = 0
    for seed in (*range(60), *HARD):
        p = drawn(seed, count=7 if seed in HARD else 4 + seed % 4, steps=5)
        best, found = lowest(p), greedy(p)
        placed, proved = optimal(p, found)
        for placement in (found, placed):
            assert_valid(p, placement)
        assert p.bound <= best == placed.height == proved <= found.height, seed
        assert found.height <= 1.25 * best, seed
        above_the_bound += best > p.bound
        greedy_misses += found.height > best
    assert above_the_bound >= len(HARD)
    assert greedy_misses <= 2


def test_the_solver_improves_a_bad_start(ortools: None) -> None:
    improved = 0
    for seed in range(30):
        p = drawn(seed, count=9, steps=8)
        start = first_fit(p, sorted(range(9), key=lambda i: p.sizes[i]))
        placed, proved = optimal(p, start)
        assert_valid(p, placed)
        assert proved == placed.height <= start.height
        improved += placed.height < start.height
    assert improved >= 10


def test_improving_the_order_never_makes_it_worse() -> None:
    improved = 0
    for seed in range(60):
        p = drawn(seed, count=24, steps=16, largest=40)
        orders = [range(24), sorted(range(24), key=lambda i: -p.sizes[i])]
        placed = greedy(p)
        assert_valid(p, placed)
        first = min(first_fit(p, order).height for order in orders)
        assert p.bound <= placed.height <= first
        improved += placed.height < first
    assert improved >= 20


@pytest.mark.parametrize("inputs", [1, 2])
def test_inputs_stand_at_the_beginning_of_the_arena(inputs: int, ortools: None) -> None:
    """One behind the other, wherever that leaves the rest; what is placed around them is as good as without."""
    greedy_misses = 0
    for seed in range(40):
        p = drawn(seed, count=4, steps=4, inputs=inputs)
        best, found = lowest(p), greedy(p)
        placed, proved = optimal(p, found)
        starts = (0, p.sizes[0])[:inputs]
        for placement in (found, placed):
            assert_valid(p, placement)
            assert placement.offsets[:inputs] == starts == p.fixed[:inputs] and not any(p.fixed[inputs:])
        assert best == placed.height == proved <= found.height, seed
        greedy_misses += found.height > best
    assert greedy_misses <= 2


def test_nothing_to_place() -> None:
    assert greedy(problem(Lifetimes((), ()), 0, 4)) == Placement((), 0)


# ---- Alignment ----


def compiled(target: str, optimal: bool = False) -> Compilation:
    return compile_graph(image(), Options(methods=(kt.Full(), kt.BiasOnly()), loss="mse", target=target, optimal=optimal), "0")


def test_offsets_are_aligned_for_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    for target, align in (("cortex-m0plus", 4), ("cortex-m4", 4), ("cortex-m7", 8), ("cortex-m55", 8)):
        assert alignment(target) == align
        c = compiled(target)
        assert c.train is not None
        assert all(offset % align == 0 for offset in c.train.plan.offsets.values())
    monkeypatch.setattr(kernels, "MORE_MEMORY", (0.0,))  # or each core takes what its own kernels are worth
    narrow, wide = compiled("cortex-m4").train, compiled("cortex-m7").train
    assert narrow is not None and wide is not None
    assert narrow.plan.arena_bytes < wide.plan.arena_bytes and any(offset % 8 for offset in narrow.plan.offsets.values())


# ---- Determinism ----


PRINT = """
import hashlib, sys
sys.path += sys.argv[1:]
from test_placement import drawn, compiled
from kiloc.plan.first_fit import greedy
found = [greedy(drawn(seed, count=24, steps=16, largest=40)).offsets for seed in range(4)]
found.append(sorted(compiled("cortex-m4").train.plan.offsets.items()))
print(hashlib.sha256(repr(found).encode()).hexdigest())
"""


def test_plans_are_deterministic() -> None:
    """Also in another process, with another hash seed."""
    found: list[object] = [greedy(drawn(seed, count=24, steps=16, largest=40)).offsets for seed in range(4)]
    train = compiled("cortex-m4").train
    assert train is not None
    found.append(sorted(train.plan.offsets.items()))
    here = hashlib.sha256(repr(found).encode()).hexdigest()
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", PRINT, *paths], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert run.stdout.strip() == here


def test_the_solver_is_deterministic(ortools: None) -> None:
    for seed in range(5):
        p = drawn(seed, count=9, steps=8)
        start = first_fit(p, range(9))
        assert optimal(p, start) == optimal(p, start)


# ---- Builds ----


def model(graph: Graph, folder: Path) -> kt.Model:
    path = folder / f"{graph.name}.tflite"
    path.write_bytes(tflite.write(graph))
    return kt.load(path)


def test_an_optimal_build_reports_what_is_proved(tmp_path: Path, ortools: None) -> None:
    options = {"method": kt.LoRA(rank=2, layers="all"), "measure": False}
    loaded = model(tiny(), tmp_path)
    reports = [kt.build(loaded, tmp_path / "b", optimal=o, **options).report["memory"] for o in (False, True)]  # type: ignore[arg-type]
    assert [r["lower_bound_kind"] for r in reports] == ["per step", "proved"]
    for r in reports:
        assert r["lower_bound"] <= r["train_arena"] and r["gap"] == round(r["train_arena"] / r["lower_bound"] - 1, 6)
    assert reports[1]["gap"] == 0.0 and reports[1]["train_arena"] <= reports[0]["train_arena"]
    assert reports[1]["lower_bound"] >= reports[0]["lower_bound"]


def test_without_the_solver_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    with pytest.raises(kt.CompileError) as caught:
        kt.build(model(tiny(), tmp_path), tmp_path / "b", optimal=True)
    assert caught.value.where == "optimal" and "pip install 'kilotune[optimal]'" in caught.value.hint
    assert not (tmp_path / "b").exists()
    assert kt.build(model(tiny(), tmp_path), tmp_path / "b", measure=False).report["memory"]["infer_arena"] > 0


def test_optimal_on_the_command_line(tmp_path: Path, ortools: None) -> None:
    model(tiny(), tmp_path)
    command = [sys.executable, "-m", "kilotune.cli", "build", "tiny.tflite", "-o", "b", "--method", "bias", "--optimal", "--json"]
    code = "import sys; from kilotune.cli import main; main(sys.argv[1:])"
    run = subprocess.run([sys.executable, "-c", code, *command[3:]], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["memory"]["lower_bound_kind"] == "proved"


# ---- In place ----


def test_a_softmax_between_layers_works_in_place() -> None:
    """A gate of 16 classes in the middle of a model: neither its result nor its gradient takes bytes of its own."""
    m = Maker("gate", (1, 8), 3)
    y = m.op(m.dense("input", "first", 16), "gate", Softmax(), (1, 16), 1 / 256, -128)
    c = compile_graph(m.finish(m.dense(y, "head", 4)), Options(methods=(kt.BiasOnly(),), loss="mse", target="cortex-m0plus"), "0")
    assert c.train is not None
    shared = [b.values for part in (c.infer, c.train) for b in part.plan.buffers]
    assert c.infer.plan.arena_bytes == 16 and ["first", "gate"] in shared
    assert any({"head.dx", "gate.dx"} <= set(values) for values in shared), shared


# ---- The bound ----


def test_the_bound_of_a_step_counts_what_may_overlap_once() -> None:
    """A result that may begin 4 bytes after its operand shares all but 4 of its 12 bytes; two strangers share none."""
    near = Lifetimes((Buffer(["x"], 12, 0, 1, {"activation"}), Buffer(["y"], 12, 1, 1, {"gradient"})), (Overlap(1, 0, 12, 4),))
    far = Lifetimes(near.buffers, ())
    for found, expected in ((near, 16), (far, 24)):
        p = problem(found, 2, 4)
        assert p.bound == expected == lowest(p) == greedy(p).height
    assert all(a <= b for a, b in pairwise([problem(near, 2, align).bound for align in (4, 8)]))
