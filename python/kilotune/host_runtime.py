"""The runtime as this computer runs it: the same sources as a build's, with kernels for the vectors of its processor (`vector` folders).

They are those of the installed kilotune, and take the place of a build's own files only where these are the same: a build of another version, or
one whose runtime was edited, runs the portable C that it brings.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from . import resources

KERNELS = ("vector", "portable")
"""What the host runs: kernels for the vectors of this computer, or the portable C of a build."""

_GENERATED = Path("include/kt/target.h")
"""The one header of a build's runtime that is made for its core; on a computer it says nothing."""


def is_own(build_dir: Path, sources: Iterable[str]) -> bool:
    """Whether the runtime of a build, among its sources, is that of this kilotune, file by file, and this computer one that vectors are made for."""
    folder = build_dir / "runtime"
    files = [build_dir / name for name in sources if Path(name).parts[0] == "runtime"]
    files += [path for path in folder.rglob("*.h") if path.relative_to(folder) != _GENERATED]
    return sys.byteorder == "little" and all(_same(path, resources.runtime() / path.relative_to(folder)) for path in files)


def _same(first: Path, second: Path) -> bool:
    try:
        return first.read_bytes() == second.read_bytes()
    except OSError:
        return False


def source(name: str) -> Path:
    """The file that stands for a source of a build's runtime ("runtime/src/product/row.c"): its variant in vectors, where it has one."""
    path = resources.runtime() / Path(name).relative_to("runtime")
    variant = path.parent / resources.VECTOR / path.name
    return variant if variant.is_file() else path


@cache
def headers() -> str:
    """A hash of all headers of the runtime."""
    total = hashlib.sha256()
    for path in sorted(resources.runtime().rglob("*.h")):
        total.update(f"{path.relative_to(resources.runtime()).as_posix()}\n".encode() + path.read_bytes())
    return total.hexdigest()


@cache
def _defined(compiler: str, *flags: str) -> frozenset[str]:
    """The macros that a compiler defines, as it says them."""
    said = subprocess.run([compiler, *flags, "-dM", "-E", "-"], input="", capture_output=True, text=True, check=False).stdout
    return frozenset(said.splitlines())


def optimization(kernels: str, compiler: str) -> tuple[str, ...]:
    """Flags for the portable C, or for vectors. Those are written out: what -O3 does for them is little, and takes twice as long to compile. But gcc
    has to unroll loops over a few vectors, whose sums lie in memory otherwise; clang does it at -O2, and has no such flag."""
    if kernels == "portable":
        return ("-O3",)
    return ("-O2",) if "#define __clang__ 1" in _defined(compiler) else ("-O2", "-fpeel-loops")


DOT_PRODUCTS = "-march=armv8.2-a+dotprod"
"""What 64-bit Arm has had since about 2018: products of bytes, four of them added up."""

_BEYOND = {"x86_64": ("__AVX2__", "-mavx2"), "aarch64": ("__ARM_FEATURE_DOTPROD", DOT_PRODUCTS)}
"""Kind of processor -> the macro of vectors that not all of that kind have, and the flag that asks for them."""
_KINDS = {"amd64": "x86_64", "arm64": "aarch64"}
"""Other names of the same."""


@cache
def machine_flags(compiler: str) -> tuple[str, ...]:
    """What tells a compiler to use the vectors of this processor beyond those that all of its kind have.

    They are part of the key of what is compiled, so that computers that share a cache do not share programs for other processors.
    """
    kind = platform.machine().lower()
    macro, flag = _BEYOND.get(_KINDS.get(kind, kind), ("", ""))
    return (flag,) if macro and f"#define {macro} 1" in _defined(compiler, "-march=native") else ()
