"""A board on a serial port: QEMU's serial port as a pseudo-terminal goes through the same code as a board's."""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import serial
from click.testing import CliRunner
from toy_model import X, Y, make_toy, needs_qemu

from kilotune import boards, toolchain
from kilotune.cli import main
from kilotune.devices import AgentDevice, DeviceError, open_device, serial_port


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "build")


@contextmanager
def emulated_port(elf: Path, board: str) -> Iterator[str]:
    """QEMU with the board's serial port as a pseudo-terminal, whose name it prints."""
    machine = boards.load(board).emulator
    assert machine is not None
    command = ["qemu-system-arm", "-M", machine.machine, "-kernel", str(elf), "-display", "none", "-monitor", "none", "-serial", "pty"]
    process = subprocess.Popen([*command, *machine.options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r"redirected to (\S+)", line)
        assert found, line
        yield found[1]
    finally:
        process.kill()
        process.communicate()


@contextmanager
def silent_port() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: the other end, and the name to open."""
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.qemu
@needs_qemu
@pytest.mark.parametrize("board", ["microbit", "mps2-an386", "mps2-an505"])
def test_training_over_a_serial_port_gives_the_bits_of_the_host(toy: Path, board: str) -> None:
    with emulated_port(toolchain.firmware(toy, board), board) as port, open_device(toy, "host") as host:
        with open_device(toy, f"serial:{port}") as device:
            assert isinstance(device, AgentDevice) and device.hello.board == board
            for d in (device, host):
                d.fit(X, Y, epochs=2)
            assert device.state() == host.state()
            assert device.export_adapter() == host.export_adapter()
            stats = device.stats()
            assert stats["instructions"] is None, "an emulator that does not count must not seem to"
            assert 0 < stats["stack_bytes"] < 400
        with open_device(toy, f"serial:{port}") as device:
            assert device.state() == host.state(), "a board goes on from what it has learned"


@pytest.mark.qemu
@needs_qemu
def test_the_command_line_takes_a_port(toy: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    (toy / "report.json").write_text('{"memory": {}}')
    manifest = (toy / "manifest.json").read_text()
    (toy / "manifest.json").write_text(manifest.replace("{", '{"kilotune": "0",', 1))
    with emulated_port(toolchain.firmware(toy, "mps2-an386"), "mps2-an386") as port:
        arguments = ["simulate", str(toy), "--data", str(tmp_path / "data.npz"), "--device"]
        board = CliRunner().invoke(main, [*arguments, f"serial:{port}", "--baud", "115200"])
        host = CliRunner().invoke(main, [*arguments, "host"])
    assert (board.exit_code, host.exit_code) == (0, 0), board.output
    digest = r"state sha256\s+(\w{64})"
    assert re.search(digest, board.output)[1] == re.search(digest, host.output)[1]  # type: ignore[index]
    refused = CliRunner().invoke(main, [*arguments, "host", "--baud", "9600"])
    assert refused.exit_code == 2 and "--baud is of --device serial:..., not of host" in refused.output
    counted = CliRunner().invoke(main, [*arguments, "qemu:mps2-an386", "--count", "--epochs", "0", "--json"])
    assert counted.exit_code == 0 and '"instructions": ' in counted.output
    assert CliRunner().invoke(main, [*arguments, "host", "--count"]).exit_code == 2


# ---- Bad input ----


def test_a_port_that_does_not_exist(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no serial port of this name(?s:.*)(serial ports here|no serial port is connected)"):
        open_device(toy, f"serial:{tmp_path}/ttyACM0")
    with pytest.raises(DeviceError, match=r"the port is missing(?s:.*)serial:/dev/ttyACM0"):
        open_device(toy, "serial:")
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot be opened"):
        open_device(toy, f"serial:{tmp_path}/file")
    with pytest.raises(DeviceError, match="cannot be opened"):
        open_device(toy, "serial:nonsense://x")
    with pytest.raises(DeviceError, match=r"no option 'speed'(?s:.*)baud, timeout, patience"):
        open_device(toy, "serial:/dev/ttyACM0", speed=9600)


def test_a_port_that_may_not_be_opened(toy: Path) -> None:
    error = serial.SerialException(13, "could not open port /dev/ttyACM0: Permission denied")
    assert "dialout" in serial_port._cannot_open("/dev/ttyACM0", error).hint


def test_a_port_that_is_busy(toy: Path) -> None:
    with (
        silent_port() as (_, port),
        serial.Serial(port, exclusive=True),
        pytest.raises(DeviceError, match="another program has the serial port open"),
    ):
        open_device(toy, f"serial:{port}")


def test_a_device_that_says_nothing(toy: Path) -> None:
    with silent_port() as (_, port):
        with pytest.raises(DeviceError, match=r"no answer from the device\n(?s:.*)kilotune flash"):
            open_device(toy, f"serial:{port}", timeout=0.05, patience=0.3)
        serial.Serial(port, exclusive=True).close()  # it was let go


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (b"Booting\r\nHello from Zephyr\r\n", r"it said: (Booting|Hello from Zephyr)(?:\n  hint|$)"),
        (b"\xf3\x81\x9c\x00" * 8, r"only \d+ bytes that are no frames(?s:.*)baud rate"),
    ],
)
def test_a_device_with_other_firmware(toy: Path, says: bytes, message: str) -> None:
    with silent_port() as (master, port):
        stop = threading.Event()

        def talk() -> None:
            while not stop.wait(0.02):
                os.write(master, says)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            with pytest.raises(DeviceError, match=message):
                open_device(toy, f"serial:{port}", timeout=0.2, patience=3.0)
        finally:
            stop.set()
            thread.join()


@contextmanager
def agent_port(toy: Path, bytes_per_second: float | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The agent as a process behind a pseudo-terminal, as slow as a real line."""
    with silent_port() as (master, port):
        near, far = (os.fdopen(fd, "rb+", buffering=0) for fd in (os.dup(master), os.dup(master)))
        process = subprocess.Popen([str(toolchain.host_agent(toy))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert process.stdin is not None and process.stdout is not None
        stop = threading.Event()

        def carry(source: int, sink: int) -> None:
            while not stop.is_set():
                if select.select([source], [], [], 0.05)[0]:
                    data = os.read(source, 64)
                    if not data:
                        return
                    if bytes_per_second:
                        time.sleep(len(data) / bytes_per_second)
                    os.write(sink, data)

        pairs = ((near.fileno(), process.stdin.fileno()), (process.stdout.fileno(), far.fileno()))
        threads = [threading.Thread(target=carry, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        try:
            yield port, process
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            process.kill()
            process.communicate()
            near.close()
            far.close()


def test_at_115200_baud_nothing_has_to_be_asked_twice(toy: Path) -> None:
    with agent_port(toy, 11_520) as (port, _), open_device(toy, f"serial:{port}", timeout=20.0) as device, open_device(toy, "host") as host:
        assert isinstance(device, AgentDevice)
        for d in (device, host):
            d.fit(X, Y, epochs=1)
        assert device.state() == host.state()
        assert device.link.retries == 0


def test_a_board_with_another_model(toy: Path, tmp_path: Path) -> None:
    other = make_toy(tmp_path / "other", base_hash="ff23456789abcdef")
    with agent_port(toy) as (port, _), pytest.raises(DeviceError, match=r"another model: its base_hash(?s:.*)kilotune flash"):
        open_device(other, f"serial:{port}")


def test_a_board_that_is_unplugged(toy: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    transport = serial_port.SerialTransport(os.ttyname(slave))
    os.close(slave)
    os.close(master)
    with pytest.raises(DeviceError, match=r"the serial port is gone(?s:.*)plug the board in again"):
        transport.read(0.1)
    with pytest.raises(DeviceError, match="the serial port is gone"):
        for _ in range(3):
            transport.write(b"x", 0.1)
    transport.close()
    with pytest.raises(DeviceError, match="the device is closed"):
        transport.read(0.1)
