"""An app for Flower, as `kilotune federated new` writes it, for all tests of this folder."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import kilotune as kt
from kilotune.cli import main

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples/federated"))  # federation.py

collect_ignore = [] if importlib.util.find_spec("flwr") else ["test_flower.py", "test_processes.py"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("federated") / "app"
    done = CliRunner().invoke(main, ["federated", "new", str(folder), "--private-updates"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def device(app: Path) -> Iterator[kt.Device]:
    with kt.open_build(app / "model").open() as opened:
        yield opened
