"""What the tab key offers: boards, devices, methods, and the layers of the model on the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from kilotune import boards
from kilotune.cli import main
from kilotune.devices import serial_port

ROOT = Path(__file__).resolve().parents[2]
DIGITS = str(ROOT / "examples/digits/digits.tflite")


def offered(*words: str) -> list[str]:
    """For the last word."""
    shell = ShellComplete(main, {}, "kilotune", "_KILOTUNE_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize("command", [("new", "p"), ("flash", "build/kws"), ("build", DIGITS, "-o", "b")])
def test_boards(command: tuple[str, ...]) -> None:
    option = "--slow-memory" if command[0] == "build" else "--board"
    assert offered(*command, option, "") == [row["board"] for row in boards.overview()]
    assert offered(*command, option, "nucleo-f") == ["nucleo-f446re"]


@pytest.mark.parametrize(
    "command",
    [("train", DIGITS), ("evaluate", DIGITS), ("predict", DIGITS), ("simulate", "b"), ("validate", DIGITS), ("adapter", "push", "b", "a.kta")],
    ids=lambda words: words[0],
)
def test_devices(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    from kilotune.commands import completing

    assert completing.ports is serial_port.ports
    monkeypatch.setattr(completing, "ports", lambda: ["/dev/ttyACM7"])
    assert offered(*command, "--device", "q") == [f"qemu:{name}" for name in boards.emulated()]
    assert offered(*command, "--device", "serial") == ["serial:/dev/ttyACM7"]
    assert {"host", "agent:host", "qemu:mps2-an386", "renode:mps2-an386"} <= set(offered(*command, "--device", ""))


def test_layers_of_the_model_on_the_line(tmp_path: Path) -> None:
    everything = ["all", "last:1", "last:2", "edges", "halve", "mix", "shapes", "features", "classes"]
    assert offered("train", DIGITS, "--layers", "") == everything
    assert offered("build", "--method", "bias", DIGITS, "--layers", "edges,s") == ["edges,shapes"]
    assert offered("search", DIGITS, "--layers", "cl") == ["classes"]
    assert offered("new", "p", "--model", DIGITS, "--layers", "cl") == ["classes"]
    assert offered("build", "none.tflite", "--layers", "") == []
    (tmp_path / "damaged.tflite").write_bytes(b"no model")
    assert offered("build", str(tmp_path / "damaged.tflite"), "--layers", "") == []


def test_methods_with_layers_and_options() -> None:
    assert offered("train", DIGITS, "--method", "b") == ["bias"]
    assert offered("train", DIGITS, "--method", "lora=sh") == ["lora=shapes"]
    assert offered("train", DIGITS, "--method", "lora=shapes,ra") == ["lora=shapes,rank="]
    assert offered("train", DIGITS, "--method", "bias", "--method", "lora=last:2,e") == ["lora=last:2,edges"]


def test_boards_that_cannot_be_read_offer_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KILOTUNE_BOARDS", str(tmp_path / "none"))
    assert offered("new", "p", "--board", "") == [] and offered("train", DIGITS, "--device", "") == []


def test_in_bash_as_the_page_says() -> None:
    """The lines of docs/commands.md, and what bash then puts in place of a word with a colon and one with an equals sign."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    setup = [line.partition("  #")[0].strip() for line in page.splitlines() if line.startswith(("    eval", "    COMP_")) and "zsh" not in line]
    assert len(setup) == 2
    ask = 'complete_it() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _kilotune_completion kilotune; echo "${COMPREPLY[@]}"; }'
    # `compopt` and `complete` are of interactive shells: only the words are asked for.
    script = "\n".join([*setup, ask, "complete_it kilotune train m --device qemu:mps2-an38", f"complete_it kilotune train {DIGITS} --method lora=sh"])
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["qemu:mps2-an385 qemu:mps2-an386", "lora=shapes"], done.stderr
