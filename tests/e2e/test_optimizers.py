"""Optimizers, moments in 8 bits, schedules, storage formats and losses on a real model: the same bits in the NumPy interpreter, in C
on the host and on emulated boards; what an update of several samples is; and whose state a device takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kilotune as kt
from kiloc import pipeline
from kiloc.emit.state_layout import StateLayout, state_layout
from kiloc.ir import interp
from kiloc.losses import Loss, as_loss
from kiloc.optim import Optimizer
from kiloc.options import Options

METHODS = [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")]
STEPS = 30
CLASSES = 6


@dataclass(frozen=True)
class Case:
    optimizer: Optimizer
    loss: Loss | str = "cross_entropy"
    storage: str = "block16"
    model: str = "gas_mlp_int8"


CASES = {
    "sgd, step schedule": Case(kt.SGD(weight_decay=0.1, schedule=kt.StepDecay(every=4, factor=0.5))),
    "momentum, mse": Case(kt.SGD(lr=0.01, momentum=0.9), "mse"),
    "nesterov 8 bits": Case(kt.SGD(lr=0.01, momentum=0.9, nesterov=True, state_bits=8), kt.CrossEntropy(label_smoothing=0.1)),
    "adam, cosine": Case(kt.Adam(schedule=kt.CosineDecay(updates=12, final=0.05)), kt.CrossEntropy(class_weights=[1, 2, 0.5, 1, 3, 1])),
    "adam 8 bits, bce": Case(kt.Adam(weight_decay=0.01, state_bits=8), "bce", "block8"),
    "lion, linear": Case(kt.Lion(schedule=kt.LinearDecay(updates=10)), "bce"),
    "lion 8 bits": Case(kt.Lion(lr=0.001, weight_decay=0.1, state_bits=8), kt.CrossEntropy(label_smoothing=0.2, class_weights=[1.5] * CLASSES)),
    "sgd in 8 bits": Case(kt.SGD(schedule=kt.CosineDecay(updates=20)), storage="block8"),
    "adam without clip": Case(kt.Adam(lr=0.001, clip=0, state_bits=8)),
    "sgd, distributions": Case(kt.SGD(), kt.SoftCrossEntropy(label_smoothing=0.1, class_weights=[1, 2, 0.5, 1, 3, 1])),
    "sgd, weighted bce": Case(kt.SGD(), kt.BinaryCrossEntropy(label_smoothing=0.1, positive_weights=4)),
    "momentum, huber": Case(kt.SGD(lr=0.01, momentum=0.9), kt.Huber(delta=1.5)),
    "no labels": Case(kt.SGD(), kt.InformationMaximisation(memory=20, prior=[1, 1, 2, 1, 1, 2])),
    "autoencoder": Case(kt.Adam(state_bits=8, schedule=kt.LinearDecay(updates=50)), kt.MeanSquaredError(target="input"), model="ad01_int8"),
}


def gas(data_dir: Path, count: int = STEPS) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    d = np.load(data_dir / "sets" / "gas_drift.npz")
    rows = np.flatnonzero(d["batch"] == 4)[:count]
    return d["x"][rows].astype(np.float32), d["y"][rows].astype(np.int32)


def material(case: Case, data_dir: Path) -> tuple[kt.Model, NDArray[Any], NDArray[Any] | None]:
    """The model, samples and the targets of the case's loss."""
    path = data_dir / "models" / f"{case.model}.tflite"
    if not path.is_file():
        pytest.skip(f"shared data not found: {path.name}")
    model = kt.load(path)
    if case.model != "gas_mlp_int8":
        rng = np.random.default_rng(0)
        return model, rng.integers(-100, 100, (6, *model.graph.type(model.graph.inputs[0]).shape[1:])).astype(np.int8), None
    x, y = gas(data_dir)
    if isinstance(case.loss, kt.InformationMaximisation):
        return model, x, None
    onehot = np.eye(CLASSES, dtype=np.float32)[y]
    values = {"soft_cross_entropy": 0.8 * onehot + 0.2 * np.roll(onehot, 1, axis=1), "bce": onehot, "mse": 4 * onehot - 2, "huber": 4 * onehot - 2}
    return model, x, values.get(as_loss(case.loss).name, y)


def make(case: Case, model: kt.Model, x: NDArray[Any], y: Any, folder: Path, accumulate: int = 2) -> kt.Build:
    calibration = x if y is None else (x, y)
    return kt.build(model, folder, method=METHODS, optimizer=case.optimizer, loss=case.loss, storage=case.storage, calibration=calibration, seed=5,
                    accumulate=accumulate, measure=False)  # fmt: skip


