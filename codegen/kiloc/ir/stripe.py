"""Rows of an operator's result computed by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .operator import Op

Rows = tuple[int, int]
"""First row, and the one behind the last."""


@dataclass(frozen=True)
class Stripe:
    """What computes some rows of a result.

    op: the operator for these rows. needs: of each operand that it reads rows of, these and how many the operand has; other operands it reads
    whole.
    """

    op: Op
    needs: Mapping[str, tuple[Rows, int]]


def rows_of(shape: tuple[int, ...], height: int, count: int) -> tuple[int, ...]:
    """The shape of `count` of the rows of a tensor [1, height * n, ...]."""
    return (*shape[:1], shape[1] // height * count, *shape[2:])
