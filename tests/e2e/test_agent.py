"""The same small hand-written model on the host, in the agent and on an emulated board: equal bits, and clear errors."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossy_link import LossyTransport
from toy_model import RNG, X, Y, edit, make_toy, needs_qemu, needs_riscv

from kilotune import boards, toolchain
from kilotune.adapters import Adapter
from kilotune.devices import open_device
from kilotune.devices.agent import AgentDevice, Command
from kilotune.devices.base import Device
from kilotune.devices.data import quantize
from kilotune.devices.errors import DeviceError
from kilotune.devices.manifest import Manifest, Tensor
from kilotune.devices.pipe import ProcessTransport

on_qemu = [pytest.mark.qemu, needs_qemu]
on_riscv = [pytest.mark.qemu, needs_riscv]
DEVICES = [
    pytest.param(("host", {}), id="host"),
    pytest.param(("agent:host", {"sanitize": True}), id="agent-sanitized"),
    *(pytest.param((f"qemu:{name}", {}), id=name, marks=on_riscv if name.startswith("riscv") else on_qemu) for name in boards.emulated()),
]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, toy: Path) -> Iterator[Device]:
    name, options = request.param
    with open_device(toy, name, **options) as opened:
        yield opened


def counters(device: Device) -> tuple[int, int, int]:
    """(training steps, updates, accumulated samples) that the model itself has counted."""
    return tuple(int.from_bytes(device.state()[at : at + 4], "little") for at in (4, 8, 12))  # type: ignore[return-value]


class Unknown(enum.IntEnum):
    """A command that no agent knows."""

    NONE = 99


# ---- Equal bits ----


def test_training_gives_the_bits_of_the_host(device: Device, host: Device) -> None:
    for d in (device, host):
        d.history = d.fit(X, Y, epochs=3, seed=7, decay="linear", validation=(X, Y))  # type: ignore[attr-defined]
    assert device.history == host.history  # type: ignore[attr-defined]
    assert counters(device) == (120, 60, 0)
    assert device.state() == host.state()
    np.testing.assert_array_equal(device.infer(X), host.infer(X))
    np.testing.assert_array_equal(device.predict(X), np.asarray(host.infer(X)).argmax(1))
    assert device.train_step(X[0], 1) == host.train_step(X[:1], [1])
    device.apply()
    host.apply()
    assert device.state() == host.state()
    assert device.export_adapter() == host.export_adapter()


def test_state_and_adapter_move_between_devices(device: Device, host: Device) -> None:
    host.fit(X, Y, epochs=1)
    device.set_state(host.state())
    assert device.state() == host.state()
    device.reset()
    assert counters(device) == (0, 0, 0)
    device.load_adapter(host.export_adapter())
    np.testing.assert_array_equal(device.infer(X), host.infer(X))


def test_a_foreign_state_or_adapter_changes_nothing(device: Device, host: Device) -> None:
    device.fit(X, Y, epochs=1)
    before = device.state()
    with pytest.raises(DeviceError, match="state is missing, misaligned, too small, or of another model"):
        device.set_state(b"\0" * len(before))
    assert device.state() == before
    adapter = device.export_adapter()
    forged = object.__new__(Adapter)  # gets past Adapter's own check, so that the device's is seen
    object.__setattr__(forged, "data", adapter.data[:-1] + bytes([adapter.data[-1] ^ 1]))
    object.__setattr__(forged, "_parts", adapter._parts)
    with pytest.raises(DeviceError, match="adapter is truncated, oversized or damaged"):
        device.load_adapter(forged)
    assert device.state() == before


def test_statuses_become_errors(device: Device) -> None:
    with pytest.raises(DeviceError, match="no sample was accumulated"):
        device.apply()
    with pytest.raises(DeviceError, match="a label lies outside"):
        device._train_step(b"\0" * 4, 3, b"")
    assert counters(device) == (0, 0, 0)


def test_closed_device(device: Device) -> None:
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="the device is closed"):
        device.infer(X)


# ---- The training loop and its inputs, on the host only: they are the same code everywhere ----


def test_quantising_rounds_halves_away_from_zero() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, -0.49999997, 8388609.0, 1e30, -1e30, 125.4], np.float32)
    expected = [4, 5, 6, 2, 1, 3, 3, 127, 127, -128, 127]
    assert quantize(x, Tensor((1, 11), 1.0, 3)).tolist() == expected


def test_int8_is_taken_as_is_and_float_is_quantised(host: Device) -> None:
    q = np.array([[3, 5, -7, 127]], np.int8)
    np.testing.assert_array_equal(host.infer(q), host.infer((q.astype(np.float64) - 3) * 0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.infer(X[0]), r"x has shape \[4\], expected \[N, 4\]"),
        (lambda d: d.infer(X[:, :3]), r"x has shape \[40, 3\], expected \[N, 4\]"),
        (lambda d: d.infer(X.astype(np.int32)), "x has dtype int32: give float32"),
        (lambda d: d.infer([[1.0, 2.0], [3.0]]), "x is not an array"),
        (lambda d: d.infer(np.array([[0, 1, np.nan, 3]])), r"x holds nan at \[0, 2\]"),
        (lambda d: d.fit(X, Y[:-1], epochs=1), r"y has shape \[39\], expected \[40\]"),
        (lambda d: d.fit(X, np.where(np.arange(40) == 9, 3, Y)), r"y holds label 3 at \[9\]: the model has 3 classes"),
        (lambda d: d.fit(X, Y.astype(float), epochs=1), "y has dtype float64: labels are integers"),
        (lambda d: d.fit(X, Y, accumulate=0, epochs=1), "accumulate must be at least 1"),
        (lambda d: d.fit(X, Y, decay="cosine", epochs=1), 'None, "linear" or "constant"'),
        (lambda d: d.fit(X[:0], Y[:0], epochs=1), "x holds no samples"),
        (lambda d: d.evaluate(X[:0], Y[:0]), "x holds no samples"),
        (lambda d: d.train_step(X[:2], Y[:2]), "train_step takes one"),
        (lambda d: d.train_step(X[0], -1), r"label -1 at \[0\]"),
        (lambda d: d.set_learning_rate(float("nan")), "learning_rate is nan"),
        (lambda d: d.set_state(b"short"), "state has 5 bytes, this build's has 48"),
    ],
)
def test_wrong_input_is_named_and_changes_nothing(host: Device, call: Callable[[Device], Any], message: str) -> None:
    before = host.state()
    with pytest.raises(ValueError, match=message):
        call(host)
    assert host.state() == before


def test_fit_updates_after_each_group_and_what_is_left(host: Device) -> None:
    history = host.fit(X[:5], Y[:5], epochs=2, accumulate=3, decay="constant")
    assert history.updates == 4
    assert counters(host) == (10, 4, 0)
    assert history.learning_rates == []


def test_linear_decay_reaches_its_last_step_and_is_taken_back(host: Device) -> None:
    history = host.fit(X[:4], Y[:4], accumulate=1, learning_rate=0.5, decay="linear", epochs=1)
    assert history.learning_rates == [0.5, 0.375, 0.25, 0.125]
    assert np.frombuffer(host.state()[16:20], "<f4")[0] == np.float32(0.5)


def test_order_depends_on_seed_and_shuffle(host: Device) -> None:
    states = []
    for seed, shuffle in ((0, True), (0, True), (1, True), (0, False), (1, False)):
        host.reset()
        host.fit(X, Y, seed=seed, shuffle=shuffle, accumulate=1, epochs=1)
        states.append(host.state())
    assert states[0] == states[1] and states[3] == states[4]
    assert len(set(states)) == 3


def test_evaluate_agrees_with_its_formula(host: Device) -> None:
    logits = np.asarray(host.infer(X)).astype(float) * 0.0625
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = host.evaluate(X, Y)
    assert found["loss"] == pytest.approx(-np.log(p[np.arange(40), Y]).mean())
    assert found["accuracy"] == np.mean(logits.argmax(1) == Y)


def test_several_inputs_and_values_as_targets(tmp_path: Path) -> None:
    """A manifest of two inputs over the same four bytes; the toy ignores the targets' form."""
    half = {"shape": [1, 2], "scale": 0.5, "zero_point": 3}
    with open_device(make_toy(tmp_path / "b", inputs=[half, half]), "host") as device, open_device(make_toy(tmp_path / "c"), "host") as whole:
        np.testing.assert_array_equal(device.infer([X[:, :2], X[:, 2:]]), whole.infer(X))
        assert device.train_step([X[0, :2], X[0, 2:]], 1) == whole.train_step(X[0], 1)
        with pytest.raises(ValueError, match="list of 2 arrays, one for each input of the model, not ndarray"):
            device.infer(X)
        with pytest.raises(ValueError, match=r"different numbers of samples: \[40, 39\]"):
            device.infer([X[:, :2], X[1:, 2:]])


