"""Calls of a device from several threads, after its end, beside many open files, and with what is no argument."""

from __future__ import annotations

import inspect
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import samples, tiny
from test_serial import silent_port
from toy_model import X, Y

import kilotune as kt
from kiloc.export import tflite
from kilotune.devices import open_device
from kilotune.devices.agent import AgentDevice, Command
from kilotune.devices.base import Device
from kilotune.devices.errors import DeviceError
from kilotune.devices.serial_port import SerialTransport

CALLS = sorted(name for name, found in vars(Device).items() if inspect.isfunction(found) and not name.startswith("_") and name != "close")


@contextmanager
def quick_switches() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """The results of calls that run at the same time."""
    results: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(place: int) -> None:
        start.wait()
        results[place] = calls[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    with quick_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return results


# ---- After close ----


@pytest.mark.parametrize("name", ["host", "agent:host"])
def test_a_closed_device_refuses_every_call(toy: Path, name: str) -> None:
    assert len(CALLS) >= 19 and {"infer", "fit", "state", "stats", "reboot"} <= set(CALLS)
    with open_device(toy, name) as device:
        device.close()
        device.close()
        for call in CALLS:
            with pytest.raises(DeviceError, match="the device is closed"):
                getattr(device, call)()


def test_a_closed_device_writes_into_no_file_that_was_opened_since(toy: Path, tmp_path: Path) -> None:
    """The numbers of its pipes are given to the next files."""
    device = open_device(toy, "agent:host")
    assert isinstance(device, AgentDevice)
    device.close()
    files = [(tmp_path / str(i)).open("wb+") for i in range(20)]
    try:
        calls: list[Callable[[], Any]] = [
            lambda: device.link.request(Command.WRITE_STATE, bytes(100)),
            lambda: device.link.transport.write(bytes(141), 1.0),
            lambda: device.link.transport.read(0.0),
        ]
        for call in calls:
            with pytest.raises(DeviceError, match="the device is closed"):
                call()
        assert [os.path.getsize(file.name) for file in files] == [0] * 20
    finally:
        for file in files:
            file.close()


def test_a_closed_serial_port_refuses_every_call() -> None:
    with silent_port() as (_, port):
        transport = SerialTransport(port)
        transport.close()
        transport.close()
        for call in (lambda: transport.read(0.0), lambda: transport.write(b"x", 1.0)):
            with pytest.raises(DeviceError, match="the device is closed"):
                call()


# ---- Threads ----


@pytest.mark.parametrize(("name", "rows"), [("host", 2000), ("agent:host", 60)])
def test_threads_that_share_a_device_get_their_own_results(toy: Path, name: str, rows: int) -> None:
    x = np.random.default_rng(3).integers(-128, 128, (4, rows, 4)).astype(np.int8)
    with open_device(toy, name) as device:
        expected = [device.infer(part) for part in x]
        results = in_threads(*(lambda part=part: device.infer(part) for part in x))
        np.testing.assert_array_equal(results, expected)


def test_training_in_one_thread_is_not_disturbed_by_others(toy: Path) -> None:
    with open_device(toy, "host") as alone, open_device(toy, "host") as shared:
        expected = alone.fit(X, Y, epochs=20, seed=1)
        history, *_ = in_threads(lambda: shared.fit(X, Y, epochs=20, seed=1), lambda: [shared.infer(X) for _ in range(100)])
        assert history == expected and shared.state() == alone.state()


def test_two_devices_of_one_build_share_slow_memory(tmp_path: Path) -> None:
    """All models of a library have their pages in one file."""
    (tmp_path / "tiny.tflite").write_bytes(tflite.write(tiny()))
    model = kt.load(tmp_path / "tiny.tflite")
    build = kt.build(model, tmp_path / "b", method=kt.BiasOnly(), optimizer=kt.Adam(lr=0.01), offload="optimizer", measure=False)
    assert build.manifest["page_bytes"] > 0
    x, y = samples(tiny(), 60), np.arange(60) % 3

    def trained() -> bytes:
        with build.open() as device:
            device.fit(x, y, epochs=10)
            return device.state()

    assert in_threads(trained, trained, trained) == [trained()] * 3


def test_close_waits_for_the_call_of_another_thread(toy: Path) -> None:
    """Else the pipe would be read after its number went to another file."""
    device = open_device(toy, "agent:host")
    begun = threading.Event()
    infer_one = device._infer

    def slowly(sample: bytes) -> bytes:
        begun.set()
        return infer_one(sample)

    device._infer = slowly  # type: ignore[method-assign]

    def close() -> None:
        begun.wait()
        device.close()

    outputs, _ = in_threads(lambda: device.infer(X), close)
    assert len(outputs) == len(X)
    with pytest.raises(DeviceError, match="closed"):
        device.infer(X)


# ---- Many open files ----


@contextmanager
def many_open_files() -> Iterator[None]:
    """All descriptors below 1,100 are taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1300:
        pytest.skip(f"this computer allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1300), hard))
    taken = []
    try:
        while not taken or taken[-1] < 1100:
            taken.append(os.dup(0))
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_device_among_more_than_1024_open_files(toy: Path, host: Device) -> None:
    with many_open_files(), open_device(toy, "agent:host") as device:
        device.fit(X, Y, epochs=1)
        host.fit(X, Y, epochs=1)
        assert device.state() == host.state()


def test_a_serial_port_among_more_than_1024_open_files_says_so() -> None:
    with silent_port() as (_, port), many_open_files():
        transport = SerialTransport(port)
        try:
            for call in (lambda: transport.read(0.0), lambda: transport.write(b"x", 1.0)):
                with pytest.raises(DeviceError, match=r"more than 1,000 files open(?s:.*)open the device before"):
                    call()
        finally:
            transport.close()


# ---- What is no argument ----


def test_what_is_no_adapter_no_state_and_no_rate(toy: Path, host: Device) -> None:
    host.fit(X, Y, epochs=1)
    before = host.state()
    none: Any = None
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: host.load_adapter(none), r"adapter is of type NoneType, not a kt\.Adapter: read a file by kt\.Adapter\.load"),
        (lambda: host.load_adapter(bytes(10)), "adapter is of type bytes"),  # type: ignore[arg-type]
        (lambda: host.set_state(none), r"state is of type NoneType, not bytes: pass what state\(\) has returned"),
        (lambda: host.set_learning_rate(none), "learning_rate is None: it must be a number"),
        (lambda: host.set_learning_rate(1e20), r"learning_rate is 1e\+20: it must be a number of at least 0 and below 1e\+18"),
        (lambda: host.set_learning_rate(1e300), r"learning_rate is 1e\+300"),
        (lambda: host.set_learning_rate(np.nextafter(1e18, 0)), "learning_rate is"),
        (lambda: host.fit(X, Y, learning_rate=1e20), r"learning_rate is 1e\+20"),
        (lambda: host.fit(X, Y, learning_rate=1e20, decay="linear"), r"learning_rate is 1e\+20"),
    ]
    for call, words in cases:
        with pytest.raises(ValueError, match=words):
            call()
        assert host.state() == before, words
    host.set_learning_rate(np.float32(9e17))
    with pytest.raises(kt.CompileError, match=r"1e\+20 is not a number in \(0, 1e\+18\)"):
        kt.SGD(lr=1e20)
