"""A newcomer's computer: a copy of the checkout with nothing beside it, and the commands that are typed in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    """What a command printed: results, and notes and errors."""

    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def checkout(folder: Path) -> Path:
    """The files of the repository as they are now, as `git clone` would give them."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@dataclass
class Newcomer:
    """home: the checkout. known: what one step keeps for another."""

    home: Path
    known: dict[str, Any] = field(default_factory=dict)

    def run(self, *command: str | Path, code: int = 0, folder: str = ".") -> Said:
        """In the checkout, with the programs of the virtual environment in front and the package of the checkout."""
        environment = {name: value for name, value in os.environ.items() if name != "KILOTUNE_DATA"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        environment["PYTHONPATH"] = f"{self.home / 'codegen'}{os.pathsep}{self.home / 'python'}"
        done = subprocess.run([str(c) for c in command], cwd=self.home / folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{' '.join(map(str, command))}\nexit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return Said(done.stdout, done.stderr)

    def kilotune(self, *arguments: str | Path, code: int = 0, folder: str = ".") -> Said:
        return self.run("kilotune", *arguments, code=code, folder=folder)


Step = Callable[[Newcomer], None]
STEPS: list[Step] = []


def step(function: Step) -> Step:
    """The next step of the hour; its docstring says what the newcomer does."""
    STEPS.append(function)
    return function
