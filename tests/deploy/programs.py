"""Small C programs around a generated model: compiled for this computer, with sanitizers, and run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import kilotune as kt
from kilotune import compilers, resources, toolchain

FLAGS = (*toolchain.COMMON_FLAGS, "-O1")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
"""As `toolchain.host_agent` has them: the sanitized agents of a session share its objects."""


def compiled(build: kt.Build, source: str, folder: Path, options: Sequence[str] = (), sanitize: bool = True) -> Path:
    """The program of a main file, with the model and the runtime of a build directory. options: for the main file alone."""
    main = folder / "main.c"
    main.write_text(source)
    include = [build.directory / name for name in build.manifest["include"]]
    sources = [build.directory / name for name in build.manifest["sources"]]
    return _linked(folder / "program", main, options, sources, include, (*FLAGS, *(SANITIZERS if sanitize else ())))


def runtime_program(source: str, folder: Path, more: Sequence[str] = (), options: Sequence[str] = ()) -> Path:
    """The program of a main file of this folder with the runtime's adapters, and files beside them: it has a model of its own. options: for the
    main file alone."""
    here = Path(__file__).parent
    core = [resources.runtime() / "src" / "core" / f"{name}.c" for name in ("adapter", "adapter_pool", "adapter_slots", *more)]
    flags = (*FLAGS, *SANITIZERS, "-Wno-unused-function")
    return _linked(folder / "program", here / source, options, core, [resources.runtime() / "include", here], flags)


def _linked(program: Path, main: Path, options: Sequence[str], sources: Sequence[Path], include: Sequence[Path], flags: tuple[str, ...]) -> Path:
    """Objects come from the cache: programs of a session share the runtime's."""
    own = [Path(option[2:]) for option in options if option.startswith("-I")]
    macros = (option for option in options if not option.startswith("-I"))
    units = [toolchain._Unit(main, (*flags, *macros), (*own, *include)), *(toolchain._Unit(path, flags, tuple(include)) for path in sources)]
    toolchain._build(toolchain._Program(compilers.host_compiler(), tuple(units), flags, ""), main.name, program)
    return program


def run(program: Path, *arguments: str | Path) -> str:
    """What the program prints; any complaint of it or of a sanitizer fails the test."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"exit code {done.returncode}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}", pytrace=False)
    return done.stdout
