"""The how-to pages are true: their commands run in order, in a folder with files of the names that the pages use."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.cli import main

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("after", "later", "before", "alice", "alice_later", "bob", "bob_later", "mine")
BOARDLESS = "agent:host"
"""Stands in for the boards behind serial lines, of which none is at hand."""


def commands(page: str) -> list[list[str]]:
    """The indented lines that call kilotune, put together where they go on behind a backslash, without comments."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line, comments=True)[1:] for line in re.findall(r"^ {4,}(kilotune .+)$", text, re.MULTILINE)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """model.tflite, and tables and arrays of samples for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.tflite").write_bytes(tflite.write(tiny()))
    model = kt.load("model.tflite")
    t, x = model.graph.type(model.graph.inputs[0]), samples(tiny(), 30)
    assert t.quantization is not None
    real = (x.astype(np.float32) - t.zero_point) * np.float32(t.scale)
    np.savez("base.npz", x=real, y=np.arange(30) % 3)
    for number, name in enumerate(TABLES):
        rows = [",".join([*map(repr, row.tolist()), str((i + number) % 3)]) for i, row in enumerate(real)]
        Path(f"{name}.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def run(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, f"kilotune {' '.join(arguments)}\n{result.output}"


@pytest.mark.parametrize(("page", "least"), [("drift", 2), ("personalise", 4), ("replay", 3), ("lifetime", 1)])
def test_what_is_trained(page: str, least: int, folder: Path) -> None:
    found = commands(f"docs/how_to/{page}.md")
    assert len(found) >= least
    for command in found:
        run(command)


def test_a_model_that_remembers(folder: Path) -> None:
    from streaming_files import window_file
    from test_sliding_windows import words

    (folder / "stream.tflite").write_bytes(window_file())
    shutil.copy(ROOT / "examples/language/convolutions.onnx", folder / "language.onnx")
    (folder / "words.tflite").write_bytes(tflite.write(words()))
    found = commands("docs/how_to/streaming.md")
    assert len(found) >= 2
    for command in found:
        run(command)


def test_an_update_over_the_air(folder: Path, monocypher: Path) -> None:
    """The page's commands, and its Python on the agent of this computer; one that nobody signed is refused, as the page says."""
    run(["build", "model.tflite", "-o", "build/trained", "--method", "bias", "--method", "lora", "--layers", "all"])
    run(["train", "build/trained", "--data", "mine.csv", "--save", "me.kta", "--epochs", "1"])
    found = commands("docs/how_to/over_the_air.md")
    assert len(found) >= 4
    for command in found:
        run(command)
    text = (ROOT / "docs/how_to/over_the_air.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^    (with .+\n        .+)$", text, re.MULTILINE)
    source = source.replace("\n    ", "\n").replace("serial:/dev/ttyACM0", BOARDLESS)
    exec(source, {"kt": kt})
    with kt.open_build("build/field").open(BOARDLESS) as device:
        device.update_adapter(kt.Adapter.load("me.kta"))
        with pytest.raises(kt.DeviceError):
            device.update_adapter(kt.Adapter.load("me.kta").labelled(sequence=3))


def test_devices_learn_together() -> None:
    """The example prints what its page says."""
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("scikit-learn not found: pip install 'kilotune[demo]'")
    done = subprocess.run([sys.executable, ROOT / "examples/federated/run.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (ROOT / "docs/how_to/federated.md").read_text(encoding="utf-8")
    printed = re.findall(r"^    ((?:device \d|base model|round \d).+)$", page, re.MULTILINE)
    assert printed == done.stdout.splitlines()
