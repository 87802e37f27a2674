"""Where a build directory comes from: a hash of each of its files, and a bill of materials (SBOM) in the format of CycloneDX."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kiloc.ir import PACKAGES

BILL = "sbom.cdx.json"
"""The bill of materials in a build directory."""

_TOOLS = ("numpy", "onnx", "tflite", "flatbuffers", "jinja2")
"""Packages that a build's bytes can depend on, beside kilotune."""

_NAMESPACE = uuid.UUID("9c0c5c1e-6d5b-5c43-9f0b-2f2a8b1f4a53")
"""Of serial numbers: equal builds have equal ones."""


def hashes(folder: Path, without: Iterable[str] = ()) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path with slashes, sorted."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files if name not in set(without)}


def differences(folder: Path, recorded: Mapping[str, str], without: Iterable[str] = ()) -> list[str]:
    """What is not as recorded: "model.c has changed", "model.h is missing", "string.h was added", by path."""
    found = hashes(folder, without)
    told = {name: "is missing" if name not in found else "was added" if name not in recorded else "has changed" for name in {*found, *recorded}}
    return [f"{name} {told[name]}" for name in sorted(told) if found.get(name) != recorded.get(name)]


def bill_of_materials(manifest: Mapping[str, Any], files: Mapping[str, str], monocypher: str | None) -> dict[str, Any]:
    """The SBOM of a build: its generated files, the model, the runtime, and Monocypher where it is in there (`monocypher`: its text).

    No time and no random number: the same build has the same bill. The schema is CycloneDX 1.6.
    """
    version, name = manifest["kilotune"], manifest["name"]
    top = {n: [f for f in files if PurePosixPath(f).parts[0] == n] for n in ("runtime", "monocypher", PACKAGES)}
    generated = [f for f in files if not any(f in part for part in top.values())]
    runtime = {
        "type": "library", "bom-ref": "runtime", "name": "kilotune runtime", "version": version, "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": f"pkg:pypi/kilotune@{version}", "components": [_file(f, files[f]) for f in top["runtime"]],
    }  # fmt: skip
    model = {
        "type": "machine-learning-model", "bom-ref": "model", "name": manifest["model"]["file"],
        "hashes": [{"alg": "SHA-256", "content": manifest["model"]["sha256"]}],
    }  # fmt: skip
    packages = sorted({PurePosixPath(f).parts[1] for f in top[PACKAGES]})
    own = [_kernels(name, files, [f for f in top[PACKAGES] if PurePosixPath(f).parts[1] == name]) for name in packages]
    components = [model, runtime, *([_monocypher(monocypher, files, top["monocypher"])] if monocypher is not None else []), *own]
    build = {"type": "firmware", "bom-ref": "build", "name": name, "components": [_file(f, files[f]) for f in generated]}
    content = "".join(f"{f} {digest}\n" for f, digest in sorted(files.items()))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(_NAMESPACE, content).urn,
        "version": 1,
        "metadata": {"tools": {"components": _tools(version)}, "component": build},
        "components": components,
        "dependencies": [{"ref": "build", "dependsOn": [c["bom-ref"] for c in components]}, *({"ref": c["bom-ref"]} for c in components)],
    }


def _file(name: str, digest: str) -> dict[str, Any]:
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}


def _kernels(name: str, files: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    """Kernels of a package outside of kilotune, of which nothing but their name is known."""
    return {"type": "library", "bom-ref": f"package:{name}", "name": name, "components": [_file(f, files[f]) for f in names]}


def _monocypher(text: str, files: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    """The version is the one that its source names, where it does."""
    found = re.search(r"Monocypher version (\d+(?:\.\d+)*)", text)
    version = {"version": found[1]} if found else {}
    return {
        "type": "library", "bom-ref": "monocypher", "name": "Monocypher", **version, "licenses": [{"expression": "BSD-2-Clause OR CC0-1.0"}],
        "components": [_file(f, files[f]) for f in names],
    }  # fmt: skip


def _tools(version: str) -> list[dict[str, Any]]:
    """The compiler, and the packages by which it reads and writes."""
    versions = {"kilotune": version, **{name: importlib.metadata.version(name) for name in _TOOLS}}
    return [{"type": "application", "name": n, "version": v, "purl": f"pkg:pypi/{n}@{v}"} for n, v in versions.items()]
