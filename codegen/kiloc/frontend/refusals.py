"""What stands in the way of a model: a reader goes on behind the first reason, so that the user reads all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CompileError, ModelError

MOST = 40
"""Reasons that are listed: with as many, a file is hardly a model."""
MOST_PLACES = 3
"""Places that are named of one and the same cause."""


class Consequence(CompileError):
    """Something is missing because what makes it was refused: said once already."""

    def __init__(self, where: str) -> None:
        super().__init__(where, "depends on what was refused", "see the other reasons")


class Refusals:
    """The reasons that a reader finds. Wrap each step in `attempt`, and end with `check`."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], list[str]] = {}
        """Cause and remedy -> where."""

    def __bool__(self) -> bool:
        return bool(self._places)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Collects a CompileError of what is done inside, and lets the caller go on. Raises ModelError where there are too many."""
        try:
            yield
        except Consequence:
            pass
        except CompileError as error:
            self.add(error)

    def add(self, error: CompileError) -> None:
        places = self._places.setdefault((error.what, error.hint), [])
        if error.where not in places[: MOST_PLACES + 1]:
            places.append(error.where)
        if len(self._places) >= MOST:
            self.check("")

    def check(self, origin: str) -> None:
        """Raises ModelError where there is a reason. One cause at several places is one reason."""
        if self._places:
            raise ModelError(origin, [CompileError(_joined(places), what, hint) for (what, hint), places in self._places.items()])


def _joined(places: list[str]) -> str:
    named, more = places[:MOST_PLACES], len(places) - MOST_PLACES
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")
