"""Fixtures of the tests on devices: the hand-written model of `toy_model.py`, built once, and on the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_model import make_toy

from kilotune.devices import open_device
from kilotune.devices.base import Device


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "build")


@pytest.fixture
def host(toy: Path) -> Iterator[Device]:
    with open_device(toy, "host") as opened:
        yield opened
