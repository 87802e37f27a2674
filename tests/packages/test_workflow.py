"""The workflow of examples/ci: its commands, run here in the order of its steps with a model and samples of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "examples/ci/kilotune.yml"
INSTALLING = "Install"


@pytest.fixture
def workflow() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    found = yaml.safe_load(WORKFLOW.read_text())
    assert isinstance(found, dict)
    return found


def test_what_github_asks_of_it(workflow: dict[str, Any]) -> None:
    assert workflow[True] == ["push", "pull_request"]  # YAML reads the word "on" so, and GitHub knows
    [job] = workflow["jobs"].values()
    assert job["runs-on"].startswith("ubuntu-")
    assert all(set(step) <= {"name", "run", "uses", "with"} and ("run" in step) != ("uses" in step) for step in job["steps"])


@pytest.mark.qemu
@pytest.mark.parametrize("broken", [False, True], ids=["as it is", "a budget that is not met"])
def test_its_commands(broken: bool, workflow: dict[str, Any], tmp_path: Path, qemu: str) -> None:
    sys.path.insert(0, str(ROOT / "examples/digits"))
    try:
        data = pytest.importorskip("data", reason="scikit-learn, which has the digits, is not installed")
        rows = data.digits().adapt
    finally:
        sys.path.pop(0)
    np.savez(tmp_path / "samples.npz", x=rows.x[:60], y=rows.y[:60])
    (tmp_path / "model.tflite").write_bytes((ROOT / "examples/digits/digits.tflite").read_bytes())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    [job] = workflow["jobs"].values()
    steps = [(step["name"], step["run"]) for step in job["steps"] if step.get("run") and step["name"] != INSTALLING]
    assert len(steps) == 4
    for name, script in steps:
        script = script.replace("--ram 32K", "--ram 1K") if broken else script
        environment = {**os.environ, **workflow["env"], "PATH": path}
        done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        if broken:
            assert done.returncode != 0 and "ram" in done.stderr.lower(), done.stderr
            return
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    for folder in job["steps"][-1]["with"]["path"].split():
        assert (tmp_path / folder).exists()
