"""Where real recordings are: a folder that KILOTUNE_DATA names (CONTRIBUTING.md). Examples make data of their own where there is none."""

from __future__ import annotations

import os
from pathlib import Path


def folder_with(*files: str) -> Path | None:
    """The folder that KILOTUNE_DATA names, where it holds all of these files; None otherwise."""
    named = os.environ.get("KILOTUNE_DATA")
    return Path(named) if named and all((Path(named) / file).is_file() for file in files) else None
