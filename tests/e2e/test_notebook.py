"""examples/notebook: its cells run in order, and each shows what it ends with."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shown(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does: the value of its last expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


def test_cells_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn, which has the digits, is not installed")
    for name in ("digits", "notebook"):
        shutil.copytree(ROOT / "examples" / name, tmp_path / name, ignore=shutil.ignore_patterns("build", "*.html", "*.kta", "__pycache__"))
    monkeypatch.chdir(tmp_path / "notebook")
    monkeypatch.setattr(sys, "path", [*sys.path])
    book = json.loads(Path("training.ipynb").read_text())
    assert book["nbformat"] == 4 and len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    values = [shown(source, names) for source in code]
    assert all(cell["outputs"] == [] for cell in book["cells"] if cell["cell_type"] == "code"), "committed without outputs"
    model, build, history, numbers, picture, adapter = values
    for value in (model, build, history, picture, adapter):
        assert value._repr_html_().startswith('<div class="kilotune">')
    test = numbers["test samples"]
    assert test["after"]["accuracy"] > test["before"]["accuracy"] + 0.3
    assert Path("training.html").read_text().startswith("<!doctype html>") and Path("sensor.kta").stat().st_size == len(adapter)
