"""`kilotune simulate`: what a person sees of a training, what is saved of it, and what warns of data that cannot be meant."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.cli import main
from kilotune.devices import progress
from kilotune.devices.host import HostDevice
from kilotune.devices.recipe import held_out

X = samples(tiny(), 120)
Y = (X[:, 0] > 0).astype(np.int64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that trains, samples to train on and others to test on."""
    folder = tmp_path_factory.mktemp("simulation")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    kt.build(kt.load(folder / "tiny.tflite"), folder / "build", method=kt.BiasOnly(), calibration=X, measure=False)
    np.savez(folder / "user.npz", x=X, y=Y)
    np.savez(folder / "test.npz", x=X[:30], y=Y[:30])
    return folder


@pytest.fixture
def device(folder: Path) -> Iterator[kt.Device]:
    with kt.open_build(folder / "build").open() as opened:
        yield opened


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["simulate", *map(str, arguments)], catch_exceptions=False)


def test_the_result_names_what_it_was_measured_on(folder: Path) -> None:
    command = (folder / "build", "--data", folder / "user.npz", "--test", folder / "test.npz", "--epochs", "3")
    found = json.loads(run(*command, "--json").stdout)
    test, held = found["splits"]
    assert (test["title"], test["samples"], test["file"]) == ("test samples", 30, str(folder / "test.npz"))
    assert (held["title"], held["samples"]) == ("held out of --data", 24)
    assert test["after"] == {"accuracy": found["accuracy_after"], "loss": found["loss_after"]}
    history = found["history"]
    assert history["before"] == held["before"] and history["after"] == held["after"] and history["ended"] and history["epochs"] == 3
    text = run(*command)
    assert f"{'accuracy, held out of --data (24)':<48}{held['before']['accuracy']:>10.4f}{held['after']['accuracy']:>10.4f}" in text.stdout
    assert f"the model is that of epoch {history['best_epoch']}" in " ".join(text.stdout.split()) and "note" not in text.stderr


def test_without_test_samples_it_says_so(folder: Path) -> None:
    result = run(folder / "build", "--data", folder / "user.npz", "--epochs", "1")
    assert "samples trained on or judged by (120)" in result.stdout and "without --test" in result.stderr
    alone = run(folder / "build", "--data", folder / "user.npz", "--epochs", "1", "--hold-out", "0")
    assert "samples trained on (120)" in alone.stdout


def test_what_few_samples_did_and_what_became_worse_is_said(folder: Path) -> None:
    """Ten samples with wrong labels: they judge the training themselves, and the test samples show what it did."""
    np.savez(folder / "wrong.npz", x=X[:10], y=1 - Y[:10])
    command = (folder / "build", "--data", folder / "wrong.npz", "--test", folder / "test.npz", "--epochs", "9")
    first = run(folder / "build", "--data", folder / "user.npz", "--epochs", "1", "--save", folder / "good.kta", "--json")
    assert not json.loads(first.stdout)["worse"]
    result = CliRunner().invoke(main, ["train", *map(str, command), "--adapter", str(folder / "good.kta")], catch_exceptions=False)
    assert "trained on (10)" in result.stdout and "as none were held out" in " ".join(result.stdout.split())
    assert re.search(r"warning: the training made it worse: accuracy of the test samples went from 0\.\d+ to 0\.\d+", result.stderr)
    assert "there is no sample of 1 of 3 classes (2)" in result.stderr


def test_a_place_that_cannot_be_written_is_found_before_the_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*arguments: Any, **options: Any) -> None:
        raise AssertionError("it trained first")

    monkeypatch.setattr(kt.Device, "fit", fit)
    result = run(folder / "build", "--data", folder / "user.npz", "--save", folder / "nodir" / "me.kta")
    assert result.exit_code == 2 and "nodir does not exist" in result.stderr