def train(device: kt.Device, x: NDArray[Any], y: Any, accumulate: int = 2) -> tuple[bytes, list[float]]:
    losses = []
    for i in range(len(x)):
        losses.append(device.train_step(x[i], None if y is None else y[i]))
        if (i + 1) % accumulate == 0:
            device.apply()
    return device.state(), losses


# -- the same bits everywhere -----------------------------------------------------------------------------


BOARDS = [(name, "mps2-an386") for name in CASES] + [("adam 8 bits, bce", "mps2-an385"), ("adam, cosine", "mps2-an385")]
"""Every case on a Cortex-M4 with its floating-point unit, two on a Cortex-M3 without one."""


@pytest.mark.qemu
@pytest.mark.parametrize(("name", "board"), BOARDS)
def test_host_and_emulated_board(name: str, board: str, data_dir: Path, tmp_path: Path, qemu: Any) -> None:
    case = CASES[name]
    model, x, y = material(case, data_dir)
    build = make(case, model, x, y, tmp_path / "build")
    with build.open("host") as device:
        start = device.state()
        host = train(device, x, y)
    with build.open(f"qemu:{board}") as device:
        assert device.state() == start
        emulated = train(device, x, y)
    assert host[0] != start, "training changed nothing"
    assert host == emulated


@pytest.mark.parametrize("name", CASES)
def test_host_and_interpreter(name: str, data_dir: Path, tmp_path: Path) -> None:
    case = CASES[name]
    model, x, y = material(case, data_dir)
    build = make(case, model, x, y, tmp_path / "build")
    with build.open("host") as device:
        got = train(device, x, y)
    assert got == interpreted(case, model, model.quantize(x), y)


