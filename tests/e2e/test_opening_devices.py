"""Opening devices, losing them and measuring on them, with the small hand-written model: clear errors, nothing left running."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from toy_model import HAVE_ARM, X, Y, alive, edit, make_toy, needs_arm, needs_qemu

from kiloc.cores import TARGETS
from kilotune import boards, compilers, resources, toolchain
from kilotune.devices import open_device
from kilotune.devices.agent import AgentDevice
from kilotune.devices.base import Device
from kilotune.devices.errors import DeviceError
from kilotune.devices.manifest import Manifest
from kilotune.devices.pipe import ProcessTransport


@pytest.mark.parametrize("name", ["hots", "qemu:mps2-an368", "qemu:", "agent:x", "seriall:x", "host:x", "qemu:posix", ""])
def test_unknown_device_lists_what_exists(toy: Path, name: str) -> None:
    with pytest.raises(DeviceError, match=r"no device of this name(?s:.*)devices: host, agent:host, qemu:"):
        open_device(toy, name)


def test_other_errors_of_opening(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"QEMU does not emulate this board(?s:.*)kilotune flash \S+ --board pico, then the device serial:PORT"):
        open_device(toy, "qemu:pico")
    with pytest.raises(DeviceError, match="no option 'count'"):
        open_device(toy, "host", count=True)
    with pytest.raises(DeviceError, match="not a build directory"):
        open_device(tmp_path, "host")
    (tmp_path / "manifest.json").write_text('{"name": "x"}')
    with pytest.raises(DeviceError, match="the manifest is damaged: entry 'inputs' is missing"):
        open_device(tmp_path, "host")


@pytest.mark.parametrize("name", ["host", "agent:host"])
def test_a_device_with_another_model_is_refused(tmp_path: Path, name: str) -> None:
    folder = make_toy(tmp_path / "b", base_hash="ff23456789abcdef")
    with pytest.raises(DeviceError, match="another model: its base_hash is 0123456789abcdef, the manifest's ff23456789abcdef"):
        open_device(folder, name)


@pytest.mark.parametrize(
    ("entry", "message"), [("learning_rate = 0.5f;", "another build of toy: its options"), ("#define AGENT_PROTOCOL 2", "protocol 1, this is 2")]
)
def test_firmware_of_another_build_or_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, message: str) -> None:
    """What was flashed last month: same model, same sizes."""
    old, now = make_toy(tmp_path / "old"), make_toy(tmp_path / "now")
    if entry.startswith("#"):
        shutil.copytree(resources.agent(), tmp_path / "agent")
        edit(tmp_path / "agent/agent.c", entry, entry.replace("2", "1"))
        monkeypatch.setattr(resources, "agent", lambda: tmp_path / "agent")
    else:
        edit(old / "toy.c", entry, entry.replace("0.5", "0.25"))
    transport = ProcessTransport([str(toolchain.host_agent(old))], "agent:host", patience=5.0)
    with pytest.raises(DeviceError, match=rf"{message}(?s:.*)kilotune flash {now}"):
        AgentDevice(Manifest.load(now), transport, "agent:host", boards.load("posix"))
    assert not alive(transport.pid)


@pytest.mark.parametrize("name", ["link", "agent", "model", "board", "read", "write", "start", "main", "sleep"])
def test_a_model_may_have_any_name(tmp_path: Path, name: str, host: Device) -> None:
    """Neither headers nor functions of agent and board can meet a model's."""
    folder = make_toy(tmp_path / "b")
    for old in ("toy.c", "toy.h", "toy_interface.c", "manifest.json"):
        text = re.sub(r"\btoy(?=\.[ch]|_(?!kernels|weights|linear|crc32))|(?<=\")toy(?=\")", name, (folder / old).read_text())
        (folder / old).unlink()
        (folder / old.replace("toy", name)).write_text(text)
    host.fit(X, Y, epochs=1)
    with open_device(folder, "agent:host") as device:
        device.fit(X, Y, epochs=1)
        assert device.state() == host.state()
    if HAVE_ARM:
        toolchain.firmware(folder, "mps2-an386")


