"""Boards: every description is whole and agrees with its linker script; errors name what is wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kilotune import boards, resources
from kilotune.devices.errors import DeviceError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}
FOLDERS = sorted(p.parent for p in resources.boards().glob("*/*/board.toml"))


def linker_memories(script: Path) -> dict[str, tuple[int, int]]:
    pattern = r"(\w+)\s*\(\w+\)\s*:\s*ORIGIN\s*=\s*(\w+),\s*LENGTH\s*=\s*(\d+)([KM]?)"
    return {name: (int(origin, 0), int(size) * UNITS[unit]) for name, origin, size, unit in re.findall(pattern, script.read_text())}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_board_agrees_with_its_linker_script(folder: Path) -> None:
    board = boards.read(folder)
    if board.core == "host":
        assert board.linker_script is None
        return
    assert board.linker_script is not None
    assert {m.name: (m.origin, m.size) for m in board.memories} == linker_memories(board.linker_script)


def test_every_board_is_found_by_name() -> None:
    assert {boards.load(name).folder for name in boards.names()} == set(FOLDERS)
    assert boards.load("MPS2_AN386") == boards.load("mps2-an386")
    assert "mps2-an386" in boards.emulated()
    assert "posix" not in boards.emulated()


def test_unknown_board_names_the_nearest() -> None:
    with pytest.raises(DeviceError, match="did you mean mps2-an386"):
        boards.load("mps2-an368")
    with pytest.raises(DeviceError, match=r"boards: .*mps2-an386.*posix"):
        boards.load("zzz")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mps2-an386"\n', "", "name is missing"),
        ("origin = 0x2000_0000", 'origin = "0x20000000"', r"memory\.RAM\.origin must be an integer"),
        ('core = "cortex-m4"', 'kore = "cortex-m4"', r"cpu\.core is missing"),
        ('core = "cortex-m4"', 'core = "cortex-m5"', r"cpu\.core is 'cortex-m5', which is none of cortex-m0, "),
        ('"-mfloat-abi=hard"', '"-mfloat-abi=soft"', r"cpu\.flags are .*cortex-m4 with the FPU fpv4-sp-d16 takes .*hard"),
        ("[counter]", "[counter]\nspeed = 3", r"unknown entry counter\.speed"),
        ('"common/mps2.c"', '"common/mps9.c"', "there is no file .*mps9.c"),
        ("[serial]", "[serial", "cannot be read"),
    ],
)
def test_damaged_description_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = tmp_path / "board"
    shutil.copytree(boards.load("mps2-an386").folder, folder)
    text = (folder / "board.toml").read_text()
    assert text.count(old) == 1
    (folder / "board.toml").write_text(text.replace(old, new))
    with pytest.raises(DeviceError, match=message) as caught:
        boards.read(folder)
    assert str(folder) in str(caught.value)
