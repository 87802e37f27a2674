"""What is written is whole or not there, what is damaged says so: build directories, files of results, the cache of compiled programs."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from golden.reference import tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune import toolchain
from kilotune.devices.manifest import Manifest

Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "a bit": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "no digest": lambda path: path.with_name(path.name + ".sha256").unlink(),
    "half a digest": lambda path: os.truncate(path.with_name(path.name + ".sha256"), 10),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    path = tmp_path_factory.mktemp("model") / "tiny.tflite"
    path.write_bytes(tflite.write(tiny()))
    return kt.load(path)


def build(model: kt.Model, folder: Path, **options: Any) -> kt.Build:
    return kt.build(model, folder, method=kt.BiasOnly(), measure=False, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- The cache ----


@pytest.fixture(scope="module")
def compiled(model: kt.Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[kt.Build, Path]:
    """A build, and a cache with its library and its objects."""
    made, cache = kt.build(model, tmp_path_factory.mktemp("build") / "b", measure=False), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILOTUNE_CACHE", str(cache))
        toolchain.host_library(made.directory)
    return made, cache


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_again(damage: str, compiled: tuple[kt.Build, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that Python loads, and an object that is linked into the next one."""
    made, cache = compiled
    monkeypatch.setenv("KILOTUNE_CACHE", str(cache))
    library = toolchain.host_library(made.directory)
    objects = sorted(cache.glob("object-*.o"))
    assert library.suffix == ".so" and len(objects) > 2
    whole = {path: path.read_bytes() for path in (library, objects[0], objects[-1])}
    for path in whole:
        DAMAGES[damage](path)
    assert toolchain.host_library(made.directory) == library
    for path, data in whole.items():
        assert path.read_bytes() == data, path.name


