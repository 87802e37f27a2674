"""The report beyond its table: plans as data, pictures that show them, and the comparison with the usual ways of training."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from golden.reference import image, tiny
from gradients.graphs import every_operator, residual

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.lowering import place, recomputations
from kiloc.optim import Optimizer
from kiloc.options import Options
from kiloc.passes.recompute import recompute, saved_values
from kiloc.passes.slices import training_slice
from kiloc.peft import Method
from kiloc.pipeline import Compilation, compile_graph
from kiloc.plan import check_plan
from kiloc.plan.slice import caller_buffers, scratch_bytes
from kiloc.plan.stripes import total_macs
from kiloc.report import figures, render_html, render_text, timeline
from kiloc.report.compare import _training, kept_plan, on_the_way
from kilotune.cli import main

CASES: dict[str, tuple[Graph, tuple[Method, ...], str]] = {
    "bias": (tiny(), (kt.BiasOnly(),), "cross_entropy"),
    "lora": (every_operator(), (kt.LoRA(rank=2, layers="last:2"), kt.BiasOnly()), "cross_entropy"),
    "full": (image(), (kt.Full(), kt.BiasOnly()), "mse"),
    "forks": (residual(), (kt.BiasOnly(),), "cross_entropy"),
    "infer": (tiny(), (), "cross_entropy"),
}


def compiled(case: str, **options: Any) -> Compilation:
    graph, methods, loss = CASES[case]
    return compile_graph(graph, Options(methods=methods, loss=loss, **options), "0")


@pytest.fixture(scope="module", params=list(CASES))
def compilation(request: pytest.FixtureRequest) -> Compilation:
    return compiled(request.param)


# ---- Pictures ----

SVG = re.compile(r"<svg viewBox.*?</svg>\n(?:<(?:line|rect)[^\n]*\n)*</svg>\n", re.DOTALL)


def drawings(page: str, name: str) -> list[ElementTree.Element]:
    """The inner drawings of this class, in order."""
    found = [ElementTree.fromstring(text).find(f"./svg[@class='{name}']") for text in SVG.findall(page)]
    return [drawing for drawing in found if drawing is not None]


def rectangles(drawing: ElementTree.Element) -> list[tuple[str, int, int, int, int]]:
    """kind, first step, steps, offset, bytes: read back from the coordinates."""
    height = int(drawing.attrib["viewBox"].split()[3])
    found = []
    for rect in drawing.iter("rect"):
        x, y, width, size = (int(rect.attrib[a]) for a in ("x", "y", "width", "height"))
        found.append((rect.attrib["class"], x, width, height - y - size, size))
    return found


def slices(c: Compilation) -> list[Any]:
    return [c.infer, *([c.train] if c.train else [])]


def test_rectangles_are_the_buffers_of_the_plan(compilation: Compilation) -> None:
    c = compilation
    page = render_html(figures(c, None), timeline(c))
    pictures = drawings(page, "buffers")
    assert len(pictures) == len(slices(c))
    for part, drawing in zip(slices(c), pictures, strict=True):
        first: dict[str, int] = {}
        for step, node in enumerate(part.graph.nodes):
            first |= {name: step for name in (*node.outputs, f"{node.name} scratch") if name in part.plan.offsets}
        shown = rectangles(drawing)
        assert sorted((x, offset) for _, x, _, offset, _ in shown) == sorted({(min(first[v] for v in b.values), part.plan.offsets[b.values[0]])
                                                                             for b in part.plan.buffers})  # fmt: skip
        assert max(offset + size for *_, offset, size in shown) <= part.plan.arena_bytes
        assert max(-(-(offset + size) // 4) * 4 for *_, offset, size in shown) == part.plan.arena_bytes
        titles = "\n".join(rect.findtext("title") or "" for rect in drawing.iter("rect"))
        words = set(re.split(r"[,\s]+", titles))
        assert all(name.split()[0] in words for name in part.plan.offsets)
        sizes = Counter(size for *_, size in shown)
        assert sizes == Counter(b.size for b in part.plan.buffers)
        for kind, x, width, _, _ in shown:
            assert kind in ("activation", "saved", "gradient", "scratch", "scalar") and 0 <= x < x + width <= len(part.graph.nodes)


def test_pictures_of_inference_and_training_have_one_scale() -> None:
    c = compiled("lora")
    assert c.train is not None
    page = render_html(figures(c, None), timeline(c))
    scales = {drawing.attrib["viewBox"].split()[3] for name in ("buffers", "live") for drawing in drawings(page, name)}
    assert scales == {str(max(c.infer.plan.arena_bytes, c.train.plan.arena_bytes))}


def test_bars_are_the_bytes_alive(compilation: Compilation) -> None:
    """Also against the arena itself: at no step more than what the rectangles cover, and at the peak the bound."""
    c = compilation
    page = render_html(figures(c, None), timeline(c))
    for part, bars, drawing in zip(slices(c), drawings(page, "live"), drawings(page, "buffers"), strict=True):
        found: Counter[int] = Counter()
        for _, step, width, _, size in rectangles(bars):
            assert width == 1
            found[step] += size
        covered = []
        for step in range(len(part.graph.nodes)):
            used = np.zeros(part.plan.arena_bytes, bool)
            for _, x, width, offset, size in rectangles(drawing):
                if x <= step < x + width:
                    used[offset : offset + -(-size // 4) * 4] = True
            covered.append(int(used.sum()))
            assert found[step] <= covered[-1]
        assert max(found.values()) == part.plan.lower_bound
        assert sum(found.values()) >= 0.8 * sum(covered)


def test_the_page_stands_alone() -> None:
    c = compiled("lora")
    report, plans = figures(c, None), timeline(c)
    report["model"]["name"] = "<b>&name"
    plans["train"]["buffers"][0]["values"] = ["<i>value"]
    page = render_html(report, plans)
    assert not re.search(r"https?:|<script|<link|src=|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page and "<b>" not in page and "<i>value" not in page
    assert "&lt;b&gt;&amp;name: memory" in page and "&lt;i&gt;value" in page
    for words in ("inference", "training", "standard PEFT", "full fine-tuning", f"{report['memory']['train_total']:,}"):
        assert words in page


# ---- What training takes more ----


def test_the_difference_to_inference_is_explained_to_the_byte() -> None:
    for case in ("bias", "lora", "full", "forks"):
        report = figures(compiled(case, optimizer=kt.Adam(lr=0.01), accumulate=2), None)
        memory = report["memory"]
        assert sum(memory["above_inference"].values()) == memory["train_total"] - memory["infer_arena"]
        assert memory["above_inference"]["optimizer"] == memory["by_kind"]["optimizer"] > 0
        peak = compiled(case, optimizer=kt.Adam(lr=0.01), accumulate=2).train
        assert peak is not None
        at = {v for b in memory["at_peak"] for v in b["values"]}
        assert set(peak.graph.node(memory["peak_step"]).outputs) - set(caller_buffers(peak.graph)) <= at
        sizes = [b["bytes"] for b in memory["at_peak"]]
        assert sizes == sorted(sizes, reverse=True) and sum(sizes) + 4 * len(sizes) >= peak.plan.lower_bound
        text = render_text(report)
        assert ("above infer." in text) == (memory["train_to_infer"] > 1.1)
        assert max(map(len, text.splitlines())) <= 150


# ---- Recomputation ----

PORTABLE = ""
"""No core, whose kernels need no scratch: every byte is a value's."""


