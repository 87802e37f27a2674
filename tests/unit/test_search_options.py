"""The search with every optimizer, loss and storage, with several inputs, with a budget of time, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from golden.reference import samples, tiny
from gradients.graphs import Maker, activation

import kilotune as kt
from kiloc.export import tflite
from kiloc.ir.graph import Graph
from kiloc.ir.verify import verify
from kiloc.ops.model.add import Add
from kilotune.cli import main
from kilotune.search import Search, engine, trials
from kilotune.search.candidates import Budget
from kilotune.search.setting import Setting
from kilotune.search.speed import parse_clock, parse_time

COUNT = 20


def dense(values: int = 4) -> Graph:
    """Two layers, 6 values in, 4 real values out."""
    m = Maker("dense", (1, 6), 7)
    return m.finish(m.dense(m.dense("input", "first", 8, "relu"), "second", values))


def two() -> Graph:
    """Two inputs of different scale, their sum, and two layers."""
    m = Maker("two", (1, 6), 9)
    second = m.b.input(activation((1, 6), 1 / 32, -5), "second")
    y = m.op("input", "sum", Add(), (1, 6), 1 / 24, 1, other=second)
    return verify(m.b.finish([m.dense(m.dense(y, "inner", 6, "relu"), "classes", 4)]))


def written(graph: Graph, folder: Path) -> kt.Model:
    (folder / f"{graph.name}.tflite").write_bytes(tflite.write(graph))
    return kt.load(folder / f"{graph.name}.tflite")


def inputs(model: kt.Model, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, (COUNT, *model.graph.type(n).shape[1:])).astype(np.int8) for n in model.graph.inputs]
    return arrays[0] if len(arrays) == 1 else arrays


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "adam, 8 bit": (tiny, "labels", {"optimizer": kt.Adam(state_bits=8)}),
    "lion": (tiny, "labels", {"optimizer": kt.Lion(weight_decay=0.01)}),
    "momentum, schedule": (tiny, "labels", {"optimizer": kt.SGD(momentum=0.9, schedule=kt.CosineDecay(updates=50))}),
    "block8": (tiny, "labels", {"storage": "block8"}),
    "accumulate": (tiny, "labels", {"accumulate": 4}),
    "smoothing": (tiny, "labels", {"loss": kt.CrossEntropy(label_smoothing=0.1)}),
    "bce": (dense, "bits", {"loss": "bce"}),
    "weighted bce": (dense, "bits", {"loss": kt.BinaryCrossEntropy(positive_weights=[1, 2, 3, 4])}),
    "distributions": (tiny, "distributions", {"loss": "soft_cross_entropy"}),
    "mse": (dense, "values", {"loss": "mse", "optimizer": kt.Adam()}),
    "huber": (dense, "values", {"loss": kt.Huber(0.5)}),
    "reconstruction": (lambda: dense(6), None, {"loss": kt.MeanSquaredError(target="input")}),
    "two inputs": (two, "labels", {}),
    "offload": (tiny, "labels", {"optimizer": kt.Adam(), "offload": "all"}),
}


def targets(model: kt.Model, kind: str | None) -> Any:
    rng, t = np.random.default_rng(5), model.graph.type(model.graph.outputs[0])
    if kind == "labels":
        return rng.integers(0, t.size, COUNT)
    if kind is None:
        return None
    if kind == "distributions":
        return kt.circular_labels(rng.uniform(0, t.size, COUNT), t.size)
    return rng.integers(0, 2, (COUNT, t.size)).astype(np.float32) if kind == "bits" else rng.normal(0, 0.5, (COUNT, t.size)).astype(np.float32)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of three candidates and one other rate, which take a second."""
    monkeypatch.setattr(engine, "MOST", 3)
    for name, value in {"FEWEST": 2, "TUNED": 1, "RATES": (0.3,), "MOST_ROUNDS": 1, "FOLDS": 2}.items():
        monkeypatch.setattr(trials, name, value)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.usefixtures("short")
