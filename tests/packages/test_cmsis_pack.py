"""A CMSIS-Pack: the description by the rules of its schema, the archive by what the description names, its files compiled as a tool would."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kilotune.building import Build
from kilotune.packages import package

from .builds import HOST, expected, run

REQUIRED = ("vendor", "name", "description", "url", "releases")
"""Of a description, by PACK.xsd; so are the attributes below."""
ELEMENTS = {*REQUIRED, "supportContact", "license", "keywords", "taxonomy", "conditions", "components"}


@pytest.fixture
def pack(build: Build, tmp_path: Path) -> Path:
    return package(build, "cmsis-pack", tmp_path / "pack", author="Ann & Sons <ann@example.org>")


def description(pack: Path) -> ElementTree.Element:
    [path] = pack.glob("*.pdsc")
    return ElementTree.parse(path).getroot()


def test_the_description(pack: Path, build: Build) -> None:
    root = description(pack)
    tags = [child.tag for child in root]
    assert root.tag == "package" and set(REQUIRED) <= set(tags) <= ELEMENTS and len(tags) == len(set(tags))
    assert root.findtext("vendor") == "Ann_Sons" and root.findtext("supportContact") == "Ann & Sons <ann@example.org>"
    assert all(re.fullmatch(r"[\w-]+", root.findtext(tag) or "") for tag in ("vendor", "name"))
    [release] = root.iterfind("releases/release")
    assert release.get("version") == "1.0.0" and release.text
    conditions = {c.get("id") for c in root.iterfind("conditions/condition")}
    [component] = root.iterfind("components/component")
    assert {"Cclass", "Cgroup", "Csub", "Cversion", "condition"} <= set(component.keys()) and component.get("condition") in conditions
    assert component.findtext("description")
    cores = {c.get("Dcore") for c in root.iterfind("conditions/condition/accept")}
    assert {"Cortex-M4", "Cortex-M7", "Cortex-M33", "Cortex-M55"} <= cores
    assert ("Cortex-M0+" in cores) == (build.manifest["target"] == "cortex-m0plus")


def test_the_archive_holds_what_is_named(pack: Path) -> None:
    root = description(pack)
    [archive] = pack.glob("*.pack")
    [pdsc] = pack.glob("*.pdsc")
    assert archive.name == f"{root.findtext('vendor')}.{root.findtext('name')}.1.0.0.pack" and archive.name.startswith(pdsc.stem)
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None and opened.read(pdsc.name) == pdsc.read_bytes()
        names = set(opened.namelist())
    assert "LICENSE" in names and root.findtext("license") in names
    for file in root.iter("file"):
        name = file.get("name") or ""
        assert name in names if not name.endswith("/") else any(n.startswith(name) for n in names), name
        assert file.get("category") in {"doc", "include", "header", "sourceC"}


def test_equal_builds_make_equal_packs(pack: Path, build: Build, tmp_path: Path) -> None:
    again = package(build, "cmsis-pack", tmp_path / "again", author="Ann & Sons <ann@example.org>")
    assert {p.name: p.read_bytes() for p in pack.iterdir()} == {p.name: p.read_bytes() for p in again.iterdir()}


def unpacked(pack: Path, folder: Path) -> tuple[list[Path], list[str], Path]:
    """Sources, folders of headers and the template of the only component, as a tool reads them."""
    with zipfile.ZipFile(next(pack.glob("*.pack"))) as opened:
        opened.extractall(folder)
    files = list(description(pack).iter("file"))
    sources = [folder / str(f.get("name")) for f in files if f.get("category") == "sourceC" and f.get("attr") is None]
    includes = [f"-I{folder / str(f.get('name'))}" for f in files if f.get("category") == "include"]
    [template] = [folder / str(f.get("name")) for f in files if f.get("attr") == "template"]
    return sources, includes, template


def test_the_template_runs(pack: Path, build: Build, tmp_path: Path) -> None:
    sources, includes, template = unpacked(pack, tmp_path / "unpacked")
    run("gcc", *HOST, *includes, *sources, template, "-o", tmp_path / "program")
    assert run(tmp_path / "program").splitlines() == expected(build)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m33"])
def test_it_compiles_for_the_cores_that_it_names(core: str, built: Callable[[str], Build], tmp_path: Path, arm_gcc: str) -> None:
    pack = package(built("trained"), "cmsis-pack", tmp_path / "pack")
    sources, includes, template = unpacked(pack, tmp_path / "unpacked")
    for source in (*sources, template):
        run(arm_gcc, f"-mcpu={core}", "-mthumb", "-std=gnu11", "-Os", "-Wall", "-Wextra", "-Werror", *includes, "-c", source, "-o", tmp_path / "o.o")