def test_the_front_of_recomputation_is_that_of_every_set() -> None:
    """Every set of saved values is dropped and planned here; no choice of the report is beaten, and none is missing."""
    c = compiled("forks", target=PORTABLE, front=True)
    part, usual = training_slice(c.graph), total_macs(training_slice(c.graph))
    saved, found = saved_values(part), []
    for size in range(len(saved) + 1):
        for dropped in combinations(saved, size):
            for again in (recompute(part, dropped, nested) for nested in (False, True)):
                found.append((total_macs(again) - usual, place(again, check=False).plan.arena_bytes))
    best: list[tuple[int, int]] = []
    for macs, arena in sorted(found):
        if not best or arena < best[-1][1]:
            best.append((macs, arena))
    memory = figures(c, None)["memory"]
    assert memory["recompute_front_exact"] and len(best) >= 3
    assert [(p["extra_macs"], p["arena_bytes"]) for p in memory["recompute_front"]] == best
    assert [p["extra"] for p in memory["recompute_front"]] == [pytest.approx(macs / usual, abs=1e-6) for macs, _ in best]


@pytest.mark.parametrize("case", ["lora", "forks"])
def test_budgets_of_the_front_are_met_for_its_macs(case: str) -> None:
    c = compiled(case, target=PORTABLE, front=True)
    memory, usual = figures(c, None)["memory"], total_macs(training_slice(c.graph))
    assert len(memory["recompute_front"]) > 1 and memory["recompute_front"][0]["arena_bytes"] == memory["train_arena"]
    for point in memory["recompute_front"]:
        ram = point["arena_bytes"] + memory["state"]
        tight = compiled(case, ram=ram, target=PORTABLE, front=True)
        assert tight.train is not None and total_macs(tight.train.graph) - usual <= point["extra_macs"]
        report = figures(tight, None)
        assert report["memory"]["train_total"] <= ram and report["memory"]["recompute_front"] == memory["recompute_front"]