def test_what_is_promised_is_what_the_configuration_builds(case: tuple[Any, Any, dict[str, Any]], tmp_path: Path) -> None:
    """Every option that a build takes: the search trains with it, and a build of its file takes the bytes it said."""
    make, kind, options = case
    model = written(make(), tmp_path)
    x, y = inputs(model), targets(model, kind)
    found = kt.search(model, (x, y), ram="64K", epochs=2, **options)
    assert found.best.loss is not None and found.loss_before > 0 and (found.before is None) == (kind in ("values", None))
    found.config.save(tmp_path / "c.json")
    same = {"calibration": x if y is None else (x, y), "offload": options.get("offload", "none")}
    built = kt.build(model, tmp_path / "b", config=tmp_path / "c.json", **same)
    assert built.report["memory"]["train_total"] == found.best.bytes
    assert built.report["macs"] == {"forward": found.best.macs_forward, "backward": found.best.macs_backward}
    config = kt.load_config(tmp_path / "c.json")
    given = options.get("optimizer", kt.SGD())
    assert config.optimizer == replace(given, lr=found.best.lr) and config.storage == options.get("storage", "block16")
    assert built.manifest["accumulate"] == options.get("accumulate", 1)
    with built.open("host") as device:
        device.fit(x, y, **config.training)
    assert found.table().row_count == len(found.rows) and found.html().count("<h2>") == 2


def test_forecasts_differ_where_options_do(tmp_path: Path) -> None:
    """Were the options ignored, these would be equal."""
    model = written(tiny(), tmp_path)
    data = inputs(model), targets(model, "labels")
    adam = kt.Adam()
    momentum = kt.SGD(momentum=0.9)
    settings = (
        Setting(optimizer=momentum),
        Setting(optimizer=momentum, storage="block8"),
        Setting(optimizer=adam),
        Setting(optimizer=kt.Adam(state_bits=8)),
    )
    settings += (Setting(optimizer=adam, offload="optimizer"), Setting(optimizer=adam, offload="all"))
    found = [Search(model, data, s) for s in settings]
    planned = [c for c in (s.space.candidate(s.space.last("lora", 4, 3)) for s in found) if c]
    bytes_ = [c.bytes for c in planned]
    assert bytes_[1] < bytes_[0] < bytes_[2] and bytes_[3] < bytes_[2] and bytes_[5] < bytes_[4] < bytes_[2]
    assert [c.lr for c in planned] == [0.03, 0.03, 0.01, 0.01, 0.01, 0.01], "as builds without a rate"


def test_only_the_layers_named_are_trained(tmp_path: Path) -> None:
    model = written(tiny(), tmp_path)
    data = inputs(model), targets(model, "labels")
    planned = Search(model, data, Setting(layers="sec*")).space.candidates(Budget())
    assert planned and all(p.layer == "second" for c in planned for p in c.set.pieces)


# ---- Time ----


def test_times_as_people_write_them() -> None:
    assert [parse_time(t) for t in ("20ms", "1.5 s", "300us", 5000, "5000", None)] == [
        (None, 0.02), (None, 1.5), (None, pytest.approx(0.0003)), (5000, None), (5000, None), (None, None),
    ]  # fmt: skip
    assert [parse_clock(c) for c in ("168M", "64MHz", 100_000_000, "32k")] == [168_000_000, 64_000_000, 100_000_000, 32_000]
    for wrong in ("20 minutes", "ms", "0ms", 0, -3, True, "1.5"):
        with pytest.raises(kt.CompileError, match="no time"):
            parse_time(wrong)
    for wrong in ("fast", "0", -1, "100"):
        with pytest.raises(kt.CompileError, match="no clock"):
            parse_clock(wrong)


def test_a_budget_of_time_bounds_the_estimate(tmp_path: Path) -> None:
    model = written(tiny(), tmp_path)
    prepared = Search(model, (inputs(model), targets(model, "labels")))
    wide = prepared.choose(ram="64K", train=False)
    limit = wide.best.seconds * 0.9
    narrow = prepared.choose(ram="64K", time=f"{1e3 * limit}ms", train=False, count=False)
    assert narrow.best.seconds <= limit < wide.best.seconds and narrow.feasible < wide.feasible
    half = prepared.choose(ram="64K", time=f"{1e3 * limit}ms", clock="50M", train=False, count=False)
    assert half.best.seconds <= limit and half.feasible < narrow.feasible, "at half the clock less fits"


