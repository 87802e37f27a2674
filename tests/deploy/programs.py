"""Small C programs around a generated model: compiled for this computer, with sanitizers, and run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import kilotune as kt
from kilotune import compilers, resources

FLAGS = ("-std=c99", "-O1", "-g", "-ffp-contract=off", "-Wall", "-Wextra", "-pedantic", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiled(build: kt.Build, source: str, folder: Path, options: Sequence[str] = (), sanitize: bool = True) -> Path:
    """The program of a main file, with the model and the runtime of a build directory."""
    main, program = folder / "main.c", folder / "program"
    main.write_text(source)
    include = [f"-I{build.directory / name}" for name in build.manifest["include"]]
    sources = [str(main), *(str(build.directory / name) for name in build.manifest["sources"])]
    return _linked(program, [*(SANITIZERS if sanitize else ()), *options, *include, *sources])


def runtime_program(source: str, folder: Path, more: Sequence[str] = (), options: Sequence[str] = ()) -> Path:
    """The program of a main file of this folder with the runtime's adapters, and files beside them: it has a model of its own."""
    core = [str(resources.runtime() / "src" / "core" / f"{name}.c") for name in ("adapter", "adapter_pool", "adapter_slots", *more)]
    include = [f"-I{resources.runtime() / 'include'}", f"-I{Path(__file__).parent}"]
    return _linked(folder / "program", [*SANITIZERS, "-Wno-unused-function", *options, *include, str(Path(__file__).parent / source), *core])


def _linked(program: Path, arguments: Sequence[str]) -> Path:
    command = [
        compilers.host_compiler().program,
        *FLAGS,
        *arguments,
        "-o",
        str(program),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return program


def run(program: Path, *arguments: str | Path) -> str:
    """What the program prints; any complaint of it or of a sanitizer fails the test."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"exit code {done.returncode}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}", pytrace=False)
    return done.stdout