def test_code_that_does_not_compile_is_quoted(tmp_path: Path) -> None:
    folder = make_toy(tmp_path / "b")
    edit(folder / "toy.c", "m->state = state;", "m->state = stat;")
    with pytest.raises(DeviceError, match=r"cannot compile this file(?s:.*)stat(?s:.*)toy\.c"):
        open_device(folder, "host")


@needs_arm
def test_a_model_that_does_not_fit_the_board_says_by_how_much(tmp_path: Path) -> None:
    folder = make_toy(tmp_path / "b", arena_bytes={"infer": 16, "train": 20000})
    with pytest.raises(DeviceError, match=r"does not fit this board: RAM is [67],\d\d\d bytes too small"):
        toolchain.firmware(folder, "microbit")


def test_missing_tool_names_its_package(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    compilers.tool_of.cache_clear()
    try:
        with pytest.raises(DeviceError, match="apt install gcc-arm-none-eabi libnewlib-arm-none-eabi"):
            toolchain.firmware(toy, "mps2-an386")
        with pytest.raises(DeviceError, match="apt install gcc libc6-dev"):
            toolchain.host_library(toy)
        with pytest.raises(DeviceError, match="apt install qemu-system-arm"):
            compilers.require_emulator("qemu-system-arm")
    finally:
        compilers.tool_of.cache_clear()


def test_a_model_that_leaves_its_arena_is_caught(tmp_path: Path) -> None:
    folder = make_toy(tmp_path / "b")
    edit(folder / "toy.c", "    m->state->steps++;", "    m->arena[8] = 1.0f;\n    m->state->steps++;")
    with open_device(folder, "host") as device, pytest.raises(DeviceError, match="beyond the end of its arena"):
        device.train_step(X[0], 0)
    with open_device(folder, "agent:host", sanitize=True) as device, pytest.raises(DeviceError, match=r"(?s)exited with code 1.*AddressSanitizer"):
        device.train_step(X[0], 0)


def test_a_killed_process_is_reported_and_collected(toy: Path) -> None:
    with open_device(toy, "agent:host") as device:
        assert isinstance(device, AgentDevice)
        assert isinstance(device.link.transport, ProcessTransport)
        os.kill(device.link.transport.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="ended by signal 9"):
            device.fit(X, Y, epochs=1)


@pytest.mark.qemu
@needs_qemu
def test_qemu_leaves_no_process_behind(toy: Path) -> None:
    with open_device(toy, "qemu:mps2-an386") as device:
        pid: int = device.link.transport.pid  # type: ignore[attr-defined]
        assert alive(pid)
    assert not Path(f"/proc/{pid}").exists()

    script = f"import kilotune.devices as d, os; x = d.open_device({str(toy)!r}, 'qemu:mps2-an386'); print(x.link.transport.pid, flush=True); "
    for ending in ("pass", "os.kill(os.getpid(), 9)"):
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script + ending], capture_output=True, text=True, env=path)
        pid = int(done.stdout)
        deadline = time.monotonic() + 5
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(pid), ending


@pytest.mark.qemu
@needs_qemu
def test_qemu_counts_instructions_and_stack(toy: Path) -> None:
    seen = []
    for _ in range(2):
        with open_device(toy, "qemu:mps2-an386", count=True) as device:
            assert device.stats()["call"] is None
            device.infer(X[:1])
            infer = device.stats()
            device.train_step(X[0], 0)
            seen.append((infer, device.stats()))
    assert seen[0] == seen[1]
    infer, train = seen[0]
    assert (infer["call"], train["call"]) == ("infer", "train_step")
    assert 80 <= infer["instructions"] <= train["instructions"] <= 2000
    assert 0 < infer["stack_bytes"] <= train["stack_bytes"] < 400
    assert (train["stack_size"], train["arena_bytes"], train["state_bytes"]) == (16384, 32, 48)