def test_a_damaged_measurement_is_made_again(arm_gcc: str, compiled: tuple[kt.Build, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made, cache = compiled
    monkeypatch.setenv("KILOTUNE_CACHE", str(cache))
    sizes = toolchain.measure(made.directory)
    for text in ("{", '{"flash": 1}'):
        next(cache.glob("tiny-measure-*.json")).write_text(text)
        assert toolchain.measure(made.directory) == sizes


def test_a_full_disk_leaves_the_cache_as_it_was(model: kt.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, cache = kt.build(model, tmp_path / "b", measure=False), tmp_path / "cache"
    monkeypatch.setenv("KILOTUNE_CACHE", str(cache))
    with full_disk_at_fsync(), pytest.raises(kt.DeviceError, match=r"the cache cannot be written: No space left on device(?s:.*)set KILOTUNE_CACHE"):
        toolchain.host_library(made.directory)
    assert list(cache.iterdir()) == []


# ---- A disk that is full ----


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The disk takes no file beyond `size` bytes: an error of the system's own, in whichever write comes to it first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full_disk_at_fsync() -> Iterator[None]:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        yield


@pytest.mark.parametrize("size", [500, 3000, 20000])
def test_a_full_disk_leaves_the_build_that_was_there(size: int, model: kt.Model, tmp_path: Path) -> None:
    made = build(model, tmp_path / "b", seed=1)
    before = content(made.directory)
    assert max(map(len, before.values())) > 20000
    with largest_file(size), pytest.raises(kt.CompileError, match=r"cannot be written: File too large(?s:.*)make room"):
        build(model, tmp_path / "b", seed=2)
    assert content(made.directory) == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_full_disk_leaves_the_file_that_was_there(model: kt.Model, tmp_path: Path) -> None:
    """Of every file that a user asks for."""
    made = build(model, tmp_path / "b")
    with made.open() as device:
        adapter = device.export_adapter()
    writers: dict[str, Callable[[Path], object]] = {
        "adapter": adapter.save,
        "config": kt.Config((kt.BiasOnly(),), kt.SGD(lr=0.1)).save,
        "report": made.save_html,
        "merged.tflite": lambda path: kt.merge(made, adapter, path),
    }
    (tmp_path / "out").mkdir()
    for name, write in writers.items():
        path = tmp_path / "out" / name
        path.write_bytes(b"old")
        for full, words in ((largest_file(100), "File too large"), (full_disk_at_fsync(), "No space left on device")):
            with full, pytest.raises(kt.CompileError, match=f"cannot be written: {words}") as caught:
                write(path)
            assert caught.value.where == str(path) and "make room" in caught.value.hint
            assert path.read_bytes() == b"old"
        write(path)
        assert path.read_bytes() != b"old"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(writers)


def test_a_device_file_is_written_and_a_link_is_followed(tmp_path: Path) -> None:
    """Neither is replaced."""
    config = kt.Config((kt.BiasOnly(),), kt.SGD(lr=0.1))
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    config.save(tmp_path / "pipe")
    assert json.loads(os.read(reader, 65536)) == config.to_dict() and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    config.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and kt.load_config(tmp_path / "file") == kt.load_config(tmp_path / "link") == config


def test_half_a_pair_of_keys_is_not_left(monocypher: Path, tmp_path: Path) -> None:
    from kilotune.adapters import signing

    with full_disk_at_fsync(), pytest.raises(kt.CompileError, match="the keys cannot be written: No space left on device"):
        signing.make_keys(tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.pub").write_text("old")
    with pytest.raises(ValueError, match=r"mine\.pub exists: a key is never overwritten"):
        signing.make_keys(tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pub"]


# ---- An end in the middle ----


def test_ctrl_c_between_the_renames_leaves_the_old_build(model: kt.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build(model, tmp_path / "b", seed=1)
    before, rename = content(made.directory), Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        done = rename(path, target)
        if Path(target).name == ".b.replaced":
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(model, tmp_path / "b", seed=2)
    monkeypatch.undo()
    assert content(made.directory) == before and [path.name for path in tmp_path.iterdir()] == ["b"]


KILLED = """
import os, pathlib, sys
import kilotune as kt
rename = pathlib.Path.rename
def killed(path, target):
    rename(path, target)
    if pathlib.Path(target).name == sys.argv[3]:
        os._exit(9)
pathlib.Path.rename = killed
kt.build(kt.load(sys.argv[1]), sys.argv[2], method=kt.BiasOnly(), measure=False, seed=2)
"""


@pytest.mark.parametrize(("following", "ending"), [*((call, ".b.replaced") for call in ("open_build", "device", "build")), ("build", "b")])
def test_a_process_killed_at_the_renames_leaves_a_whole_build(following: str, ending: str, model: kt.Model, tmp_path: Path) -> None:
    """The next call finds the old build, or the one that had its name already."""
    made = build(model, tmp_path / "b", seed=1)
    before = content(made.directory)
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(model.path), str(made.directory), ending], env=path, check=False)
    assert done.returncode == 9
    assert made.directory.exists() == (ending == "b")
    if following == "open_build":
        assert kt.open_build(made.directory).changed_files() == []
    elif following == "device":
        assert Manifest.load(made.directory).name == "tiny"
    else:
        assert build(model, made.directory, seed=3).changed_files() == []
    if following != "build":
        assert content(made.directory) == before
    assert not (tmp_path / ".b.replaced").exists()


# ---- Damaged JSON ----

TEXTS = {
    "nothing": b"",
    "cut": b'{"kilotune": "0.1',
    "deep": b"[" * 100_000,
    "bytes": b'{"a": "\xff"}',
    "list": b"[1, 2]",
    "null": b"null",
    "object": b"{}",
}


@pytest.mark.parametrize("text", TEXTS)
def test_damaged_files_of_a_build(text: str, model: kt.Model, tmp_path: Path) -> None:
    """An error of the product's own, which names the file and says to build again."""
    made = build(model, tmp_path / "b")
    calls: dict[str, list[Callable[[], Any]]] = {
        "manifest.json": [lambda: kt.open_build(made.directory), lambda: made.open()],
        "report.json": [lambda: kt.open_build(made.directory)],
        "plan.json": [made.plans, lambda: made.save_html(tmp_path / "page.html")],
        "mine.json": [lambda: kt.load_config(made.directory / "mine.json")],
    }
    for name, uses in calls.items():
        path = made.directory / name
        before = path.read_bytes() if path.exists() else b""
        path.write_bytes(TEXTS[text])
        for use in uses:
            with pytest.raises((kt.CompileError, kt.DeviceError)) as caught:
                use()
            assert name in caught.value.where, str(caught.value)
            assert "kilotune" in caught.value.hint or "build" in caught.value.hint, str(caught.value)
            if text == "cut":
                assert "line 1, column 14: Unterminated string" in caught.value.what
        path.write_bytes(before)


def test_entries_of_other_kinds_in_manifest_and_report(model: kt.Model, tmp_path: Path) -> None:
    """Whatever stands in an entry, reading goes well or names the file."""
    made = build(model, tmp_path / "b")
    errors = 0
    for name in ("manifest.json", "report.json"):
        path = made.directory / name
        whole = json.loads(path.read_text())
        for entry in whole:
            for value in (None, "x", -1, 1e999, [], {}, [[None]], {"infer": "x"}):
                path.write_text(json.dumps(whole | {entry: value}))
                try:
                    kt.open_build(made.directory).report_text()
                except kt.CompileError as error:
                    assert name in error.where and error.hint, str(error)
                    errors += 1
        path.write_text(json.dumps(whole))
    assert errors > 100
