"""Devices that each hold a part of the optimizer's state: after every update they are alike, and as one device that holds all of it; one that is
lost is replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kilotune as kt
from kiloc import pipeline
from kiloc.emit import state_layout
from kiloc.ir import interp
from kiloc.optim import parts, taking_steps
from kiloc.options import Options
from kilotune.devices import AgentDevice
from kilotune.devices.manifest import Part
from kilotune.sharding.parts import common_ranges

METHODS = [kt.BiasOnly(), kt.LoRA(rank=4, layers="all")]
OPTIMIZER = kt.Adam(weight_decay=0.01, state_bits=8, schedule=kt.CosineDecay(updates=12, final=0.05))
COMMON: dict[str, Any] = {"method": METHODS, "optimizer": OPTIMIZER, "storage": "block8", "accumulate": 6, "seed": 5, "measure": False}
DEVICES = 3
DIGITS = Path(__file__).resolve().parents[2] / "examples/digits/digits.tflite"


class Material:
    """A model with samples, the builds of a group of three, and one that holds all."""

    def __init__(self, data_dir: Path, folder: Path) -> None:
        path = data_dir / "models" / "gas_mlp_int8.tflite"
        if not path.is_file():
            pytest.skip(f"shared data not found: {path.name}")
        self.model = kt.load(path)
        rng = np.random.default_rng(3)
        self.x: NDArray[np.float32] = rng.normal(size=(24, *self.model.graph.type(self.model.graph.inputs[0]).shape[1:])).astype(np.float32)
        self.y: NDArray[np.int64] = rng.integers(0, 6, 24)
        self.builds = kt.sharded(self.model, folder, DEVICES, calibration=(self.x, self.y), **COMMON)
        self.whole = kt.build(self.model, folder / "whole", shard=(0, 1), calibration=(self.x, self.y), **COMMON)

    def open(self, *kinds: str) -> list[kt.Device]:
        return [build.open(kind) for build, kind in zip(self.builds, kinds or ["host"] * DEVICES, strict=True)]

    def one_device(self, epochs: int) -> tuple[bytes, kt.Adapter]:
        """What all devices share, and the adapter, of one device that holds all and sees all samples."""
        with self.whole.open() as device:
            device.fit(self.x, self.y, epochs=epochs, hold_out=0, decay="constant")
            return shared(device), device.export_adapter()


def part(device: kt.Device) -> Part:
    assert device.manifest.shard is not None
    return device.manifest.shard


def shared(device: kt.Device) -> bytes:
    state = device.state()
    return b"".join(state[at : at + size] for at, size in common_ranges(part(device)))


@pytest.fixture(scope="module")
def material(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Material]:
    yield Material(data_dir, tmp_path_factory.mktemp("sharding"))


def test_group_is_as_one_device(material: Material) -> None:
    common, adapter = material.one_device(epochs=3)
    with kt.Group(material.open()[::-1]) as group:
        before = group.export_adapter()
        losses = group.fit(material.x, material.y, epochs=3)
        assert [shared(d) for d in group.devices] == [common] * DEVICES
        assert group.export_adapter().data == adapter.data != before.data and len(losses) == 3
        moments = [part(d).moment_bytes for d in group.devices]
        all_moments = part(material.whole.open()).moment_bytes
        assert sum(moments) == all_moments and max(moments) < 0.4 * all_moments and group.traffic.updates == 12
    with pytest.raises(kt.DeviceError, match=r"kt\.Group"):
        material.builds[0].open().fit(material.x, material.y)


def test_order_of_samples_in_an_update_does_not_matter(material: Material) -> None:
    found = []
    for order in (slice(None), slice(None, None, -1)):
        with kt.Group(material.open()) as group:
            group.step(material.x[:7][order], material.y[:7][order])
            found.append(shared(group.devices[2]))
    assert found[0] == found[1]


@pytest.mark.parametrize("shard", [(0, 1), (1, DEVICES)])
def test_interpreter_and_device(material: Material, shard: tuple[int, int]) -> None:
    """A sample, and an update by it: of a part the steps of the others are its sums."""
    options = Options(
        methods=tuple(METHODS), optimizer=OPTIMIZER, storage="block8", accumulate=6, seed=5, shard=shard, target="cortex-m4",
        calibration=material.model.quantize(material.x), calibration_target=material.y,
    )  # fmt: skip
    c = pipeline.compile_graph(material.model.graph, options, "test")
    assert c.train is not None
    state, x = interp.initial_state(c.graph), material.model.quantize(material.x[:2])
    with (material.whole if shard[1] == 1 else material.builds[shard[0]]).open() as device:
        for row in (0, 1):
            device.train_step(x[row], int(material.y[row]))
            interp.train_step(c.train.graph, {c.train.graph.inputs[0]: x[row][None], "label": np.array([material.y[row]], np.int32)}, state)
        if shard[1] > 1:
            device._apply()
            for node in c.graph.phase("update")[: -len(taking_steps(c.graph))]:
                for operand, array in node.op.evaluate_update(interp.environment(c.graph, node, state)).items():
                    state[node.inputs[operand]] = array
            state["accumulated"] = np.array([-1], np.int32)
            with pytest.raises(kt.DeviceError, match="in use"):
                device.train_step(x[0], 0)
        else:
            device.apply()
            interp.apply(c.graph, state)
        members = b"".join(np.asarray(state[v.name]).astype(v.type.dtype).tobytes() for v in state_layout(c.graph).values)
        assert device.state()[12 : part(device).used] == members


@pytest.mark.parametrize(("call", "at", "keep_every"), [("_train_step", 9, 1), ("_apply", 3, 2), ("_apply", 6, 1), ("_write_sums", 7, 3)])
def test_lost_device_is_replaced(material: Material, call: str, at: int, keep_every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every part of a step: the samples, the own steps, the steps of all, and what is written for them."""
    devices = material.open()
    original, calls = getattr(devices[1], call), iter(range(1000))

    def failing(*arguments: Any) -> Any:
        if next(calls) >= at:
            raise kt.DeviceError("host", "no answer from the device")
        return original(*arguments)

    monkeypatch.setattr(devices[1], call, failing)
    with kt.Group(devices, keep_every=keep_every) as group:
        group.fit(material.x, material.y, epochs=2)
        assert [shared(d) for d in group.devices] == [material.one_device(epochs=2)[0]] * DEVICES
        (event,) = group.events
        assert "part 1" in event and "no answer" in event
        assert group.devices[1] is not devices[1]


