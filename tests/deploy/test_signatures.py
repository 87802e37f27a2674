"""Signed adapters: a build with a public key takes what its owner signed and nothing else; one without says so."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kiloc.peft import Method
from kilotune import monocypher_source
from kilotune.adapters import signing
from kilotune.devices.agent import AgentDevice, Command

from .programs import compiled, run
from .test_adapter_files import FUZZ, TRIALS

METHODS: list[Method] = [kt.LoRA(rank=2, layers="first,second"), kt.BiasOnly()]
X = samples(tiny(), 20)
Y = np.random.default_rng(1).integers(0, 3, 20)


class Setting:
    """A key, a training build, an inference-only build that wants the key's signature, and an adapter."""

    def __init__(self, folder: Path) -> None:
        (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
        self.model = kt.load(folder / "tiny.tflite")
        self.secret, self.public = signing.make_keys(folder / "mine")
        self.training = kt.build(self.model, folder / "training", method=METHODS, optimizer=kt.SGD(lr=0.1), measure=False)
        options = kt.AdapterOptions(public_key=self.public)
        self.inference = kt.build(self.model, folder / "inference", method=METHODS, train=False, adapters=options, measure=False)
        with self.training.open() as device:
            device.fit(X, Y, epochs=2)
            self.adapter, self.outputs = device.export_adapter(), device.infer(X)
        self.signed = signing.sign(self.adapter, self.secret)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory, monocypher: Path) -> Setting:
    return Setting(tmp_path_factory.mktemp("signed"))


def test_a_build_that_checks_signatures_and_only_infers_is_measured(setting: Setting, tmp_path: Path, arm_gcc: str) -> None:
    """It has no function that takes a state, so none may be asked of the linker."""
    options = kt.AdapterOptions(public_key=setting.public)
    built = kt.build(setting.model, tmp_path / "b", method=METHODS, train=False, adapters=options)
    assert built.report["flash"]["code"] > 0 and "resume" not in built.report["stack"]["calls"]


def altered(adapter: kt.Adapter) -> kt.Adapter:
    """Another payload under the old signature, with checksums and digest that fit: what a forger would make."""
    payload = bytes([adapter.payload[0] ^ 1]) + adapter.payload[1:]
    made = kt.Adapter.make(bytes.fromhex(adapter.base_hash), adapter.methods, adapter.entries, payload)
    assert adapter.public_key is not None and adapter.signature is not None
    signature = adapter.signature
    return made.with_signature(adapter.public_key, lambda _: signature)


def refused(setting: Setting, tmp_path: Path) -> dict[str, kt.Adapter]:
    stranger, _ = signing.make_keys(tmp_path / "stranger")
    theirs = signing.sign(setting.adapter, stranger)
    assert setting.signed.public_key is not None and theirs.signature is not None
    their_signature = theirs.signature
    return {
        "not signed": setting.adapter,
        "signed by someone else": theirs,
        "our key, their signature": setting.adapter.with_signature(setting.signed.public_key, lambda _: their_signature),
        "altered": altered(setting.signed),
    }


def test_a_signed_adapter_is_taken(setting: Setting) -> None:
    signing.verify(setting.signed, setting.public)
    assert setting.signed.public_key == signing.public_key(setting.public) and len(setting.signed) == len(setting.adapter) + 100
    for build in (setting.inference, setting.training):
        with build.open() as device:
            device.load_adapter(setting.signed)
            assert np.array_equal(device.infer(X), setting.outputs)


def test_nothing_else_is_taken(setting: Setting, tmp_path: Path) -> None:
    with setting.inference.open() as device:
        before = device.state()
        for why, adapter in refused(setting, tmp_path).items():
            with pytest.raises(kt.DeviceError, match="not signed by the key of this build"):
                device.load_adapter(adapter)
            assert device.state() == before, why
            with pytest.raises(ValueError, match=r"not signed|signed by the key|signature is false"):
                signing.verify(adapter, setting.public)


@pytest.mark.qemu
@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an385"])
def test_boards_check_signatures(board: str, setting: Setting, tmp_path: Path, qemu: Any) -> None:
    with setting.inference.open(f"qemu:{board}") as device:
        before = device.state()
        for adapter in refused(setting, tmp_path).values():
            with pytest.raises(kt.DeviceError, match="not signed by the key of this build"):
                device.load_adapter(adapter)
        assert device.state() == before
        device.load_adapter(setting.signed)
        assert np.array_equal(device.infer(X), setting.outputs)


