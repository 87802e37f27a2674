"""What a user can get wrong: a CompileError that names the place, the cause and the remedy, and nothing is written."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import image, tiny
from gradients.graphs import Maker, residual

import kilotune as kt
from kiloc.errors import BudgetError, CompileError, FlashBudgetError
from kiloc.export import tflite
from kiloc.ir.operator import NoGradient
from kiloc.ops.model.add import Add


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    path = tmp_path_factory.mktemp("model") / "tiny.tflite"
    path.write_bytes(tflite.write(tiny()))
    return kt.load(path)


def refused(call: Callable[[], Any]) -> CompileError:
    with pytest.raises(kt.CompileError) as caught:
        call()
    error = caught.value
    assert type(error) in (CompileError, kt.ModelError), "a budget is another matter"
    assert error.where and error.what and error.hint
    assert str(error) == f"{error.where}: {error.what}\n  hint: {error.hint}"
    return error


def test_an_error_passes_from_process_to_process() -> None:
    one = CompileError("layer", "cannot be compiled", "change it")
    errors = [one, BudgetError("ram=1", "is too little", ""), FlashBudgetError(10, 12), kt.ModelError("a.tflite", [one, one])]
    for error in [*errors, kt.DeviceError("COM1", "does not answer", "plug it in")]:
        found = pickle.loads(pickle.dumps(error))
        assert type(found) is type(error) and str(found) == str(error)
        assert [vars(found)[name] for name in ("where", "what", "hint")] == [error.where, error.what, error.hint]
    assert pickle.loads(pickle.dumps(errors[2])).excess == 2 and len(pickle.loads(pickle.dumps(errors[3])).reasons) == 2


# option -> (value, words of the message in any part)
OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "target": ({"target": "cortex-m4f"}, ("target='cortex-m4f'", "did you mean 'cortex-m4'", "cortex-m0plus")),
    "target of another kind": ({"target": None}, ("target=None", "targets are")),
    "loss": ({"loss": "crossentropy"}, ("did you mean 'cross_entropy'", "mse")),
    "loss of another kind": ({"loss": 1}, ("loss", "cross_entropy", "mse")),
    "profile": ({"profile": "tflite"}, ("did you mean", "tflm", "litert")),
    "litert trains": ({"profile": "litert"}, ("training needs the tflm rounding profile",)),
    "no layer of a name": ({"method": kt.BiasOnly("secnd")}, ("layers='secnd'", "did you mean second")),
    "no layer of a glob": ({"method": kt.BiasOnly("conv*")}, ("layers='conv*'", "no layer of tiny")),
    "a layer without weights": ({"method": kt.BiasOnly("classes")}, ("BiasOnly does not apply to SOFTMAX", "first, second, logits")),
    "last of nothing": ({"method": kt.LoRA(layers="last:0")}, ("last:0", "is not a count")),
    "last of a word": ({"method": kt.LoRA(layers="last:two")}, ("'two' is not a count",)),
    "rank 0": ({"method": kt.LoRA(rank=0, layers="all")}, ("LoRA(rank=0", "between 1 and 8")),
    "rank of a matrix": ({"method": kt.LoRA(rank=64, layers="logits")}, ("between 1 and 3",)),
    "alpha": ({"method": kt.LoRA(rank=1, alpha=float("nan"))}, ("alpha nan is not a positive number",)),
    "LoRA then head": ({"method": [kt.LoRA(rank=1, layers="all"), kt.Head()]}, ("'logits'", "does not go together with Head")),
    "head then LoRA": ({"method": [kt.Head(), kt.LoRA(rank=1, layers="all")]}, ("'logits'", "does not go together with LoRA")),
    "a name for a method": ({"method": "lora"}, ("'lora' is not a method", "kt.LoRA()")),
    "a class for a method": ({"method": kt.LoRA}, ("is not a method",)),
    "a number for a method": ({"method": 4}, ("4 is not a method",)),
    "a list with a stranger": ({"method": [kt.Head(), None]}, ("None is not a method",)),
    "optimizer": ({"optimizer": "sgd"}, ("'sgd' is not an optimizer", "kt.SGD")),
    "accumulate 0": ({"accumulate": 0}, ("accumulate", "pass 1 or more")),
    "accumulate half": ({"accumulate": 1.5}, ("accumulate=1.5", "is not a whole number")),
    "accumulate text": ({"accumulate": "4"}, ("accumulate='4'",)),
    "seed": ({"seed": -1}, ("seed=-1",)),
    "name with a dash": ({"name": "my-model"}, ("'my-model' is not a lower-case C identifier",)),
    "name with a capital": ({"name": "KWS"}, ("'KWS'",)),
    "name with a digit first": ({"name": "2nd"}, ("'2nd'",)),
    "name too long": ({"name": "x" * 41}, ("at most 40",)),
    "empty name": ({"name": "1"}, ("'1'",)),
    "name of the runtime": ({"name": "kt_conv"}, ("begins as the runtime's own names do", "my_kt_conv")),
    "name of a header": ({"name": "string"}, ("would hide C's own header <string.h>",)),
    "name of another kind": ({"name": 5}, ("5 is not text",)),
    "ram": ({"ram": "64 apples"}, ("ram", "'64 apples' is not a size", "64K")),
    "calibration": ({"calibration": np.zeros((3, 9), np.int8)}, ("calibration", "the model takes [N, 8]")),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case: str, model: kt.Model, tmp_path: Path) -> None:
    options, words = OPTIONS[case]
    error = refused(lambda: kt.build(model, tmp_path / "b", **{"method": kt.BiasOnly(), **options}))
    for word in words:
        assert word in str(error), word
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"momentum": 1.0}, "1.0"),
        ({"momentum": -0.1}, "-0.1"),
        ({"momentum": float("nan")}, "nan"),
        ({"lr": float("nan")}, "nan"),
        ({"lr": float("inf")}, "inf"),
        ({"lr": 0}, "0"),
        ({"lr": -1}, "-1"),
        ({"clip": -1}, "-1"),
        ({"clip": float("inf")}, "inf"),
    ],
)
def test_optimizer_settings(settings: dict[str, float], words: str) -> None:
    error = refused(lambda: kt.SGD(**settings))
    assert words in error.what and next(iter(settings)) in error.where


@pytest.mark.parametrize("given", ["model.tflite", None, Path("x")])
def test_a_path_is_not_a_model(given: Any, tmp_path: Path) -> None:
    assert "pass what kt.load(path) returns" in refused(lambda: kt.build(given, tmp_path / "b")).hint


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"TFL3", None], ids=["empty", "zeros", "cut", "missing"])
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_files_that_are_no_model(suffix: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in refused(lambda: kt.load(path)).where or path.name in refused(lambda: kt.load(str(path))).where


def test_a_directory_and_another_suffix_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").mkdir()
    (tmp_path / "model.h5").write_bytes(b"x")
    refused(lambda: kt.load(tmp_path / "model.tflite"))
    assert ".tflite" in str(refused(lambda: kt.load(tmp_path / "model.h5")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads and writes everything")
def test_what_may_not_be_read_or_written(model: kt.Model, tmp_path: Path) -> None:
    secret, locked = tmp_path / "secret.tflite", tmp_path / "locked"
    secret.write_bytes(model.path.read_bytes())
    secret.chmod(0)
    refused(lambda: kt.load(secret))
    locked.mkdir(mode=0o555)
    assert "cannot be written" in refused(lambda: kt.build(model, locked / "b")).what


def test_a_place_that_cannot_be_written(model: kt.Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in refused(lambda: kt.build(model, tmp_path / "file" / "b")).what
    assert "dump" in refused(lambda: kt.build(model, tmp_path / "b", dump=tmp_path / "file" / "dump")).where
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_model_whose_file_has_gone(model: kt.Model, tmp_path: Path) -> None:
    gone = kt.Model(tmp_path / "gone.tflite", model.graph)
    assert "cannot be read any more" in refused(lambda: kt.build(gone, tmp_path / "b")).what
    assert list(tmp_path.iterdir()) == []


def test_one_value_is_no_classification(tmp_path: Path) -> None:
    m = Maker("single", (1, 4), 1)
    (tmp_path / "single.tflite").write_bytes(tflite.write(m.finish(m.dense("input", "value", 1))))
    model = kt.load(tmp_path / "single.tflite")
    error = refused(lambda: kt.build(model, tmp_path / "b", method=kt.Head()))
    assert error.what == "cross-entropy needs at least two classes" and 'loss="mse"' in error.hint
    assert kt.build(model, tmp_path / "b", method=kt.Head(), loss="mse").manifest["classes"] is None


def test_calibration_targets_of_a_regression(tmp_path: Path) -> None:
    (tmp_path / "image.tflite").write_bytes(tflite.write(image()))
    model, x = kt.load(tmp_path / "image.tflite"), np.zeros((4, 6, 6, 2), np.int8)
    for y in (np.full((4, 4), np.nan), np.array([["a"] * 4] * 4), np.zeros((4, 3)), np.zeros((4, 5))):
        error = refused(lambda y=y: kt.build(model, tmp_path / "b", method=kt.Head(), loss="mse", calibration=(x, y)))
        assert "calibration" in error.where
    kt.build(model, tmp_path / "b", method=kt.Head(), loss="mse", calibration=(x, np.zeros((4, 4))))


def test_the_layer_without_a_gradient_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise NoGradient("sums go nowhere")

    monkeypatch.setattr(Add, "gradient", none)
    (tmp_path / "residual.tflite").write_bytes(tflite.write(residual()))
    model = kt.load(tmp_path / "residual.tflite")
    error = refused(lambda: kt.build(model, tmp_path / "b", method=kt.BiasOnly()))
    assert error.what.startswith("no gradient for ADD: sums go nowhere; it stands between the loss and ")
    behind = error.what.partition("the loss and ")[2].split(", ")
    assert sorted(behind) == ["first", "fourth", "second", "shortcut", "third"]
    assert error.hint == 'layers="logits" trains what comes after it' and "operator" in error.where
    assert kt.build(model, tmp_path / "b", method=kt.BiasOnly("logits")).report["trainable"]["parameters"] == 4


def test_a_budget_error_is_a_compile_error_of_its_own() -> None:
    assert issubclass(BudgetError, CompileError) and kt.BudgetError is BudgetError
    assert str(CompileError("a", "b", "c")) == "a: b\n  hint: c"
    assert issubclass(kt.CompileError, kt.KilotuneError) and issubclass(kt.DeviceError, kt.KilotuneError)
    assert str(kt.DeviceError("a", "b")) == "a: b"


def test_what_is_no_build(tmp_path: Path) -> None:
    assert "kilotune build" in refused(lambda: kt.open_build(tmp_path)).hint
    (tmp_path / "manifest.json").write_text("{")
    assert "is not a build directory" in refused(lambda: kt.open_build(str(tmp_path))).what


@pytest.mark.parametrize("name", ["qemu", "qemu:nothing", "host:1", "", "quemu:mps2-an386"])
def test_devices_that_are_not_there(name: str, model: kt.Model, tmp_path: Path) -> None:
    build = kt.build(model, tmp_path / "b")
    with pytest.raises(kt.DeviceError) as caught:
        build.open(name)
    assert "no device of this name" in caught.value.what and "host" in caught.value.hint
    with pytest.raises(kt.DeviceError, match="has no option 'speed'"):
        build.open("host", speed=3)


# ---- Training: each error is clear and leaves the state as it was ----


def test_what_training_is_given_wrongly(model: kt.Model, tmp_path: Path) -> None:
    """A rate that is no number, labels outside the classes, a state of another optimizer, of another build and of another version."""
    x, y = np.zeros((2, 8), np.int8), np.array([0, 1])
    build = kt.build(model, tmp_path / "sgd", method=kt.LoRA(rank=2, layers="all"), optimizer=kt.SGD(lr=0.1), measure=False)
    adam = kt.build(model, tmp_path / "adam", method=kt.LoRA(rank=2, layers="all"), optimizer=kt.Adam(lr=0.1), measure=False)
    lion = kt.build(model, tmp_path / "lion", method=kt.LoRA(rank=2, layers="all"), optimizer=kt.Lion(lr=0.1), measure=False)
    momentum = kt.build(model, tmp_path / "momentum", method=kt.LoRA(rank=2, layers="all"), optimizer=kt.SGD(lr=0.1, momentum=0.5), measure=False)
    states = {}
    for name, other in (("adam", adam), ("lion", lion), ("momentum", momentum)):
        with other.open() as device:
            device.fit(x, y, epochs=1)
            states[name] = device.state()
    assert len(states["lion"]) == len(states["momentum"]), "the same members, another meaning"
    with momentum.open() as device:
        device.fit(x, y, epochs=1)
        before = device.state()
        version = bytes([before[0] ^ 1]) + before[1:]
        cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
            (lambda: device.set_learning_rate(float("nan")), ValueError, "learning_rate is nan"),
            (lambda: device.fit(x, y, learning_rate=float("nan")), ValueError, "learning_rate is nan"),
            (lambda: device.fit(x, np.array([0, 3])), ValueError, "3"),
            (lambda: device.train_step(x[0], -1), ValueError, "-1"),
            (lambda: device.set_state(states["adam"]), ValueError, "bytes"),
            (lambda: device.set_state(states["lion"]), kt.DeviceError, "of another model"),
            (lambda: device.set_state(version), kt.DeviceError, "of another model"),
        ]
        for call, kind, words in cases:
            with pytest.raises(kind, match=words):
                call()
            assert device.state() == before, words
    assert build.manifest["base_hash"] == adam.manifest["base_hash"], "an adapter moves between optimizers, a state does not"
