"""What hand-written pages say is true as far as a program can tell: links lead somewhere, places exist, examples print what stands below them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from golden.reference import tiny

import kilotune as kt
from kiloc.export import tflite

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(p for p in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("examples/*/README.md")))
INTERNALS = sorted((ROOT / "docs/internals").glob("*.md"))
FOLDERS = ("benchmarks", "boards", "codegen", "docs", "examples", "python", "renode", "runtime", "tests")
EXAMPLE = re.compile(r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", re.DOTALL)


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), f"{target} leads nowhere"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}, f"{target}: no such title"


@pytest.mark.parametrize("page", [ROOT / "ARCHITECTURE.md", ROOT / "docs/glossary.md", *INTERNALS], ids=shown)
def test_places_exist(page: Path) -> None:
    """A path in `code` is that of a file or folder of the repository, from wherever it is unambiguous."""
    files = {p.relative_to(ROOT).as_posix() for folder in FOLDERS for p in ((ROOT / folder), *(ROOT / folder).rglob("*"))}
    endings = {"/" + "/".join(parts[i:]) for parts in (f.split("/") for f in files) for i in range(len(parts))}
    for place in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", page.read_text(encoding="utf-8")):
        if "/" in place:
            assert "/" + place.rstrip("/") in endings, f"there is no {place}"


@pytest.mark.parametrize("page", INTERNALS, ids=shown)
def test_examples_print_what_the_page_says(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a reader would run them, at the root of the repository, one after the other."""
    monkeypatch.chdir(ROOT)
    text = page.read_text(encoding="utf-8")
    examples = EXAMPLE.findall(text)
    assert examples and len(examples) == text.count("```python"), "every example says what it prints"
    names: dict[str, Any] = {}
    for source, expected in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, os.fspath(page), "exec"), names)
        assert printed.getvalue() == expected


@pytest.mark.parametrize("program", [("gcc", "-std=c99", "-pedantic"), ("g++", "-std=c++11"), ("g++", "-std=c++20", "-pedantic")], ids=" ".join)
def test_the_snippet_for_firmware_compiles(program: tuple[str, ...], built: Path) -> None:
    """README's, as C and as C++: sketches for Arduino are the latter."""
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    snippet = re.search(r"```c\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert snippet is not None and "digits_train_step" in snippet[1]
    file = built / ("firmware.c" if program[0] == "gcc" else "firmware.cpp")
    file.write_text(snippet[1])
    folders = [f"-I{built / 'build' / name}" for name in kt.open_build(built / "build").manifest["include"]]
    run = subprocess.run([*program, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *folders, file], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a build of README's name."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "digits.tflite").write_bytes(tflite.write(tiny()))
    kt.build(kt.load(folder / "digits.tflite"), folder / "build", name="digits", method=kt.BiasOnly(), measure=False)
    return folder
