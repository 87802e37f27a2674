"""`kilotune train`, `evaluate` and `predict`: of model files and build directories, with adapters, checkpoints and class names."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.cli import main
from kilotune.devices.host import HostDevice

X = samples(tiny(), 120)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 40)
NAMES = ("low", "high", "top")
EXIT_INTERRUPTED = 130


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verbs")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    t = tiny().type(tiny().inputs[0])
    real = (X.astype(np.float32) - t.zero_point) * np.float32(t.scale)
    np.savez(folder / "user.npz", x=X[:90], y=Y[:90])
    np.savez(folder / "test.npz", x=X[90:], y=Y[90:])
    np.savez(folder / "bare.npz", x=X)
    with open(folder / "user.csv", "w", newline="") as file:
        csv.writer(file).writerows([[*map(float, row), NAMES[y]] for row, y in zip(real[:90], Y[:90], strict=True)])
    kt.build(kt.load(folder / "tiny.tflite"), folder / "build", method=[kt.BiasOnly(), kt.LoRA(layers="all")], measure=False)
    kt.build(kt.load(folder / "tiny.tflite"), folder / "infer", measure=False)
    return folder


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def found(*arguments: str | Path, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code).stdout)


# ---- train ----


def test_a_model_file_and_the_build_of_it_train_the_same(folder: Path, tmp_path: Path) -> None:
    """What is trained by default, and that a calibration of one's own samples is in the build that was kept."""
    data = ("--data", folder / "user.npz", "--test", folder / "test.npz", "--epochs", "4", "--seed", "2")
    first = run("train", folder / "tiny.tflite", *data, "--build", tmp_path / "kept", "--save", tmp_path / "me.kta", "--json")
    assert "what is trained: bias all and lora r=4 all" in first.stderr
    value = json.loads(first.stdout)
    assert value["loss_after"] < value["loss_before"] and [s["title"] for s in value["splits"]] == ["test samples", "trained on"]
    again = found("train", tmp_path / "kept", *data)
    assert again["state_sha256"] == value["state_sha256"] and again["history"] == value["history"]
    assert kt.open_build(tmp_path / "kept").report["model"]["calibration"] == "32 samples"


def test_training_goes_on_from_an_adapter(folder: Path, tmp_path: Path) -> None:
    data = ("--data", folder / "user.npz", "--test", folder / "test.npz", "--epochs", "3")
    first = found("train", folder / "build", *data, "--save", tmp_path / "me.kta")
    second = found("train", folder / "build", *data, "--adapter", tmp_path / "me.kta")
    assert second["loss_before"] == first["loss_after"] != first["loss_before"] and second["started_from"] == str(tmp_path / "me.kta")


def test_words_in_a_table_are_numbered_by_the_names(folder: Path, tmp_path: Path) -> None:
    options = ("--epochs", "4", "--class-names", ",".join(NAMES), "--build", tmp_path / "b")
    by_words = run("train", folder / "tiny.tflite", "--data", folder / "user.csv", "--test", folder / "test.npz", *options, "--json")
    assert "note: the labels of" in by_words.stderr
    by_numbers = found("train", folder / "tiny.tflite", "--data", folder / "user.npz", "--test", folder / "test.npz", "--epochs", "4")
    assert json.loads(by_words.stdout)["state_sha256"] == by_numbers["state_sha256"]
    build = kt.open_build(tmp_path / "b")
    assert build.manifest["class_names"] == list(NAMES) == build.report["model"]["class_names"] and "low, high, top" in build.report_text()
    assert '#define TINY_CLASS_NAMES {"low", "high", "top"}' in (tmp_path / "b/tiny.h").read_text()
    alphabet = run("train", folder / "tiny.tflite", "--data", folder / "user.csv", "--epochs", "1")
    assert "warning: " in alphabet.stderr and "numbered by the alphabet, 0 high, 1 low, 2 top" in alphabet.stderr


