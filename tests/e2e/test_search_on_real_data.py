"""The search on a real model: it finds a set that fits, is the same twice, and its configuration trains as it promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import kilotune as kt
from kiloc.forecast import estimate, forecast
from kiloc.ir import interp
from kilotune.cli import main
from kilotune.search.setting import Setting


@pytest.fixture(scope="module")
def drifted(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A gas classifier, five samples a class of a drifted sensor, and the rest of that batch."""
    d = np.load(data_dir / "sets" / "gas_drift.npz")
    x, y, rng = d["x"].astype(np.float32), d["y"].astype(np.int64), np.random.default_rng(1)
    batch = np.flatnonzero(d["batch"] == 4)
    adapt = np.concatenate([rng.choice(batch[y[batch] == c], 5, replace=False) for c in np.unique(y[batch])])
    rest = np.setdiff1d(batch, adapt)
    folder = tmp_path_factory.mktemp("search")
    np.savez(folder / "adapt.npz", x=x[adapt], y=y[adapt])
    np.savez(folder / "base.npz", x=x[d["base_train_idx"][:64]])
    return {"folder": folder, "model": data_dir / "models" / "gas_mlp_int8.tflite", "rest": (x[rest], y[rest]), "adapt": (x[adapt], y[adapt])}


def test_search_build_train(drifted: dict[str, Any]) -> None:
    folder = drifted["folder"]
    command = ["search", str(drifted["model"]), "--data", str(folder / "adapt.npz"), "--calibration", str(folder / "base.npz"), "--ram", "800"]
    files = ["-o", str(folder / "c.json"), "--html", str(folder / "front.html")]
    first = CliRunner().invoke(main, [*command, *files, "--epochs", "10", "--json"], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    assert found["best"]["bytes"] <= 800 and found["best"]["accuracy"] > found["accuracy_before"] + 0.2
    assert sum(r["chosen"] for r in found["rows"]) == 1 and len([r for r in found["rows"] if r["accuracy"] is not None]) >= 3

    build = ["build", str(drifted["model"]), "--config", str(folder / "c.json"), "-o", str(folder / "b")]
    done = CliRunner().invoke(main, [*build, "--calibration", str(folder / "base.npz"), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["memory"]["train_total"] == found["best"]["bytes"]
    config = kt.load_config(folder / "c.json")
    with kt.open_build(folder / "b").open("host") as device:
        before = device.evaluate(*drifted["rest"])["accuracy"]
        device.fit(*drifted["adapt"], **config.training)
        assert device.evaluate(*drifted["rest"])["accuracy"] > before + 0.2
    assert "accuracy on samples held out" in (folder / "front.html").read_text()


def test_the_same_twice(drifted: dict[str, Any]) -> None:
    first, second = (kt.search(kt.load(drifted["model"]), drifted["adapt"], ram=250, epochs=3) for _ in range(2))
    assert first.to_dict() == second.to_dict() and first.best.accuracy is not None


def test_command_line_errors(drifted: dict[str, Any]) -> None:
    folder, model = drifted["folder"], str(drifted["model"])
    tight = CliRunner().invoke(main, ["search", model, "--data", str(folder / "adapt.npz"), "--ram", "40"])
    assert tight.exit_code == 1 and "the smallest" in tight.output
    bare = CliRunner().invoke(main, ["search", model, "--data", str(folder / "base.npz"), "--ram", "800"])
    assert bare.exit_code == 3 and "no labels" in bare.output
    both = CliRunner().invoke(main, ["build", model, "--config", "c.json", "--method", "bias", "-o", str(folder / "x")])
    assert both.exit_code == 2 and "--method" in both.output


@pytest.mark.parametrize("name", ["gas_mlp_int8", "ecg_cnn_int8"])
@pytest.mark.parametrize("methods", [[kt.BiasOnly()], [kt.LoRA(rank=4, layers="last:2")]], ids=["bias", "lora"])
def test_the_estimate_of_a_step_is_near_the_count(name: str, methods: list[Any], data_dir: Path, qemu: str, tmp_path: Path) -> None:
    """A dense and a convolutional model: instructions that QEMU counts, within a factor of 1.5 either way."""
    model = kt.load(data_dir / "models" / f"{name}.tflite")
    sample = {n: np.zeros((1, *model.graph.type(n).shape[1:]), np.int8) for n in model.graph.inputs}
    estimated = estimate(forecast(model.graph, Setting().options(methods), interp.run(model.graph, sample)), "cortex-m4").instructions
    built = kt.build(model, tmp_path / "b", method=methods, measure=False)
    with built.open("qemu:mps2-an386", count=True) as device:
        device.train_step(np.full_like(sample[model.graph.inputs[0]], 25), 0)
        counted = device.stats()["instructions"]
        device.apply()
        counted += device.stats()["instructions"]
    assert counted / 1.5 < estimated < counted * 1.5, (estimated, counted)
