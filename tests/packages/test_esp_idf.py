"""A component for ESP-IDF, which is not at hand: what its CMake does with components is stood in for by esp_idf_stub/."""

from __future__ import annotations

from pathlib import Path

import pytest

from kilotune.building import Build
from kilotune.packages import package

from .builds import cmake, expected, run

STUB = Path(__file__).parent / "esp_idf_stub"


@pytest.fixture
def component(build: Build, tmp_path: Path) -> Path:
    return package(build, "esp-idf", tmp_path / "component", author="Ann Example <ann@example.org>", version="1.2.3")


def test_the_manifest(component: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    said = yaml.safe_load((component / "idf_component.yml").read_text())
    assert set(said) == {"version", "description", "url", "license", "maintainers", "tags", "dependencies"}
    assert said["version"] == "1.2.3" and said["license"] == "Apache-2.0 AND LicenseRef-model"
    assert said["maintainers"] == ["Ann Example <ann@example.org>"] and said["dependencies"] == {"idf": ">=5.0"}
    example = yaml.safe_load((component / "examples/infer/main/idf_component.yml").read_text())["dependencies"]
    [(name, source)] = example.items()
    assert (component / "examples/infer/main" / source["override_path"]).resolve() == component.resolve()
    assert name.startswith("kilotune_")


def test_the_component_manager_takes_it(component: Path) -> None:
    """With the rules of an upload to the registry."""
    reason = "idf-component-manager is not installed: pip install idf-component-manager"
    manager = pytest.importorskip("idf_component_tools.manager", reason=reason)
    checked = manager.ManifestManager(str(component), "component", upload_mode=True).validate()
    assert not checked.validation_errors
    assert str(checked.load().version) == "1.2.3"


def test_the_example_runs(component: Path, build: Build, tmp_path: Path) -> None:
    """Built for this computer through the CMakeLists.txt of the project, of its main component and of the package."""
    source = component / "examples/infer"
    run(cmake(), "-S", source, "-B", tmp_path / "made", "-G", "Unix Makefiles", IDF_PATH=str(STUB))
    run(cmake(), "--build", tmp_path / "made", IDF_PATH=str(STUB))
    assert run(tmp_path / "made/app").splitlines() == expected(build)
