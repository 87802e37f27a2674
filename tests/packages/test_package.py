"""What all formats share: refusals that name place, cause and remedy, files of others kept, and the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import kilotune as kt
from kilotune.building import Build
from kilotune.cli import main
from kilotune.packages import FORMATS, RECORD


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ({"version": "1.0"}, "version='1.0'"),
        ({"version": "01.0.0"}, "version='01.0.0'"),
        ({"license": "MIT; rm"}, "license='MIT; rm'"),
        ({"url": "example.org"}, "url='example.org'"),
        ({"url": "https://example.org/<a>"}, "url='https://example.org/<a>'"),
        ({"author": 'Ann "A"'}, "author='Ann \"A\"'"),
        ({"author": "Ann\nlicense=MIT"}, "author='Ann\\nlicense=MIT'"),
    ],
)
def test_words_that_do_not_fit(words: dict[str, str], where: str, built: Callable[[str], Build], tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError) as caught:
        kt.package(built("inferring"), "arduino", tmp_path / "p", **words)
    assert caught.value.where == where and caught.value.hint and not (tmp_path / "p").exists()


def test_an_unknown_format(built: Callable[[str], Build], tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError, match=r"choose one of arduino, zephyr, esp-idf, cmsis-pack"):
        kt.package(built("inferring"), "mbed", tmp_path / "p")


def test_a_build_that_somebody_changed(built: Callable[[str], Build], tmp_path: Path) -> None:
    copy = tmp_path / "build"
    shutil.copytree(built("inferring").directory, copy)
    (copy / "plain.c").write_text("int changed;\n")
    with pytest.raises(kt.CompileError, match=r"is not as it was built: plain\.c has changed"):
        kt.package(kt.open_build(copy), "zephyr", tmp_path / "p")


@pytest.mark.parametrize("format", FORMATS)
def test_it_replaces_what_it_made_and_nothing_else(format: str, built: Callable[[str], Build], tmp_path: Path) -> None:
    folder = kt.package(built("inferring"), format, tmp_path / "p")
    assert kt.package(built("inferring"), format, folder, version="1.0.1") == folder
    said = json.loads((folder / RECORD).read_text())
    assert said["format"] == format and said["model"]["file"] == "plain.tflite"
    edited = next(p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != RECORD)
    before = edited.read_bytes()
    edited.write_bytes(before + b"\n")
    with pytest.raises(kt.CompileError, match=r"made and somebody changed"):
        kt.package(built("inferring"), format, folder)
    edited.write_bytes(before)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(kt.CompileError, match=r"did not make: notes\.txt"):
        kt.package(built("inferring"), format, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(kt.CompileError, match="exists and is not"):
        kt.package(built("inferring"), format, tmp_path / "other")


def test_licences_name_every_part(built: Callable[[str], Build], tmp_path: Path) -> None:
    folder = kt.package(built("inferring"), "zephyr", tmp_path / "p", license="MIT OR CC-BY-4.0")
    text = (folder / "LICENSES.md").read_text()
    assert "Apache-2.0 (LICENSE)" in text and "| MIT OR CC-BY-4.0 |" in text
    idf = kt.package(built("inferring"), "esp-idf", tmp_path / "q", license="MIT OR CC-BY-4.0")
    assert 'license: "Apache-2.0 AND (MIT OR CC-BY-4.0)"' in (idf / "idf_component.yml").read_text()


def test_the_command(built: Callable[[str], Build], tmp_path: Path) -> None:
    directory = str(built("trained").directory)
    done = CliRunner().invoke(main, ["package", directory, "--format", "arduino", "-o", str(tmp_path / "p")])
    assert done.exit_code == 0 and "arduino package; its README.md says how it is used" in done.stdout
    assert "pass --author and --license and --url" in done.stderr
    done = CliRunner().invoke(main, ["package", directory, "--format", "zephyr", "-o", str(tmp_path / "q"), "--json"])
    assert done.exit_code == 0 and "zephyr/module.yml" in json.loads(done.stdout)["files"]
    done = CliRunner().invoke(main, ["package", str(tmp_path), "--format", "zephyr", "-o", str(tmp_path / "r")])
    assert done.exit_code in (1, 3)
    assert "manifest.json" in done.stderr or "build directory" in done.stderr


@pytest.mark.parametrize("format", FORMATS)
def test_pages_are_readable(format: str, built: Callable[[str], Build], tmp_path: Path) -> None:
    """No line of a template is left over."""
    folder = kt.package(built("in_arena"), format, tmp_path / "p")
    texts = [p.read_text() for p in folder.rglob("*") if p.suffix in (".md", ".ino", ".yml", ".pdsc", ".properties", ".txt") or p.name == "main.c"]
    assert texts and not any("{{" in t or "{%" in t or "\n\n\n" in t for t in texts)
