"""Puts the C sources into the package; everything else about it is in pyproject.toml.

The runtime, the boards, the agent firmware, the scripts for Renode and what `kilotune new` starts from are folders of their own in the
repository and data of the package when installed: kilotune/_data/*, where kilotune.resources finds them. An editable install leaves them where
they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = {
    "runtime": "runtime",
    "boards": "boards",
    "agent": "examples/agent",
    "renode": "renode",
    "cmake": "cmake",
    "digits": "examples/digits",
    "own_firmware": "examples/own_firmware",
}
"""Name under kilotune/_data -> folder of the repository."""

LEFT_OUT = shutil.ignore_patterns(".*", "model", "build", "__pycache__", "*.o", "*.a", "*.so", "*.elf", "*.py[cod]", "*~", "*.orig", "*.rej")
"""What editors and compilers leave behind. Everything else is copied: a list of suffixes would lose the next one."""


class BuildWithData(build_py):
    """build_py, and the folders of DATA."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source, target in self._folders():
            if target.exists():
                shutil.rmtree(target)  # build/ survives from one build to the next: a deleted file must not
            shutil.copytree(source, target, ignore=LEFT_OUT)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        copied = [str(path) for _, target in self._folders() for path in target.rglob("*") if path.is_file()]
        return [*super().get_outputs(include_bytecode), *copied]

    def _folders(self) -> list[tuple[Path, Path]]:
        root = Path(__file__).resolve().parent
        return [(root / folder, Path(self.build_lib) / "kilotune" / "_data" / name) for name, folder in DATA.items()]


setup(cmdclass={"build_py": BuildWithData})