def interpreted(case: Case, model: kt.Model, x: NDArray[np.int8], y: Any) -> tuple[bytes, list[float]]:
    options = Options(
        methods=tuple(METHODS), optimizer=case.optimizer, loss=case.loss, storage=case.storage, calibration=x, calibration_target=y, seed=5,
        accumulate=2,
    )  # fmt: skip
    c = pipeline.compile_graph(model.graph, options, "test")
    assert c.train is not None
    graph, state, losses = c.train.graph, interp.initial_state(c.graph), []
    for i, sample in enumerate(x):
        inputs: dict[str, Any] = {graph.inputs[0]: sample[None]}
        if y is not None:
            target = np.array([y[i]], np.int32) if graph.inputs[-1] == "label" else y[i].reshape(graph.type("target").shape)
            inputs[graph.inputs[-1]] = target
        losses.append(float(interp.train_step(graph, inputs, state)["loss.value"].ravel()[0]))
        if (i + 1) % 2 == 0:
            interp.apply(c.graph, state)
    header = int(c.context.layout).to_bytes(4, "little") + bytes(c.context.base_hash)
    members = b"".join(np.asarray(state[v.name]).astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
    return (header + members).ljust(c.context.state_bytes, b"\0"), losses


@pytest.mark.parametrize("name", CASES)
def test_training_lowers_the_loss(name: str, data_dir: Path, tmp_path: Path) -> None:
    """At a constant rate, 20 passes over the samples halve the loss that training minimises.

    Smoothing and distributions leave a part that cannot be lowered, and six samples of noise are hard to reconstruct: less is asked of them.
    """
    case = replace(CASES[name], optimizer=replace(CASES[name].optimizer, schedule=None))  # type: ignore[type-var]
    model, x, y = material(case, data_dir)
    with make(case, model, x, y, tmp_path / "build").open("host") as device:
        losses = device.fit(x, y, epochs=20).losses
    if isinstance(case.loss, kt.InformationMaximisation):
        assert losses[-1] < losses[0] - 0.1
        return
    smoothed = isinstance(case.loss, kt.SoftCrossEntropy) or getattr(case.loss, "label_smoothing", 0)
    assert losses[-1] < (0.95 if y is None else 0.75 if smoothed else 0.5) * losses[0]


def test_an_interrupted_training_goes_on(data_dir: Path, tmp_path: Path) -> None:
    """The state holds counters, powers, seed and rate: a state given to another device continues as if nothing had been."""
    case = CASES["adam 8 bits, bce"]
    model, x, y = material(case, data_dir)
    assert y is not None
    build = make(case, model, x, y, tmp_path / "build")
    with build.open("host") as device:
        whole = train(device, x, y)[0]
        device.reset()
        half = train(device, x[:14], y[:14])[0]
    with build.open("host") as device:
        device.set_state(half)
        assert train(device, x[14:], y[14:])[0] == whole


# -- the parts of an update -------------------------------------------------------------------------------


def members(c: pipeline.Compilation, state: bytes) -> dict[str, NDArray[Any]]:
    """Values of a state by name."""
    found, at = {}, StateLayout.HEADER
    for v in state_layout(c.graph).values:
        found[v.name] = np.frombuffer(state, v.type.dtype, v.type.size, at)
        at += v.type.bytes
    return found


def accumulated(c: pipeline.Compilation, state: bytes) -> dict[str, NDArray[Any]]:
    return {k: v.astype(np.float64) for k, v in members(c, state).items() if k.endswith(".accumulator")}


@pytest.mark.parametrize("name", CASES)
def test_updates_at_once_are_the_updates_of_accumulated_single_samples(name: str, data_dir: Path, tmp_path: Path) -> None:
    """accumulate=1 keeps no gradients and updates each layer in the middle of the backward pass: the trained bits are the same."""
    case = CASES[name]
    model, x, y = material(case, data_dir)
    adapters, losses = [], []
    for accumulate in (1, 2):
        with make(case, model, x, y, tmp_path / f"build{accumulate}", accumulate).open("host") as device:
            losses.append(train(device, x, y, accumulate=1)[1])
            adapters.append(device.export_adapter().payload)
    assert losses[0] == losses[1]
    assert adapters[0] == adapters[1]


def test_with_updates_at_once_apply_has_nothing_left_to_do(data_dir: Path, tmp_path: Path) -> None:
    case = CASES[next(iter(CASES))]
    model, x, y = material(case, data_dir)
    with make(case, model, x, y, tmp_path / "build", 1).open("host") as device:
        with pytest.raises(kt.DeviceError, match="no sample was accumulated"):
            device.apply()
        device.train_step(x[0], None if y is None else y[0])
        trained = device.export_adapter()
        device.apply()
        assert device.export_adapter() == trained
        with pytest.raises(ValueError, match="build with accumulate=3"):
            device.fit(x, y, accumulate=3, epochs=1)
        device.train_step(x[1], None if y is None else y[1])
        assert device.export_adapter() != trained


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 30])
def test_an_update_takes_the_mean_gradient(count: int, data_dir: Path, tmp_path: Path) -> None:
    """accumulate=N: the sum of N samples' gradients within N float32 roundings of it, then one step along its N-th part.

    SGD without clip at rate 1: biases move by the mean gradient, within half a unit of their format and the roundings above.
    """
    model, (x, y) = kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), gas(data_dir)
    optimizer = kt.SGD(lr=1.0, clip=0)
    build = kt.build(model, tmp_path / "build", method=METHODS, optimizer=optimizer, calibration=(x, y), accumulate=30, measure=False)
    options = Options(tuple(METHODS), optimizer, calibration=model.quantize(x), calibration_target=y, accumulate=30)
    c = pipeline.compile_graph(model.graph, options, "test")
    with build.open("host") as device:
        fresh = device.state()
        single = []
        for i in range(count):
            device.set_state(fresh)
            device.train_step(x[i], y[i])
            single.append(accumulated(c, device.state()))
        device.set_state(fresh)
        for i in range(count):
            device.train_step(x[i], y[i])
        together = accumulated(c, device.state())
        device.apply()
        after = members(c, device.state())
    start = members(c, fresh)
    for name, total in together.items():
        each = np.array([s[name] for s in single])
        rounding = count * 2.0**-24 * np.abs(each).sum(0)
        assert (np.abs(total - each.sum(0)) <= rounding).all(), name
    assert any(np.abs(t).max() > 0 for t in together.values())
    for p in (p for p in c.graph.parameters if p.storage == "int32"):
        unit = np.array(c.graph.node(f"{p.name}.step").op.unit)  # type: ignore[attr-defined]
        mean = np.array([s[p.values["accumulator"]] for s in single]).mean(0)
        moved = (start[p.values["value"]].astype(np.float64) - after[p.values["value"]]) * unit
        assert (np.abs(moved - mean) <= unit * 0.5001 + count * 2.0**-24 * np.abs(mean) + 1e-12).all(), p.name


