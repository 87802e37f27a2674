"""Where a build comes from: hashes of its files, a bill of materials, and the same bytes wherever and whenever it is made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from golden.reference import tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune.adapters import signing
from kilotune.cli import main

METHODS = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    path = tmp_path_factory.mktemp("model") / "tiny.tflite"
    path.write_bytes(tflite.write(tiny()))
    return kt.load(path)


@pytest.fixture
def built(model: kt.Model, tmp_path: Path) -> kt.Build:
    return kt.build(model, tmp_path / "b", method=METHODS, measure=False)


# ---- Hashes ----


def verify(folder: Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["verify", str(folder)], catch_exceptions=False)
    return result.exit_code, result.output


def test_every_file_of_a_build_has_its_hash(built: kt.Build) -> None:
    files = {path.relative_to(built.directory).as_posix() for path in built.directory.rglob("*") if path.is_file()}
    recorded = built.manifest["files"]
    assert set(recorded) == files - {"manifest.json"} and {*built.manifest["sources"], "tiny.h", "report.json"} <= set(recorded)
    for name, digest in recorded.items():
        assert hashlib.sha256((built.directory / name).read_bytes()).hexdigest() == digest, name
    assert kt.open_build(built.directory).changed_files() == []
    code, output = verify(built.directory)
    assert code == 0 and f"{len(recorded)} files are as they were built" in output
    assert hashlib.sha256((built.directory / "manifest.json").read_bytes()).hexdigest() in output


def test_files_that_changed_are_named(built: kt.Build) -> None:
    folder = built.directory
    (folder / "tiny.c").write_text((folder / "tiny.c").read_text() + "\n")
    (folder / "runtime/include/kt/model.h").unlink()
    (folder / "runtime/include/string.h").write_text("/* in place of the compiler's */\n")
    expected = ["runtime/include/kt/model.h is missing", "runtime/include/string.h was added", "tiny.c has changed"]
    assert kt.open_build(folder).changed_files() == expected
    code, output = verify(folder)
    assert code == 1 and output.splitlines()[:3] == expected
    result = CliRunner().invoke(main, ["verify", str(folder), "--json"])
    assert (result.exit_code, json.loads(result.output)["changed"]) == (1, expected)


def test_a_build_without_hashes_says_so(built: kt.Build) -> None:
    path = built.directory / "manifest.json"
    path.write_text(json.dumps({k: v for k, v in built.manifest.items() if k != "files"}))
    with pytest.raises(kt.CompileError, match=r"names no hashes of files(?s:.*)build the model again"):
        kt.open_build(built.directory).changed_files()


# ---- The bill of materials ----


def bill(build: kt.Build) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((build.directory / "sbom.cdx.json").read_text())
    return found


def listed(component: dict[str, Any]) -> dict[str, str]:
    return {c["name"]: c["hashes"][0]["content"] for c in component.get("components", []) if c["type"] == "file"}


def test_the_bill_follows_the_schema_of_cyclonedx(built: kt.Build) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json", reason="needs cyclonedx-python-lib[json-validation]")
    from cyclonedx.exception import MissingOptionalDependencyException
    from cyclonedx.schema import SchemaVersion

    validator = validation.JsonStrictValidator(SchemaVersion.V1_6)
    try:
        assert validator.validate_str(json.dumps(bill(built))) is None
        broken = bill(built) | {"components": [{"type": "programme", "name": "x"}]}
        assert validator.validate_str(json.dumps(broken)) is not None, "the schema is looked at"
    except MissingOptionalDependencyException as error:
        pytest.skip(str(error))


def test_the_bill_names_what_is_in_the_build(built: kt.Build, model: kt.Model) -> None:
    found, recorded = bill(built), built.manifest["files"]
    parts = {c["bom-ref"]: c for c in found["components"]}
    assert set(parts) == {"model", "runtime"}
    assert parts["model"]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(model.path.read_bytes()).hexdigest()}]
    files = listed(found["metadata"]["component"]) | listed(parts["runtime"])
    assert files == {name: digest for name, digest in recorded.items() if name not in ("report.json", "plan.json", "sbom.cdx.json")}
    assert {t["name"] for t in found["metadata"]["tools"]["components"]} >= {"kilotune", "numpy", "tflite", "onnx"}
    assert found["dependencies"][0] == {"ref": "build", "dependsOn": ["model", "runtime"]}


def test_the_bill_of_a_signed_build_names_monocypher(model: kt.Model, tmp_path: Path, monocypher: Path) -> None:
    _, public = signing.make_keys(tmp_path / "key")
    built = kt.build(model, tmp_path / "b", method=METHODS, measure=False, adapters=kt.AdapterOptions(public_key=public))
    part = next(c for c in bill(built)["components"] if c["bom-ref"] == "monocypher")
    assert set(listed(part)) == {"monocypher/monocypher.c", "monocypher/monocypher.h"}
    assert listed(part)["monocypher/monocypher.c"] == hashlib.sha256((monocypher / "monocypher.c").read_bytes()).hexdigest()
    assert part["licenses"] == [{"expression": "BSD-2-Clause OR CC0-1.0"}]


# ---- The same bytes everywhere ----

MAKE = """
import sys, time
import kilotune as kt
from kilotune import toolchain
shift = float(sys.argv[3])
now = time.time
time.time = lambda: now() + shift
arm = sys.argv[4] == "arm"
methods = [kt.LoRA(rank=2, layers="first"), kt.BiasOnly()]
build = kt.build(kt.load(sys.argv[1]), sys.argv[2], method=methods, optimizer=kt.Adam(), ram="64K", measure=arm)
print(toolchain.host_library(build.directory))
if arm:
    print(toolchain.firmware(build.directory, "mps2-an386"))
"""


def made_elsewhere(model: Path, folder: Path, arm: bool, shift: float, **environment: str) -> tuple[dict[str, bytes], list[Path]]:
    """All files of a build and of the cache with its programs, made by a process of its own; and the programs."""
    folder.mkdir()
    environment |= {"KILOTUNE_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MAKE, str(model), str(folder / "built"), str(shift), "arm" if arm else "host"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return files, [Path(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_builds_in_two_places_have_the_same_bytes(model: kt.Model, tmp_path: Path) -> None:
    """Another path (of the model too), locale, time zone, time, hash seed and user: every file, every object and every program is the same."""
    arm = shutil.which("arm-none-eabi-gcc") is not None
    (tmp_path / "models").mkdir()
    copy = tmp_path / "models" / model.path.name
    copy.write_bytes(model.path.read_bytes())
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "UTC", "PYTHONHASHSEED": "1", "USER": "first"}
    other = {"LC_ALL": "C.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "4711", "USER": "second", "HOME": str(tmp_path)}
    first, programs = made_elsewhere(model.path, tmp_path / "one", arm, 0.0, **plain)
    second, others = made_elsewhere(copy, tmp_path / "another place, with a longer name", arm, 1e8, **other)
    assert set(first) == set(second) and {"built/tiny.c", "built/manifest.json", "built/sbom.cdx.json", "built/report.json"} <= set(first)
    assert sum(name.endswith(".o") for name in first) > 10
    assert [name for name in first if first[name] != second[name]] == []
    assert [p.name for p in programs] == [p.name for p in others] and len(programs) == (2 if arm else 1)
    assert not any(str(tmp_path).encode() in data for data in first.values()), "no file tells where it was made"
