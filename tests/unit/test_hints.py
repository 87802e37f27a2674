"""What messages and pages tell a person to type exists: commands, their subcommands, and extras of the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from kilotune import Device
from kilotune.cli import main
from kilotune.devices.errors import STATUS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    p
    for folder in ("python", "codegen", "docs", "examples", "boards", "renode", "runtime")
    for p in (ROOT / folder).rglob("*")
    if p.suffix in (".py", ".md", ".j2", ".c", ".h") and ".pio" not in p.parts
)
PAGES = sorted(ROOT.glob("*.md"))
COMMAND = re.compile(r"(?:`|^    |^\$ |: )kilotune (?!as )([a-z]+)(?: ([a-z]+)(?=[ `\n]))?", re.MULTILINE)


def texts() -> list[tuple[str, str]]:
    return [(p.relative_to(ROOT).as_posix(), p.read_text(encoding="utf-8")) for p in (*SOURCES, *PAGES)]


def test_commands_exist() -> None:
    found = 0
    for name, text in texts():
        for command, second in COMMAND.findall(text):
            found += 1
            assert command in main.commands, f"{name}: there is no `kilotune {command}`"
            group = main.commands[command]
            if isinstance(group, click.Group) and second:
                assert second in group.commands, f"{name}: there is no `kilotune {command} {second}`"
    assert found > 60, "the pattern finds what is there"


def test_extras_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name, text in texts():
        for given in re.findall(r"kilotune\[([a-z,]+)\]", text):
            assert set(given.split(",")) <= set(extras), f"{name}: there is no extra {given}"


@pytest.mark.parametrize("status", STATUS)
def test_what_a_device_answers_has_a_remedy_that_exists(status: int) -> None:
    """Methods that a hint names in passing are those of a device."""
    for method in re.findall(r"\b([a-z_]+)\(\)", STATUS[status][1]):
        assert hasattr(Device, method), f"a device has no {method}()"
