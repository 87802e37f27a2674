"""Boards in Renode. What can be checked without it is; the rest is skipped where `renode` is not on PATH."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

import parity
import pytest
from test_own_firmware import CMAKE, ROOT, expected, project, run  # noqa: F401 (a fixture)
from toy_model import X, Y, alive, make_toy, needs_qemu

from kilotune import boards, resources
from kilotune.devices import DeviceError, available, open_device
from kilotune.devices.renode import RenodeTransport

NAMES = sorted(boards.in_renode())
needs_renode = pytest.mark.skipif(shutil.which("renode") is None, reason="renode is not on PATH; it is on no package registry: https://renode.io")
needs_renode_test = pytest.mark.skipif(
    shutil.which("renode-test") is None, reason="renode-test is not on PATH; it comes with Renode: https://renode.io"
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "build")


# ---- With Renode ----


@needs_renode
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("model", "method"), [("gas_mlp", "bias+lora"), ("ecg_cnn", "full")])
def test_training_in_renode_gives_the_bits_of_the_host(name: str, model: str, method: str, data_dir: Path, tmp_path: Path) -> None:
    material = parity.MODELS[model](data_dir)
    build = parity.make(material, method, tmp_path / "build")
    assert parity.trained(build, material, method, f"renode:{name}") == parity.trained(build, material, method, "host")


@needs_renode_test
def test_robot_suite(project: Path) -> None:  # noqa: F811
    """One image for QEMU and Renode: what test_own_firmware.py runs there."""
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'cmake/arm-none-eabi.cmake'}"
    for board in boards.in_renode().values():
        options = [toolchain, f"-DKILOTUNE_CPU={board.core}", f"-DBOARD={board.folder}"]
        run([CMAKE, "-S", ".", "-B", f"build/{board.name}", *options], project)
        run([CMAKE, "--build", f"build/{board.name}"], project)
        assert board.renode is not None
        shutil.copyfile(project / f"build/{board.name}/firmware.elf", project / f"build/{board.renode.script.stem}.elf")
    (state,) = (line.split()[1] for line in expected(project) if line.startswith("state"))
    suite = resources.renode() / "parity.robot"
    run(["renode-test", "--variable", f"FIRMWARE:{project / 'build'}", "--variable", f"STATE:{state}", str(suite)], project)


# ---- Without ----


def test_the_platforms_are_there() -> None:
    assert NAMES == ["mps2-an386", "mps2-an500", "mps2-an505", "stm32f746"]
    assert {f"renode:{name}" for name in NAMES} <= set(available())
    assert {boards.in_renode()[name].core for name in NAMES} == {"cortex-m4", "cortex-m7", "cortex-m33"}


def numbers(text: str) -> dict[int, int]:
    """What a .repl says of its memories: address -> size."""
    found = re.findall(r"Memory\.MappedMemory @ sysbus (0x[0-9a-fA-F]+)\n    size: (0x[0-9a-fA-F]+)", text)
    assert len(found) == text.count("Memory.MappedMemory"), "a memory that this test cannot read"
    return {int(address, 16): int(size, 16) for address, size in found}


@pytest.mark.parametrize("name", NAMES)
def test_platform_and_script_agree_with_the_board(name: str) -> None:
    board = boards.in_renode()[name]
    assert board.renode is not None and board.clock_hz is not None
    script = board.renode.script.read_text()
    (platform,) = re.findall(r"machine LoadPlatformDescription @(\S+)", script)
    description = (board.renode.script.parent / platform).read_text()
    memories = numbers(description)
    for memory in board.memories:
        assert memories.get(memory.origin) == memory.size, memory.name
    if board.slow_memory is not None:  # where nothing is mapped Renode reads zeros, and a model trains on them
        assert memories.get(board.slow_memory.origin) == board.slow_memory.size, "slow memory"
    assert re.findall(r'cpuType: "([^"]+)"', description) == [board.core]
    (frequency,) = re.findall(r"systickFrequency: (\d+)", description)
    assert int(frequency) == board.clock_hz
    (speed,) = re.findall(r"cpu PerformanceInMips (\d+)", script)
    assert int(speed) * 1_000_000 == board.clock_hz
    (uart,) = re.findall(r"connector Connect sysbus\.(\w+) link", script)
    assert re.search(rf"^{uart}: UART\.", description, re.MULTILINE)
    assert 'emulation CreateServerSocketTerminal $port "link" false' in script
    assert "ApplySVD" not in description, "it fetches a file from the network"
    assert f"Train On                    {platform.removesuffix('.repl')}    {uart}" in (resources.renode() / "parity.robot").read_text()


@pytest.mark.parametrize("path", sorted(resources.renode().glob("*.repl")), ids=lambda path: path.stem)
def test_every_interrupt_says_which_output_it_comes_from(path: Path) -> None:
    """Renode refuses an arrow without a name on a model with several outputs (STM32F7_USART has IRQ and ReceiveDmaRequest)."""
    arrows = re.findall(r"^ *(.*?) *-> *\S+@\d+", path.read_text(), re.MULTILINE)
    assert len(arrows) == path.read_text().count("->") >= 2
    assert all(re.fullmatch(r"[A-Za-z]\w*", name) for name in arrows), arrows


def test_no_path_of_a_computer_stands_unquoted() -> None:
    """A path behind @ ends at its first space. Names of files of this folder have none."""
    robot = (resources.renode() / "parity.robot").read_text()
    assert not re.search(r"@\$\{", robot) and len(re.findall(r'="\$\{(?:CURDIR|FIRMWARE)\}/[^"\n]+"$', robot, re.MULTILINE)) == 2
    for path in resources.renode().glob("*.resc"):
        files = re.findall(r"(?:LoadPlatformDescription|include) @(\S+)$", path.read_text(), re.MULTILINE)
        assert files and all((path.parent / name).is_file() for name in files), path.name
        assert "sysbus LoadELF $elf" in path.read_text()


def test_masks_are_not_written_by_msr() -> None:
    """Renode passes over the GE flags of MSR, so that a SEL behind it takes other bytes: the runtime sets them by arithmetic."""
    text = {path: path.read_text() for path in resources.runtime().rglob("*.[ch]")}
    assert any(re.search(r'"uadd8 ', t) for t in text.values())
    assert [path.name for path, t in text.items() if re.search(r"msr\s+[ac]psr", t, re.IGNORECASE)] == []


def test_without_renode_the_device_says_where_to_get_it(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"no device of this name(?s:.*)renode:mps2-an386"):
        open_device(toy, "renode:mps2-an999")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"renode is not installed, or not on PATH(?s:.*)https://renode\.io"):
        RenodeTransport(boards.load("mps2-an386"), tmp_path / "x.elf")
    with pytest.raises(DeviceError, match="Renode has no description of this board"):
        RenodeTransport(boards.load("pico"), tmp_path / "x.elf")


def fake_renode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A program `renode` that is a shell script; it notes its process in the path that is returned."""
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir()
    (folder / "renode").write_text(f"#!/bin/sh\necho $$ > {log}\n{script}\n")
    (folder / "renode").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


