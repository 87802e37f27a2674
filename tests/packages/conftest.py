"""The builds of all formats, made once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kilotune.building import Build

from .builds import BUILDS


@pytest.fixture(params=BUILDS)
def build(request: pytest.FixtureRequest, built: Callable[[str], Build]) -> Build:
    """Each of BUILDS."""
    return built(request.param)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Build]:
    """built("trained"): a build of BUILDS."""
    folder, made = tmp_path_factory.mktemp("packaged"), {}

    def build(name: str) -> Build:
        if name not in made:
            made[name] = BUILDS[name](folder)
        return made[name]

    return build
