"""What a device does with a build: samples and targets, updates, state and adapters, and the C interface under it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import Reference, image, samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kiloc.options import Options
from kiloc.peft import Method
from kiloc.pipeline import Compilation, compile_graph
from kilotune.devices import Device
from kilotune.devices.data import dequantize, quantize
from kilotune.devices.host import HostDevice
from kilotune.devices.manifest import Tensor

METHODS: list[Method] = [kt.LoRA(rank=2, layers="first,second"), kt.BiasOnly(), kt.Head()]
SGD = kt.SGD(lr=0.1, momentum=0.9)
X = samples(tiny(), 40)
Y = np.random.default_rng(1).integers(0, 3, 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("builds")
    for graph in (tiny(), image()):
        (folder / f"{graph.name}.tflite").write_bytes(tflite.write(graph))
    return folder


@pytest.fixture(scope="module")
def build(folder: Path) -> kt.Build:
    """LoRA, biases and head together, with momentum: every kind of state."""
    return kt.build(kt.load(folder / "tiny.tflite"), folder / "tiny", method=METHODS, optimizer=SGD, accumulate=4, measure=False)


@pytest.fixture(scope="module")
def mse(folder: Path) -> kt.Build:
    return kt.build(kt.load(folder / "image.tflite"), folder / "mse", method=kt.Head(), loss="mse", accumulate=8, measure=False)


@pytest.fixture
def device(build: kt.Build) -> Iterator[Device]:
    with build.open() as opened:
        yield opened


@pytest.fixture
def other(build: kt.Build) -> Iterator[Device]:
    with build.open("host") as opened:
        yield opened


def compiled(folder: Path) -> Compilation:
    return compile_graph(kt.load(folder / "tiny.tflite").graph, Options(tuple(METHODS), SGD, accumulate=4), "0")


def train(device: Device, count: int = 6, first: int = 0) -> None:
    for i in range(first, first + count):
        device.train_step(X[i], Y[i])
        device.apply()


# ---- Samples in, results out ----


def test_real_numbers_are_quantised_and_int8_is_taken_as_it_is(device: Device, build: kt.Build) -> None:
    real = np.random.default_rng(3).normal(0, 0.8, (9, 8)).astype(np.float32)
    t = build.manifest["inputs"][0]
    as_int8 = quantize(real, Tensor(tuple(t["shape"]), t["scale"], t["zero_point"]))
    out = device.infer(real)
    assert out.dtype == np.int8 and out.shape == (9, 3)
    assert np.array_equal(out, device.infer(as_int8)) and np.array_equal(out, device.infer(real.astype(np.float64)))
    assert np.array_equal(device.predict(real), out.argmax(1)) and device.predict(real).dtype == np.int64


def test_inference_leaves_the_state_alone(device: Device) -> None:
    train(device)
    device.train_step(X[0], Y[0])
    before = device.state()
    device.infer(X)
    assert device.evaluate(X, Y)["accuracy"] <= 1
    assert device.state() == before


def test_evaluate_is_the_mean_over_samples(device: Device, mse: kt.Build) -> None:
    out = device.infer(X)
    found = device.evaluate(X, Y)
    assert found["accuracy"] == np.mean(out.argmax(1) == Y)
    probabilities = np.clip(dequantize(out, Tensor((1, 3), 1 / 256, -128))[np.arange(40), Y], 1 / 512, 1)
    assert found["loss"] == pytest.approx(-np.log(probabilities).mean(), rel=1e-6)
    x, y = samples(image(), 5), np.ones((5, 4), np.float32)
    with mse.open() as opened:
        t = mse.manifest["outputs"][0]
        real = dequantize(opened.infer(x), Tensor(tuple(t["shape"]), t["scale"], t["zero_point"]))
        mean = np.mean((real - y) ** 2)
        measures = {"loss": mean, "mae": np.abs(real - y).mean(), "rmse": np.sqrt(mean)}
        assert opened.evaluate(x, y) == pytest.approx(measures, rel=1e-6)


def test_train_step_returns_the_loss_of_its_sample(device: Device, folder: Path) -> None:
    reference = Reference(compiled(folder))
    losses = [device.train_step(x, y) for x, y in zip(X[:5], Y[:5], strict=True)]
    assert losses == [reference.train_step(x, y) for x, y in zip(X[:5], Y[:5], strict=True)]
    assert device.train_step(X[:1], Y[:1]) == losses[0], "with the batch axis"
    assert device.train_step(X[0], int(Y[0])) == losses[0], "before apply() nothing changes"


def test_squared_error_is_in_real_units(mse: kt.Build) -> None:
    x, t = samples(image(), 1), mse.manifest["outputs"][0]
    with mse.open() as opened:
        real = dequantize(opened.infer(x), Tensor(tuple(t["shape"]), t["scale"], t["zero_point"]))[0]
        assert opened.train_step(x[0], real) == 0
        assert opened.train_step(x[0], real + 1) == pytest.approx(opened.train_step(x[0], real - 1), rel=1e-4)
        assert opened.train_step(x[0], real + 2) == pytest.approx(4 * opened.train_step(x[0], real + 1), rel=1e-4)


WRONG_SAMPLES: dict[str, tuple[Any, str]] = {
    "shape": (np.zeros((3, 9), np.int8), "expected [N, 8]"),
    "no batch axis": (np.zeros(8, np.int8), "expected [N, 8]"),
    "unsigned": (np.zeros((3, 8), np.uint8), "uint8"),
    "wide": (np.zeros((3, 8), np.int64), "int64"),
    "nan": (np.full((3, 8), np.nan, np.float32), "nan at [0, 0]"),
    "infinite": (np.where(np.eye(3, 8) > 0, np.inf, 0), "inf at [0, 0]"),
    "text": (np.array([["a"] * 8]), "dtype"),
    "ragged": ([[1.0], [1.0, 2.0]], "x"),
}


@pytest.mark.parametrize("case", WRONG_SAMPLES)
def test_wrong_samples_are_refused(case: str, device: Device) -> None:
    x, words = WRONG_SAMPLES[case]
    before = device.state()
    for call in (lambda: device.infer(x), lambda: device.predict(x), lambda: device.fit(x, Y[:3], epochs=1), lambda: device.evaluate(x, Y[:3])):
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value)
    with pytest.raises(ValueError):
        device.train_step(np.asarray(x, object) if case == "ragged" else np.concatenate([x, x]), 0)
    assert device.state() == before


@pytest.mark.parametrize("y", [3, -1, 1.0, np.nan, "1", None, [0, 1], np.array([[0]], np.float32), 2**40])
def test_wrong_labels_are_refused(y: Any, device: Device) -> None:
    before = device.state()
    with pytest.raises((ValueError, TypeError)):
        device.train_step(X[0], y)
    with pytest.raises((ValueError, TypeError)):
        device.fit(X[:2], [0, y], epochs=1)
    assert device.state() == before


@pytest.mark.parametrize("y", [np.zeros(3), np.zeros(5), np.full(4, np.nan), [0, 0, 0, np.inf], "text", 1.0, [1e39, 0, 0, 0]])
def test_wrong_targets_are_refused(y: Any, mse: kt.Build) -> None:
    with mse.open() as opened:
        before = opened.state()
        with pytest.raises(ValueError):
            opened.train_step(samples(image(), 1)[0], y)
        assert opened.state() == before


# ---- Updates ----


def test_apply_needs_a_sample(device: Device) -> None:
    before = device.state()
    with pytest.raises(kt.DeviceError, match="no sample was accumulated"):
        device.apply()
    assert device.state() == before
    train(device, 1)
    with pytest.raises(kt.DeviceError, match="no sample was accumulated"):
        device.apply()


def test_four_steps_and_an_update_follow_the_mean_gradient(device: Device, folder: Path) -> None:
    c = compiled(folder)
    reference = Reference(c)
    single = []
    for x, y in zip(X[:4], Y[:4], strict=True):
        alone = Reference(c)
        alone.train_step(x, y)
        single.append(alone.values)
        device.train_step(x, y)
        reference.train_step(x, y)
    for p in c.graph.parameters:
        name = p.values["accumulator"]
        assert np.allclose(reference.values[name], sum(s[name] for s in single), rtol=1e-6, atol=1e-12)
    mean = Reference(c)
    for p in c.graph.parameters:  # one sample whose gradient is the mean gives the same update
        mean.values[p.values["accumulator"]] = reference.values[p.values["accumulator"]] / np.float32(4)
    mean.values["accumulated"][:] = 1
    device.apply(), reference.apply(), mean.apply()
    assert device.state() == reference.state() == mean.state()


def test_fit_is_the_loop_that_it_says(device: Device, other: Device, build: kt.Build) -> None:
    history = device.fit(X, Y, epochs=2, seed=5, decay="constant")
    generator = np.random.Generator(np.random.PCG64(5))
    losses = []
    for _ in range(2):
        order = generator.permutation(40)
        losses.append([])
        for done, i in enumerate(order, 1):
            losses[-1].append(other.train_step(X[i], Y[i]))
            if done % 4 == 0:
                other.apply()
    assert device.state() == other.state()
    assert history.updates == 20 and history.losses == [pytest.approx(np.mean(epoch)) for epoch in losses]


def test_fit_lowers_the_loss_and_learns(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    x = rng.integers(-128, 128, (120, 8)).astype(np.int8)
    y = (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 60)  # what the base model knows nothing of
    method = [kt.LoRA(rank=4, layers="all"), kt.BiasOnly()]
    build = kt.build(kt.load(folder / "tiny.tflite"), tmp_path / "b", method=method, optimizer=kt.SGD(lr=0.01, momentum=0.9), accumulate=4)
    with build.open() as opened:
        before = opened.evaluate(x, y)
        history = opened.fit(x, y, epochs=12, seed=1, decay="constant", hold_out=0.0)
        after = opened.evaluate(x, y)
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert after["loss"] < 0.6 * before["loss"] and after["accuracy"] > max(0.8, before["accuracy"] + 0.2)


def test_fit_keeps_the_best_epoch(device: Device, other: Device) -> None:
    history = device.fit(X, Y, epochs=4, seed=5, validation=(X[:10], Y[:10]), keep_best=True)
    losses = [v["loss"] for v in history.validation]
    start = other.evaluate(X[:10], Y[:10])["loss"]
    assert history.best_epoch == int(np.argmin([start, *losses]))
    assert device.evaluate(X[:10], Y[:10])["loss"] == pytest.approx(min([start, *losses]))


def test_fit_returns_to_the_start_where_training_only_hurts(device: Device) -> None:
    start, predicted = device.state(), np.asarray(device.predict(X))
    wrong = (predicted + 1) % 3
    history = device.fit(X, wrong, epochs=3, learning_rate=1.0, validation=(X, predicted), keep_best=True)
    assert history.best_epoch == 0 and min(v["loss"] for v in history.validation) > 0
    device.set_learning_rate(device.manifest.learning_rate or 0)
    assert device.state() == start
    with pytest.raises(ValueError, match="validation"):
        device.fit(X, Y, keep_best=True)


def test_regression_learns(mse: kt.Build) -> None:
    x = samples(image(), 40, seed=6)
    with mse.open() as opened:
        t = mse.manifest["outputs"][0]
        y = dequantize(opened.infer(x), Tensor(tuple(t["shape"]), t["scale"], t["zero_point"])) * np.float32(0.5) + np.float32(0.4)
        before = opened.evaluate(x, y)["loss"]
        opened.fit(x, y, epochs=15, learning_rate=0.03, decay="linear")
        assert opened.evaluate(x, y)["loss"] < 0.4 * before


def test_learning_rate(device: Device, other: Device, folder: Path) -> None:
    reference = Reference(compiled(folder))
    before = device.state()
    device.set_learning_rate(0.025)
    other.set_learning_rate(0.0)
    reference.values["learning_rate"][:] = 0.025
    for d in (device, other, reference):
        d.train_step(X[0], Y[0])
        d.apply()
    assert device.state() == reference.state() and device.state() != before
    assert np.array_equal(other.infer(X), build_outputs(other)), "a rate of 0 moves nothing"
    for wrong in (-1.0, float("nan"), float("inf"), 1e39, 1e20):
        with pytest.raises(ValueError):
            device.set_learning_rate(wrong)
    assert device.state() == reference.state()


def build_outputs(device: Device) -> Any:
    """Results of the model as built."""
    kept = device.state()
    device.reset()
    found = device.infer(X)
    device.set_state(kept)
    return found


def test_reset_forgets(device: Device) -> None:
    before = device.state()
    train(device)
    assert device.state() != before
    device.reset()
    assert device.state() == before


# ---- State ----


def test_a_state_continues_elsewhere_bit_by_bit(device: Device, other: Device) -> None:
    train(device, 3)
    device.train_step(X[9], Y[9])  # in the middle of an update
    other.set_state(device.state())
    assert other.state() == device.state()
    for d in (device, other):
        d.train_step(X[10], Y[10])
        d.apply()
        train(d, 5, first=11)
    assert other.state() == device.state()
    assert np.array_equal(device.infer(X), other.infer(X))


def test_a_foreign_state_is_refused(device: Device) -> None:
    train(device)
    before = device.state()
    for wrong in (before[:-1], before + b"\0", b""):
        with pytest.raises(ValueError, match="bytes"):
            device.set_state(wrong)
    for at in range(12):  # layout and hash of the base model
        with pytest.raises(kt.DeviceError):
            device.set_state(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
        assert device.state() == before


# ---- Adapters ----


def test_an_adapter_carries_what_inference_needs(device: Device, other: Device, tmp_path: Path, build: kt.Build) -> None:
    base = other.infer(X)
    train(device, 20)
    adapter = device.export_adapter()
    assert len(adapter) == build.report["trainable"]["update_bytes"] and adapter.base_hash == build.manifest["base_hash"]
    adapter.save(tmp_path / "me.kta")
    other.load_adapter(kt.Adapter.load(tmp_path / "me.kta"))
    assert np.array_equal(other.infer(X), device.infer(X)) and not np.array_equal(device.infer(X), base)
    assert other.export_adapter() == adapter
    assert [p.name for p in tmp_path.iterdir()] == ["me.kta"]


def test_training_after_an_adapter_does_not_depend_on_what_was_before(device: Device, other: Device) -> None:
    train(device, 8)
    adapter = device.export_adapter()
    train(device, 4, first=20)
    device.train_step(np.full(8, 127, np.int8), 0)  # accumulated, and LoRA may be saturated
    for d in (device, other):
        d.load_adapter(adapter)
    assert device.state() == other.state()
    for d in (device, other):
        train(d, 4)
    assert device.state() == other.state()


def test_a_saturated_layer_is_forgotten_with_the_rest(device: Device, other: Device) -> None:
    adapter, header = device.export_adapter(), open_header(device)
    state = bytearray(device.state())
    at = header.index("first_lora_saturated")
    state[offset(device, at)] = 1
    device.set_state(bytes(state))
    device.load_adapter(adapter)
    other.load_adapter(adapter)
    assert device.state() == other.state()


def open_header(device: Device) -> list[str]:
    """Names of the members of the state struct, in order."""
    return [name for name, _ in members(device)]


def members(device: Device) -> list[tuple[str, int]]:
    text = (device.manifest.directory / "tiny.h").read_text()
    struct_text = text.split("typedef struct {")[1].split("}")[0]
    sizes = {"float": 4, "int32_t": 4, "uint32_t": 4, "int16_t": 2, "int8_t": 1, "uint8_t": 1}
    found = []
    for line in struct_text.split(";"):
        words = line.split("*/")[-1].split()
        if len(words) == 2:
            name, _, count = words[1].partition("[")
            found.append((name, sizes[words[0]] * int(count.rstrip("]") or 1)))
    return found


def offset(device: Device, at: int) -> int:
    return sum(size for _, size in members(device)[:at])


def test_the_struct_has_no_holes(device: Device) -> None:
    total = sum(size for _, size in members(device))
    assert total <= device.manifest.state_bytes < total + 4


def test_damaged_adapters_are_refused(device: Device, other: Device) -> None:
    train(device)
    data, before = device.export_adapter().data, other.state()
    for damaged in (b"", data[:10], data[:-1], data + b"\0", b"X" + data[1:], data[:30] + bytes([data[30] ^ 4]) + data[31:]):
        with pytest.raises(ValueError, match="adapter"):
            kt.Adapter(damaged)
    assert other.state() == before


def test_an_adapter_of_another_model_or_method_is_refused(device: Device, mse: kt.Build, folder: Path, tmp_path: Path) -> None:
    rank = kt.build(kt.load(folder / "tiny.tflite"), tmp_path / "b", method=kt.LoRA(rank=3, layers="first,second"))
    train(device)
    before = device.state()
    for build in (mse, rank):
        with build.open() as opened, pytest.raises(kt.DeviceError, match="belongs to base model"):
            device.load_adapter(opened.export_adapter())
    wider = kt.build(kt.load(folder / "tiny.tflite"), tmp_path / "w", method=[kt.LoRA(rank=3, layers="first,second"), *METHODS[1:]])
    with wider.open() as opened, pytest.raises(kt.DeviceError, match="has a higher rank"):
        device.load_adapter(opened.export_adapter())
    assert device.state() == before


def test_every_byte_of_an_adapter_is_guarded_on_the_device(device: HostDevice, other: HostDevice) -> None:
    train(device)
    data, before = device._export_adapter(), other.state()
    for at in range(len(data)):
        for bit in (1, 128):
            with pytest.raises(kt.DeviceError, match="version of the format" if at in (4, 5) else "truncated, oversized or damaged"):
                other._load_adapter(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        with pytest.raises(kt.DeviceError, match="truncated, oversized or damaged"):
            other._load_adapter(data[:at])
    for at in (16, 20, 24):
        header = bytearray(data[:124])
        struct.pack_into("<I", header, at, 0xFFFFFFFC)
        huge = bytes(header) + struct.pack("<I", zlib.crc32(header)) + data[128:]
        with pytest.raises(kt.DeviceError, match="truncated, oversized or damaged"):
            other._load_adapter(huge)
    assert other.state() == before
    other._load_adapter(data)
    assert np.array_equal(other.infer(X), device.infer(X))


# ---- The C interface ----

OK, ARENA, STATE = 0, 1, 2


def test_memory_that_does_not_fit_is_refused_by_init(device: HostDevice) -> None:
    m, ffi, null = device.manifest, device._ffi, device._ffi.NULL
    arena, state = device._arena.pointer, device._state.pointer
    shifted = ffi.cast("void *", ffi.cast("char *", arena) + 1)

    def init(*memory: Any) -> int:
        return int(device._model.init(device._storage.pointer, *memory))

    assert init(null, m.arena_bytes, state, m.state_bytes) == ARENA
    assert init(shifted, m.arena_bytes, state, m.state_bytes) == ARENA
    assert init(arena, m.arena_infer - 1, state, m.state_bytes) == ARENA
    assert init(arena, 0, state, m.state_bytes) == ARENA
    assert init(arena, m.arena_bytes, null, m.state_bytes) == STATE
    assert init(arena, m.arena_bytes, ffi.cast("void *", ffi.cast("char *", state) + 4), m.state_bytes) == STATE
    assert init(arena, m.arena_bytes, state, m.state_bytes - 1) == STATE
    assert init(arena, m.arena_bytes, state, m.state_bytes) == OK
    assert int(device._model.resume(device._storage.pointer, arena, m.arena_bytes, state, m.state_bytes - 1)) == STATE


def test_the_arena_of_inference_infers_but_does_not_train(device: HostDevice) -> None:
    m = device.manifest
    expected = device.infer(X)
    assert int(device._model.init(device._storage.pointer, device._arena.pointer, m.arena_infer, device._state.pointer, m.state_bytes)) == OK
    assert np.array_equal(device.infer(X), expected)
    before = device.state()
    with pytest.raises(kt.DeviceError, match="arena"):
        device.train_step(X[0], Y[0])
    assert device.state() == before and m.arena_infer < m.arena_train


def test_the_device_checks_labels_itself(device: HostDevice, mse: kt.Build) -> None:
    before = device.state()
    for label in (-1, 3, 2**31 - 1, -(2**31)):
        with pytest.raises(kt.DeviceError, match="label"):
            device._train_step(X[0].tobytes(), label, b"")
    assert device.state() == before
    with mse.open() as opened:
        before = opened.state()
        for wrong in (np.nan, np.inf, -np.inf):
            with pytest.raises(kt.DeviceError):
                opened._train_step(samples(image(), 1).tobytes(), 0, np.array([0, 0, 0, wrong], np.float32).tobytes())
        assert opened.state() == before


def test_statistics(device: Device, build: kt.Build) -> None:
    assert device.stats()["call"] is None
    train(device, 1)
    stats = device.stats()
    assert stats["call"] == "apply" and stats["nanoseconds"] > 0
    assert stats["arena_bytes"] == build.report["memory"]["train_arena"] and stats["state_bytes"] == build.report["memory"]["state"]


def test_a_closed_device_says_so(build: kt.Build) -> None:
    with build.open() as opened:
        pass
    with pytest.raises(kt.DeviceError, match="closed"):
        opened.infer(X)