@pytest.mark.parametrize(
    "says",
    [
        "There was an error executing command 'sysbus LoadELF @/a b.elf'",
        "Error E15: Ambiguous choice of default interrupt. There are following interrupts available: IRQ, ReceiveDmaRequest.",
        "No such command or device: emulation2",
    ],
)
def test_an_error_of_renode_is_noticed_at_once(says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on running after one, and opens no port; what it prints next belongs to the message."""
    log = fake_renode(tmp_path, monkeypatch, f'echo "18:00:00 [INFO] Loaded"\necho "{says}"\nsleep 0.2\necho the rest\nexec sleep 100')
    begin = time.monotonic()
    with pytest.raises(DeviceError, match=rf"Renode cannot run mps2_an386\.resc(?s:.*){re.escape(says)}\nthe rest"):
        RenodeTransport(boards.load("mps2-an386"), tmp_path / "x.elf")
    assert time.monotonic() - begin < 30, "the error was waited out"
    assert not alive(int(log.read_text()))


def test_a_path_that_no_quotes_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_renode(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(DeviceError, match="no path with a quotation mark"):
        RenodeTransport(boards.load("mps2-an386"), tmp_path / 'x".elf')


STAND_IN = """\
#!{python}
import os, re, subprocess, sys
commands = sys.argv[sys.argv.index("-e") + 1]
elf, port, script = re.fullmatch(r'\\$elf="([^"]+)"; \\$port=(\\d+); include @(\\S+)', commands).groups()
assert sys.argv[1:-2] == ["--disable-gui", "--console", "--plain"] and os.path.isfile(script)
open({log!r}, "w").write(f"{{os.getpid()}} {{script}}")
{before}
machine = {{"mps2_an386.resc": "mps2-an386", "mps2_an505.resc": "mps2-an505"}}[script]
subprocess.run(["qemu-system-arm", "-M", machine, "-kernel", elf, "-display", "none", "-monitor", "none",
                "-serial", f"tcp:127.0.0.1:{{port}},server=on,wait=off"])
"""


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str = "") -> Path:
    """A program `renode` that takes the same command line and is QEMU behind a TCP port; returns where it notes its process."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "log"
    (folder / "renode").write_text(STAND_IN.format(python=sys.executable, log=str(log), before=before))
    (folder / "renode").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


@pytest.mark.qemu
@needs_qemu
@pytest.mark.parametrize("name", ["mps2-an386"])
def test_the_device_drives_a_board_over_tcp(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("KILOTUNE_CACHE", str(tmp_path / "a folder with spaces"))
    log = stand_in(tmp_path, monkeypatch)
    with open_device(toy, f"renode:{name}") as device, open_device(toy, "host") as host:
        for d in (device, host):
            d.fit(X, Y, epochs=2)
        assert device.state() == host.state()
        assert device.stats()["instructions"] is None
        pid = int(log.read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert alive(pid) and children
    deadline = time.monotonic() + 20
    while (left := [p for p in (pid, *map(int, children)) if alive(p)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, "something was left running"


@pytest.mark.qemu
@needs_qemu
def test_a_renode_that_fails_is_quoted(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, 'sys.exit("There was an error executing command: no such peripheral")')
    with pytest.raises(DeviceError, match=r"Renode exited with code 1: There was an error executing command: no such peripheral"):
        open_device(toy, "renode:mps2-an386")


def test_a_renode_that_opens_no_port_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kilotune.devices.renode._START_SECONDS", 4.0)
    log = fake_renode(tmp_path, monkeypatch, "echo waiting for nothing\nexec sleep 100")
    with pytest.raises(DeviceError, match="has not opened the board's serial port within 4 seconds: waiting for nothing"):
        RenodeTransport(boards.load("mps2-an386"), tmp_path / "x.elf")
    assert not alive(int(log.read_text()))