@pytest.fixture(scope="module")
def signed_training(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    """A build that trains and wants the key's signature."""
    options = kt.AdapterOptions(public_key=setting.public)
    folder = tmp_path_factory.mktemp("signed_training") / "b"
    return kt.build(setting.model, folder, method=METHODS, optimizer=kt.SGD(lr=0.1), adapters=options, measure=False)


@pytest.mark.parametrize("place", ["host", "agent:host"])
@pytest.mark.parametrize("kind", ["inference", "training"])
def test_no_state_is_taken_where_there_is_a_key(kind: str, place: str, setting: Setting, signed_training: kt.Build) -> None:
    """A state has no signature. It is refused by Python, and by the device when Python is got round; the model works on as it was."""
    build = setting.inference if kind == "inference" else signed_training
    with build.open(place) as device:
        device.load_adapter(setting.signed)
        before = device.state()
        forged = before[:-4] + bytes(b ^ 0x55 for b in before[-4:])
        for call in (device.set_state, device._write_state):
            with pytest.raises(kt.DeviceError, match="it takes no state from outside"):
                call(forged)
        if isinstance(device, AgentDevice):
            for command, data in ((Command.WRITE_STATE, bytes(4) + forged[:8]), (Command.RESUME, b"")):
                with pytest.raises(kt.DeviceError, match="it takes no state from outside"):
                    device.link.request(command, data)
            assert device.state() == before
        else:
            device._state.set(before)  # type: ignore[attr-defined]
        assert np.array_equal(device.infer(X), setting.outputs)


def test_what_training_makes_needs_a_signature_elsewhere(setting: Setting, signed_training: kt.Build) -> None:
    """A build with training and a key learns from whoever calls train_step; no device of the key loads the result before it is signed."""
    with signed_training.open("agent:host") as device:
        base = device.infer(X)
        history = device.fit(np.tile(X, (6, 1)), np.tile(Y, 6))
        assert history.best_epoch is None and not np.array_equal(device.infer(X), base), "the recipe does without putting a state back"
        made, outputs = device.export_adapter(), device.infer(X)
        for asked in ({"hold_out": 0.2}, {"validation": (X, Y), "keep_best": True}):
            with pytest.raises(kt.DeviceError, match="it takes no state from outside"):
                device.fit(X, Y, epochs=1, **asked)  # type: ignore[arg-type]
        assert np.array_equal(device.infer(X), outputs), "it is refused before the first step"
    for build in (setting.inference, signed_training):
        with build.open() as device:
            with pytest.raises(kt.DeviceError, match="not signed by the key of this build"):
                device.load_adapter(made)
            device.load_adapter(signing.sign(made, setting.secret))
            assert np.array_equal(device.infer(X), outputs)


def test_firmware_may_go_on_with_what_it_saved_itself(setting: Setting, signed_training: kt.Build) -> None:
    """resume of the header is there for a build that trains, whose state is its own; a build that only infers has the signed adapter."""
    header = {build.directory: (build.directory / "tiny.h").read_text() for build in (signed_training, setting.inference)}
    assert "kt_status tiny_resume(" in header[signed_training.directory] and "tiny_resume" not in header[setting.inference.directory]


def test_no_damage_of_a_signed_file_gets_through(setting: Setting, tmp_path: Path) -> None:
    setting.signed.save(tmp_path / "whole.kta")
    taken, damaged, version = map(int, run(compiled(setting.inference, FUZZ, tmp_path), tmp_path / "whole.kta", str(TRIALS)).split())
    assert taken == 0 and damaged + version == TRIALS


def test_the_report_says_what_is_checked(setting: Setting) -> None:
    assert setting.inference.report["adapters"]["checked_for"] == "damage and origin" and "damage and origin" in setting.inference.report_text()
    assert setting.training.report["adapters"]["checked_for"] == "damage" and "damage, not for origin" in setting.training.report_text()
    sources = [Path(s).name for s in setting.training.manifest["sources"]]
    assert "monocypher.c" not in sources and "adapter_verify.c" not in sources
    assert "monocypher/monocypher.c" in setting.inference.manifest["sources"]


def test_keys(tmp_path: Path, monocypher: Path) -> None:
    secret, public = signing.make_keys(tmp_path / "k")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600 and len(signing.public_key(public)) == 32
    kept = secret.read_text()
    with pytest.raises(ValueError, match="never overwritten"):
        signing.make_keys(tmp_path / "k")
    assert secret.read_text() == kept
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: signing.public_key(secret), "not a public key"),
        (lambda: signing.public_key(tmp_path / "none"), "cannot be read"),
        (lambda: signing.public_key(b"short"), "not a public key"),
    ]
    for call, words in wrong:
        with pytest.raises(kt.CompileError, match=words):
            call()


def test_options_are_checked(setting: Setting, tmp_path: Path) -> None:
    for options, words in (
        ({"method": None, "adapters": kt.AdapterOptions(resident=1)}, "no method says"),
        ({"adapters": "mine.pub"}, "is no kt.AdapterOptions"),
        ({"adapters": kt.AdapterOptions(resident=-1)}, "not a number of adapters"),
        ({"adapters": kt.AdapterOptions(public_key=b"x" * 31)}, "not a public key"),
    ):
        with pytest.raises(kt.CompileError, match=words):
            kt.build(setting.model, tmp_path / "b", **{"method": METHODS, **options})  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()


def test_where_monocypher_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONOCYPHER_DIR", str(tmp_path))
    with pytest.raises(kt.DeviceError, match=r"holds no monocypher\.c"):
        monocypher_source.folder()
    for name in monocypher_source.FILES:
        (tmp_path / name).write_text("")
    assert monocypher_source.folder() == tmp_path
