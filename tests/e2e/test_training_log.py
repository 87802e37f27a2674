"""What a device has trained is repeated bit for bit, and what a fault makes different is named: the step, and the kernel in it."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from golden.reference import loaded_tiny, samples, tiny
from toy_model import edit, needs_qemu

import kilotune as kt
from kilotune.cli import main
from kilotune.devices.training_log import Kind, read_log

X, Y = samples(tiny(), 12), np.arange(12) % 3
OPTIONS: dict[str, Any] = {"method": [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()], "measure": False, "slice_instructions": 5000}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    return loaded_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def build(model: kt.Model, tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    return kt.build(model, tmp_path_factory.mktemp("replay") / "build", accumulate=2, storage="block8", optimizer=kt.SGD(lr=0.3), **OPTIONS)


def recorded(build: kt.Build, path: Path, name: str = "agent:host", before: Callable[[kt.Device, int], None] | None = None, **options: Any) -> Path:
    """A log of six steps with an update behind every second. before: called in front of each step."""
    with build.open(name) as device, device.record(path, **options):
        for i in range(6):
            if before is not None:
                before(device, i)
            device.train_step(X[i], Y[i])
            if i % 2:
                device.apply()
    return path


def changed(build: kt.Build, folder: Path, file: str, old: str, new: str) -> kt.Build:
    """The same build with a fault in one of its files."""
    shutil.copytree(build.directory, folder)
    edit(folder / file, old, new)
    return kt.open_build(folder)


@pytest.mark.parametrize("name", ["host", "agent:host", pytest.param("qemu:mps2-an386", marks=needs_qemu)])
def test_equal(name: str, build: kt.Build, tmp_path: Path) -> None:
    """Everything that changes a state is in the log; inference and saved states are between."""
    log = tmp_path / "log"
    with build.open(name) as device:
        device.train_step(X[0], Y[0])
        with device.record(log, kernels=name != "host"):
            device.fit(X, Y, epochs=2, hold_out=0.0)
            kept, adapter = device.state(), device.export_adapter()
            device.reset()
            device.set_learning_rate(0.1)
            device.load_adapter(adapter)
            device.set_state(kept)
            while device.train_slice(X[3], Y[3], 5000) is None:
                device.infer(X)
            device.apply()
    found = kt.replay(log, build.directory)
    assert found.equal and (found.steps, found.updates) == (25, 13) and not found.torn and not found.notes
    assert found.checked >= 38


def test_a_bit_that_flips_in_the_state_is_named(build: kt.Build, tmp_path: Path) -> None:
    member = next(m for m in build.manifest["state_members"] if m["value"] == "second.lora_b")

    def flip(device: kt.Device, i: int) -> None:
        if i == 4:
            state: Any = device._state  # type: ignore[attr-defined]
            content = bytearray(state.get())
            content[member["offset"] + 3] ^= 4
            state.set(bytes(content))

    found = kt.replay(recorded(build, tmp_path / "log", "host", flip), build.directory)
    assert found.difference is not None and (found.difference.step, found.difference.call) == (4, "")
    assert "second.lora_b, byte 3" in found.difference.what and "(1 bit)" in found.difference.what
    assert "differs at step 4" in found.text() and not found.equal


def test_faults_in_firmware_are_named(build: kt.Build, tmp_path: Path) -> None:
    """A weight in flash with another bit, and a kernel that computes something else from its second call on."""
    weights = f"{build.manifest['name']}_weights.h"
    text = (build.directory / weights).read_text()
    at = text.index("{", text.index("second_w")) + 1
    first = text[at:].split(",")[0].strip()
    bad = changed(build, tmp_path / "weight", weights, text[at - 60 : at] + text[at:].split(",")[0], text[at - 60 : at] + f" {int(first) ^ 64}")
    found = kt.replay(recorded(bad, tmp_path / "log", kernels=True), build.directory)
    assert found.difference is not None and found.difference.step <= 2
    assert found.difference.node == "second" and found.difference.phase == "forward"
    assert found.notes and "other sources" in found.notes[0]

    source = "runtime/src/kernels/parameter/bias_gradient.c"
    body = (build.directory / source).read_text()
    opening = body.index("{\n", body.index("void kt_bias_gradient(")) + 2
    fault = "    static int calls; if (++calls == 8) return;\n"
    bad = changed(build, tmp_path / "kernel", source, body, body[:opening] + fault + body[opening:])
    found = kt.replay(recorded(bad, tmp_path / "log", kernels=True), build.directory)
    assert found.difference is not None and found.difference.kernel == "kt_bias_gradient"
    assert found.difference.step == 3 and found.difference.node == "second.bias.gradient"
    assert "kt_bias_gradient" in found.text()

    found = kt.replay(recorded(bad, tmp_path / "log"), build.directory)
    assert found.difference is not None and not found.difference.kernel and "kernels=True" in found.difference.what
    found = kt.replay(tmp_path / "log", build.directory, lambda: build.open("agent:host"))
    assert found.difference is not None and "the fault is the recorded device's" in found.difference.what


def test_a_step_is_repeated_beside_a_device(build: kt.Build, tmp_path: Path) -> None:
    """A fault that is there whenever the firmware runs is found from a log without checksums of kernels."""
    source = "runtime/src/kernels/parameter/bias_gradient.c"
    body = (build.directory / source).read_text()
    opening = body.index("{\n", body.index("void kt_bias_gradient(")) + 2
    bad = changed(build, tmp_path / "kernel", source, body, body[:opening] + "    accumulator[0] += 1.0f;\n" + body[opening:])
    log = recorded(bad, tmp_path / "log", every=3)
    found = kt.replay(log, build.directory, lambda: bad.open("agent:host"))
    assert found.difference is not None and found.difference.kernel == "kt_bias_gradient"
    assert found.difference.node == "logits.bias.gradient" and "first at" in found.difference.what


def test_logs_that_are_not_whole_or_of_something_else(build: kt.Build, model: kt.Model, tmp_path: Path) -> None:
    log = recorded(build, tmp_path / "log")
    whole = log.read_bytes()
    for cut, steps, words in (
        (len(whole) - 5, 6, "middle of record"),
        (len(whole) - 13, 6, "not closed"),
        (len(whole) * 9 // 10, 3, "middle of record"),
    ):
        log.write_bytes(whole[:cut])
        found = kt.replay(log, build.directory)
        assert found.equal and found.steps >= steps - 1 and words in found.torn, cut
        assert "what stands before was repeated" in found.text()
    damaged = bytearray(whole)
    damaged[-40] ^= 1
    log.write_bytes(damaged)
    assert "its CRC is another" in kt.replay(log, build.directory).torn
    for content, words in ((b"", "no log"), (b"kilotune log 1\n", "damaged at its beginning"), (whole[:25], "damaged at its beginning")):
        log.write_bytes(content)
        with pytest.raises(kt.DeviceError, match=words):
            kt.replay(log, build.directory)
    log.write_bytes(whole)
    with pytest.raises(kt.DeviceError, match="cannot be read"):
        kt.replay(tmp_path / "none", build.directory)
    other = kt.build(model, tmp_path / "other", method=kt.BiasOnly(), measure=False)
    with pytest.raises(kt.DeviceError, match="another build"):
        kt.replay(log, other.directory)
    with other.open() as device:
        with pytest.raises(kt.DeviceError, match="slice_instructions"), device.record(tmp_path / "x", kernels=True):
            pass
        with pytest.raises(ValueError, match="at least 1"), device.record(tmp_path / "x", every=0):
            pass
        with pytest.raises(kt.DeviceError, match="cannot be written"), device.record(tmp_path / "no" / "x"):
            pass


def test_another_seed_is_named(build: kt.Build, model: kt.Model, tmp_path: Path) -> None:
    """A log that begins with reset() on firmware whose LoRA matrices start from another seed."""
    other = kt.build(model, tmp_path / "seed", accumulate=2, storage="block8", optimizer=kt.SGD(lr=0.3), seed=1, **OPTIONS)
    log = recorded(other, tmp_path / "log", "host", lambda device, i: device.reset() if i == 2 else None)
    found = kt.replay(log, build.directory)
    assert found.difference is not None and found.difference.call == "reset" and "another seed" in found.difference.what
    assert kt.replay(log, other.directory).equal


def test_the_command(build: kt.Build, tmp_path: Path) -> None:
    """A log without samples takes them from --data; JSON, exit codes, and what is written by `kilotune train`."""
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    log, run = tmp_path / "log", CliRunner()
    train = ["train", str(build.directory), "--data", str(tmp_path / "data.npz"), "--epochs", "1", "--device", "agent:host"]
    assert run.invoke(main, [*train, "--record", str(log), "--record-kernels"]).exit_code == 0
    done = run.invoke(main, ["replay", str(log), "--build", str(build.directory)])
    assert done.exit_code == 0 and "equal, bit for bit" in done.output
    assert run.invoke(main, [*train, "--record-kernels"]).exit_code == 2

    recorded(build, log, samples=False)
    assert X[0].tobytes() not in log.read_bytes()
    done = run.invoke(main, ["replay", str(log), "--build", str(build.directory)])
    assert done.exit_code == 1 and "--data" in done.output
    done = run.invoke(main, ["replay", str(log), "--build", str(build.directory), "--data", str(tmp_path / "data.npz"), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["equal"]

    content, at = log.read_bytes(), 0
    step = next(r for r in read_log(log).records if r.kind == Kind.STEP)
    at = content.index(step.content)
    wrong = step.content[:8] + struct.pack("<f", 7.0) + step.content[12:]
    head = content[at - 5 : at]
    log.write_bytes(content[:at] + wrong + struct.pack("<I", zlib.crc32(wrong, zlib.crc32(head))) + content[at + len(wrong) + 4 :])
    done = run.invoke(main, ["replay", str(log), "--build", str(build.directory), "--data", str(tmp_path / "data.npz")])
    assert done.exit_code == 1 and "its loss is 7.0" in done.output
