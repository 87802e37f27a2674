"""The first hour of a newcomer, thirty steps in a checkout with nothing beside it: README, own data, own model, own firmware, and mistakes."""

from __future__ import annotations

import csv
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from newcomer import STEPS, Newcomer, checkout, step

DIGITS = "examples/digits/digits.tflite"
WORDS = "zero one two three four five six seven eight nine".split()


def accuracy(said: str, row: str = "accuracy") -> list[float]:
    """The numbers behind the first row of this name: before and after, or base and adapter."""
    line = next(line for line in said.splitlines() if line.startswith(row))
    return [float(number) for number in re.findall(r"\s(\d\.\d{4})", line)]


# ---- README ----


@step
def what_is_missing(me: Newcomer) -> None:
    """`kilotune doctor`: the compiler is there, and what is not comes with a command."""
    found = {tool["tool"]: tool for tool in me.kilotune("doctor", "--json").json()}
    assert found["gcc"]["version"] and all(tool["version"] or tool["remedy"] for tool in found.values())


@step
def which_boards(me: Newcomer) -> None:
    """The lists: boards, and operators with a gradient."""
    assert {"nucleo-f446re", "mps2-an386"} <= {row["board"] for row in me.kilotune("boards", "--json").json()}


@step
def which_operators(me: Newcomer) -> None:
    rows = {row["operator"]: row["gradient"] for row in me.kilotune("ops", "--json").json()}
    assert rows["conv_2d"] and len(rows) > 30


@step
def look_into_the_model(me: Newcomer) -> None:
    """Layers by whole names, the input's shape and range, at 80 columns."""
    said = me.kilotune("analyze", DIGITS).out
    assert "8x8x1, int8, scale 0.0627451" in said and "real values 0 to 16" in said and re.search(r"^shapes +depthwise_conv_2d", said, re.MULTILINE)
    assert max(map(len, said.splitlines())) <= 80


@step
def make_the_data(me: Newcomer) -> None:
    assert "user.npz: 240 digits" in me.run(sys.executable, "examples/digits/data.py", "data").out


@step
def train_as_readme_says(me: Newcomer) -> None:
    """A page, an adapter and a build come with it; notes and progress are not on standard output."""
    options = ("--build", "build/digits", "--save", "me.kta", "--html", "training.html")
    said = me.kilotune("train", DIGITS, "--data", "data/user.npz", "--test", "data/later.npz", *options)
    before, after = accuracy(said.out, "accuracy, test")
    assert before < 0.5 and after > 0.85 and "the best on the samples it was judged by" in said.out
    assert "what is trained" in said.err and "training:" not in said.out
    me.known |= {"after": after, "state": re.findall(r"state sha256 +(\w{64})", said.out)[0]}


@step
def look_at_the_page(me: Newcomer) -> None:
    """One file that needs nothing from elsewhere."""
    page = (me.home / "training.html").read_text(encoding="utf-8")
    assert "<svg" in page and "Before and after" in page
    assert not re.search(r'(?:src|href)="https?:|<script', page)


@step
def the_same_on_a_board(me: Newcomer) -> None:
    """An emulated Cortex-M4 learns to the same bits."""
    said = me.kilotune("train", "build/digits", "--data", "data/user.npz", "--test", "data/later.npz", "--device", "qemu:mps2-an386")
    assert me.known["state"] in said.out


@step
def evaluate_with_the_adapter(me: Newcomer) -> None:
    base, adapted = accuracy(me.kilotune("evaluate", "build/digits", "--data", "data/later.npz", "--adapter", "me.kta").out)
    assert adapted == me.known["after"] and base < 0.5


