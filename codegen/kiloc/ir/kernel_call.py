"""What an operator tells the emitter about its C kernel: symbol, parameters, arguments, scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Argument:
    """A pointer to a value: where it lies (arena, state, constant, caller's buffer) is the emitter's business."""

    value: str


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
class KernelCall:
    """symbol(&parameters, arguments...); scratch in bytes, aligned to 4.

    source: the translation unit under runtime/src that defines the symbol; needs: others that it calls. unreached: functions that the symbol
    calls for other parameters, but never for these: the bound of the stack leaves them out.
    """

    symbol: str
    struct: str
    fields: Mapping[str, Field]
    arguments: tuple[Argument | Scratch | First | str, ...]
    scratch: int = 0
    source: str = ""
    needs: tuple[str, ...] = ()
    unreached: frozenset[str] = frozenset()

    @property
    def file(self) -> str:
        """The translation unit under runtime/src that defines the symbol."""
        assert self.source, self.symbol
        return self.source

    @property
    def header(self) -> str:
        """The header that declares symbol and parameter struct: each folder of kernels has one of its name (include/kt/kernels)."""
        folder = self.file.rpartition("/")[0]
        return f"kt/{folder}.h"

    @property
    def files(self) -> tuple[str, ...]:
        """Every translation unit of the call."""
        return (self.file, *self.needs)
