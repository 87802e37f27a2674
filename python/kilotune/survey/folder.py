"""All model files of some folders, each looked at in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kiloc import CompileError

from .one import COMPILED, FAILED, REFUSED, Outcome

SUFFIXES = (".tflite", ".onnx")
SECONDS = 600
"""That a file may take before it counts as failed."""


@dataclass(frozen=True)
class Survey:
    """Outcomes by folder, in the order of names. Folders are shown as the user named them, or behind $KILOTUNE_DATA where they are in there."""

    target: str
    folders: dict[str, list[Outcome]]

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for found in self.folders.values() for outcome in found]

    @property
    def sound(self) -> bool:
        """Whether no file was too much for the compiler, and none computes something else than an interpreter of .tflite files."""
        wrong = [o for o in self.outcomes if o.outcome == FAILED or (o.file.endswith(".tflite") and o.steps)]
        return not wrong

    def summary(self) -> str:
        """A sentence with the numbers."""
        every = self.outcomes
        compiled = [o for o in every if o.outcome == COMPILED]
        exact, near = sum(o.exact for o in compiled), [o for o in compiled if o.steps]
        parts = [f"{len(compiled)} of {len(every)} files compile", f"{exact} give the bits of the other interpreter"]
        if near:
            parts.append(f"{len(near)} differ by at most {max(o.steps or 0 for o in near)} steps")
        unchecked = sum(o.steps is None for o in compiled)
        parts += [f"{unchecked} are not compared"] if unchecked else []
        refused, failed = (sum(o.outcome == kind for o in every) for kind in (REFUSED, FAILED))
        parts += [f"{refused} are refused"] if refused else []
        return ", ".join(parts + ([f"{failed} fail, which is a fault of kilotune"] if failed else []))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        folders = {name: [asdict(o) for o in found] for name, found in self.folders.items()}
        return {"target": self.target, "summary": self.summary(), "folders": folders}


def survey(folders: Sequence[Path], target: str, samples: int, progress: Callable[[str], None] = lambda _: None) -> Survey:
    """Look at every .tflite and .onnx file of the folders. Raises CompileError where there is none."""
    found: dict[str, list[Outcome]] = {}
    for folder in folders:
        files = _files(folder)
        outcomes = found.setdefault(shown(folder), [])
        for i, path in enumerate(files, 1):
            progress(f"{path.name} ({i} of {len(files)} in {shown(folder)})")
            outcomes.append(_outcome(path, target, samples))
    return Survey(target, found)


def shown(folder: Path) -> str:
    """A folder without the path of this computer's data."""
    data = os.environ.get("KILOTUNE_DATA")
    try:
        return str(Path("$KILOTUNE_DATA") / folder.resolve().relative_to(Path(data).resolve())) if data else str(folder)
    except ValueError:
        return str(folder)


def _files(folder: Path) -> list[Path]:
    if not folder.exists():
        raise CompileError(str(folder), "does not exist", "pass a folder with .tflite or .onnx files")
    files = [folder] if folder.is_file() else sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
    if not files:
        raise CompileError(str(folder), "holds no .tflite or .onnx file", "pass a folder with models")
    return files


def _outcome(path: Path, target: str, samples: int) -> Outcome:
    """Of a file; once more without another interpreter where that ended the process."""
    command = [sys.executable, "-m", "kilotune.survey", str(path), f"--target={target}", f"--samples={samples}"]
    what = ""
    for more in ([], ["--unchecked"]):
        try:
            done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=SECONDS, check=False)
            return Outcome(**json.loads(done.stdout.splitlines()[-1]))
        except subprocess.TimeoutExpired:
            what = f"took more than {SECONDS} s"
        except (ValueError, IndexError, TypeError):
            lines = done.stderr.strip().splitlines()
            what = f"the process ended with {done.returncode}{f': {lines[-1]}' if lines else ''}"
    return Outcome(path.name, FAILED, failure=what)
