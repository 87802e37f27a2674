"""Where monocypher.c and monocypher.h come from, for firmware that checks signatures.

$MONOCYPHER_DIR where it is set; else the source distribution of pymonocypher, which ships them, unpacked into the build cache. pip fetches it
the first time (from its own cache, if it has built the package there); later builds need no network.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from .cache import cache_directory, scratch_directory
from .errors import DeviceError

FILES = ("monocypher.c", "monocypher.h")
RANGE = ">=4.0.2,<5"
"""Of pymonocypher, where none is installed that says which."""


def folder() -> Path:
    """A folder that holds FILES. Raises DeviceError naming what to do where there is none."""
    given = os.environ.get("MONOCYPHER_DIR")
    if given:
        missing = [name for name in FILES if not (Path(given) / name).is_file()]
        if missing:
            raise DeviceError(f"MONOCYPHER_DIR={given}", f"it holds no {missing[0]}", "name the folder of Monocypher 4's two files")
        return Path(given)
    try:
        wanted = f"=={importlib.metadata.version('pymonocypher')}"
    except importlib.metadata.PackageNotFoundError:
        wanted = RANGE
    target = cache_directory() / f"monocypher{wanted.strip('=<>').replace(',', '-').replace('<', '')}"
    if not all((target / name).is_file() for name in FILES):
        _unpack(f"pymonocypher{wanted}", target)
    return target


def _unpack(requirement: str, target: Path) -> None:
    with scratch_directory() as scratch:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pymonocypher"]
        command = [*download, "--dest", str(scratch), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = sorted(scratch.glob("pymonocypher-*.tar.gz"))
        if done.returncode != 0 or not archives:
            said = (done.stderr.strip().splitlines() or ["pip found no source distribution"])[-1]
            raise DeviceError("Monocypher", f"its source is not at hand: {said}", "set MONOCYPHER_DIR to a folder of monocypher.c and monocypher.h")
        unpacked = scratch / "source"
        unpacked.mkdir()
        with tarfile.open(archives[0]) as archive:
            for member in archive.getmembers():
                if Path(member.name).name in FILES and len(Path(member.name).parts) == 2:
                    source = archive.extractfile(member)
                    if source is not None:
                        (unpacked / Path(member.name).name).write_bytes(source.read())
        target.mkdir(exist_ok=True)
        for name in FILES:
            os.replace(unpacked / name, target / name)