def test_the_search_for_a_front_ends_where_its_work_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less work, a shorter front that begins alike; with more of it a proof where every set can be tried."""
    c = compiled("lora", target=PORTABLE, front=True)
    found = figures(c, None)["memory"]
    assert not found["recompute_front_exact"]
    part = training_slice(c.graph)
    monkeypatch.setattr("kiloc.plan.recompute.FRONT_WORK", 1)
    tried = recomputations(part)
    assert [choice.dropped for choice in tried.shown().choices] == [()] and tried.work <= 2 * len(part.nodes) * len(tried.candidates)
    monkeypatch.setattr("kiloc.plan.recompute.PROVING", 2 * 2 ** (len(tried.candidates) + 1) * len(part.nodes))
    proved = recomputations(part).shown(proving=True)
    assert proved.exact and proved.choices[0].bytes == found["recompute_front"][0]["arena_bytes"]
    for point in found["recompute_front"]:
        assert any(p.bytes <= point["arena_bytes"] and p.macs <= point["extra_macs"] for p in proved.choices)


def test_text_and_page_show_the_front() -> None:
    c = compiled("forks", target=PORTABLE, front=True)
    report = figures(c, None)
    points = report["memory"]["recompute_front"]
    text, page = render_text(report), render_html(report, timeline(c))
    dots = [ElementTree.fromstring(dot) for dot in re.findall(r'<circle class="front".*?</circle>', page)]
    assert [dot.findtext("title") for dot in dots] == [f"{p['arena_bytes']:,} bytes for {100 * p['extra']:.2f} % more MACs" for p in points]
    places = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in dots]
    for axis, values in enumerate(([p["extra_macs"] for p in points], [p["arena_bytes"] for p in points])):
        first, last = places[0][axis], places[-1][axis]
        share = [(value - values[0]) / (values[-1] - values[0]) for value in values]
        assert last > first and [at[axis] for at in places] == pytest.approx([first + (last - first) * s for s in share], abs=0.1)
    for p in points[1:]:
        assert f"{p['arena_bytes']:,} for {100 * p['extra']:.1f} %" in text
        assert f"<tr><td>{p['arena_bytes']:,}<td>{p['extra_macs']:,}<td>{100 * p['extra']:.2f} %" in page
    assert "--front" not in text and "--front" in render_text(figures(compiled("forks"), None)), "nobody asked for a front"
    report["memory"]["recompute_front"] = points[:1]
    assert "recompute" not in render_text(report) and "recomputation would save" not in render_html(report, timeline(c))


# ---- Comparisons ----


@pytest.mark.parametrize("case", ["bias", "lora", "full", "forks"])
def test_the_usual_plan_keeps_what_backward_may_want(case: str) -> None:
    c = compiled(case)
    graph = _training(c, c.options.methods)
    plan = kept_plan(graph, 4)
    check_plan(graph, graph.nodes, plan.offsets, plan.arena_bytes, lambda node: scratch_bytes(graph, node))
    kept = [b for b in plan.buffers if set(b.values) & set(on_the_way(graph))]
    assert kept and all(b.last == len(graph.nodes) - 1 for b in kept)
    spans = sorted((plan.offsets[b.values[0]], plan.offsets[b.values[0]] + b.size) for b in kept)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert not any(n.op.mnemonic in ("save_mask", "apply_mask") for n in graph.nodes)
    compare = figures(c, None)["compare"]
    assert compare["standard_peft"]["arena"] == plan.arena_bytes
    state = sum(graph.type(p.values["accumulator"]).bytes for p in graph.parameters)
    assert compare["standard_peft"]["state"] >= state > 0


def test_frozen_layers_in_front_keep_nothing() -> None:
    graphs = {layers: _training(c, (kt.BiasOnly(layers),)) for layers in ("last:1", "last:2", "all") for c in [compiled("bias")]}
    found = {layers: [graph.type(v).size for v in on_the_way(graph)] for layers, graph in graphs.items()}
    assert found["last:1"] == [8, 3] and found["last:2"] == [10, 8, 3]
    assert found["all"] == [10, 8, 3], "the input lies in the caller's buffer, and is no activation"


@pytest.mark.parametrize(("optimizer", "copies"), [(kt.SGD(lr=0.1), 2), (kt.SGD(lr=0.1, momentum=0.9), 3), (kt.Adam(lr=0.01), 4)])
def test_full_finetuning_takes_floats_for_every_weight_and_bias(optimizer: Optimizer, copies: int) -> None:
    parameters = 8 * 10 + 10 + 10 * 8 + 8 + 8 * 3 + 3
    usual = figures(compiled("bias", optimizer=optimizer), None)["compare"]["full_finetuning"]
    assert usual["state"] == 4 * copies * parameters and usual["total"] == usual["arena"] + usual["state"]
    assert usual["arena"] >= 10 + 8 + 3


def test_both_ways_agree_where_all_is_trained() -> None:
    usual = figures(compiled("full"), None)["compare"]
    assert usual["standard_peft"]["arena"] == usual["full_finetuning"]["arena"]
    assert usual["standard_peft"]["state"] != usual["full_finetuning"]["state"]


def test_what_cannot_be_trained_whole_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    c = compiled("bias")

    def refuse(self: kt.Full, graph: Graph, calibration: object) -> Graph:
        raise kt.CompileError("layer 'odd'", "has no gradient", "name other layers")

    monkeypatch.setattr(kt.Full, "attach", refuse)
    report = figures(c, None)
    full = report["compare"]["full_finetuning"]
    assert (full["arena"], full["state"], full["total"]) == (None, None, None) and full["refused"] == "layer 'odd': has no gradient"
    assert report["compare"]["standard_peft"]["total"] > 0
    assert "cannot be fine-tuned whole: layer 'odd': has no gradient" in render_text(report)
    page = render_html(report, timeline(c))
    assert "cannot be fine-tuned whole: layer &#x27;odd&#x27;: has no gradient" in page and "None" not in page


# ---- Builds and the command ----


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tflite.write(tiny()))
    build = kt.build(kt.load(path), tmp_path / "b", method=kt.BiasOnly(), measure=False)
    header = (build.directory / "tiny.h").read_text()
    plans = build.plans()
    for key, macro in (("infer", "INFER"), ("train", "TRAIN")):
        assert f"#define TINY_ARENA_BYTES_{macro} {plans[key]['arena_bytes']}\n" in header
    run = CliRunner().invoke(main, ["report", str(build.directory), "--html", str(tmp_path / "page.html")])
    assert run.exit_code == 0 and run.stdout == build.report_text() + "\n"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page == render_html(build.report, plans) and len(drawings(page, "buffers")) == 2
    (build.directory / "plan.json").unlink()
    run = CliRunner().invoke(main, ["report", str(build.directory), "--html", str(tmp_path / "other.html")])
    assert run.exit_code == 3 and "build the model again" in run.stderr and not (tmp_path / "other.html").exists()
    assert CliRunner().invoke(main, ["report", str(build.directory)]).exit_code == 0
