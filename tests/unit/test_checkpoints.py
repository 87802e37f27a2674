"""A training that was cut off and goes on has the bits of one that never was, wherever it was cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.devices import checkpoint
from kilotune.devices.host import HostDevice

X = samples(tiny(), 48)
Y = (X[:, 0] > 0).astype(np.int64)
BUILDS: dict[str, dict[str, Any]] = {
    "at once": {"optimizer": kt.SGD(lr=0.1, momentum=0.9)},
    "accumulating": {"optimizer": kt.Adam(lr=0.01), "accumulate": 4},
    "scheduled": {"optimizer": kt.SGD(lr=0.1, schedule=kt.CosineDecay(200)), "storage": "block8"},
}
FITS: dict[str, dict[str, Any]] = {
    "held out": {"epochs": 5, "hold_out": 0.25},
    "all samples": {"epochs": 5, "hold_out": 0.0},
    "constant": {"epochs": 4, "hold_out": 0.0, "decay": "constant"},
    "validated": {"epochs": 4, "validation": (X[:12], Y[:12]), "keep_best": True},
}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, kt.Build]:
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    model = kt.load(folder / "tiny.tflite")
    methods = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]
    return {name: kt.build(model, folder / f"b{i}", method=methods, measure=False, **options) for i, (name, options) in enumerate(BUILDS.items())}


class PowerCut(Exception):
    """The process ends, wherever it is."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """cut(n, error): the n-th training step from now on fails."""

    def arm(steps: int, error: BaseException) -> None:
        left = [steps]
        plain = HostDevice._train_step

        def step(self: HostDevice, *arguments: Any) -> float:
            left[0] -= 1
            if left[0] == 0:
                raise error
            return plain(self, *arguments)

        monkeypatch.setattr(HostDevice, "_train_step", step)

    yield arm


@pytest.mark.parametrize("often", [True, False], ids=["in epochs", "after epochs"])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("kind", BUILDS)
def test_the_bits_are_those_of_a_training_that_was_never_cut_off(
    kind: str, fit: str, often: bool, builds: dict[str, kt.Build], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if often:
        monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    file = tmp_path / "c"
    with builds[kind].open() as device:
        whole = device.fit(X, Y, seed=3, **FITS[fit])
        expected = device.state()
    for steps in (61, 50):
        with monkeypatch.context() as patch, builds[kind].open() as device:
            plain, left = HostDevice._train_step, [steps]

            def step(self: HostDevice, *arguments: Any, plain: Any = plain, left: list[int] = left) -> float:
                left[0] -= 1
                if left[0] == 0:
                    raise PowerCut
                return float(plain(self, *arguments))

            patch.setattr(HostDevice, "_train_step", step)
            with pytest.raises(PowerCut):
                device.fit(X, Y, seed=3, checkpoint=file, resume=True, **FITS[fit])
    steps_left: list[int] = []
    with builds[kind].open() as device, monkeypatch.context() as patch:
        plain = HostDevice._train_step
        patch.setattr(HostDevice, "_train_step", lambda self, *a: (steps_left.append(1), plain(self, *a))[1])
        resumed = device.fit(X, Y, seed=3, checkpoint=file, resume=True, **FITS[fit])
        assert device.state() == expected and resumed == whole
    assert 0 < len(steps_left) < whole.epochs * whole.samples, "it went on, and did not begin anew"
    with builds[kind].open() as device:
        again = device.fit(X, Y, seed=3, checkpoint=file, resume=True, **FITS[fit])
        assert device.state() == expected and again == whole, "what has ended is not trained on"


def test_ctrl_c_keeps_what_was_learned_and_the_checkpoint(builds: dict[str, kt.Build], tmp_path: Path, cut: Any) -> None:
    cut(70, KeyboardInterrupt())
    with builds["at once"].open() as device, pytest.raises(kt.TrainingInterrupted):
        device.fit(X, Y, epochs=5, hold_out=0.25, checkpoint=tmp_path / "c")
    with np.load(tmp_path / "c") as file:
        assert {"state", "best_state", "best_losses", "text"} <= set(file.files)


def test_a_checkpoint_of_another_training_is_refused_and_named(builds: dict[str, kt.Build], tmp_path: Path) -> None:
    file = tmp_path / "c"
    with builds["at once"].open() as device:
        device.fit(X, Y, epochs=2, checkpoint=file)
        before = device.state()
        for words, change in (("the options differ", {"epochs": 3}), ("the options differ", {"seed": 1}), ("the samples differ", {"y": 1 - Y})):
            arguments: dict[str, Any] = {"y": Y, "epochs": 2, **change}
            with pytest.raises(kt.DeviceError, match=words):
                device.fit(X, checkpoint=file, resume=True, **arguments)
        assert device.state() == before
        with pytest.raises(ValueError, match="resume needs checkpoint="):
            device.fit(X, Y, resume=True)
    with builds["scheduled"].open() as device, pytest.raises(kt.DeviceError, match="the model or its build"):
        device.fit(X, Y, epochs=2, checkpoint=file, resume=True)


@pytest.mark.parametrize("damage", ["cut", "turned", "empty", "text"])
def test_a_damaged_checkpoint_is_refused(damage: str, builds: dict[str, kt.Build], tmp_path: Path) -> None:
    file = tmp_path / "c"
    with builds["at once"].open() as device:
        device.fit(X, Y, epochs=2, checkpoint=file)
        content = bytearray(file.read_bytes())
        turned = content[:]
        turned[content.find(device.state()[-16:]) + 2] ^= 1
        file.write_bytes({"cut": content[: len(content) // 2], "turned": turned, "empty": b"", "text": b"x"}[damage])
        with pytest.raises(kt.DeviceError, match="this is no checkpoint"):
            device.fit(X, Y, epochs=2, checkpoint=file, resume=True)


def test_a_folder_that_is_missing_is_found_out_before_the_training(builds: dict[str, kt.Build], tmp_path: Path, cut: Any) -> None:
    cut(1, AssertionError("it trained"))
    with builds["at once"].open() as device, pytest.raises(kt.DeviceError, match="the checkpoint's folder does not exist"):
        device.fit(X, Y, epochs=2, checkpoint=tmp_path / "none" / "c")


@pytest.mark.qemu
def test_a_training_goes_on_on_another_device(builds: dict[str, kt.Build], tmp_path: Path, cut: Any, qemu: str) -> None:
    """Cut off on the host, it ends on an emulated board, with the bits of the host alone."""
    asked: dict[str, Any] = {"epochs": 3, "hold_out": 0.25}
    with builds["accumulating"].open() as device:
        device.fit(X, Y, **asked)
        expected = device.state()
    cut(80, PowerCut())
    with builds["accumulating"].open() as device, pytest.raises(PowerCut):
        device.fit(X, Y, checkpoint=tmp_path / "c", **asked)
    with builds["accumulating"].open("qemu:mps2-an386") as board:
        board.fit(X, Y, checkpoint=tmp_path / "c", resume=True, **asked)
        assert board.state() == expected
