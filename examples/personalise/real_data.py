"""Where real recordings are: a folder that KILOTUNE_DATA names (CONTRIBUTING.md). Examples make data of their own where there is none."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path | None:
    """The folder that KILOTUNE_DATA names; None where it names none."""
    named = os.environ.get("KILOTUNE_DATA")
    return Path(named) if named else None


def folder_with(*files: str) -> Path | None:
    """The same, where it holds all of these files; None otherwise."""
    folder = data_folder()
    return folder if folder is not None and all((folder / file).is_file() for file in files) else None
