"""Adapters that a device keeps: the pool and the slots behind the agent, on the host under sanitizers and on an emulated board."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kiloc.peft import Method
from kilotune.devices import stored_adapters
from kilotune.devices.agent import AgentDevice, Command

X = samples(tiny(), 20)
METHODS: list[Method] = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training and an inference-only build with pools, and three adapters with their results."""
    folder, rng = tmp_path_factory.mktemp("stored"), np.random.default_rng(2)
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    model, two = kt.load(folder / "tiny.tflite"), kt.AdapterOptions(resident=2)
    training = kt.build(model, folder / "training", method=METHODS, optimizer=kt.SGD(lr=0.3), adapters=two, measure=False)
    with training.open() as device:
        for i, name in enumerate(("alice", "bob", "carol")):
            device.reset()
            device.fit(X, rng.integers(0, 3, 20), epochs=10)
            device.export_adapter().labelled(name, sequence=i + 1).save(folder / f"{name}.kta")
            np.save(folder / f"{name}.npy", device.infer(X))
            np.save(folder / f"{name}_labels.npy", device.predict(X))
    test = (X, np.load(folder / "bob_labels.npy"))
    options = kt.AdapterOptions(resident=2, slots=True, rollback_protection=True, self_test=test, permitted=1)
    kt.build(model, folder / "inference", method=METHODS, train=False, adapters=options, measure=False)
    return folder


def adapter(folder: Path, name: str) -> tuple[kt.Adapter, Any]:
    return kt.Adapter.load(folder / f"{name}.kta"), np.load(folder / f"{name}.npy")


DEVICES = [pytest.param(("agent:host", {"sanitize": True}), id="agent"), pytest.param(("qemu:mps2-an386", {}), id="an386", marks=pytest.mark.qemu)]


