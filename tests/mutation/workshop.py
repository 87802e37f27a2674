"""Runs tests on mutants in copies of the tree: each in a process of its own, forked from one that has loaded what tests import.

The copies lie in a temporary folder; the tree they are made of is never written to.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PRELOADED = "numpy onnx tflite flatbuffers jinja2 cffi click rich pytest hypothesis xdist pytest_timeout syrupy".split()
"""What takes long to load and is no part of the project."""
PLUGINS = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly")
QUIET = ("-x", "-q", "--no-header", "--tb=line", "--hypothesis-seed=0")


@dataclass(frozen=True)
class Run:
    """passed: every test did. seconds: how long it took. last: the last line that says why not."""

    passed: bool
    seconds: float
    last: str


class Workshop:
    """One copy of a tree, in which one mutant after the other is put."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.copy = folder / "tree"
        self.log = folder / "output.txt"
        for name in tracked(root):
            target = self.copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
        self.sources: dict[str, bytes] = {}
        """Files as they were copied: the tree may change while mutants are tested."""

    def source(self, path: str) -> bytes:
        if path not in self.sources:
            self.sources[path] = (self.copy / path).read_bytes()
        return self.sources[path]

    def put(self, path: str, source: bytes) -> None:
        """Write a file of the copy; what Python compiled of it before is removed, for it goes by size and seconds."""
        target = self.copy / path
        target.write_bytes(source)
        for compiled in (target.parent / "__pycache__").glob(f"{target.stem}.*"):
            compiled.unlink()

    def restore(self, path: str) -> None:
        self.put(path, self.source(path))

    def test(self, tests: Sequence[str], limit: float) -> Run:
        """Run tests up to the first that fails. What takes longer than `limit` seconds is ended and has failed."""
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            self._child(tests)
        status = None
        while status is None:
            ended, code = os.waitpid(child, os.WNOHANG)
            if ended:
                status = os.waitstatus_to_exitcode(code)
            elif time.monotonic() - began > limit:
                _end(child)
                return Run(False, time.monotonic() - began, f"no end after {limit:.0f} s")
            else:
                time.sleep(0.005)
        _end(child)
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith(("FAILED", "ERROR", "E "))]
        return Run(status == 0, time.monotonic() - began, lines[-1] if lines else "")

    def _child(self, tests: Sequence[str]) -> None:
        os.setsid()
        os.chdir(self.copy)
        with open(self.log, "wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = 3
        try:
            import pytest

            code = int(pytest.main([*PLUGINS, *QUIET, *tests]))
        finally:
            sys.stdout.flush()
            os._exit(code)


def _end(group: int) -> None:
    """End the process group of a run: what tests start, they may leave."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(group, 0)


def preload() -> None:
    """Load what every run needs, so that each forked process has it."""
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue


def tracked(root: Path) -> list[str]:
    """The files of a tree: those of its repository, also the uncommitted ones, or where there is no repository all."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    names = done.stdout.split("\0") if done.returncode == 0 else [p.relative_to(root).as_posix() for p in root.rglob("*")]
    return sorted(name for name in names if name and (root / name).is_file())
