"""Which files of the runtime a build takes: the sources that its model calls, as its core needs them, and the headers that these include."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from kiloc import CompileError
from kiloc.emit import ModelContext
from kiloc.ir import PACKAGES

from . import resources

PUBLIC = (
    "kt/model.h",
    "kt/quantize.h",
    "kt/port.h",
    "kt/adapter.h",
    "kt/adapter_pool.h",
    "kt/adapter_slots.h",
    "kt/sliced_step.h",
    "kt/state_store.h",
    "kt/guard.h",
    "kt/drift.h",
    "kt/recorder.h",
)
"""Headers that firmware may include, whatever the model."""


def sources(context: ModelContext) -> list[Path]:
    """Translation units, relative to the runtime folder. On the core of the build exactly one of a kernel and its variants is not empty."""
    found = [file for name in context.sources for file in resources.with_variants(Path("src") / name, context.variants)]
    found += [Path("src/core/quantize.c"), Path("src/core/status.c")]
    if context.features is not None:
        found += [Path("src") / source for source in context.features.plan.sources]
    if context.training or context.adapters:
        found += [Path(f"src/core/{name}.c") for name in ("adapter", "adapter_pool", "adapter_slots")]
    if context.adapter is not None and context.adapter.public_key:
        found.append(Path("src/core/adapter_verify.c"))
    if context.adapter is not None and context.adapter.private:
        found.append(Path("src/core/private_update.c"))
        found += [] if context.training else [Path("src/core/state_store.c")]
    if context.training:
        found += [Path(f"src/core/{name}.c") for name in ("state_store", "guard", "drift", "recorder")]
        if context.checks_values:
            found.append(Path("src/core/checked_values.c"))
        if context.reconstructs:
            found.append(Path("src/core/threshold.c"))
    if context.replay is not None:
        found.append(Path("src/core/replay.c"))
    if context.new_classes is not None:
        found.append(Path("src/core/new_class.c"))
    return found


def own(context: ModelContext) -> dict[str, Path]:
    """Kernels from outside of kilotune: path in the build directory -> file, of the sources and of what they include from their own folder.

    Raises CompileError where a file is missing, or two packages have one name.
    """
    found: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    for package, source in context.packages:
        folder = package.folder.resolve()
        if folders.setdefault(package.name, folder) != folder:
            raise CompileError(f"kernels of {folder}", f"{folders[package.name]} has the name {package.name!r} too", "rename one KernelPackage")
        if not re.fullmatch(r"\w+\.c", source):
            raise CompileError(f"kernels of {package.name}", f"{source!r} is no file name of C", "source='mul.c', for example")
        pending = [f"{source.removesuffix('.c')}.h", source]
        while pending:
            name = pending.pop()
            path = (folder / name).resolve()
            if not path.is_relative_to(folder) or not path.is_file():
                hint = "a KernelCall names a source in the folder of its package, with a header of the same name beside it"
                raise CompileError(f"kernels of {package.name}", f"{path} is no file of {folder}", hint)
            key = f"{PACKAGES}/{package.name}/{name}"
            if key not in found:
                found[key] = path
                pending += [n for n in _included(path.read_text(encoding="utf-8")) if (folder / n).is_file()]
    return dict(sorted(found.items()))


def headers(chosen: Iterable[Path], generated: Iterable[str]) -> list[Path]:
    """Headers that sources, texts of generated files and firmware include, and those that these include, relative to the runtime folder."""
    runtime = resources.runtime().resolve()
    found: set[Path] = set()
    pending = [runtime / "include" / name for text in (*generated, *(f'#include "{name}"\n' for name in PUBLIC)) for name in _included(text)]
    pending += [runtime / path for path in chosen]
    while pending:
        path = pending.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for name in _included(path.read_text(encoding="utf-8")):
            beside = (path.parent / name).resolve()
            pending.append(beside if beside.is_file() else runtime / "include" / name)
    return sorted(path.relative_to(runtime) for path in found if path.suffix == ".h")


def _included(text: str) -> list[str]:
    return re.findall(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', text, re.MULTILINE)
