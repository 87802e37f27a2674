"""A log that firmware writes by itself, in a ring of flash: repeated bit for bit, over resets and power cuts, and a fault is named."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.devices.training_log import Kind, Record
from kilotune.devices.training_ring import MAGIC, is_ring, read_ring

from .board_programs import BOARDS, printed_on
from .programs import SANITIZERS

PAGE, PAGES, STEPS = 512, 16, 300


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> kt.Build:
    folder = tmp_path_factory.mktemp("recording")
    (folder / "tiny.tflite").write_bytes(tflite.write(tiny()))
    methods = [kt.LoRA(rank=2, layers=["first", "second"]), kt.Head(extra_classes=2)]
    options = {"method": methods, "accumulate": 2, "replay": kt.Replay(6, "class_balanced"), "calibration": samples(tiny(), 20, 4)}
    return kt.build(kt.load(folder / "tiny.tflite"), folder / "build", target="cortex-m4", measure=False, **options)


def recorded(build: kt.Build, folder: Path, board: str = "posix", fault: int = -1) -> tuple[list[int], Path]:
    """The numbers that the program prints in front, and the file of its flash."""
    here = SANITIZERS if fault < 0 else ("-Os",)
    text = printed_on(board, [build.directory], Path(__file__).parent / "recording.c", folder, [f"-DFAULT={fault}"], here)
    said = [int(text[at : at + 2], 16) for at in range(0, 10, 2)] + [int(text[10:18], 16)]
    (folder / f"{board}{fault}.bin").write_bytes(bytes.fromhex(text[18:]))
    return said, folder / f"{board}{fault}.bin"


@pytest.fixture(scope="module")
def here(build: kt.Build, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[int], Path]:
    return recorded(build, tmp_path_factory.mktemp("here"))


@pytest.mark.qemu
def test_a_ring_is_repeated_and_boards_write_the_same(
    build: kt.Build, here: tuple[list[int], Path], tmp_path: Path, qemu: str, arm_gcc: str, riscv_gcc: str
) -> None:
    """The ring has gone round, so that its first states are gone; a record that a power cut tore is left out, and a session begins behind it. A
    class that the device added is in what is left."""
    said, dump = here
    for board in BOARDS:
        assert recorded(build, tmp_path, board)[1].read_bytes() == dump.read_bytes(), board
    status, failed, classes, uneven, counted, erasures = said
    assert (status, failed, classes, counted) == (0, 2, 4, 1) and uneven <= 1 and erasures > 2 * PAGES
    assert sum(record.kind == Kind.CLASS for record in read_ring(dump).records) == 1
    found = kt.replay(dump, build.directory)
    assert found.equal and 20 < found.steps < STEPS and found.updates > 8 and found.checked > 20 and not found.torn and not found.notes
    assert read_ring(dump).header["erasures"] == erasures


def test_what_is_missing_or_damaged(build: kt.Build, here: tuple[list[int], Path], tmp_path: Path) -> None:
    """From what is left of a ring, whatever page is lost, a log is read, and what is read is equal; bytes that changed are seen."""
    dump = here[1]
    whole, steps, part = dump.read_bytes(), kt.replay(dump, build.directory).steps, tmp_path / "part"
    fewer = 0
    for page in range(PAGES):
        part.write_bytes(whole[: page * PAGE] + b"\xff" * PAGE + whole[(page + 1) * PAGE :])
        try:
            found = kt.replay(part, build.directory)
        except kt.DeviceError as error:
            assert "no whole state" in str(error)
            continue
        assert found.equal and found.steps <= steps
        fewer += found.steps < steps
    assert fewer > 3
    part.write_bytes(b"kilotune log 1\n")
    assert not is_ring(part) and not is_ring(tmp_path / "none")
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        part.write_bytes(bytes(damaged))
        try:
            assert kt.replay(part, build.directory).equal
        except kt.DeviceError as error:
            assert "no whole state" in str(error)


def test_a_bit_that_flips_is_named(build: kt.Build, tmp_path: Path) -> None:
    found = kt.replay(recorded(build, tmp_path, fault=STEPS - 2)[1], build.directory)
    assert found.difference is not None and found.difference.call in ("train_step", "apply"), found.text()


def test_another_first_sample_of_a_class_is_named(build: kt.Build, here: tuple[list[int], Path], tmp_path: Path) -> None:
    """A device whose class was written from something else than the log says."""
    log = read_ring(here[1])
    at = next(i for i, record in enumerate(log.records) if record.kind == Kind.CLASS)
    (number,) = struct.unpack_from("<I", log.records[at].content)
    with pytest.MonkeyPatch.context() as patch:
        samples_of = [r for r in log.records if r.kind == Kind.SAMPLE]
        other = samples_of[number - 1].content
        changed = [Record(r.kind, other) if r is samples_of[number] else r for r in log.records]
        patch.setattr("kilotune.replaying.read_ring", lambda path: replace(log, records=tuple(changed)))
        found = kt.replay(here[1], build.directory)
    assert found.difference is not None and found.difference.call == "add_class", found.text()


def test_samples_of_a_recording_by_python_go_on_too(build: kt.Build, tmp_path: Path) -> None:
    """What a replay buffer takes and gives is in the log of `Device.record`."""
    x, y = samples(tiny(), 12), np.arange(12) % 3
    with build.open() as device, device.record(tmp_path / "log"):
        device.remember(x[:6], y[:6])
        device.fit(x, y, epochs=2, replay=1, hold_out=0.0)
    found = kt.replay(tmp_path / "log", build.directory)
    assert found.equal and found.steps == 48


@pytest.mark.parametrize("kind", [Kind.HEADER, Kind.STATE])
def test_a_record_that_is_too_short(tmp_path: Path, kind: Kind) -> None:
    """Its checksums are right, as of a file that somebody made."""
    record = struct.pack("<BI", kind, 3) + bytes(3)
    page = struct.pack("<4sIIHHII", MAGIC, 1, 1, 0, 1, PAGE, 6)
    page += struct.pack("<II", zlib.crc32(page), 0) + record + struct.pack("<I", zlib.crc32(record))
    (tmp_path / "short").write_bytes(page.ljust(PAGE, b"\xff"))
    with pytest.raises(kt.DeviceError, match="no whole state"):
        read_ring(tmp_path / "short")