@pytest.mark.qemu
@needs_qemu
def test_counting_scales_and_survives_the_counter_wrapping(tmp_path: Path) -> None:
    """A loop of known length: 2 instructions a turn, past the 24 bits of SysTick."""
    folder = make_toy(tmp_path / "b")
    loop = '    uint32_t n = 400000000u;\n    __asm volatile("1: subs %0, #1\\n bne 1b" : "+r"(n) : : "cc");\n    forward(m, input);\n    for'
    edit(folder / "toy.c", "    forward(m, input);\n    for", loop)
    edit(folder / "toy.c", "    forward(m, input);\n    float", "    forward(m, input);\n    __builtin_trap();\n    float")
    with open_device(folder, "qemu:mps2-an386", count=True) as device:
        device.infer(X[:1])
        assert device.stats()["instructions"] == pytest.approx(800e6, rel=1e-4)
        with pytest.raises(DeviceError, match=r"the firmware crashed: FAULT exception 0000000[36] status 0001"):
            device.train_step(X[0], 0)


@needs_arm
def test_measure_counts_the_model_and_nothing_else(toy: Path, tmp_path: Path) -> None:
    sizes = {target: toolchain.measure(toy, target) for target in TARGETS}
    for target, s in sizes.items():
        assert s["flash"] == s["code"] + s["constants"] + s["data"], target
        assert 0 < s["library"] < s["code"], target
        assert s["constants"] >= 12 + 8  # weights, base hash
    assert sizes["cortex-m0plus"]["library"] > 2000 > sizes["cortex-m4"]["library"]  # soft float

    bigger = make_toy(tmp_path / "big")
    edit(bigger / "toy_weights.h", "#endif", "static const int8_t more[1000] = {1};\n#endif")
    edit(bigger / "toy.c", "    forward(m, input);\n    for", "    forward(m, input);\n    m->arena[0] += more[input[0] & 63];\n    for")
    assert 1000 <= toolchain.measure(bigger, "cortex-m4")["constants"] - sizes["cortex-m4"]["constants"] <= 1008

    smaller = make_toy(tmp_path / "small", training=False)
    assert toolchain.measure(smaller, "cortex-m4")["code"] < sizes["cortex-m4"]["code"]
    with pytest.raises(DeviceError, match="targets: cortex-m0plus"):
        toolchain.measure(toy, "cortex-m9")


@needs_arm
@pytest.mark.parametrize("name", [n for n in boards.names() if boards.load(n).linker_script])
def test_agent_and_board_sources_are_clean(name: str, toy: Path) -> None:
    """Stricter than a user's build: these files are ours."""
    board, manifest = boards.load(name), Manifest.load(toy)
    extra = ("-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-fsyntax-only")
    for flags, compiler, b in (
        ((*board.flags, *compilers.library_flags(board.core), *toolchain.COMMON_FLAGS, "-O2"), compilers.cross_compiler(board.core), board),
        ((*toolchain.COMMON_FLAGS, "-O2"), compilers.host_compiler(), boards.load("posix")),
    ):
        for unit in toolchain._agent_units(manifest, b, (*flags, *extra)):
            subprocess.run([*unit.command(compiler), str(unit.source)], check=True)


def test_cache_is_shared_and_keyed_by_content(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILOTUNE_CACHE", str(tmp_path / "cache"))
    copy = make_toy(tmp_path / "copy")
    results: list[Path] = []
    threads = [threading.Thread(target=lambda folder=folder: results.append(toolchain.host_library(folder))) for folder in (toy, copy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    stamp = results[0].stat().st_ino
    assert toolchain.host_library(copy) == results[0] and results[0].stat().st_ino == stamp

    edit(copy / "toy_weights.h", "{1, 2, 3, 4}", "{1, 2, 3, 5}")
    assert toolchain.host_library(copy) != results[0]
    kernels = [p for p in (tmp_path / "cache").iterdir() if p.name.startswith("object-") and p.suffix == ".o"]
    assert len(kernels) == 7  # toy.c twice, the interface, the kernel and the three files of adapters once
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_options_of_the_manifest_can_be_overridden_in_place(toy: Path) -> None:
    """What a device needs is in the manifest alone: another accumulate changes fit's default."""
    manifest = replace(Manifest.load(toy), accumulate=5)
    with open_device(toy, "host") as device:
        device.manifest = manifest
        assert device.fit(X, Y, epochs=1).updates == 8