def test_ctrl_c_is_resumed_to_the_same_adapter(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("train", folder / "build", "--data", folder / "user.npz", "--test", folder / "test.npz", "--epochs", "5", "--hold-out", "0.2")
    whole = run(*command, "--save", tmp_path / "whole.kta", "--json")
    cut = (*command, "--checkpoint", tmp_path / "c", "--save", tmp_path / "me.kta", "--resume")
    plain, left = HostDevice._train_step, [200]

    def step(self: HostDevice, *arguments: Any) -> float:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return plain(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(HostDevice, "_train_step", step)
        interrupted = run(*cut, code=EXIT_INTERRUPTED)
    assert "training starts at the beginning" in interrupted.stderr and f"--resume goes on from {tmp_path / 'c'}" in interrupted.stderr
    assert (tmp_path / "me.kta").read_bytes() != (tmp_path / "whole.kta").read_bytes()
    resumed = run(*cut, "--json")
    assert (tmp_path / "me.kta").read_bytes() == (tmp_path / "whole.kta").read_bytes()
    same = ("state_sha256", "splits", "history")
    assert {k: json.loads(resumed.stdout)[k] for k in same} == {k: json.loads(whole.stdout)[k] for k in same}


def test_what_does_not_belong_together(folder: Path, tmp_path: Path) -> None:
    data = ("--data", folder / "user.npz")
    assert "--resume needs --checkpoint" in run("train", folder / "build", *data, "--resume", code=2).stderr
    assert "--rank, --lr: MODEL is a build directory" in run("train", folder / "build", *data, "--rank", "2", "--lr", "1", code=2).stderr
    assert "--method: MODEL is a build directory" in run("evaluate", folder / "build", *data, "--method", "bias", code=2).stderr
    assert "built without training" in run("train", folder / "infer", *data, code=1).stderr
    assert "holds no labels" in run("train", folder / "build", "--data", folder / "bare.npz", code=1).stderr
    assert "does not exist" in run("train", folder / "build", *data, "--checkpoint", tmp_path / "none/c", code=2).stderr


# ---- evaluate ----


def test_evaluate_beside_an_adapter(folder: Path, tmp_path: Path) -> None:
    data = ("--data", folder / "test.npz")
    trained = found("train", folder / "tiny.tflite", "--data", folder / "user.npz", "--test", folder / "test.npz", "--save", tmp_path / "me.kta")
    for model in (folder / "tiny.tflite", folder / "build"):
        value = found("evaluate", model, *data, "--adapter", tmp_path / "me.kta")
        assert value["accuracy_before"] == trained["accuracy_before"] and value["accuracy_after"] == trained["accuracy_after"]
    text = run("evaluate", folder / "tiny.tflite", *data, "--adapter", tmp_path / "me.kta").stdout
    assert text.splitlines()[0].split() == ["base", "adapter"]
    alone = found("evaluate", folder / "tiny.tflite", *data)
    assert alone["accuracy_before"] == trained["accuracy_before"] and "accuracy_after" not in alone and alone["state_bytes"] == 0


# ---- predict ----


@pytest.mark.parametrize("suffix", [".csv", ".json", ".npz"])
def test_predictions_as_files(folder: Path, tmp_path: Path, suffix: str) -> None:
    with kt.open_build(folder / "infer").open() as device:
        classes = device.predict(X)
        raw = np.asarray(device.infer(X)).reshape(len(X), -1)
    out = tmp_path / f"p{suffix}"
    run("predict", folder / "tiny.tflite", "--data", folder / "bare.npz", "-o", out, "--class-names", ",".join(NAMES))
    t = tiny().type(tiny().outputs[0])
    scores = (raw.astype(np.float32) - t.zero_point) * np.float32(t.scale)
    if suffix == ".npz":
        with np.load(out) as file:
            assert np.array_equal(file["classes"], classes) and np.array_equal(file["scores"], scores)
            assert file["class_names"].tolist() == list(NAMES)
        return
    text = out.read_text()
    rows = json.loads(text) if suffix == ".json" else list(csv.DictReader(io.StringIO(text)))
    assert [int(r["class"]) for r in rows] == classes.tolist() and [r["name"] for r in rows] == [NAMES[c] for c in classes]
    assert np.allclose([float(r["score"]) for r in rows], scores[np.arange(len(X)), classes])


def test_predictions_on_standard_output_and_what_is_refused(folder: Path, tmp_path: Path) -> None:
    result = run("predict", folder / "build", "--data", folder / "bare.npz")
    assert result.stdout.splitlines()[0] == "sample,class,score" and len(result.stdout.splitlines()) == len(X) + 1
    assert len(found("predict", folder / "build", "--data", folder / "bare.npz")) == len(X)
    assert "its suffix must be one of" in run("predict", folder / "build", "--data", folder / "bare.npz", "-o", tmp_path / "p.txt", code=2).stderr
    assert not (tmp_path / "p.txt").exists()


# ---- Each method with its own layers ----


def described(folder: Path, tmp_path: Path, *options: str) -> list[str]:
    methods = run("build", folder / "tiny.tflite", "-o", tmp_path / "b", *options, "--json").stdout
    return list(json.loads(methods)["model"]["methods"])


def test_methods_have_layers_and_options_of_their_own(folder: Path, tmp_path: Path) -> None:
    assert described(folder, tmp_path, "--method", "bias=all", "--method", "lora=last:2,rank=2") == ["bias all", "lora r=2 last:2"]
    assert described(folder, tmp_path, "--method", "bias", "--method", "lora=first,second,rank=2") == ["bias all", "lora r=2 first,second"]
    assert described(folder, tmp_path, "--layers", "first", "--rank", "3", "--method", "lora=rank=1", "--method", "bias=all") == [
        "lora r=1 first",
        "bias all",
    ]
    combined = described(folder, tmp_path, "--method", "lora=first,rank=2", "--method", "lora=second,rank=1")
    assert combined == ["lora r=2 first", "lora r=1 second"]
    same = kt.build(kt.load(folder / "tiny.tflite"), tmp_path / "api", method=[kt.BiasOnly(), kt.LoRA(rank=2, layers="last:2")])
    run("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias=all", "--method", "lora=last:2,rank=2")
    assert (tmp_path / "b/tiny.c").read_bytes() == (same.directory / "tiny.c").read_bytes()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("lara=all", "did you mean lora?"),
        ("lora=all,rnk=2", "lora has no option 'rnk': it has rank, alpha"),
        ("lora=rank=0", "0 is not in the range"),
        ("lora=rank=2,rank=3", "rank of lora is given twice"),
        ("lora=", "lora has no option ''"),
        ("none=all", "none takes no options"),
    ],
)
def test_methods_that_cannot_be_read(folder: Path, tmp_path: Path, value: str, words: str) -> None:
    assert words in run("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", value, code=2).stderr
    assert not (tmp_path / "b").exists()


# ---- Class names of a build ----


def test_class_names_in_the_header_are_c_and_wrong_ones_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text('low "a"\nhöch?\nback\\slash\n', encoding="utf-8")
    command = ("build", folder / "tiny.tflite", "-o", tmp_path / "b", "--method", "bias")
    run(*command, "--class-names", tmp_path / "names.txt")
    line = next(x for x in (tmp_path / "b/tiny.h").read_text().splitlines() if "CLASS_NAMES" in x)
    assert '{"low \\042a\\042", "h\\303\\266ch\\077", "back\\134slash"}' in line
    assert "are 2, the model tells 3 classes apart" in run(*command, "--class-names", "a,b", code=3).stderr
    assert "'a' is there twice" in run(*command, "--class-names", "a,b,a", code=3).stderr
    assert "CLASS_NAMES" not in (folder / "build/tiny.h").read_text()