def test_fit_accumulates_what_the_build_says(data_dir: Path, tmp_path: Path) -> None:
    model, (x, y) = kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), gas(data_dir)
    build = kt.build(model, tmp_path / "build", method=METHODS, accumulate=7, optimizer=kt.Adam(state_bits=8), calibration=(x, y), measure=False)
    with build.open("host") as device:
        assert device.fit(x, y, shuffle=False, epochs=1, decay="constant").updates == 5
        fitted = device.state()
        device.reset()
        for i in range(len(x)):
            device.train_step(x[i], y[i])
            if (i + 1) % 7 == 0 or i + 1 == len(x):
                device.apply()
        assert device.state() == fitted


def test_the_device_evaluates_the_schedule(data_dir: Path, tmp_path: Path) -> None:
    """From its counter of updates and the base rate, which can be set; what an adapter brings starts anew."""
    model, (x, y) = kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), gas(data_dir)
    optimizer = kt.SGD(lr=0.1, schedule=kt.LinearDecay(updates=10, final=0.5))
    build = kt.build(model, tmp_path / "build", method=METHODS, optimizer=optimizer, calibration=(x, y), measure=False)
    options = Options(methods=tuple(METHODS), optimizer=optimizer, calibration=model.quantize(x), calibration_target=y)
    c = pipeline.compile_graph(model.graph, options, "test")
    with build.open("host") as device:
        for update in range(13):
            if update == 5:
                device.set_learning_rate(0.2)
            device.train_step(x[update], y[update])
            device.apply()
            state = members(c, device.state())
            base = 0.1 if update < 5 else 0.2
            assert state["rate"][0] == pytest.approx(base * (1 - 0.5 * min(update / 10, 1)), rel=1e-6)
            assert state["updates"][0] == update + 1
        device.load_adapter(device.export_adapter())
        state = members(c, device.state())
        assert state["updates"][0] == 0 and state["rate"][0] == np.float32(0.1) and state["learning_rate"][0] == np.float32(0.2)


@pytest.mark.parametrize("optimizer", [kt.SGD(), kt.Adam(state_bits=8), kt.Lion()], ids=lambda o: o.describe())
def test_a_rate_that_has_fallen_to_zero_moves_nothing(optimizer: Optimizer, data_dir: Path, tmp_path: Path) -> None:
    """Neither by steps nor by decay: both go by the schedule's rate. Before, every update moves something."""
    model, (x, y) = kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), gas(data_dir)
    chosen: Any = replace(optimizer, schedule=kt.CosineDecay(updates=4), weight_decay=0.5)  # type: ignore[type-var]
    with kt.build(model, tmp_path / "build", method=METHODS, optimizer=chosen, calibration=(x, y), measure=False).open("host") as device:
        moved = []
        for i in range(8):
            before = device.export_adapter().data
            device.train_step(x[i], y[i])
            device.apply()
            moved.append(device.export_adapter().data != before)
    assert moved == [True] * 4 + [False] * 4


def test_an_adapter_starts_adam_anew(data_dir: Path, tmp_path: Path) -> None:
    """Powers go back to 1 and the seed stays: as a fresh device that loaded it."""
    model, (x, y) = kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), gas(data_dir)
    build = kt.build(
        model, tmp_path / "build", method=METHODS, optimizer=kt.Adam(state_bits=8), calibration=(x, y), seed=9, accumulate=2, measure=False
    )
    with build.open("host") as device:
        train(device, x, y)
        adapter = device.export_adapter()
        device.load_adapter(adapter)
        again = train(device, x, y)
        device.reset()
        device.load_adapter(adapter)
        assert train(device, x, y) == again


def test_storages_share_adapters(data_dir: Path, tmp_path: Path) -> None:
    """An adapter holds codes and exponents; both formats start from them."""
    model, (x, y) = kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), gas(data_dir)
    builds = [kt.build(model, tmp_path / s, method=METHODS, storage=s, calibration=(x, y), name="gas", measure=False) for s in ("block16", "block8")]
    saved = [b.report["memory"]["by_kind"]["trainable"] for b in builds]
    assert 900 < saved[0] - saved[1] < 1000  # a byte for each LoRA parameter
    with builds[0].open("host") as device:
        device.fit(x, y, epochs=1)
        adapter, results = device.export_adapter(), device.infer(x)
    with builds[1].open("host") as device:
        device.load_adapter(adapter)
        assert np.array_equal(device.infer(x), results)