# ---- What it refuses ----


def test_data_that_is_refused(tmp_path: Path) -> None:
    model, pair, real = (written(g, tmp_path) for g in (tiny(), two(), dense()))
    x, y = inputs(model), targets(model, "labels")
    given: list[tuple[kt.Model, Any, str, str]] = [
        (model, (x, None), "no labels", "cross_entropy"),
        (model, x, "no labels", "cross_entropy"),
        (model, (x[:, :5], y), "shape", "cross_entropy"),
        (model, (x, y[:-1]), "labels of shape", "cross_entropy"),
        (model, (x, np.full(COUNT, 2)), "every sample has the label 2", "cross_entropy"),
        (model, (x, np.where(np.arange(COUNT) == 7, 3, y)), r"label 3 at \[7\]", "cross_entropy"),
        (model, (x, y - 1), "class numbers below 3", "cross_entropy"),
        (model, (x, y.astype(float)), "float64", "cross_entropy"),
        (pair, (inputs(pair)[0], y), "2 inputs", "cross_entropy"),
        (pair, ([inputs(pair)[0], inputs(pair)[1][:3]], y), "different numbers", "cross_entropy"),
        (real, (inputs(real), y), "holds labels", "mse"),
        (real, (inputs(real), np.zeros((COUNT, 3))), "targets of shape", "mse"),
        (real, (inputs(real), np.full((COUNT, 4), np.nan)), "not finite", "mse"),
        (real, (inputs(real), np.full((COUNT, 4), 2.0)), "from 0 to 1", "bce"),
        (written(dense(6), tmp_path), (inputs(real), y), "takes none", kt.MeanSquaredError(target="input")),
    ]  # fmt: skip
    for subject, data, what, loss in given:
        with pytest.raises(kt.CompileError, match=what) as error:
            kt.search(subject, data, ram="64K", train=False, loss=loss)
        assert error.value.hint and "\n" not in error.value.what
    with pytest.raises(kt.CompileError, match="too few"):
        kt.search(model, (x[:5], np.arange(5) % 2), ram="64K")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"loss": "hinge"}, "unknown loss"),
        ({"loss": "bce"}, "softmax"),
        ({"loss": kt.MeanSquaredError(target="input")}, "3 values"),
        ({"optimizer": "adam"}, "not an optimizer"),
        ({"storage": "block4"}, "unknown storage"),
        ({"offload": "moments"}, "unknown offload"),
        ({"offload": "optimizer"}, "keeps no moments"),
        ({"epochs": 0}, "at least 1"),
        ({"accumulate": 0}, "at least 1"),
        ({"target": "cortex-a7"}, "not a known core"),
        ({"layers": "dense_9"}, "no layer of tiny has this name"),
        ({"layers": "last:x"}, "not a count"),
        ({"calibration": np.zeros((3, 5), np.int8)}, "shape"),
        ({"calibration": (np.zeros((3, 8), np.int8), [0, 1])}, "targets of shape"),
        ({"time": "soon"}, "no time"),
        ({"ram": "64Q"}, "not a size"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], what: str, tmp_path: Path) -> None:
    model = written(tiny(), tmp_path)
    with pytest.raises(kt.CompileError, match=what) as error:
        kt.search(model, (samples(model.graph, COUNT), targets(model, "labels")), **{"ram": "64K", "train": False, **options})
    assert error.value.hint


def test_a_budget_below_the_smallest_set_names_it(tmp_path: Path) -> None:
    model = written(tiny(), tmp_path)
    prepared = Search(model, (inputs(model), targets(model, "labels")))

    def choose(**options: Any) -> Any:
        return prepared.choose(**{"train": False, "count": False, "ram": "1M", **options})

    for limit in ("ram", "time", "flash"):
        with pytest.raises(kt.BudgetError, match="the smallest") as error:
            choose(**{limit: 10})
        need = int(error.value.hint.split()[-1].replace(",", ""))
        with pytest.raises(kt.BudgetError):
            choose(**{limit: need - 1})
        if limit != "flash":  # code comes on top, which only a build measures
            assert choose(**{limit: need}).best.name in error.value.what
    with pytest.raises(kt.BudgetError, match="at 100 MHz") as error:
        choose(time="1us")
    assert choose(time=error.value.hint.split()[-1]).feasible > 0
    with pytest.raises(kt.BudgetError, match="all limits"):
        choose(ram=10, time=10)


