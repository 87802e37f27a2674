"""Files of every version are read, or refused by their version: adapters, states, manifests, configurations."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kilotune as kt
from kiloc.emit.adapter_table import HEADER_BYTES
from kilotune.adapters import signing
from kilotune.devices.manifest import Manifest

from .make_files import CONFIG

HERE = Path(__file__).resolve().parent
VERSIONS = sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name[0].isdigit())
REFUSED: dict[str, set[str]] = {}
"""Version: files of it ("adapter.kta", "state.bin", "manifest.json", "config.json") that this version refuses, with a message that names a version.
An entry here is a break of compatibility: CHANGELOG.md tells it to users."""


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def build(version: str, tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    """The same model and options, built by today's code."""
    return kt.build(kt.load(HERE / version / "tiny.tflite"), tmp_path_factory.mktemp("build") / "b", config=CONFIG, measure=False)


def held(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / version / "held.json").read_text())
    return found


def reads(version: str, name: str) -> bool:
    return name not in REFUSED.get(version, set())


def test_there_are_files_of_this_version() -> None:
    assert kt.__version__ in VERSIONS, "run python tests/compatibility/make_files.py, and commit what it writes"


def test_an_adapter_gives_the_results_of_its_time(version: str, build: kt.Build) -> None:
    path, then = HERE / version / "adapter.kta", held(version)
    if not reads(version, path.name):
        with pytest.raises(ValueError, match="in version"):
            kt.Adapter.load(path)
        return
    adapter = kt.Adapter.load(path)
    assert (adapter.name, adapter.sequence, adapter.methods) == ("kept", 7, then["methods"])
    assert {name: value.tolist() for name, value in adapter.values().items()} == then["values"]
    x = np.asarray(then["inputs"], np.int8)
    with build.open() as device:
        np.testing.assert_array_equal(device.infer(x), then["before"])
        device.load_adapter(adapter)
        np.testing.assert_array_equal(device.infer(x), then["after"])


def test_a_signature_stays_true(version: str, monocypher: Path) -> None:
    if reads(version, "adapter.kta"):
        signing.verify(kt.Adapter.load(HERE / version / "signed.kta"), HERE / version / "key.pub")


def test_a_state_gives_the_results_of_its_time(version: str, build: kt.Build) -> None:
    state, then = (HERE / version / "state.bin").read_bytes(), held(version)
    with build.open() as device:
        if not reads(version, "state.bin"):
            with pytest.raises((ValueError, kt.DeviceError), match=r"layout|bytes"):
                device.set_state(state)
            return
        device.set_state(state)
        np.testing.assert_array_equal(device.infer(np.asarray(then["inputs"], np.int8)), then["after"])
        assert device.state() == state


def test_a_manifest_is_read(version: str, build: kt.Build, tmp_path: Path) -> None:
    shutil.copyfile(HERE / version / "manifest.json", tmp_path / "manifest.json")
    if not reads(version, "manifest.json"):
        with pytest.raises(kt.DeviceError, match=r"in format .* made by kilotune"):
            Manifest.load(tmp_path)
        return
    then, now = Manifest.load(tmp_path), Manifest.load(build.directory)
    assert (then.name, then.classes, then.accumulate, then.base_hash) == (now.name, now.classes, now.accumulate, now.base_hash)
    assert (then.inputs, then.outputs) == (now.inputs, now.outputs)


def test_a_configuration_is_read(version: str) -> None:
    path = HERE / version / "config.json"
    if reads(version, path.name):
        assert kt.load_config(path) == CONFIG
    else:
        with pytest.raises(kt.CompileError, match=r"in format .* made by kilotune"):
            kt.load_config(path)


# ---- What a later version may write ----


def test_an_adapter_of_a_later_version_is_refused(build: kt.Build) -> None:
    data = bytearray((HERE / kt.__version__ / "adapter.kta").read_bytes())
    now = struct.unpack_from("<H", data, 4)[0]
    struct.pack_into("<H", data, 4, now + 1)
    struct.pack_into("<I", data, HEADER_BYTES - 4, zlib.crc32(data[: HEADER_BYTES - 4]))
    with pytest.raises(ValueError, match=rf"in version {now + 1} of the format: this is kilotune {kt.__version__}, which reads version {now}"):
        kt.Adapter(bytes(data))
    with build.open() as device, pytest.raises(kt.DeviceError, match="the adapter is in another version of the format"):
        device._load_adapter(bytes(data))


def test_a_manifest_of_a_later_version_is_refused(build: kt.Build, tmp_path: Path) -> None:
    later = build.manifest | {"format": 2, "kilotune": "9.9.9"}
    shutil.copytree(build.directory, tmp_path / "b")
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(later))
    words = rf"in format 2, made by kilotune 9\.9\.9: this is kilotune {kt.__version__}, which reads format 1"
    for call, error in ((lambda: kt.open_build(tmp_path / "b"), kt.CompileError), (lambda: Manifest.load(tmp_path / "b"), kt.DeviceError)):
        with pytest.raises(error, match=words) as caught:
            call()
        assert "build it again" in caught.value.hint


def test_a_configuration_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict() | {"format": 2, "kilotune": "9.9.9", "methods": "in another way"}))
    with pytest.raises(kt.CompileError, match=rf"in format 2, made by kilotune 9\.9\.9: this is kilotune {kt.__version__}, which reads format 1"):
        kt.load_config(tmp_path / "config.json")


def test_a_state_of_another_layout_is_refused_by_its_number(build: kt.Build) -> None:
    state = bytearray((HERE / kt.__version__ / "state.bin").read_bytes())
    now = struct.unpack_from("<I", state)[0]
    assert build.manifest["state_layout"] == now
    struct.pack_into("<I", state, 0, now ^ 1)
    with build.open() as device:
        before = device.state()
        with pytest.raises(kt.DeviceError, match=rf"another version: its layout is {now ^ 1:#010x}, this build's {now:#010x}"):
            device.set_state(bytes(state))
        assert device.state() == before
