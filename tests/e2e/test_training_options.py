"""Options of training: which are refused, where a model does not fit them, and how the command line takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import kilotune as kt
from kilotune.cli import main

# -- what is refused --------------------------------------------------------------------------------------

NAN = float("nan")
REFUSED: dict[str, tuple[Any, str]] = {
    "Adam(beta1": (lambda: kt.Adam(beta1=1.0), r"\[0, 1\)"),
    "Adam(beta2": (lambda: kt.Adam(beta2=-0.1), r"\[0, 1\)"),
    "Adam(beta2 rounds to 1": (lambda: kt.Adam(beta2=1 - 1e-9), r"\[0, 1\)"),
    "Adam(eps": (lambda: kt.Adam(eps=0.0), "eps"),
    "Lion(beta2": (lambda: kt.Lion(beta2=NAN), r"\[0, 1\)"),
    "Lion(lr": (lambda: kt.Lion(lr=NAN), "not a number"),
    "SGD(lr": (lambda: kt.SGD(lr=0), "not a number"),
    "SGD(lr text": (lambda: kt.SGD(lr="fast"), "not a number"),  # type: ignore[arg-type]
    "SGD(nesterov": (lambda: kt.SGD(nesterov=True), "momentum"),
    "SGD(weight_decay": (lambda: kt.SGD(weight_decay=-0.1), "weight_decay"),
    "Adam(weight_decay": (lambda: kt.Adam(weight_decay=NAN), "weight_decay"),
    "Adam(clip": (lambda: kt.Adam(clip=-1), "clip"),
    "Adam(state_bits": (lambda: kt.Adam(state_bits=16), "neither 8 nor 32"),
    "SGD(schedule": (lambda: kt.SGD(schedule="cosine"), "not a schedule"),  # type: ignore[arg-type]
    "CosineDecay(updates": (lambda: kt.CosineDecay(updates=0), "whole number"),
    "LinearDecay(final": (lambda: kt.LinearDecay(updates=10, final=1.5), "final"),
    "StepDecay(factor": (lambda: kt.StepDecay(every=10, factor=NAN), "factor"),
    "CrossEntropy(label_smoothing": (lambda: kt.CrossEntropy(label_smoothing=1.0), r"\[0, 1\)"),
    "CrossEntropy(class_weights": (lambda: kt.CrossEntropy(class_weights=[1, NAN]), "positive"),
    "MeanSquaredError(target": (lambda: kt.MeanSquaredError(target="output"), "neither"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_options_are_refused(name: str) -> None:
    make_it, message = REFUSED[name]
    with pytest.raises(kt.CompileError, match=message) as caught:
        make_it()
    assert caught.value.where.startswith(name.split(" ")[0]) and caught.value.hint


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (kt.CrossEntropy(class_weights=[1, 2]), "has 2 weights, gas_mlp_int8 has 6 classes"),
        (kt.MeanSquaredError(target="input"), "the result has 6 values, the input 128"),
        ("binary", "losses are cross_entropy, soft_cross_entropy, bce, mse, huber"),
        (3, "unknown loss"),
    ],
)
def test_losses_that_do_not_fit_the_model(loss: Any, message: str, data_dir: Path, tmp_path: Path) -> None:
    model = kt.load(data_dir / "models" / "gas_mlp_int8.tflite")
    with pytest.raises(kt.CompileError, match=message):
        kt.build(model, tmp_path / "build", method=kt.BiasOnly(), loss=loss)
    assert not (tmp_path / "build").exists()


def test_an_unknown_storage(data_dir: Path, tmp_path: Path) -> None:
    model = kt.load(data_dir / "models" / "gas_mlp_int8.tflite")
    with pytest.raises(kt.CompileError, match="formats are block16, block8"):
        kt.build(model, tmp_path / "build", method=kt.BiasOnly(), storage="block4")


# -- the command line -------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.output


def test_command_line(data_dir: Path, tmp_path: Path) -> None:
    model, out = str(data_dir / "models" / "gas_mlp_int8.tflite"), str(tmp_path / "build")
    options = "--optimizer adam --state-bits 8 --weight-decay 0.01 --schedule cosine:100:0.1 --label-smoothing 0.1 --storage block8 --json".split()
    code, text = run("build", model, "-o", out, "--method", "lora", *options)
    assert code == 0, text
    report = json.loads(text)
    assert report["model"]["optimizer"] == ("adam lr=0.01 betas=0.9,0.999 eps=0.001 clip=1 weight_decay=0.01 schedule=cosine:100:0.1 state_bits=8")
    assert report["model"]["loss"] == "cross_entropy label_smoothing=0.1"
    code, text = run("build", model, "-o", out, "--method", "bias", "--optimizer", "lion", "--json")
    assert code == 0 and json.loads(text)["model"]["optimizer"].startswith("lion lr=0.002 ")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--optimizer rmsprop", 2),
        ("--state-bits 16", 2),
        ("--weight-decay -1", 2),
        ("--optimizer lion --momentum 0.9", 2),
        ("--loss mse --label-smoothing 0.1", 2),
        ("--schedule exponential:3", 3),
        ("--schedule cosine:0", 3),
        ("--schedule cosine", 3),
        ("--nesterov", 3),
    ],
)
def test_command_line_refuses(options: str, code: int, data_dir: Path, tmp_path: Path) -> None:
    model = str(data_dir / "models" / "gas_mlp_int8.tflite")
    found, text = run("build", model, "-o", str(tmp_path / "build"), "--method", "bias", *options.split())
    assert found == code, text
    assert "Traceback" not in text and not (tmp_path / "build").exists()
