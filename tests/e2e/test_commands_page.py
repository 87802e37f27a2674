"""docs/commands.md is true: its commands, run in order in an empty folder, print what stands below them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/commands.md"


def comparable(text: str) -> str:
    """Without what depends on the computer."""
    return re.sub(r"(nanoseconds +)\d+", r"\1N", text).rstrip()


@pytest.mark.slow
@pytest.mark.qemu
def test_the_commands_print_what_the_page_says(tmp_path: Path, qemu: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            assert comparable(done.stdout) == comparable(expected), command
