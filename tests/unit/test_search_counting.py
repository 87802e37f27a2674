"""Counting on the emulated chip: what is counted, what estimates make of it, and what a search says where it cannot count."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from golden.reference import loaded_tiny, samples

import kilotune as kt
from kiloc.forecast import Call, Counts, Kind, calls, estimate, forecast
from kiloc.forecast.instructions import OUTSIDE
from kiloc.ir import interp
from kilotune.cli import main
from kilotune.compilers import tool_of
from kilotune.counting import called, counted_calls, counted_step, machine, marked
from kilotune.search import Search, counting
from kilotune.search.candidates import Candidate
from kilotune.search.chip import Chip
from kilotune.search.counting import Counter, calibrate, matched, off
from kilotune.search.setting import Setting

BOARD = "nano33ble"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    return loaded_tiny(tmp_path_factory.mktemp("model"))


def prepared(model: kt.Model) -> Search:
    return Search(model, (samples(model.graph, 30), np.arange(30) % 3), Setting(chip=Chip.of(BOARD)))


def call(kernel: str, size: int, node: str = "layer", fitted: float = 100.0, update: bool = False) -> Call:
    return Call(KINDS.setdefault((kernel, size), Kind(kernel, (("size", size),), True)), node, kernel, fitted, update)


KINDS: dict[tuple[str, int], Kind] = {}


# ---- Estimates from counts ----


def test_a_build_that_was_counted_takes_what_was_counted() -> None:
    """Its own figures, also where another build has other ones of the same calls."""
    counts, build = Counts(), (call("a", 4), call("b", 4), call("b", 4, update=True))
    counts.add(build, [150, 70, 30])
    counts.add((call("a", 4), call("b", 9)), [152, 40])
    assert counts.estimate(build).instructions == OUTSIDE + 150 + 70 + 30 and counts.estimate(build).counted == 1.0
    assert counts.estimate(build, accumulate=3).instructions == OUTSIDE + 150 + 70 + 10, "an update of several samples is shared by them"
    assert counts.builds == 2 and counts.holds(build) and not counts.holds(build[:1])


def test_calls_with_the_same_to_do_have_the_figure_of_their_layer_or_the_mean() -> None:
    counts = Counts()
    counts.add((call("a", 4, "first"), call("a", 4, "second")), [100, 200])
    counts.add((call("a", 4, "first"),), [110])
    assert counts.taken(call("a", 4, "first")) == 105 and counts.taken(call("a", 4, "second")) == 200
    assert counts.taken(call("a", 4, "third")) == pytest.approx((100 + 200 + 110) / 3)


def test_calls_that_were_not_counted_have_the_ratio_of_the_nearest_or_their_fitted_cost() -> None:
    counts = Counts()
    counts.add((call("a", 10, "x", fitted=100), call("a", 1000, "y", fitted=1000)), [130, 800])
    assert counts.taken(call("a", 12, "z", fitted=120)) == pytest.approx(120 * 1.3), "10 is nearer to 12 than 1000 is"
    assert counts.taken(call("a", 900, "z", fitted=900)) == pytest.approx(900 * 0.8)
    assert counts.taken(call("other", 12, fitted=77)) == 77, "a kernel that was not counted keeps its cost"
    found = counts.estimate((call("a", 10, "x", fitted=100), call("other", 12, fitted=70)))
    assert found.instructions == OUTSIDE + 200 and found.counted == pytest.approx((OUTSIDE + 130) / (OUTSIDE + 200))


def test_two_ranks_of_a_layer_are_a_line() -> None:
    counts = Counts()
    counts.add((call("a", 2, fitted=200),), [300])
    counts.add((call("a", 4, fitted=400),), [360])
    assert counts.taken(call("a", 3, fitted=300)) == pytest.approx(330)
    assert counts.taken(call("a", 1, fitted=100)) == pytest.approx(270), "so is one beyond them"
    assert counts.taken(call("a", 1, fitted=10)) == pytest.approx(30), "but never at more than twice the ratio of the nearest"


def test_without_counts_estimates_are_those_of_the_table(model: kt.Model) -> None:
    forward = interp.run(model.graph, {"input": samples(model.graph, 1)})
    for target in ("cortex-m0plus", "cortex-m4", "cortex-m55", "rv32imc"):
        for accumulate in (1, 4):
            planned = forecast(model.graph, Setting(target=target, accumulate=accumulate).options([kt.BiasOnly(), kt.LoRA(rank=3)]), forward)
            assert Counts().estimate(calls(planned, target), accumulate) == estimate(planned, target, accumulate)


# ---- Which are counted ----


def test_builds_are_counted_until_little_of_any_candidate_is_not() -> None:
    shared, rare = [call("a", n, fitted=1000) for n in (1, 2)], call("rare", 5, fitted=900)
    candidates = [(shared[0], call("c", 1, fitted=10)), (*shared,), (shared[1], rare), (shared[0], call("d", 1, fitted=60))]
    asked: list[int] = []

    def count(i: int) -> Sequence[float]:
        asked.append(i)
        return [c.fitted * 2 for c in candidates[i]]

    counts = Counts()
    assert calibrate(counts, candidates, count) == asked == [1, 2], "calls of many first; then little is left of the others"
    assert all(counts.estimate(c).counted > 0.9 for c in candidates)
    asked.clear()
    assert 2 not in calibrate(Counts(), candidates, count, spared=[2]) and 2 not in asked
    assert len(calibrate(Counts(), candidates, count, most=1)) == 1
    assert calibrate(Counts(), candidates, lambda i: None) == [], "what cannot be counted is tried once"


def test_calls_that_were_not_foreseen_are_not_taken() -> None:
    expected = (call("a", 1), call("b", 1))
    assert matched(expected, [("a", 5.0), ("c", 6.0)]) == [5.0, 6.0], "another kernel in the same place"
    assert matched(expected, [("a", 5.0)]) is None


# ---- On the emulated chip ----


def test_marks_are_around_the_calls_of_a_function() -> None:
    source = "kt_status m_train_step(int a)\n{\n    kt_a(&p, x,\n         y);\n    kt_b(z); /* step 2 */\n}\n"
    source += "\nkt_status m_infer(int a)\n{\n    kt_a(&q);\n}\n"
    text = marked(source, ["m_train_step"], lambda f, n: f"BEGIN({n});", lambda f, n: "END();")
    assert called(source, "m_train_step") == ["kt_a", "kt_b"]
    assert "    BEGIN(1);\n    kt_a(&p, x,\n         y);\n    END();\n    BEGIN(2);\n    kt_b(z);\n    END(); /* step 2 */" in text
    assert text.count("BEGIN") == 2 and text.endswith("kt_a(&q);\n}\n")


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "rv32imc"])
def test_the_calls_of_a_step_are_the_step(target: str, model: kt.Model, tmp_path: Path, qemu: str, request: pytest.FixtureRequest) -> None:
    """On every core: counted one by one they sum to the whole, which is counted without a mark; and a second time is the same."""
    if target == "rv32imc":
        request.getfixturevalue("riscv_gcc")
    build = kt.build(model, tmp_path / "b", method=[kt.BiasOnly(), kt.LoRA(rank=3)], target=target, measure=False)
    x, y = samples(model.graph, 4), np.array([0, 1, 2, 1], np.int32)
    parts, whole = counted_calls(build.directory, [x], y), counted_step(build.directory, [x], y)
    assert [symbol for symbol, _ in parts if "lora" in symbol] and all(count > 0 for _, count in parts)
    assert abs(sum(count for _, count in parts) - whole) < 150, "what no call takes"
    assert counted_calls(build.directory, [x], y) == parts
    assert machine(target).core == ("cortex-m3" if target == "cortex-m0plus" else target)
    with pytest.raises(kt.DeviceError, match="0 steps were counted"):
        counted_step(build.directory, [x[:2]], y[:2])


@pytest.mark.qemu
def test_a_search_counts_where_time_is_limited(model: kt.Model, qemu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "BUILDS", 2)
    search = prepared(model)
    fitted = search.choose(ram="64K", train=False)
    assert fitted.builds_counted == 0 and fitted.best.counted == 0 and "instructions on" not in fitted.why()
    told = search.choose(ram="64K", time="1ms", train=False, count=False)
    assert told.builds_counted == 0 and "estimated from fitted costs of kernels and not counted" in told.why()
    found = search.choose(ram="64K", time="1ms", train=False)
    assert found.builds_counted in (2, 3) and found.best_counted and found.best.counted == 1, "two for all sets, and what is chosen"
    assert f"counted on the emulated chip, as {found.builds_counted} builds of this model in all" in found.why()
    assert found.to_dict()["builds_counted"] == found.builds_counted and found.to_dict()["best"]["counted"] == 1
    with pytest.raises(kt.BudgetError, match="no trainable set of tiny fits") as error:
        search.choose(ram="64K", time="1us", train=False)
    allowed = error.value.hint.removeprefix("allow ")
    assert search.choose(ram="64K", time=allowed, train=False).feasible > 0, "what the error names was counted"
    counted = [c for c in search.space._known.values() if c and search.space.counts.holds(c.calls)]
    assert len(counted) > 2
    for candidate in counted[:2]:
        taken = Counter(model, search.data, search.task.calibration, search.setting).count(candidate)
        assert taken is not None and candidate.instructions == round(OUTSIDE + sum(taken))


@pytest.mark.qemu
def test_what_takes_longer_than_was_estimated_is_not_chosen(model: kt.Model, qemu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "BUILDS", 0)
    first = prepared(model).choose(ram="64K", time="1ms", train=False)
    most, count = 1.4 * first.best.seconds, Counter.count  # room for what its estimate is off
    limit = f"{1e3 * most}ms"

    def slower(self: Counter, candidate: Candidate) -> list[float] | None:
        taken = count(self, candidate)
        return [1.6 * x for x in taken] if taken and candidate.name == first.best.name else taken

    monkeypatch.setattr(Counter, "count", slower)
    found = prepared(model).choose(ram="64K", time=limit, train=False)
    assert found.best.name != first.best.name and found.best_counted and found.builds_counted == 2
    assert found.best.seconds <= most

    def refused(self: Counter, candidate: Candidate) -> None:
        self.refused.append(f"{candidate.name}: it has no room")

    monkeypatch.setattr(Counter, "count", refused)
    found = prepared(model).choose(ram="64K", time=limit, train=False)
    assert found.best.name == first.best.name and not found.best_counted and "it has no room" in found.not_counted


# ---- Without the tools ----


def test_a_search_says_what_it_cannot_count_with(model: kt.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name.startswith("arm-none-eabi") else there(name))
    tool_of.cache_clear()
    try:
        search = prepared(model)
        with pytest.raises(kt.CompileError, match="instructions cannot be counted: arm-none-eabi-gcc") as error:
            search.choose(ram="64K", train=False, count=True)
        assert "apt install gcc-arm-none-eabi" in error.value.hint and "kilotune doctor" in error.value.hint
        found = search.choose(ram="64K", energy="1mJ", train=False)
        assert found.builds_counted == 0 and "arm-none-eabi-gcc" in found.not_counted and "see `kilotune doctor`" in found.why()
        assert found.to_dict()["not_counted"] == found.not_counted
        np.savez(tmp_path / "d.npz", x=samples(model.graph, 30), y=np.arange(30) % 3)
        command = ["search", str(model.path), "--data", str(tmp_path / "d.npz"), "--ram", "64K", "--no-train", "--board", BOARD]
        done = CliRunner().invoke(main, [*command, "--count"])
        assert done.exit_code == 3 and "cannot be counted" in done.output, done.output
        done = CliRunner().invoke(main, [*command, "--time", "1ms", "--json"], catch_exceptions=False)
        assert json.loads(done.stdout)["not_counted"] == found.not_counted
    finally:
        tool_of.cache_clear()


def test_how_far_estimates_are_off_is_what_the_benchmark_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"table mean": 0.071, "table most": 0.33, "counting mean": 0.02, "counting most": 0.09}
    monkeypatch.setattr(counting, "accuracy", lambda: {"cortex-m4": figures})
    assert off("cortex-m4", "table") == "; of real models such estimates were off by 7.1% in the mean, 33.0% at most"
    assert "2.0%" in off("cortex-m4", "counting") and off("cortex-m23", "table") == ""