# ---- Command line ----


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    model = written(tiny(), tmp_path)
    x, y = inputs(model), targets(model, "labels")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    np.savez(tmp_path / "bare.npz", x=x)
    np.savez(tmp_path / "wrong.npz", x=x, y=y + 3)
    np.savez(tmp_path / "other.npz", left=x, right=x, y=y)
    return {p.stem: str(p) for p in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("data", "options", "code", "what"),
    [
        ("data", ["--ram", "20"], 1, "the smallest"),
        ("data", ["--ram", "64K", "--time", "1us", "--no-count"], 1, "the smallest"),
        ("data", ["--ram", "64K", "--time", "never"], 3, "no time"),
        ("data", ["--ram", "64K", "--layers", "dense*"], 3, "no layer of tiny"),
        ("data", ["--ram", "64K", "--loss", "bce"], 3, "softmax"),
        ("data", ["--ram", "64K", "--optimizer", "adam", "--momentum", "0.9"], 2, "--momentum"),
        ("data", ["--ram", "64K", "--html", "/nowhere/front.html"], 2, "does not exist"),
        ("bare", ["--ram", "64K"], 3, "no labels"),
        ("wrong", ["--ram", "64K"], 3, "class numbers below 3"),
        ("other", ["--ram", "64K"], 1, "left"),
        ("absent", ["--ram", "64K"], 1, "there is no such file"),
    ],
)
def test_command_line_errors(data: str, options: list[str], code: int, what: str, files: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    done = CliRunner().invoke(main, ["search", files["tiny"], "--data", files.get(data, "absent.npz"), "-o", str(output), *options])
    assert done.exit_code == code and what in done.output, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert not output.exists()


def test_the_command_line_takes_what_a_build_takes(files: dict[str, str], tmp_path: Path) -> None:
    output, page = tmp_path / "c.json", tmp_path / "front.html"
    options = ["--optimizer", "adam", "--storage", "block8", "--accumulate", "2", "--label-smoothing", "0.1", "--time", "1ms", "--clock", "64M"]
    command = ["search", files["tiny"], "--data", files["data"], "--ram", "4K", "--no-train", *options, "-o", str(output), "--html", str(page)]
    done = CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found, config = json.loads(done.stdout), json.loads(output.read_text())
    assert found["clock"] == 64_000_000 and found["best"]["seconds"] <= 1e-3 and found["budget"]["instructions"] == 64_000
    assert config["optimizer"]["optimizer"] == "Adam" and config["storage"] == "block8" and config["accumulate"] == 2
    assert config["loss"] == {"loss": "CrossEntropy", "label_smoothing": 0.1} and page.read_text().startswith("<!doctype html>")
    build = ["build", files["tiny"], "--config", str(output), "-o", str(tmp_path / "b"), "--json"]
    made = CliRunner().invoke(main, build, catch_exceptions=False)
    assert json.loads(made.stdout)["memory"]["train_total"] == found["best"]["bytes"]
    both = CliRunner().invoke(main, [*build, "--storage", "block16"])
    assert both.exit_code == 2 and "--storage" in both.output


def test_several_inputs_come_as_x0_x1(tmp_path: Path) -> None:
    model = written(two(), tmp_path)
    first, second = inputs(model)
    np.savez(tmp_path / "d.npz", x0=first, x1=second, y=targets(model, "labels"))
    done = CliRunner().invoke(
        main, ["search", str(model.path), "--data", str(tmp_path / "d.npz"), "--ram", "4K", "--no-train"], catch_exceptions=False
    )
    assert done.exit_code == 0 and "trainable sets fit" in done.output and "train " in done.output
