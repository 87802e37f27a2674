"""Where the C sources are: inside an installed package, or beside it in the repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kiloc import FOLDERS

_PACKAGE = Path(__file__).resolve().parent


def _folder(installed: str, in_repository: str) -> Path:
    candidates = (_PACKAGE / "_data" / installed, _PACKAGE.parents[1] / in_repository)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"kilotune's {installed} files are neither in {candidates[0]} nor in {candidates[1]}: install it again")


def runtime() -> Path:
    """The folder of include/kt/*.h and src/**."""
    return _folder("runtime", "runtime")


VECTOR = "vector"
"""Folders beside kernels of a family, with the same for the vectors of this computer (kt/architecture.h)."""

ARCHITECTURES = (*FOLDERS, VECTOR)
"""All folders beside kernels of a family, with the same for cores that have these instructions."""


def with_variants(source: Path, architectures: Sequence[str] = ARCHITECTURES) -> list[Path]:
    """A source of the runtime, relative to its folder, and its variants for these instructions: on a core that has no others exactly one of
    them is not empty."""
    return [source, *(v for a in architectures if (runtime() / (v := source.parent / a / source.name)).is_file())]


def boards() -> Path:
    """The folder of <family>/<board>/board.toml."""
    return _folder("boards", "boards")


def agent() -> Path:
    """The folder of the agent firmware."""
    return _folder("agent", "examples/agent")


def cmake() -> Path:
    """The folder of the toolchain file and of board.cmake."""
    return _folder("cmake", "cmake")


def digits() -> Path:
    """The folder of digits.tflite, the model of the examples."""
    return _folder("digits", "examples/digits")


def own_firmware() -> Path:
    """The folder of the firmware that `kilotune new` starts from."""
    return _folder("own_firmware", "examples/own_firmware")


def renode() -> Path:
    """The folder of *.repl and *.resc."""
    return _folder("renode", "renode")