@step
def predict_into_a_table(me: Newcomer) -> None:
    """The table's classes give the accuracy that was printed."""
    names = ("--class-names", ",".join(WORDS))
    me.kilotune("predict", "build/digits", "--data", "data/later.npz", "--adapter", "me.kta", *names, "-o", "later.csv")
    with (me.home / "later.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(me.home / "data/later.npz") as file:
        right = np.mean([int(row["class"]) == y and row["name"] == WORDS[y] for row, y in zip(rows, file["y"], strict=True)])
    assert round(float(right), 4) == me.known["after"]


@step
def is_the_c_right(me: Newcomer) -> None:
    """`kilotune validate`: every value of an outside engine."""
    pytest.importorskip("tflite_micro", reason="tflite-micro not found: pip install 'kilotune[validate]'")
    found = me.kilotune("validate", DIGITS, "--data", "data/later.npz", "--json").json()
    assert found["output"]["largest"] == 0 and found["interpreter_equal"] and len(found["layers"]) == 9


@step
def what_does_it_cost(me: Newcomer) -> None:
    """The report, as text of 80 columns and as a page."""
    said = me.kilotune("report", "build/digits", "--html", "report.html").out
    assert re.search(r"^arena +1,264 +2,164", said, re.MULTILINE) and max(map(len, said.splitlines())) <= 80
    assert "<svg" in (me.home / "report.html").read_text(encoding="utf-8")


# ---- Mistakes: each is named, and nothing is lost ----


@step
def a_budget_that_cannot_be_met(me: Newcomer) -> None:
    said = me.kilotune("build", DIGITS, "-o", "build/small", "--method", "lora", "--layers", "all", "--ram", "1K", code=1)
    assert "needs at least" in said.err and "hint:" in said.err and not (me.home / "build/small").exists()


@step
def a_layer_that_is_not_there(me: Newcomer) -> None:
    assert "did you mean features" in me.kilotune("build", DIGITS, "-o", "build/b", "--method", "lora=featurez", code=3).err


@step
def a_folder_that_is_not_there(me: Newcomer) -> None:
    """Found out before the training, not after it."""
    said = me.kilotune("train", "build/digits", "--data", "data/user.npz", "--save", "nowhere/me.kta", code=2)
    assert "nowhere does not exist" in said.err and "training" not in said.err


@step
def samples_of_another_shape(me: Newcomer) -> None:
    np.savez(me.home / "short.npz", x=np.zeros((9, 8, 7), np.float32), y=np.arange(9))
    said = me.kilotune("train", "build/digits", "--data", "short.npz", code=1)
    assert "short.npz" in said.err and "[9, 8, 7]" in said.err and "[N, 8, 8, 1]" in said.err


@step
def samples_of_another_unit(me: Newcomer) -> None:
    """A warning; the result is there for who meant it."""
    with np.load(me.home / "data/later.npz") as file:
        np.savez(me.home / "tiny.npz", x=file["x"] / 100, y=file["y"])
    said = me.kilotune("evaluate", "build/digits", "--data", "tiny.npz")
    assert "the model's input is made for 0 to 16" in said.err and accuracy(said.out)[0] < 0.3


@step
def files_of_ones_own_in_a_build(me: Newcomer) -> None:
    (me.home / "build/digits/notes.txt").write_text("mine")
    said = me.kilotune("build", DIGITS, "-o", "build/digits", "--method", "bias", code=3)
    assert "would delete" in said.err and (me.home / "build/digits/notes.txt").read_text() == "mine"
    (me.home / "build/digits/notes.txt").unlink()
    assert "are as they were built" in me.kilotune("verify", "build/digits").out


# ---- One's own data ----


@step
def data_as_a_table_with_words(me: Newcomer) -> None:
    """A .csv file with labels in words trains to the bits of the .npz file."""
    with np.load(me.home / "data/user.npz") as file, (me.home / "user.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow([*(f"pixel {i}" for i in range(64)), "label"])
        rows.writerows([*(repr(float(v)) for v in x.ravel()), WORDS[y]] for x, y in zip(file["x"], file["y"], strict=True))
    options = ("--class-names", ",".join(WORDS), "--test", "data/later.npz", "--checkpoint", "me.checkpoint")
    said = me.kilotune("train", "build/digits", "--data", "user.csv", *options)
    assert me.known["state"] in said.out and "rows of 64 numbers are taken as 8 x 8 x 1" in said.err


@step
def go_on_from_a_checkpoint(me: Newcomer) -> None:
    """The same command with --resume ends with the same bits; another seed is another training."""
    options = ("--class-names", ",".join(WORDS), "--test", "data/later.npz", "--checkpoint", "me.checkpoint", "--resume")
    assert me.known["state"] in me.kilotune("train", "build/digits", "--data", "user.csv", *options).out
    said = me.kilotune("train", "build/digits", "--data", "user.csv", *options, "--seed", "5", code=1)
    assert "the checkpoint is of another training" in said.err


@step
def labels_in_unknown_words(me: Newcomer) -> None:
    said = me.kilotune("train", "build/digits", "--data", "user.csv", "--class-names", ",".join(["nil", *WORDS[1:]]), code=1)
    assert "'zero' is none of the classes" in said.err


# ---- Adapters ----


@step
def what_an_adapter_is(me: Newcomer) -> None:
    assert "features" in me.kilotune("adapter", "inspect", "me.kta").out and (me.home / "me.kta").stat().st_size < 4096


@step
def an_adapter_of_another_build(me: Newcomer) -> None:
    said = me.kilotune("evaluate", DIGITS, "--data", "data/later.npz", "--adapter", "me.kta", "--method", "bias", code=1)
    assert "adapter" in said.err and "hint:" in said.err


@step
def a_plain_model_again(me: Newcomer) -> None:
    """Merged, the model needs no adapter; requantised, it is nearly as good."""
    me.kilotune("merge", "build/digits", "me.kta", "-o", "merged.tflite")
    assert accuracy(me.kilotune("evaluate", "merged.tflite", "--data", "data/later.npz").out)[0] > me.known["after"] - 0.05


# ---- One's own model ----


@step
def a_float_model_is_refused_with_a_way_on(me: Newcomer) -> None:
    assert "float.onnx" in me.run(sys.executable, "examples/digits/float_model.py", "float.onnx").out
    assert "kilotune quantize MODEL --data SAMPLES" in me.kilotune("build", "float.onnx", "-o", "build/f", code=3).err


@step
def quantise_it(me: Newcomer) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime not found: pip install 'kilotune[quantize]'")
    said = me.kilotune("quantize", "float.onnx", "--data", "data/base.npz", "-o", "own.onnx", "--json").json()
    assert said["accuracy_after"] > said["accuracy_before"] - 0.02
    assert me.kilotune("validate", "own.onnx", "--data", "data/later.npz", "--samples", "20", "--json").json()["interpreter_equal"]


@step
def train_it(me: Newcomer) -> None:
    said = me.kilotune("train", "own.onnx", "--data", "data/user.npz", "--test", "data/later.npz", "--epochs", "3")
    before, after = accuracy(said.out, "accuracy, test")
    assert after > before + 0.4


# ---- One's own firmware ----


@step
def a_package(me: Newcomer) -> None:
    me.kilotune("package", "build/digits", "--format", "arduino", "-o", "kilotune_digits")
    assert "name=" in (me.home / "kilotune_digits/library.properties").read_text()
    me.kilotune("package", "build/digits", "--format", "cmsis-pack", "-o", "pack")
    (pack,) = (me.home / "pack").glob("*.pack")
    assert any(name.endswith(".pdsc") for name in zipfile.ZipFile(pack).namelist())


@step
def a_project_for_a_board(me: Newcomer) -> None:
    """It builds at once and learns."""
    commands = re.findall(r"^  (?!cd)(.+)$", me.kilotune("new", "project", "--board", "mps2-an386").out, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        said = me.run(*command.split(), folder="project")
    before, after = (int(re.findall(rf"{word}: (\d+) of 30", said.out)[0]) for word in ("before", "after"))
    assert after > before + 10 and said.out.endswith("DONE\n")


@step
def firmware_of_ones_own(me: Newcomer) -> None:
    """The commands of the example's page."""
    page = (me.home / "examples/own_firmware/README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    ((?:kilotune|cmake|python emulate.py) .+)$", page, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        said = me.run(*command.split(), folder="examples/own_firmware")
    assert re.search(r"after: (2\d|30) correct", said.out)


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.timeout(1200)
def test_thirty_steps(tmp_path: Path, qemu: str, arm_gcc: str) -> None:
    """Each step says what the newcomer sees; its name stands in front of what failed."""
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    if not (shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")):
        pytest.skip("cmake not found: pip install cmake, or on Debian, apt install cmake")
    assert len(STEPS) >= 30
    me = Newcomer(checkout(tmp_path / "kilotune"))
    where = me.run(sys.executable, "-c", "import kilotune, kiloc; print(kilotune.__file__, kiloc.__file__)").out
    assert where.count(str(me.home)) == 2, "the package is the checkout's own"
    for number, each in enumerate(STEPS, 1):
        try:
            each(me)
        except AssertionError as error:
            raise AssertionError(f"step {number}, {each.__name__}: {error}") from error