@pytest.fixture(params=DEVICES)
def place(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param[0].startswith("qemu"):
        request.getfixturevalue("qemu")
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def inference(folder: Path, place: Any) -> Iterator[kt.Device]:
    with kt.open_build(folder / "inference").open(place[0], **place[1]) as device:
        yield device


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_a_pool_on_a_device(kind: str, folder: Path, place: Any) -> None:
    (alice, a), (bob, b), (carol, _) = (adapter(folder, n) for n in ("alice", "bob", "carol"))
    with kt.open_build(folder / kind).open(place[0], **place[1]) as device:
        base = device.infer(X)
        device.store_adapter(alice)
        device.store_adapter(bob, name="robert")
        assert device.stored_adapters() == (["alice", "robert"], None) and np.array_equal(device.infer(X), base)
        for name, expected in (("robert", b), ("alice", a), (None, base), ("robert", b)):
            device.select_adapter(name)
            assert np.array_equal(device.infer(X), expected) and device.stored_adapters()[1] == name
        for call, words in (
            (lambda: device.store_adapter(alice), "of this name is there"),
            (lambda: device.store_adapter(carol), "no room"),
            (lambda: device.select_adapter("dave"), "no adapter of this name"),
            (lambda: device.remove_adapter("dave"), "no adapter of this name"),
            (lambda: device.remove_adapter("robert"), "in use"),
        ):
            with pytest.raises(kt.DeviceError, match=words):
                call()
        assert np.array_equal(device.infer(X), b) and device.stored_adapters() == (["alice", "robert"], "robert")
        device.remove_adapter("alice")
        device.store_adapter(carol)
        assert device.stored_adapters()[0] == ["carol", "robert"]
        with pytest.raises(ValueError, match="has no name"):
            device.store_adapter(alice.labelled(""))


def test_an_update_over_the_air(inference: kt.Device, folder: Path) -> None:
    """First install, a replacement, and after each a reboot; what is older, worse or foreign is refused and the adapter before stays."""
    (alice, a), (bob, b), (carol, _) = (adapter(folder, n) for n in ("alice", "bob", "carol"))
    base = inference.infer(X)
    assert inference.update_adapter(bob).sent == len(bob) and np.array_equal(inference.infer(X), b)
    for adapter_in, words in ((alice, "older than rollback protection permits"), (carol, "stored samples' results worse")):
        with pytest.raises(kt.DeviceError, match=words):
            inference.update_adapter(adapter_in)
        assert np.array_equal(inference.infer(X), b)
    inference.reset()
    assert np.array_equal(inference.infer(X), base)
    inference.reboot()
    assert np.array_equal(inference.infer(X), b), "flash outlives a reset"
    newer = bob.labelled("bob 2", sequence=9)
    inference.update_adapter(newer)
    inference.reboot()
    assert np.array_equal(inference.infer(X), b) and not np.array_equal(a, b)


def test_a_cut_update_goes_on_where_it_was(inference: kt.Device, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line breaks after every number of chunks and the board resets; the next try sends only what is missing."""
    bob, b = adapter(folder, "bob")
    base = inference.infer(X)
    original = stored_adapters.StoredAdapters.__init__

    def small(self: Any, request: Any, chunk: int) -> None:
        original(self, request, 100)

    monkeypatch.setattr(stored_adapters.StoredAdapters, "__init__", small)
    total = -(-len(bob) // 96)
    for chunks in range(1, total):
        stored = inference._stored()
        start = stored.begin(bob.data).kept
        whole = bob.data[: min(len(bob), start + chunks * 96)]
        stored.write(whole, start)
        inference.reboot()
        assert np.array_equal(inference.infer(X), base), "what is half written is not used"
    result = inference.update_adapter(bob)
    assert result.kept > 0 and result.sent == len(bob) - result.kept
    assert np.array_equal(inference.infer(X), b)


def test_an_interrupted_update_is_in_nobodys_way(inference: kt.Device, folder: Path) -> None:
    """Without a reset: the next update goes on with what has arrived, one of another file begins anew, and one can be given up."""
    (bob, b), (carol, _) = (adapter(folder, n) for n in ("bob", "carol"))
    inference._stored().request(stored_adapters.UPDATE_BEGIN, struct.pack("<II", len(carol), 0))
    inference._stored().write(carol.data[:480], 0)
    stored = inference._stored()
    stored.begin(bob.data)
    stored.write(bob.data[:480], 0)
    result = inference.update_adapter(bob)
    assert result.kept > 0 and result.sent == len(bob) - result.kept and np.array_equal(inference.infer(X), b)
    newer = bob.labelled("newer", sequence=9)
    stored.begin(newer.data)
    inference.abandon_update()
    for call in (lambda: stored.write(newer.data, 0), stored.install):
        with pytest.raises(kt.DeviceError, match="no update under way"):
            call()
    assert np.array_equal(inference.infer(X), b)
    inference.update_adapter(newer)


def test_older_adapters_are_refused_by_every_way_in(inference: kt.Device, folder: Path) -> None:
    """Once bob, number 2, is installed, alice, number 1, is neither loaded nor stored nor selected, also after a reboot."""
    (alice, a), (bob, b) = (adapter(folder, n) for n in ("alice", "bob"))
    inference.store_adapter(alice)
    inference.select_adapter("alice")
    assert np.array_equal(inference.infer(X), a), "nothing is installed: any number is taken"
    inference.load_adapter(alice)
    inference.update_adapter(bob)
    assert inference.stored_adapters() == (["alice"], None), "what was installed is active"
    calls = [lambda: inference.load_adapter(alice), lambda: inference.store_adapter(alice, "again"), lambda: inference.update_adapter(alice)]
    for call in (*calls, lambda: inference.select_adapter("alice")):
        with pytest.raises(kt.DeviceError, match="older than rollback protection permits"):
            call()
        assert np.array_equal(inference.infer(X), b)
    inference.reboot()
    for call in calls:
        with pytest.raises(kt.DeviceError, match="older than rollback protection permits"):
            call()
    inference.store_adapter(bob.labelled("same", sequence=2))
    inference.select_adapter("same")
    assert np.array_equal(inference.infer(X), b)


def test_what_a_reboot_forgets(inference: kt.Device, folder: Path) -> None:
    """The pool is memory, as are the buffers: after a reboot nothing of them is left."""
    bob, b = adapter(folder, "bob")
    base = inference.infer(X)
    inference.store_adapter(bob)
    inference.select_adapter("bob")
    assert np.array_equal(inference.infer(X), b)
    inference.reboot()
    assert inference.stored_adapters() == ([], None) and np.array_equal(inference.infer(X), base)
    assert isinstance(inference, AgentDevice) and not any(inference._read(Command.READ_ADAPTER, len(bob)))
    inference.store_adapter(bob)
    inference.store_adapter(bob, "twice")


def test_what_else_becomes_active_deselects(inference: kt.Device, folder: Path) -> None:
    """LOAD_ADAPTER, RESET and an update take over from the pool's adapter, which may then be removed; a refused update leaves it."""
    (bob, b), (carol, _) = (adapter(folder, n) for n in ("bob", "carol"))
    inference.store_adapter(bob)
    for take_over in (lambda: inference.load_adapter(bob), inference.reset):
        inference.select_adapter("bob")
        assert inference.stored_adapters() == (["bob"], "bob")
        take_over()
        assert inference.stored_adapters() == (["bob"], None)
    inference.select_adapter("bob")
    with pytest.raises(kt.DeviceError, match="stored samples' results worse"):
        inference.update_adapter(carol)
    assert inference.stored_adapters() == (["bob"], "bob") and np.array_equal(inference.infer(X), b)
    inference.update_adapter(bob)
    assert inference.stored_adapters() == (["bob"], None)
    inference.remove_adapter("bob")


def test_what_a_build_does_not_have_is_said(folder: Path, tmp_path: Path) -> None:
    bob, _ = adapter(folder, "bob")
    with kt.open_build(folder / "training").open("host") as device, pytest.raises(kt.DeviceError, match="keeps no adapters"):
        device.store_adapter(bob)
    with kt.open_build(folder / "training").open("agent:host") as device, pytest.raises(kt.DeviceError, match="has no slots"):
        device.update_adapter(bob)
    model = kt.load(folder / "tiny.tflite")
    for options, words in (
        (kt.AdapterOptions(slots=True), "for builds that only infer"),
        (kt.AdapterOptions(self_test=(X, np.zeros(20, np.int64))), "for builds that only infer"),
    ):
        with pytest.raises(kt.CompileError, match=words):
            kt.build(model, tmp_path / "b", method=METHODS, adapters=options)
    with pytest.raises(kt.CompileError, match="targets of shape"):
        options = kt.AdapterOptions(self_test=(X, np.zeros(3, np.int64)))
        kt.build(model, tmp_path / "b", method=METHODS, train=False, adapters=options)
