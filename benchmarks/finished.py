"""Draws that a long benchmark has finished, kept in a file: stopped, it goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Finished:
    """What came out of each (scenario, draw). path: JSON, a line a draw; None keeps nothing beyond this run."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path and path.exists() else []
        self.draws: dict[tuple[str, int], Any] = {(name, draw): outcome for name, draw, outcome in map(json.loads, lines)}

    def missing(self, names: tuple[str, ...], draws: int) -> list[tuple[str, int]]:
        """Those still to be made, the first draw of every scenario first."""
        return [(name, draw) for draw in range(draws) for name in names if (name, draw) not in self.draws]

    def keep(self, key: tuple[str, int], outcome: Any) -> None:
        """outcome: as JSON has it."""
        self.draws[key] = outcome
        if self._path:
            with self._path.open("a") as file:
                file.write(json.dumps([*key, outcome]) + "\n")