@pytest.mark.qemu
def test_emulated_boards(material: Material, qemu: Any) -> None:
    """Two boards beside the host, of which one is killed."""
    devices = material.open("qemu:mps2-an386", "host", "qemu:mps2-an385")
    with kt.Group(devices) as group:
        group.fit(material.x[:12], material.y[:12])
        assert isinstance(devices[2], AgentDevice)
        os.kill(devices[2].link.transport.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        group.fit(material.x[:12], material.y[:12])
        got = [shared(d) for d in group.devices]
        assert len(group.events) == 1
    with material.whole.open() as device:
        for _ in range(2):
            device.fit(material.x[:12], material.y[:12], epochs=1, hold_out=0, decay="constant")
        assert got == [shared(device)] * DEVICES


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shard": (3, 3)}, "no part"),
        ({"shard": (0, 200)}, "use 32 devices at most"),
        ({"accumulate": 1}, "accumulate=8"),
        ({"optimizer": kt.SGD()}, "keeps no moments"),
        ({"offload": "optimizer"}, "slow memory"),
    ],
)
def test_refusals(material: Material, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError, match=said):
        kt.build(material.model, tmp_path / "build", **{**COMMON, "shard": (0, 2), **options})


def test_devices_of_no_group(material: Material) -> None:
    for devices in ([], material.open()[:2], [material.whole.open(), *material.open()[1:]]):
        with pytest.raises(kt.DeviceError, match=r"kt\.sharded"):
            kt.Group(devices)
    devices = material.open()
    devices[1].set_learning_rate(0.5)
    with pytest.raises(kt.DeviceError, match="reset"):
        kt.Group(devices)


@pytest.mark.qemu
def test_one_device_with_two_memories(tmp_path: Path, qemu: Any) -> None:
    """Moments in the RAM and in the external RAM of an emulated board; the bits are those of a build that has all of them in RAM."""
    model, options = kt.load(DIGITS), {"method": METHODS, "optimizer": kt.Adam(), "accumulate": 4, "measure": False}
    two: dict[str, Any] = {"offload": "optimizer", "moments_in_ram": "4K", "slow_memory": "mps2-an386"}
    usual, (split,) = kt.build(model, tmp_path / "usual", **options), kt.sharded(model, tmp_path / "split", 1, **two, **options)
    before, after = (b.report["memory"] for b in (usual, split))
    kept, moments = after["by_kind"]["optimizer"], before["by_kind"]["optimizer"]
    assert 3000 < kept <= 4096 and 0 <= kept + after["slow"] - moments < 200 and before["state"] - after["state"] > moments - kept - 8
    x, y = np.random.default_rng(4).integers(-128, 128, (12, 8, 8, 1)).astype(np.int8), np.arange(12) % 10
    found = []
    for build, kind in ((usual, "host"), (split, "host"), (split, "qemu:mps2-an386")):
        with build.open(kind) as device:
            losses = device.fit(x, y, epochs=2, hold_out=0, progress=False).losses
            found.append((losses, device.export_adapter().payload))
    assert found[1:] == found[:1] * 2
    with pytest.raises(kt.CompileError, match="each device of a group has its part in RAM"):
        kt.sharded(model, tmp_path / "group", 2, **two, **options)
    with pytest.raises(kt.CompileError, match="none in slow memory"):
        kt.build(model, tmp_path / "none", moments_in_ram="4K", **options)
    with split.open() as device, pytest.raises(kt.DeviceError, match=r"device\.fit"):
        kt.Group([device])


def test_parts_cover_everything_once() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        sizes = {f"p{i}": int(n) for i, n in enumerate(rng.integers(1, 100, rng.integers(1, 6)))}
        unit = int(rng.choice([1, 32]))
        count = int(rng.integers(1, sum(-(-n // unit) for n in sizes.values()) + 1))
        found = [parts(sizes, (index, count), unit) for index in range(count)]
        covered = {name: sorted((p[name][0], p[name][0] + p[name][1]) for p in found if name in p) for name in sizes}
        for name, pieces in covered.items():
            assert [a for a, _ in pieces] == [0, *(b for _, b in pieces[:-1])] and pieces[-1][1] == sizes[name]
        assert all(found)
