"""`kilotune flash` with tools that only note how they were called, and what it says where one fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from toy_model import alive, edit, make_toy, needs_arm

from kilotune import boards, compilers, flashing, toolchain
from kilotune.cli import main

pytestmark = needs_arm
Tool = Callable[..., None]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "build")


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """tool("openocd", script): a program of that name on a PATH that has no other flashing tool."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("arm-none-eabi-gcc", "arm-none-eabi-objcopy"):
        found = compilers.tool_of((name,), "").program
        (folder / name).symlink_to(found)
    for name in ("sh", "cat", "sleep", "cp", "ls"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


def flash(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["flash", *arguments])


@pytest.mark.parametrize(
    ("board", "name", "expected"),
    [
        ("nucleo-f446re", "openocd", ["-f", "board/st_nucleo_f4.cfg", "-c", "program {ELF} verify reset exit"]),
        ("pico", "pyocd", ["flash", "--no-wait", "--target", "rp2040", "ELF"]),
    ],
)
def test_the_tool_gets_the_board_and_the_firmware(toy: Path, tmp_path: Path, tool: Tool, board: str, name: str, expected: list[str]) -> None:
    tool(name, f'for a in "$@"; do echo "$a"; done > {tmp_path}/called')
    result = flash(str(toy), "--board", board)
    assert result.exit_code == 0, result.output
    elf = str(toolchain.firmware(toy, board))
    assert (tmp_path / "called").read_text().splitlines() == [e.replace("ELF", elf) for e in expected]
    assert f"written by {name}" in result.output and "FLASH" in result.output and "--device serial:PORT" in result.output
    found = json.loads(flash(str(toy), "--board", board, "--json").output)
    assert found["elf"] == elf and found["memory"]["RAM"]["size"] == {m.name: m.size for m in boards.load(board).memories}["RAM"]


def test_platformio_gets_a_project_that_is_built(toy: Path, tmp_path: Path, tool: Tool) -> None:
    tool("pio", f'cp -r "$3" {tmp_path}/project; for a in "$@"; do echo "$a"; done > {tmp_path}/called')
    assert flash(str(toy), "--board", "nano33ble").exit_code == 0
    called = (tmp_path / "called").read_text().split()
    assert called[0] == "run" and called[3:] == ["--environment", "nano33ble", "--target", "nobuild", "--target", "upload"]
    assert not Path(called[2]).exists(), "the project is only needed while it is uploaded"
    assert (tmp_path / "project/platformio.ini").read_text() == "[env:nano33ble]\nplatform = nordicnrf52\nboard = nano33ble\n"
    built = tmp_path / "project/.pio/build/nano33ble"
    elf = toolchain.firmware(toy, "nano33ble")
    assert (built / "firmware.elf").read_bytes() == elf.read_bytes()
    assert (built / "firmware.bin").read_bytes()[:4] == b"\x00\x20\x00\x20", "the image begins with the vectors: the stack of 8 KB"
    assert (built / "firmware.hex").read_text().startswith(":020000021000EC"), "behind the bootloader: at 0x1000 * 16"


def test_a_tool_without_a_probe_says_what_it_looked_for(toy: Path, tool: Tool) -> None:
    tool("openocd", "echo 'Open On-Chip Debugger'; echo 'Error: open failed' >&2; exit 1")
    result = flash(str(toy), "--board", "nucleo-f446re")
    assert result.exit_code == 1
    assert "Error: open failed (looked for a debug probe and the board as `openocd -f board/st_nucleo_f4.cfg` describes them)" in result.output
    assert "--tool pyocd" in result.output and "Traceback" not in result.output


def test_platformio_without_a_network(toy: Path, tool: Tool) -> None:
    tool("pio", "echo 'HTTPClientError: '; exit 1")
    result = flash(str(toy), "--board", "pico")
    assert result.exit_code == 1 and "PlatformIO downloads its platform once: it needs the network" in result.output


def test_a_tool_that_hangs_is_ended(toy: Path, tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashing, "_SECONDS", 4)
    tool("openocd", f"echo $$ > {tmp_path}/pid; sleep 60 & echo $! >> {tmp_path}/pid; wait")
    result = flash(str(toy), "--board", "nucleo-f446re")
    assert result.exit_code == 1 and "did not end within 4 seconds" in result.output
    assert not [pid for pid in (tmp_path / "pid").read_text().split() if alive(int(pid))]


def test_errors_before_any_tool_runs(toy: Path, tmp_path: Path, tool: Tool) -> None:
    def said(*arguments: str) -> str:
        result = flash(str(toy), *arguments)
        assert result.exit_code == 1 and "Traceback" not in result.output
        return result.output

    assert "none of the tools that flash this board is on PATH: openocd, pyocd, platformio" in said("--board", "pico")
    assert "apt install openocd" in said("--board", "pico")
    tool("openocd", f"touch {tmp_path}/called")
    assert "did you mean pico" in said("--board", "picoo")
    assert "it is emulated: --device qemu:mps2-an386" in said("--board", "mps2-an386")
    elf = str(toolchain.firmware(toy, "nucleo-f446re"))
    assert "the program is for v7E-M, the Cortex-M0+ of pico takes v6-M" in said("--board", "pico", "--elf", elf)
    assert "cannot be read" in said("--board", "pico", "--elf", f"{tmp_path}/none.elf")
    large = make_toy(tmp_path / "large", arena_bytes={"infer": 16, "train": 400000})
    result = flash(str(large), "--board", "pico")
    assert result.exit_code == 1
    assert "RAM is 139," in result.output and "use a larger board: nucleo-h743zi\n" in result.output
    assert not (tmp_path / "called").exists()
    edit(large / "manifest.json", '"name": "toy"', '"nome": "toy"')
    assert "manifest" in flash(str(large), "--board", "pico").output
    assert flash(str(toy)).exit_code == 2
    assert flash(str(toy), "--board", "pico", "--tool", "dfu").exit_code == 2


def test_the_list_of_boards() -> None:
    rows = json.loads(CliRunner().invoke(main, ["boards", "--json"]).output)
    assert {r["board"] for r in rows} == set(boards.names()) - {"posix"}
    pico = next(r for r in rows if r["board"] == "pico")
    assert pico["memory"] == {"FLASH": 2 << 20, "RAM": 264 << 10} and pico["tools"] == ["openocd", "pyocd", "platformio"]
    shown = CliRunner().invoke(main, ["boards"])
    assert shown.exit_code == 0 and all(row["board"] in shown.output for row in rows)
