"""A replay buffer: which samples it keeps and draws, that a replayed step has the bits of one on the sample itself, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import loaded_tiny, samples, tiny

import kilotune as kt
from kiloc.continual import STEP, ReplayBuffer, lowest, pack, unpack
from kiloc.ir import interp
from kilotune.devices import TrainingInterrupted
from kilotune.devices.host import HostDevice
from kilotune.search.prefix import after

LAST: dict[str, Any] = {"method": kt.Head()}
ALL: dict[str, Any] = {"method": [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]}
CASES: dict[str, tuple[dict[str, Any], kt.Replay]] = {
    "reservoir of latents": (LAST, kt.Replay(7)),
    "balanced latents": (LAST | {"seed": 3}, kt.Replay(7, policy="class_balanced")),
    "inputs of a frozen front": (LAST, kt.Replay(5, keep="input")),
    "latents of four bits": (LAST | {"seed": 5}, kt.Replay(9, bits=4)),
    "inputs of four bits": (ALL | {"slice_instructions": 500}, kt.Replay(8, policy="class_balanced", bits=4)),
    "inputs of four bits in the arena": (ALL | {"buffers": "arena"}, kt.Replay(8, bits=4)),
    "nothing frozen": (ALL, kt.Replay(6, policy="class_balanced")),
    "inputs in the arena": (ALL | {"buffers": "arena"}, kt.Replay(6)),
    "latents behind inputs in the arena": (LAST | {"buffers": "arena"}, kt.Replay(6)),
    "values as targets": (LAST | {"loss": "mse"}, kt.Replay(4)),
    "accumulating": (LAST | {"accumulate": 4, "optimizer": kt.Adam(lr=0.01)}, kt.Replay(5)),
    "latents in slow memory": (LAST | {"slice_instructions": 500}, kt.Replay(6, policy="class_balanced", memory="slow")),
    "inputs in slow memory": (ALL | {"slice_instructions": 500}, kt.Replay(5, memory="slow")),
    "inputs of four bits in slow memory": (ALL | {"slice_instructions": 500}, kt.Replay(7, memory="slow", bits=4)),
    "latents of four bits in slow memory": (LAST | {"seed": 5}, kt.Replay(9, memory="slow", bits=4)),
    "beside moments in slow memory": (LAST | {"loss": "mse", "offload": "optimizer", "optimizer": kt.Adam(lr=0.01)}, kt.Replay(4, memory="slow")),
}
X = samples(tiny(), 40)
LABELS = np.random.default_rng(0).choice(3, 40, p=[0.7, 0.2, 0.1])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    return loaded_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def build_of(model: kt.Model, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], kt.Build]:
    folder, made = tmp_path_factory.mktemp("builds"), dict[str, kt.Build]()

    def build(name: str) -> kt.Build:
        if name not in made:
            options, replay = CASES[name]
            made[name] = kt.build(model, folder / str(len(made)), replay=replay, measure=False, **options)
        return made[name]

    return build


def _targets(build: kt.Build) -> Any:
    if build.manifest["targets"] == "labels":
        return LABELS
    return np.eye(build.manifest["outputs"][0]["shape"][-1], dtype=np.float32)[LABELS]


def _replayed(device: kt.Device, turn: int) -> float:
    """A step on an entry; in a build with slices every other one in as many as there are, with inference between them."""
    loss = device.replay_step() if not device.manifest.steps or turn % 2 else None
    while loss is None:
        loss = device.replay_slice(1)
        device.infer(X[:1])
    return loss


def _as_kept(build: kt.Build, x: Any) -> Any:
    """Inputs as the buffer gives them back."""
    if build.report["replay"]["bits"] == 8:
        return x
    least = lowest(tiny().type("input").zero_point)
    return np.stack([unpack(pack(sample, least), len(sample), least) for sample in x])


FOUR_BITS = ("latents of four bits", "latents of four bits in slow memory")


@pytest.mark.parametrize("name", [name for name in CASES if name not in FOUR_BITS])
def test_keeps_and_draws_what_numpy_says(name: str, build_of: Callable[[str], kt.Build]) -> None:
    """The labels and the number of every entry after each of 40 samples, and a step on a drawn entry as one on its sample."""
    build, replay = build_of(name), CASES[name][1]
    y, labelled = _targets(build), build.manifest["targets"] == "labels"
    classes = build.manifest["classes"] if replay.policy == "class_balanced" else 0
    expected = ReplayBuffer(replay.samples, classes, CASES[name][0].get("seed", 0))
    kept, given = dict[int, int](), _as_kept(build, X)
    with build.open() as device:
        fresh = device.state()
        for i in range(len(X)):
            device.remember(X[i : i + 1], y[i : i + 1])
            entry = expected.place(int(LABELS[i]))
            if entry is not None:
                kept[entry] = i
        found = device.replay_buffer()
        assert (found.held, found.offered, found.drawn) == (replay.samples, 40, 0)
        assert found.labels is None if not labelled else found.labels.tolist() == expected.labels
        at, size = build.manifest["replay"]["at"]["replay_counts"], 12
        for turn in range(5):
            before, row = bytearray(device.state()), kept[expected.draw() or 0]
            loss, after = _replayed(device, turn), bytearray(device.state())
            device.set_state(bytes(before))
            whole = bytes(after)
            assert device.train_step(given[row], y[row]) == loss
            changed = bytearray(device.state())
            assert before != changed
            for changing in (after, changed):  # and what is staged of an entry in slow memory, or in four bits, is no result
                changing[at : at + size] = bytes(size)
                if "replay_unpacked" in build.manifest["replay"]["at"]:
                    entry = build.manifest["replay"]["at"]["replay_unpacked"]
                    changing[entry : entry + X[0].size] = bytes(X[0].size)
                if replay.memory == "slow" and "replay_entries" in build.manifest["replay"]["at"]:
                    entry = build.manifest["replay"]["at"]["replay_entries"]
                    changing[entry : entry + build.manifest["replay"]["entry_bytes"]] = bytes(build.manifest["replay"]["entry_bytes"])
            assert after == changed
            device.set_state(bytes(whole))
        device.set_state(fresh)
        with pytest.raises(kt.DeviceError, match="holds no sample"):
            device.replay_step()


def test_latents_of_four_bits(model: kt.Model, build_of: Callable[[str], kt.Build], tmp_path: Path) -> None:
    """Entries are what NumPy packs of the frozen layers' results; a replayed step is one of the model behind them on what it unpacks."""
    build = build_of("latents of four bits")
    cut = build.report["replay"]["values"][0]
    latents = interp.run(model.graph, {model.graph.inputs[0]: X})[cut]
    least = lowest(model.graph.type(cut).zero_point)
    rest = replace(model, graph=after(model.graph, cut))
    alone = kt.build(rest, tmp_path / "rest", measure=False, calibration=latents, **CASES["latents of four bits"][0])
    packed = [pack(sample, least) for sample in latents[:9]]
    with build.open() as device, build_of("latents of four bits in slow memory").open() as slow, alone.open() as other:
        device.remember(X[:9], LABELS[:9])
        slow.remember(X[:9], LABELS[:9])
        assert device.replay_buffer().entries.tolist() == [entry.tolist() for entry in packed]
        order = ReplayBuffer(9, seed=5, labels=[0] * 9)
        for _ in range(4):
            row = order.draw() or 0
            loss = other.train_step(unpack(packed[row], latents[row].size, least), int(LABELS[row]))
            assert device.replay_step() == loss == slow.replay_step()


