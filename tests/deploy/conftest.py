"""An agent for the tests of its commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .agent_process import Agent, Start, program


@pytest.fixture(scope="module")
def built() -> Path:
    return program()


@pytest.fixture
def start(built: Path) -> Iterator[Start]:
    """start("infer"): a running agent, which must end well."""
    running: list[Agent] = []

    def begin(kind: str = "train", **options: Any) -> Agent:
        running.append(Agent(options.pop("path", built), kind, **options))
        return running[-1]

    yield begin
    assert [agent.close() for agent in running] == [17] * len(running)
