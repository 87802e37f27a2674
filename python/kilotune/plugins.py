"""Methods and operators that live outside of kilotune: in an installed package, or in a file.

A plugin is a module that registers classes when it is imported: methods with `kiloc.peft.register`, operators with `kiloc.ir.operator.register`.
An installed package names it as an entry point of the group "kilotune.plugins":

    [project.entry-points."kilotune.plugins"]
    ia3 = "my_package.ia3"

A file is loaded with `kilotune --plugin FILE ...` or `kt.load_plugin(path)`. What is loaded stays for the life of the process, as imports do.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from kiloc import CompileError, ops, peft

GROUP = "kilotune.plugins"
_TABLES: tuple[dict[str, Any], ...] = (peft.REGISTRY, ops.REGISTRY)
_installed: set[tuple[str, str]] = set()
"""Entry points that are loaded: name and module."""


def load_plugin(path: str | os.PathLike[str]) -> ModuleType:
    """Import a Python file and with it the methods and operators that it registers; a file that is loaded already is not loaded again.

    Raises CompileError where it cannot be imported, or registers nothing: then nothing of it stays.
    """
    file, where = Path(path).resolve(), f"plugin {os.fspath(path)}"
    name = f"kilotune_plugin_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}_{file.stem}"
    for module in list(sys.modules.values()):  # also one that was imported as part of a package
        if getattr(module, "__dict__", {}).get("__file__") == str(file) and module.__name__ != "__main__":
            return module
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise CompileError(where, "is no Python file", "pass the path of a .py file that registers methods or operators")
    module = importlib.util.module_from_spec(spec)
    with _whole(where, "repair the file; `python FILE` shows where it fails"):
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            if not any(cls.__module__ == name for table in _TABLES for cls in table.values()):
                raise CompileError(where, "registers no method and no operator", "put @register (of kiloc.peft, kiloc.ir.operator) above a class")
        except BaseException:
            del sys.modules[name]
            raise
    return module


def load_installed() -> None:
    """Import the plugins of installed packages that are not loaded yet. Raises CompileError naming the one that cannot be."""
    for point in importlib.metadata.entry_points(group=GROUP):
        if (point.name, point.value) not in _installed:
            package = f" of the package {point.dist.name}" if point.dist is not None else ""
            with _whole(f"plugin {point.name}{package}", "repair or uninstall the package"):
                point.load()
            _installed.add((point.name, point.value))


@contextmanager
def _whole(where: str, hint: str) -> Iterator[None]:
    """What the block registers stays if it ends well. Whatever a plugin's own code raises becomes a CompileError."""
    before = [dict(table) for table in _TABLES]
    try:
        yield
    except Exception as error:
        for table, entries in zip(_TABLES, before, strict=True):
            table.clear()
            table.update(entries)
        if isinstance(error, CompileError):
            raise CompileError(where if error.where == where else f"{where}: {error.where}", error.what, error.hint) from error
        raise CompileError(where, f"cannot be imported: {type(error).__name__}: {error}", hint) from error