def test_mse_targets_reach_the_model(tmp_path: Path) -> None:
    folder = make_toy(tmp_path / "b", loss="mse", classes=None)
    edit(folder / "toy_interface.c", ".target_values = 0", ".target_values = 3")
    edit(folder / "toy.c", "i == target->label ? 64.0f : -64.0f", "target->values[i] * 16.0f")
    targets = RNG.normal(size=(40, 3))
    with open_device(folder, "host") as host, open_device(folder, "agent:host", sanitize=True) as agent:
        for device in (host, agent):
            device.fit(X, targets, epochs=2)
        assert host.state() == agent.state()
        assert host.train_step(X[0], targets[0]) == agent.train_step(X[:1], targets[:1])
        real = np.asarray(host.infer(X)) * 0.0625
        squares = np.mean((real - targets) ** 2)
        expected = {"loss": squares, "rmse": np.sqrt(squares), "mae": np.mean(np.abs(real - targets))}
        assert host.evaluate(X, targets) == pytest.approx(expected, rel=1e-5)
        with pytest.raises(ValueError, match=r"y has shape \[40, 2\], expected \[40, 3\]"):
            host.fit(X, targets[:, :2], epochs=1)
        with pytest.raises(ValueError, match=r"y holds inf at \[3, 1\]"):
            host.fit(X, np.where(np.arange(120).reshape(40, 3) == 10, np.inf, targets))


