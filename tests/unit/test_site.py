"""The site is built without a warning, and what its pages quote is there: messages in the sources, figures on the pages that benchmarks wrote."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OMITTED = "…"
"""Stands on a page for what differs from message to message."""


@pytest.mark.timeout(600)
def test_the_site_is_built_and_every_link_holds(tmp_path: Path) -> None:
    if importlib.util.find_spec("material") is None or importlib.util.find_spec("mkdocs") is None:
        reason = "mkdocs-material not found: pip install 'kilotune[docs]'"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Quick start" in start and 'href="docs/your_own/"' in start
    pages = ("docs/troubleshooting", "docs/how_to/drift", "examples/digits", "ARCHITECTURE")
    assert all((tmp_path / page / "index.html").is_file() for page in pages)
    assert not re.findall(r'(?:src|href)="https?://fonts\.', start), "nothing is loaded from elsewhere"


# ---- Troubleshooting ----


def text_of(node: ast.AST) -> str:
    """A string as it is written in a source, with OMITTED in place of what is put in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else OMITTED
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    return OMITTED


@cache
def strings() -> str:
    """Every string of compiler and package, one a line."""
    found = []
    for folder in ("codegen/kiloc", "python/kilotune"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [text_of(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.Constant)]
    return "\n".join(found)


MESSAGES = re.findall(r"^### `(.+)`$", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_one_of_the_sources(message: str) -> None:
    assert message.strip(f"{OMITTED} :") in strings()


def test_the_search_for_messages_can_fail() -> None:
    assert len(MESSAGES) > 30
    assert "no layer of … has this name" in strings() and "no layer of … has that name" not in strings()


def test_every_message_has_an_answer() -> None:
    parts = re.split(r"^### .+$", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert all(len(re.sub(r"^## .*", "", part, flags=re.MULTILINE).split()) > 2 for part in parts)


# ---- Figures ----


def tables(page: str) -> list[str]:
    return re.findall(r"(?:^\|.*\n)+", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)


def rounded(value: str, source: str) -> bool:
    """Whether a figure of a table is one of the page that a benchmark wrote, or one of its figures rounded."""
    digits = value.replace(",", "")
    found = {number.replace(",", "") for number in re.findall(r"(?<![\w.])\.?\d[\d,]*(?:\.\d+)?", source)}
    places = len(digits.partition(".")[2])
    # Half a digit of either way: the page has what was rounded already.
    return digits in found or (places > 0 and any(abs(float(n) - float(digits)) <= 0.501 * 10**-places for n in found if "." in n))


SOURCES = {"gas_mlp": "accuracy", "DS-CNN": "memory", "CMSIS-NN + TFLM, inference, M4": "speed", "flash, shared": "flash"}
"""A word of a table of docs/why.md -> the page that has its figures."""


@pytest.mark.parametrize("place", range(1, 5))
def test_figures_of_why_stand_on_the_pages_of_benchmarks(place: int) -> None:
    table = tables("docs/why.md")[place]
    page = next(page for word, page in reversed(SOURCES.items()) if word in table)
    source = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    cells = [cell for row in table.splitlines()[2:] for cell in row.split("|")[2:]]
    figures = [figure for cell in cells for figure in re.findall(r"(?<![\w.=])\.?\d[\d,]*(?:\.\d+)?(?![-\w])", cell)]
    assert len(figures) >= 10
    assert [figure for figure in figures if not rounded(figure, source)] == []


def test_the_comparison_of_figures_can_fail() -> None:
    assert rounded("8,768", "| 8,768 |") and rounded("7.76", "7.756") and not rounded("7.77", "7.756") and not rounded("8,769", "| 8,768 |")
