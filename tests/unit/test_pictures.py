"""Curves, confusion tables, the page of a training, and what notebooks show."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from golden.reference import image, samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.report import Line, lines, number, ticks
from kilotune.building import Build
from kilotune.devices.history import ALL_EPOCHS, NO_BETTER
from kilotune.pictures import confusion
from kilotune.pictures.curves import curves


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


def built(graph: Graph, folder: Path, name: str, **options: object) -> Build:
    path = folder / f"{name}.tflite"
    path.write_bytes(tflite.write(graph))
    return kt.build(kt.load(path), folder / name, measure=False, method=[kt.BiasOnly(), kt.Head()], **options)  # type: ignore[arg-type]


# ---- Charts ----


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 2.3, [0, 0.5, 1, 1.5, 2]),
        (1180, 5840, [2000, 3000, 4000, 5000]),
        (0, 40, [0, 10, 20, 30, 40]),
        (-0.3, 0.31, [-0.2, 0, 0.2]),
        (0, 3e-6, [0, 1e-6, 2e-6, 3e-6]),
        (7, 7, [7]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_ticks_are_few_whatever_the_range() -> None:
    rng = np.random.default_rng(0)
    for low, width in zip(rng.normal(0, 100, 500), np.exp(rng.uniform(-12, 12, 500)), strict=True):
        found = ticks(low, low + width)
        assert 2 <= len(found) <= 7 and low - 1e-9 * width <= found[0] and found[-1] <= low + width * (1 + 1e-9)


def test_numbers_have_no_more_digits_than_they_need() -> None:
    assert [number(x) for x in (0.15, 1.0, 12000.0, 0.1 + 0.2, 1e-6)] == ["0.15", "1", "12,000", "0.3", "1e-06"]


def drawing(figure: str) -> ElementTree.Element:
    """The chart of a figure, which has to be XML."""
    found = re.search(r'<svg viewBox="0 0 560.*?</svg>', figure, re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def test_lines_are_drawn_to_scale() -> None:
    figure = lines("loss", [Line("training", [(1, 2.0), (2, 1.0), (4, 0.0)]), Line("held out", [(0, 2.0)], second=True)], "epoch", (2, "kept"))
    svg = drawing(figure)
    first, second = svg.findall("path")
    (x1, y1), (x2, y2), (x4, y4) = points(first.attrib["d"])
    assert (x4 - x2) == pytest.approx(2 * (x2 - x1), abs=0.2) and (y4 - y2) == pytest.approx(y2 - y1, abs=0.2) and y1 < y2
    assert second.attrib["class"] == "second" and points(second.attrib["d"])[0][1] == y1
    mark = next(e for e in svg.findall("line") if e.attrib.get("class") == "mark")
    assert float(mark.attrib["x1"]) == pytest.approx(x2, abs=0.2)
    assert "<figcaption>loss" in figure and figure.count("</svg>training") == 1 and figure.count("</svg>held out") == 1


def test_names_are_text() -> None:
    figure = lines("<b>", [Line("<i>&", [(0, 1)])], "<u>", (0, "<s>"))
    assert not re.search(r"<[bius]>", figure) and "&lt;i&gt;&amp;" in figure


# ---- Histories ----


def history(**more: object) -> kt.History:
    judged = [{"loss": 1.5, "accuracy": 0.5}, {"loss": 0.9, "accuracy": 0.75}, {"loss": 1.1, "accuracy": 0.7}]
    known = {"losses": [2.0, 1.0, 0.5], "validation": judged, "before": {"loss": 2.5, "accuracy": 0.1}, "best_epoch": 2, "epochs": 3, "updates": 9}
    return kt.History(**({**known, "ended": ALL_EPOCHS, "learning_rates": [0.3] * 3 + [0.2] * 3 + [0.1] * 3} | more))  # type: ignore[arg-type]


def test_curves_of_a_history() -> None:
    body = curves(history())
    assert re.findall(r"<figcaption>([^<]+)", body) == ["loss", "accuracy", "learning rate at the beginning of each epoch"]
    assert body.count("kept: epoch 2") == 2 and "held out, 0: 2.5" in body and "training, 3: 0.5" in body and "rate, 3: 0.1" in body


@pytest.mark.parametrize(
    ("more", "figures"),
    [
        ({"learning_rates": []}, 2),
        ({"learning_rates": [0.1] * 9}, 2),
        ({"validation": [], "before": None, "best_epoch": None}, 2),
        ({"validation": [{"loss": 1.0}] * 3, "before": {"loss": 1.0}}, 2),
        ({"losses": [2.0], "validation": [], "before": None, "learning_rates": [], "best_epoch": None}, 1),
        ({"losses": [], "validation": [], "learning_rates": [], "best_epoch": 0, "ended": NO_BETTER}, 2),
    ],
)
def test_what_a_history_lacks_is_not_drawn(more: dict[str, object], figures: int) -> None:
    assert curves(history(**more)).count("<figure") == figures


def test_a_picture_is_saved_and_shown(tmp_path: Path) -> None:
    picture = history().plot()
    page = picture.save(tmp_path / "curves.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("<figure") == 3 and "prefers-color-scheme: dark" in page
    assert picture._repr_html_().startswith('<div class="kilotune">') and "all epochs were trained" in history()._repr_html_()
    with pytest.raises(kt.CompileError, match="cannot be written"):
        picture.save(tmp_path / "none/curves.html")


def test_a_fragment_changes_nothing_beside_it() -> None:
    style = re.search(r"<style>(.*?)</style>", history()._repr_html_(), re.DOTALL)
    assert style is not None
    selectors = [s.strip() for rule in re.findall(r"([^{}]+)\{[^{}]*\}", style[1]) for s in rule.split(",")]
    assert selectors and [s for s in selectors if not s.startswith(".kilotune")] == []


# ---- Confusion ----


def test_counts_and_mistakes() -> None:
    counts = confusion.matrix(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 0, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    assert confusion.mistakes(counts, ("a", "b", "c")) == [("c", "a", 2), ("a", "b", 1)]
    table = confusion.table(counts, ("a", "<b>", "c"), "before")
    assert "before: 3 of 6 right" in table and "c taken for a: 2" in table and "<b>" not in table
    assert "rgb(52 101 164 / 0.71)" in table  # two of three


# ---- The page ----


def test_the_page_of_a_training(folder: Path, tmp_path: Path) -> None:
    build = built(tiny(), folder, "tiny", optimizer=kt.SGD(lr=0.2))
    x, y = samples(tiny(), 60), np.arange(60) % 3
    with build.open("host") as device:
        report = kt.TrainingReport(device, (x[:20], y[:20]), (x[40:], y[40:]), class_names=("one", "<two>", "three"))
        before, old = device.evaluate(x[:20], y[:20]), device.evaluate(x[40:], y[40:])
        assert report.to_dict()["test samples"] == {"samples": 20, "before": before, "after": None} and "not finished" in report.html()
        done = device.fit(x[20:40], y[20:40], epochs=4)
        report.finish(done)
        after, predicted = device.evaluate(x[:20], y[:20]), device.predict(x[:20])
        page = report.save_html(tmp_path / "training.html").read_text()
        change = device.evaluate(x[40:], y[40:])["accuracy"] - old["accuracy"]
    assert report.to_dict()["test samples"]["after"] == after and report.to_dict()["original data"]["before"] == old
    assert not re.search(r"https?:|<script|<link|src=|@import|url\(", page) and "<two>" not in page
    for words in (f"{before['accuracy']:.4f}", f"{after['accuracy']:.4f}", f"after: {int((predicted == y[:20]).sum())} of 20 right", "&lt;two&gt;"):
        assert words in page
    assert ("Forgotten: " if change < 0 else "Nothing was forgotten") in page
    for title in ("Before and after", "Over the epochs", "What was taken for what: test samples", "What was trained", "Arena over the steps"):
        assert f"<h2>{title}</h2>" in page
    assert "logits.weights" in page or "logits" in page
    assert report._repr_html_().startswith("<iframe srcdoc=")


def test_a_model_without_classes(folder: Path) -> None:
    build = built(image(), folder, "image", loss="mse", optimizer=kt.SGD(lr=0.1))
    x, y = samples(image(), 12), np.zeros((12, 4), np.float32)
    with build.open("host") as device:
        report = kt.TrainingReport(device, (x, y))
        page = report.finish(device.fit(x, y, epochs=1)).html()
    assert "taken for what" not in page and "accuracy" not in page and "loss, test samples (12)" in page


# ---- Notebooks ----


def test_tables_of_a_notebook(folder: Path) -> None:
    build = built(tiny(), folder, "shown")
    model = kt.load(folder / "shown.tflite")
    found = model._repr_html_()
    assert found.startswith('<div class="kilotune">') and "<td>1 x 8<td>int8" in found and all(f"<td>{x['name']}" in found for x in model.layers())
    found = build._repr_html_()
    assert f"<td>{build.report['memory']['train_arena']:,}" in found and "bytes of weights and tables" in found
    with build.open("host") as device:
        adapter = device.export_adapter()
    assert all(f"<td>{e.name}" in adapter._repr_html_() for e in adapter.entries) and adapter.base_hash in adapter._repr_html_()


def test_a_build_without_training(folder: Path) -> None:
    (folder / "plain.tflite").write_bytes(tflite.write(tiny()))
    build = kt.build(kt.load(folder / "plain.tflite"), folder / "plain", measure=False)
    assert "<td>-" in build._repr_html_()