def test_a_model_without_training(tmp_path: Path) -> None:
    none = {"training": False, "loss": None, "classes": None, "adapter_bytes": 0, "state_bytes": 0}
    folder = make_toy(tmp_path / "b", arena_bytes={"infer": 16, "train": None}, **none)
    edit(folder / "toy_interface.c", ".state_bytes = TOY_STATE_BYTES", ".state_bytes = 0")
    edit(folder / "toy_interface.c", ".adapter_bytes = TOY_ADAPTER_BYTES", ".adapter_bytes = 0")
    edit(folder / "toy_interface.c", "TOY_ARENA_BYTES_TRAIN", "0")
    source = folder / "toy_interface.c"
    source.write_text("".join(line for line in source.read_text().splitlines(True) if not line.startswith("    .") or ".train_step" not in line))
    signature = "kt_status train_step(void *m, const int8_t *input, const kt_target *target, float *loss)"
    edit(source, f"static {signature}", f"{signature};\n{signature}")
    edit(folder / "toy.c", "arena_bytes < TOY_ARENA_BYTES_TRAIN", "arena_bytes < TOY_ARENA_BYTES_INFER")
    check = "if (!aligned(state) || state_bytes < TOY_STATE_BYTES)\n        return KT_ERROR_STATE;"
    edit(folder / "toy.c", check, "static toy_state none;\n    (void)state_bytes;\n    state = &none;")
    for name, options in (("host", {}), ("agent:host", {"sanitize": True})):
        with open_device(folder, name, **options) as device:
            assert np.asarray(device.infer(X)).shape == (40, 3)
            assert set(device.evaluate(X, Y)) == {"accuracy", "loss"}
            assert device.state() == b""
            with pytest.raises(DeviceError, match="built without training"):
                device.fit(X, Y, epochs=1)


# ---- The link ----


def open_lossy(toy: Path, seed: int, rate: float) -> tuple[AgentDevice, LossyTransport]:
    transport = LossyTransport(ProcessTransport([str(toolchain.host_agent(toy))], "agent:host", patience=5.0), seed, rate)
    device = AgentDevice(Manifest.load(toy), transport, "agent:host", boards.load("posix"), timeout=0.005, deadline=20.0)
    return device, transport


