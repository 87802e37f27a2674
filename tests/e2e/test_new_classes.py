"""Classes that a device adds: nothing changes before, the first sample writes what NumPy says, boards agree, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import Reference, loaded_tiny, samples, tiny
from gradients.graphs import Maker

import kilotune as kt
from kiloc import Compilation, Options, compile_graph
from kiloc.continual import new_class, plan_new_classes
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.optim import SGD
from kiloc.passes.simplify import with_rounding
from kiloc.samples import run_samples
from kilotune.building import write_build

X = samples(tiny(), 12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    return loaded_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def room(model: kt.Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Compilation, kt.Build]:
    """A head with room for two, LoRA in front of it."""
    methods = (kt.LoRA(rank=2, layers=["first", "second"]), kt.Head(extra_classes=2))
    options = Options(methods=methods, optimizer=SGD(lr=0.05), calibration=samples(tiny(), 30, 4), replay=kt.Replay(9, policy="class_balanced"))
    options = replace(options, slice_instructions=1000)  # a class may be added, and old samples replayed, where steps are cut
    compilation = compile_graph(model.graph, options, kt.__version__)
    return compilation, write_build(model, compilation, tmp_path_factory.mktemp("room") / "b", measure=False)


def test_a_closed_class_changes_nothing(tmp_path: Path) -> None:
    """The logits are to the bit those of the model, and its own stay the largest; no step moves a closed class."""
    m = Maker("logits", (1, 8), 3)
    (tmp_path / "m.tflite").write_bytes(tflite.write(m.finish(m.dense(m.dense("input", "first", 10, "relu"), "last", 3))))
    model = kt.load(tmp_path / "m.tflite")
    room = kt.build(model, tmp_path / "room", method=kt.Head(extra_classes=2), measure=False)
    with kt.build(model, tmp_path / "plain", measure=False).open() as plain, room.open() as device:
        before, now = np.asarray(plain.infer(X)), np.asarray(device.infer(X))
        assert np.array_equal(now[:, :3], before) and (now[:, 3:] == -128).all()
        assert np.array_equal(device.predict(X), plain.predict(X)) and device.open_classes() == [0, 1, 2]
        for i in range(12):
            device.train_step(X[i], i % 3)
        assert (np.asarray(device.infer(X))[:, 3:] == -128).all() and device.open_classes() == [0, 1, 2]
        for label in (3, 4, 5):
            with pytest.raises((kt.DeviceError, ValueError), match="label"):
                device.train_step(X[0], label)


def test_the_first_sample_writes_what_numpy_says(room: tuple[Compilation, kt.Build]) -> None:
    """In state and loss, also behind steps that gave the weights a power of two of their own, until all classes are open."""
    compilation, build = room
    reference, options = Reference(compilation), compilation.options
    assert compilation.train is not None
    graph, base = compilation.train.graph, compilation.base
    whole = compilation.graph
    plan = plan_new_classes(base, whole, run_samples(with_rounding(base, "tflm"), options)[0])
    assert plan is not None and plan.known == 3 and plan.classes == 5
    with build.open() as device:
        for number, sample in enumerate(X[:2]):
            for i in range(4):
                assert device.train_step(X[4 + i], i % (3 + number)) == reference.train_step(X[4 + i], i % (3 + number))
            arrays = interp.run(graph, {graph.inputs[0]: sample[np.newaxis]}, dict(reference.values))
            label = device.add_class(sample)
            assert label == 3 + number and device.open_classes() == list(range(4 + number))
            reference.values |= new_class(plan, whole, reference.values, label, arrays[plan.x], arrays[plan.y])
            assert device.state() == reference.state()
            assert device.predict(sample[np.newaxis]) == [label]
            assert device.train_step(sample, label) == reference.train_step(sample, label)
            assert device.state() == reference.state()
        with pytest.raises(kt.DeviceError, match="all classes"):
            device.add_class(X[3])


def test_boards_add_the_same_and_adapters_carry_it(room: tuple[Compilation, kt.Build], qemu: str) -> None:
    states = []
    with room[1].open() as device:
        assert device.train_slice(X[0], 0, 1) is None
        with pytest.raises(kt.DeviceError, match="step was left"):
            device.add_class(X[7])
    for where in ("host", "qemu:mps2-an386"):
        with room[1].open(where) as device:
            device.remember(X[:6], [0, 1, 2, 0, 1, 2])
            assert device.add_class(X[7]) == 3
            device.fit(X[7:9], [3, 3], epochs=3, replay=1, hold_out=0.0)
            assert device.add_class(X[9]) == 4
            states.append((device.state(), np.asarray(device.infer(X)).tobytes()))
            adapter = device.export_adapter()
            device.reset()
            assert device.open_classes() == [0, 1, 2]
            device.load_adapter(adapter)
            assert device.open_classes() == [0, 1, 2, 3, 4] and np.asarray(device.infer(X)).tobytes() == states[-1][1]
    assert states[0] == states[1]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"method": kt.Head(classes=4, extra_classes=1)}, "leave one of them out|room for 1 more"),
    "too many": ({"method": kt.Head(extra_classes=5000)}, "at most"),
    "another loss": ({"method": kt.Head(extra_classes=1), "loss": "mse"}, "cross entropy"),
    "smoothing": ({"method": kt.Head(extra_classes=1), "loss": kt.CrossEntropy(label_smoothing=0.1)}, "not there yet"),
    "8 bits": ({"method": kt.Head(extra_classes=1), "storage": "block8"}, "by chance"),
    "decay": ({"method": kt.Head(extra_classes=1), "optimizer": kt.SGD(weight_decay=0.1)}, "decay"),
    "LoRA there": ({"method": [kt.LoRA(rank=2, layers="all"), kt.Head(extra_classes=1)]}, "LoRA"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, model: kt.Model, tmp_path: Path) -> None:
    options, message = REFUSED[name]
    with pytest.raises(kt.CompileError, match=message) as caught:
        kt.build(model, tmp_path / "b", measure=False, **options)
    assert caught.value.hint


def test_a_build_without_room(model: kt.Model, tmp_path: Path) -> None:
    with kt.build(model, tmp_path / "b", method=kt.Head(), measure=False).open() as device:
        for call in (lambda: device.add_class(X[0]), device.open_classes):
            with pytest.raises(kt.DeviceError, match="no room for another class"):
                call()
