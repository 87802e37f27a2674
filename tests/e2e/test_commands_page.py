"""README and docs/commands.md are true: their commands, run in order in an empty folder, print what stands below them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def comparable(text: str) -> str:
    """Without what depends on the computer."""
    return re.sub(r"(nanoseconds +)\d+", r"\1N", text).rstrip()


def _split(part: str) -> tuple[str, str]:
    """A command, which goes on behind a backslash, and what stands below it."""
    found = re.match(r"(?:[^\n]*\\\n)*[^\n]*", part)
    assert found is not None
    return found[0], part[found.end() :].removeprefix("\n")


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("page", "least"), [("README.md", 2), ("docs/commands.md", 6)])
def test_the_commands_print_what_the_page_says(page: str, least: int, tmp_path: Path, qemu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn not found: pip install 'kilotune[demo]'")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= least
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, expected = _split(part)
            done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            assert comparable(done.stdout) == comparable(expected), command
    monkeypatch.chdir(tmp_path)
    for source in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, page, "exec"), {})
        assert "'accuracy': 0.8" in printed.getvalue()


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150