def test_ten_thousand_frames_on_a_lossy_link(toy: Path, host: Device) -> None:
    """Nothing is lost and nothing is done twice: the model counts its steps and updates in its own state."""
    steps = 3334
    samples, labels = np.tile(X, (steps // 40 + 1, 1))[:steps], np.tile(Y, steps // 40 + 1)[:steps]
    host.fit(samples, labels, accumulate=1, epochs=1, hold_out=0.0)
    device, transport = open_lossy(toy, 0, 0.004)
    with device:
        device.fit(samples, labels, accumulate=1, epochs=1, hold_out=0.0)
        assert device.link.requests >= 10_000
        assert counters(device) == (steps, steps, 0)
        assert device.state() == host.state()
    assert device.link.retries > 1000
    assert len(transport.damage) == 6 and min(transport.damage.values()) > 100, transport.damage


def test_an_interrupted_request_does_not_confuse_the_next(toy: Path) -> None:
    """Ctrl-C while waiting: the answer arrives later and must not be taken for another's."""

    class Interrupting(ProcessTransport):
        armed = False

        def read(self, timeout: float) -> bytes:
            if self.armed:
                self.armed = False
                raise KeyboardInterrupt
            return super().read(timeout)

    transport = Interrupting([str(toolchain.host_agent(toy))], "agent:host", patience=5.0)
    with AgentDevice(Manifest.load(toy), transport, "agent:host", boards.load("posix")) as device:
        for _ in range(5):
            transport.armed = True
            with pytest.raises(KeyboardInterrupt):
                device.fit(X, Y, epochs=1)
            time.sleep(0.01)
            device.infer(X[:1])
        device.reset()
        device.fit(X, Y, epochs=1)
        assert counters(device) == (40, 20, 0)


def test_a_new_session_goes_on_where_the_board_is(toy: Path) -> None:
    """Two hosts, one after the other, on one running agent: the second may start with any sequence number."""
    transport = ProcessTransport([str(toolchain.host_agent(toy))], "agent:host", patience=5.0)
    manifest = Manifest.load(toy)
    for round_ in range(300):
        device = AgentDevice(manifest, transport, "agent:host", boards.load("posix"))
        device.train_step(X[0], 0)
        assert counters(device)[0] == round_ + 1
    transport.close()


def test_agent_without_hello_answers_that_it_restarted(toy: Path) -> None:
    device, _ = open_lossy(toy, 0, 0.0)
    device.link.transport.close()
    device.link.transport = ProcessTransport([str(toolchain.host_agent(toy))], "agent:host", patience=5.0)
    with device, pytest.raises(DeviceError, match="the board has restarted"):
        device.infer(X[:1])


def test_incomplete_state_is_not_used(toy: Path) -> None:
    with open_device(toy, "agent:host") as device:
        assert isinstance(device, AgentDevice)
        device.link.request(Command.WRITE_STATE, b"\0\0\0\0half")
        with pytest.raises(DeviceError, match="state on the device is incomplete"):
            device.infer(X)
        device.reset()
        device.infer(X)


def test_agent_refuses_ranges_outside_its_buffers(toy: Path) -> None:
    with open_device(toy, "agent:host", sanitize=True) as device:
        assert isinstance(device, AgentDevice)
        for command, data in (
            (Command.WRITE_INPUT, b"\1\0\0\0" + b"x" * 4),
            (Command.WRITE_INPUT, b"\xff\xff\xff\xff" + b"x" * 2),
            (Command.READ_STATE, b"\xfc\xff\xff\xff" + b"\x08\0\0\0"),
            (Command.READ_STATE, b"\0\0\0\0" + b"\x31\0\0\0"),
            (Command.READ_STATE, b"\0\0"),
            (Command.TRAIN, b""),
            (Command.LOAD_ADAPTER, b"\x31\x01\0\0"),  # one byte more than the area has
        ):
            with pytest.raises(DeviceError, match="refuses this request's length or range"):
                device.link.request(command, data)
        with pytest.raises(DeviceError, match="does not know this command"):
            device.link.request(Unknown.NONE)  # type: ignore[arg-type]
        device.fit(X, Y, epochs=1)