def test_the_report_counts_moments(data_dir: Path, tmp_path: Path) -> None:
    """float32 moments take 4 bytes a parameter each, 8-bit ones 1 and a scale for each block of 32; all of it is in the state."""
    model, (x, y) = kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), gas(data_dir)
    found, sizes = {}, []
    for optimizer in (kt.SGD(), kt.SGD(momentum=0.9), kt.Adam(), kt.Adam(state_bits=8), kt.Lion(state_bits=8)):
        report = kt.build(model, tmp_path / "build", method=METHODS, optimizer=optimizer, calibration=(x, y), measure=False).report
        found[optimizer.describe().split()[0] + str(optimizer.state_bits)] = report
        kinds = report["memory"]["by_kind"]
        state_kinds = ("trainable", "accumulators", "optimizer", "control")
        assert sum(kinds[k] for k in state_kinds) == report["memory"]["state"]
        held = sum(kinds[k] for k in state_kinds[:3])
        assert report["trainable"]["state_bytes_per_parameter"] == round(held / report["trainable"]["parameters"], 4)
        sizes.append((optimizer, kinds["optimizer"], report["trainable"]["parameters"]))
    options = Options(methods=tuple(METHODS), calibration=model.quantize(x), calibration_target=y)
    c = pipeline.compile_graph(model.graph, options, "test")
    blocks = sum(-(-c.graph.type(p.values["value"]).size // 32) for p in c.graph.parameters)
    expected = [0, 4, 8, 2 + 8 * blocks / sizes[0][2], 1 + 4 * blocks / sizes[0][2]]
    assert [size / count for _, size, count in sizes] == pytest.approx(expected)


# -- targets ----------------------------------------------------------------------------------------------


def test_an_autoencoder_needs_no_targets(data_dir: Path, tmp_path: Path) -> None:
    case = CASES["autoencoder"]
    model, x, y = material(case, data_dir)
    build = make(case, model, x, y, tmp_path / "build")
    assert build.report["model"]["loss"] == "mse to the input"
    with build.open("host") as device:
        before = device.evaluate(x)
        assert device.train_step(x[0]) == pytest.approx(device.evaluate(x[:1])["loss"], rel=1e-4)
        device.apply()
        device.fit(x, epochs=10)
        assert device.evaluate(x)["loss"] < before["loss"]
        with pytest.raises(ValueError, match="leave y out"):
            device.train_step(x[0], x[0])


def test_targets_that_do_not_fit_the_loss(data_dir: Path, tmp_path: Path) -> None:
    case = CASES["adam 8 bits, bce"]
    model, x, y = material(case, data_dir)
    assert y is not None
    with pytest.raises(kt.CompileError, match="labels are for cross-entropy"):
        make(case, model, x, np.arange(len(x)) % CLASSES, tmp_path / "labels")
    with pytest.raises(kt.CompileError, match="from 0 to 1"):
        make(case, model, x, 2 * y, tmp_path / "twos")
    with make(case, model, x, y, tmp_path / "build").open("host") as device:
        before = device.state()
        for wrong, message in (((y.argmax(1)), "labels are for cross-entropy"), (2 * y, "outside"), (-y, "outside"), (None, "missing")):
            with pytest.raises(ValueError, match=message):
                device.fit(x, wrong, epochs=1)
        raw: Any = device
        with pytest.raises(kt.DeviceError, match="out of range"):
            raw._train_step(model.quantize(x)[0].tobytes(), 0, np.full(CLASSES, 1.5, np.float32).tobytes())
        assert device.state() == before
        assert set(device.evaluate(x, y)) == {"accuracy", "exact_match", "f1", "loss"}


# -- states ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [kt.Lion(state_bits=8), kt.Lion(), kt.SGD(momentum=0.9, state_bits=8), kt.Adam()], ids=lambda o: o.describe())
def test_a_state_of_another_optimizer_is_refused(other: Optimizer, data_dir: Path, tmp_path: Path) -> None:
    """Also where it has the same members: Lion's momentum is not SGD's."""
    model, (x, y) = kt.load(data_dir / "models" / "gas_mlp_int8.tflite"), gas(data_dir)
    mine = kt.SGD(momentum=0.9)
    builds = [
        kt.build(model, tmp_path / n, method=METHODS, optimizer=o, name="gas", accumulate=2, measure=False) for n, o in (("a", mine), ("b", other))
    ]
    with builds[1].open("host") as device:
        foreign = train(device, x, y)[0]
    with builds[0].open("host") as device:
        before = train(device, x[:7], y[:7])[0]
        with pytest.raises((kt.DeviceError, ValueError), match="of another model" if len(foreign) == len(before) else "bytes"):
            device.set_state(foreign)
        assert device.state() == before
        raw: Any = device
        if len(foreign) == len(before):
            assert isinstance(other, kt.Lion) and other.state_bits == 32
            with pytest.raises(kt.DeviceError, match="of another model"):
                raw._write_state(foreign)
