"""What an operator tells the emitter about its C kernel: symbol, parameters, arguments, scratch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError

PACKAGES = "packages"
"""The folder of a build directory with the kernels of packages, one folder a package; it is a path of headers."""


@dataclass(frozen=True)
class Argument:
    """A pointer to a value: where it lies (arena, state, constant, caller's buffer) is the emitter's business."""

    value: str


@dataclass(frozen=True)
class Pointers:
    """An array of pointers to values, for a kernel that takes any number of them."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A constant array that the operator derives, such as per-channel multipliers."""

    suffix: str
    ctype: str
    data: NDArray[np.generic]


@dataclass(frozen=True)
class Scratch:
    """A pointer to the scratch bytes of the call."""


@dataclass(frozen=True)
class First:
    """Index in its tensor of the first element that the call takes: 0, but for one that goes over a tensor in parts."""


Field = int | float | str | tuple[int, ...] | Argument | Table | Mapping[str, "Field"]
"""Initialiser of a member of a parameter struct; a str is a C constant such as an enumerator."""


@dataclass(frozen=True)
class KernelPackage:
    """Kernels that live outside of kilotune: a folder of C sources, each with a header of the same name beside it.

    name: of the folder in build directories, and in front of the header's name in generated C: `#include "name/kernel.h"`. What sources include
    from their own folder is copied with them. Raises CompileError for a name that C or a file system might read otherwise.
    """

    name: str
    folder: Path

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name) or self.name == "kt":
            where = f"KernelPackage(name={self.name!r})"
            raise CompileError(where, "is no name of lower-case letters, digits and _, or is kt", "the name of your package, for example")


@dataclass(frozen=True)
class Member:
    """A member of a parameter struct that points into the scratch: `count` elements of `dtype`, so many bytes behind its beginning."""

    name: str
    dtype: str
    count: int
    offset: int


@dataclass(frozen=True)
class Made:
    """What a kernel reads of its scratch in place of constants: `call` makes it, in front of each call of the kernel.

    members: of the kernel's struct, in the order of the pointers that `call` takes last.
    """

    call: KernelCall
    members: tuple[Member, ...]


@dataclass(frozen=True)
class KernelCall:
    """symbol(&parameters, arguments...); scratch in bytes, aligned to 4.

    source: the translation unit that defines the symbol, under runtime/src or in the folder of `package`; needs: others under runtime/src that
    it calls. unreached: functions that the symbol
    calls for other parameters, but never for these: the bound of the stack leaves them out.
    """

    symbol: str
    struct: str
    fields: Mapping[str, Field]
    arguments: tuple[Argument | Pointers | Scratch | First | str, ...]
    scratch: int = 0
    source: str = ""
    needs: tuple[str, ...] = ()
    unreached: frozenset[str] = frozenset()
    package: KernelPackage | None = None
    made: Made | None = None

    @property
    def file(self) -> str:
        """The translation unit that defines the symbol."""
        assert self.source, self.symbol
        return self.source

    @property
    def header(self) -> str:
        """The header that declares symbol and parameter struct: each folder of kernels has one of its name (include/kt/kernels)."""
        if self.package is not None:
            return f"{self.package.name}/{self.file.removesuffix('.c')}.h"
        folder = self.file.rpartition("/")[0]
        return f"kt/{folder}.h"

    @property
    def files(self) -> tuple[str, ...]:
        """Every translation unit of the call under runtime/src."""
        made = self.made.call.files if self.made is not None else ()
        return (*made, *(self.needs if self.package is not None else (self.file, *self.needs)))