def test_four_bits_keep_zero_and_are_off_by_half_a_step() -> None:
    codes = np.arange(-128, 128, dtype=np.int8)
    for zero in (-128, -1, 0, 5, 127):
        least = lowest(zero)
        back = unpack(pack(codes, least), 256, least)
        assert zero in back[codes == zero]
        top = least + 15 * STEP
        assert np.abs(back.astype(int) - np.clip(codes, least, top)).max() == STEP // 2
    assert pack(codes[:3], -128).tolist() == [0, 0]


def test_what_the_report_says(build_of: Callable[[str], kt.Build]) -> None:
    """Bytes of the buffer count in the state, and in no adapter; of a model of which all is trained the input is kept."""
    for name, (options, replay) in CASES.items():
        report = build_of(name).report
        said, kinds = report["replay"], report["memory"]["by_kind"]
        assert said["total"] == kinds["replay"] >= replay.samples * (said["entry"] * (replay.memory == "state") + said["target"])
        assert (said["skipped_macs"] > 0) == (options["method"] is LAST["method"] and replay.keep == "latent"), name
        assert said["slow"] == (replay.samples * (-(-said["entry"] // 4) * 4 + 4) if replay.memory == "slow" else 0)
        assert said["entry"] == said["input"] * said["bits"] // 8 or said["skipped_macs"] > 0
        assert "replay" in build_of(name).report_text()


@pytest.mark.parametrize("name", ["balanced latents", "inputs of four bits in the arena", "latents in slow memory"])
def test_boards_keep_and_draw_the_same(name: str, build_of: Callable[[str], kt.Build], qemu: str) -> None:
    states = []
    for where in ("host", "qemu:mps2-an386"):
        with build_of(name).open(where) as device:
            device.remember(X[:20], LABELS[:20])
            device.fit(X[20:30], LABELS[20:30], epochs=2, replay=2, hold_out=0.0)
            if where != "host":
                assert device.stats()["call"] == "remember"
            _replayed(device, 0)
            states.append((device.state(), device.replay_buffer().offered))
    assert states[0] == states[1] and states[0][1] == 30


def test_a_training_with_replay_that_was_cut_off_goes_on(
    build_of: Callable[[str], kt.Build], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"epochs": 3, "replay": 1, "hold_out": 0.0, "seed": 1}
    with build_of("balanced latents").open() as device:
        device.remember(X[:20], LABELS[:20])
        device.fit(X[20:], LABELS[20:], **options)
        whole = device.state()
        device.reset()
        device.remember(X[:20], LABELS[:20])
        start, steps, usual = device.state(), iter(range(30)), HostDevice._train_step

        def failing(self: HostDevice, *arguments: Any) -> float:
            if next(steps, None) is None:
                raise KeyboardInterrupt
            return usual(self, *arguments)

        monkeypatch.setattr(HostDevice, "_train_step", failing)
        with pytest.raises(TrainingInterrupted):
            device.fit(X[20:], LABELS[20:], checkpoint=tmp_path / "c", **options)
        monkeypatch.undo()
        device.set_state(start)
        device.fit(X[20:], LABELS[20:], checkpoint=tmp_path / "c", resume=True, **options)
        assert device.state() == whole


def test_a_state_from_outside_leads_nowhere_else(build_of: Callable[[str], kt.Build]) -> None:
    """Counters and labels that no training makes: the buffers' guards hold, and a class that is none is refused."""
    build = build_of("balanced latents")
    at = build.manifest["replay"]["at"]
    with build.open() as device:
        device.remember(X[:7], LABELS[:7])
        good = device.state()
        for counter in (-1, -(2**31), 2**31 - 1):
            forged = bytearray(good)
            forged[at["replay_counts"] : at["replay_counts"] + 24] = np.full(6, counter, np.int32).tobytes()
            device.set_state(bytes(forged))
            device.remember(X[:2], LABELS[:2])
            device.replay_step()
        forged = bytearray(good)
        forged[at["replay_labels"] : at["replay_labels"] + 7] = b"\xff" * 7
        device.set_state(bytes(forged))
        device.remember(X[:1], LABELS[:1])
        with pytest.raises(kt.DeviceError, match="label lies outside"):
            for _ in range(8):
                device.replay_step()


def test_slow_memory_that_forgot_and_steps_that_were_left(model: kt.Model, build_of: Callable[[str], kt.Build], tmp_path: Path) -> None:
    """An entry that is not the state's is not trained on; in the middle of a step no other begins, and no sample is taken."""
    build = fresh("inputs in slow memory", model, tmp_path, 18)
    with build.open() as device, build.open() as other:
        device.remember(X[:5], LABELS[:5])
        kept = device.state()
        other.set_state(kept)
        with pytest.raises(kt.DeviceError, match="slow memory"):
            other.replay_step()
        assert other.replay_buffer().held == 0
        other.remember(X[:5], LABELS[:5])
        other.fit(X[5:7], LABELS[5:7], replay=2, hold_out=0.0)
        assert device.replay_slice(1) is None
        for call in (device.replay_step, lambda: device.remember(X[:1], LABELS[:1]), lambda: device.train_slice(X[0], 0), device.apply):
            with pytest.raises(kt.DeviceError, match="step was left"):
                call()
        device.set_state(kept)
        assert device.train_slice(X[0], int(LABELS[0]), 1) is None
        with pytest.raises(kt.DeviceError, match="step was left"):
            device.replay_slice(1)
    with build_of("nothing frozen").open() as device, pytest.raises(kt.DeviceError, match="in one"):
        device.replay_slice(1)


def fresh(name: str, model: kt.Model, folder: Path, seed: int) -> kt.Build:
    """A build whose library no other test has: slow memory of this computer outlives a device."""
    options, replay = CASES[name]
    return kt.build(model, folder / "fresh", replay=replay, measure=False, seed=seed, **options)


def test_a_log_has_to_begin_before_slow_memory_is_filled(model: kt.Model, tmp_path: Path) -> None:
    build = fresh("latents in slow memory", model, tmp_path, 17)
    with build.open() as device:
        with device.record(tmp_path / "whole"):
            device.remember(X[:6], LABELS[:6])
            device.replay_step()
        with device.record(tmp_path / "late"):
            device.replay_step()
        with pytest.raises(kt.DeviceError, match="no state has it"):
            kt.replay(tmp_path / "late", build.directory)
        assert kt.replay(tmp_path / "whole", build.directory).equal


def test_what_slow_memory_still_has_stays(build_of: Callable[[str], kt.Build]) -> None:
    """A state of before: of entries that hold other classes by now none is trained on, and the others close up."""
    with build_of("latents in slow memory").open() as device:
        twin = ReplayBuffer(6, 3)
        for i in range(40):
            device.remember(X[i : i + 1], LABELS[i : i + 1])
            twin.place(int(LABELS[i]))
            if i == 5:
                before, labels = device.state(), list(twin.labels)
        lost = {entry for entry in range(6) if labels[entry] != twin.labels[entry]}
        assert 0 < len(lost) < 6
        device.set_state(before)
        then = ReplayBuffer(6, 3, labels=labels)
        then.drop(lost)
        with pytest.raises(kt.DeviceError, match="remember"):
            for _ in range(40):
                device.replay_step()
        assert device.replay_buffer().labels.tolist() == then.labels and then.labels
        for _ in range(10):
            device.replay_step()


def test_what_is_refused(model: kt.Model, build_of: Callable[[str], kt.Build], tmp_path: Path) -> None:
    for wrong in (0, -3, 2**20, 1.5, True):
        with pytest.raises(kt.CompileError, match="whole number from 1"):
            kt.Replay(wrong)  # type: ignore[arg-type]
    for name in ("policy", "keep", "memory"):
        with pytest.raises(kt.CompileError, match="unknown"):
            kt.Replay(3, **{name: "newest"})
    with pytest.raises(kt.CompileError, match="unknown"):
        kt.Replay(3, bits=5)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"replay": kt.Replay(5)}, "nothing is trained"),
        (LAST | {"replay": 60}, "is no kt.Replay"),
        (LAST | {"replay": kt.Replay(5, policy="class_balanced"), "loss": "mse"}, "balances classes"),
        (LAST | {"replay": kt.Replay(5), "train": False}, "nothing is trained"),
    ]
    for options, message in refused:
        with pytest.raises(kt.CompileError, match=message) as caught:
            kt.build(model, tmp_path / "b", measure=False, **options)
        assert caught.value.hint
    with pytest.raises(kt.BudgetError):
        kt.build(model, tmp_path / "b", measure=False, ram="2K", replay=kt.Replay(2000), **LAST)
    plain = kt.build(model, tmp_path / "plain", measure=False, **LAST)
    with plain.open() as device:
        for call in (lambda: device.remember(X[:1], LABELS[:1]), device.replay_step, lambda: device.fit(X, LABELS, replay=1)):
            with pytest.raises(kt.DeviceError, match="without a replay buffer"):
                call()
    with build_of("nothing frozen").open() as device:
        for wrong in (-1, 1.5, True):
            with pytest.raises(ValueError, match="whole number of steps"):
                device.fit(X, LABELS, replay=wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="label"):
            device.remember(X[:1], [3])
