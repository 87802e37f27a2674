"""The fuzz targets in C run from their seeds and what once failed, for as many inputs as take a second or two; `make fuzz` runs them longer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def targets(clang: str) -> ModuleType:
    """tests/fuzz/c/run.py."""
    spec = importlib.util.spec_from_file_location("c_targets", Path(__file__).parent / "c" / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adapters", "slots", "states", "frames"])
def test_nothing_fails(name: str, targets: ModuleType, tmp_path: Path) -> None:
    """Under address and undefined-behaviour sanitizers, always the same inputs."""
    program = targets.prepare(name, tmp_path)
    seeds = len(list((tmp_path / "corpus").iterdir()))
    done = targets.fuzz(program, ["-runs=3000", "-seed=1"])
    assert done.returncode == 0, done.stderr[-3000:]
    assert seeds >= 4 and "Done 3" in done.stderr