@pytest.mark.parametrize("updates", [50, 150])
def test_ctrl_c_keeps_and_saves_what_was_learned(folder: Path, tmp_path: Path, updates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first epoch, of which nothing is known, and in the second one, after which the first one's state is there."""
    steps = 0

    def train_step(self: HostDevice, *arguments: Any) -> float:
        nonlocal steps
        steps += 1
        if steps > updates:
            raise KeyboardInterrupt
        return correct(self, *arguments)

    correct = HostDevice._train_step
    monkeypatch.setattr(HostDevice, "_train_step", train_step)
    result = run(folder / "build", "--data", folder / "user.npz", "--save", tmp_path / "me.kta", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 130 and found["interrupted"] and found["history"]["ended"] == "it was interrupted"
    assert found["history"]["updates"] == updates and "me.kta" in result.stderr
    with kt.open_build(folder / "build").open() as device:
        untrained = device.export_adapter()
        device.load_adapter(kt.Adapter.load(tmp_path / "me.kta"))
        assert device.export_adapter().payload != untrained.payload, "something was learned"
        if updates > 96:
            mask = held_out(Y.astype(np.int32), len(Y), 0.2, 0)
            assert device.evaluate(X[mask], Y[mask]) == found["history"]["validation"][0], "the state of the first epoch"


def test_an_interrupted_device_has_its_rate_and_goes_on(device: kt.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped:
        left = 200

    def apply(self: HostDevice) -> None:
        Stopped.left -= 1
        if Stopped.left < 0:
            raise KeyboardInterrupt
        correct(self)

    correct = HostDevice._apply
    monkeypatch.setattr(HostDevice, "_apply", apply)
    with pytest.raises(kt.TrainingInterrupted) as caught:
        device.fit(X, Y)
    history = caught.value.history
    assert isinstance(caught.value, KeyboardInterrupt) and len(history.losses) == len(history.validation) == 2
    assert history.after is not None and history.before is not None and history.after["loss"] < history.before["loss"]
    monkeypatch.undo()
    assert np.float32(device.manifest.learning_rate).tobytes() in device.state(), "the rate from before the training"
    assert device.fit(X, Y, epochs=1).updates == 96


# ---- Progress ----

LONG = """
import sys, time, numpy, kilotune as kt
from kilotune.devices import progress
progress.PATIENCE = 0.05
with kt.open_build(sys.argv[1]).open() as device:
    samples = numpy.load(sys.argv[2])
    device.fit(samples["x"], samples["y"], epochs=400, hold_out=0.0)
print("done")
"""


def test_a_long_training_shows_a_bar_on_a_terminal_alone(folder: Path) -> None:
    """Asked for or not, on standard error; where nobody looks, a line now and then."""
    arguments = [sys.executable, "-c", LONG, str(folder / "build"), str(folder / "user.npz")]
    piped = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert piped.stdout == "done\n" and all(re.fullmatch(r"training: \d+ of 48000", line) for line in piped.stderr.splitlines())
    reader, writer = pty.openpty()
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=writer, text=True, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(writer)
        shown = b""
        try:
            while piece := os.read(reader, 4096):
                shown += piece
        except OSError:  # Linux says so where the other side has closed
            pass
        os.close(reader)
        assert process.stdout is not None and process.stdout.read() == "done\n"
    assert b"training" in shown


@pytest.mark.parametrize("call", ["fit", "evaluate", "infer", "predict"])
def test_where_there_is_no_terminal_lines_say_how_far_it_is(
    call: str, device: kt.Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the Python API too, without being asked for; never on standard output."""
    monkeypatch.setattr(progress, "LINES", 0.0)
    calls: dict[str, Any] = {
        "fit": lambda **more: device.fit(X, Y, epochs=1, hold_out=0.25, **more),
        "evaluate": lambda **more: device.evaluate(X, Y, **more),
        "infer": lambda **more: device.infer(X, **more),
        "predict": lambda **more: device.predict(X, **more),
    }
    calls[call]()
    shown = capsys.readouterr()
    assert shown.out == "" and f"{'training' if call == 'fit' else 'inference'}: 120 of 120\n" in shown.err
    calls[call](progress=False)
    assert capsys.readouterr().err == ""


# ---- Data that cannot be meant ----


def test_samples_of_another_unit_are_warned_of(device: kt.Device) -> None:
    real = (X.astype(np.float32) - device.manifest.inputs[0].zero_point) * np.float32(device.manifest.inputs[0].scale)
    for factor, words in ((0.01, "of the range"), (100.0, "cut off")):
        for call in (lambda: device.fit(real * factor, Y, epochs=1), lambda: device.evaluate(real * factor, Y)):  # noqa: B023 - called at once
            with pytest.warns(kt.DataWarning, match=words) as caught:
                call()
            assert caught[0].filename == __file__ and "the same unit" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        device.fit(real, Y, epochs=1)
        device.evaluate(X, Y)


def test_labels_of_one_class_are_warned_of(device: kt.Device) -> None:
    with pytest.warns(kt.DataWarning, match="all 120 labels are 2, of 3 classes"):
        device.fit(X, np.full(120, 2), epochs=1)


REAL = {"kws_dscnn_int8.tflite": ("kws01_mfcc_int8.npz", "x_snr10"), "lenet300_mnist_ptq.tflite": ("mnist_usps.npz", "usps_x")}
"""Models, and samples that use least of an input's range and that go beyond it most, of all that the benchmarks train on."""


@pytest.mark.parametrize("name", REAL)
def test_real_samples_are_not_warned_of(name: str, data_dir: Path, tmp_path: Path) -> None:
    file, key = REAL[name]
    x = np.load(data_dir / "sets" / file)[key][:40]
    if key == "usps_x":
        x = (x.astype(np.float32) / 255 - 0.1307) / 0.3081
    model = kt.load(data_dir / "models" / name)
    x = x.reshape(len(x), *model.graph.type(model.graph.inputs[0]).shape[1:])
    with kt.build(model, tmp_path / "b", measure=False).open() as device, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0 <= device.evaluate(x, np.zeros(len(x), np.int32))["accuracy"] <= 1


def test_the_command_line_warns_on_standard_error(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", x=np.zeros((20, 8), np.float32), y=np.zeros(20, np.int64))
    result = run(folder / "build", "--data", tmp_path / "wrong.npz", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["samples"] == 20
    assert result.stderr.count("warning: x: all values lie in 0 to 0") >= 1 and "warning: y: all 20 labels are 0" in result.stderr
    assert "plausible.py" not in result.stderr and ".py:" not in result.stderr


def test_errors_of_data_lead_to_what_the_model_takes(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", x=X[:, :5], y=Y)
    result = run(folder / "build", "--data", tmp_path / "wrong.npz")
    assert result.exit_code == 1 and "kilotune analyze" in result.stderr
    assert result.stderr.splitlines()[-2].startswith(f"error: {tmp_path / 'wrong.npz'}: x has shape [120, 5], expected [N, 8]")
    shown = CliRunner().invoke(main, ["analyze", str(folder / "tiny.tflite")]).stdout
    assert "input 0: 8, int8, scale 0.015625, zero point 3: real values -2.047 to 1.938" in shown
