"""`kilotune new`: what it makes builds at once, by CMake and by PlatformIO, learns, and has the bits of the host."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from golden.reference import tiny
from tflite_files import many_ends

import kilotune as kt
from kiloc.export import tflite
from kilotune.cli import main

ROOT = Path(__file__).resolve().parents[2]
CMAKE = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake") or ""
needs_cmake = pytest.mark.skipif(not CMAKE, reason="cmake not found: pip install cmake, or on Debian, apt install cmake")
EPOCHS = 5


def kilotune(*arguments: Any, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(folder: Path) -> Path:
    run([CMAKE, "-S", ".", "-B", "build"], folder)
    output = run([CMAKE, "--build", "build"], folder)
    assert "warning" not in output
    return folder / "build/firmware.elf"


def expected(folder: Path) -> list[str]:
    """What the firmware says, by the host: correct before, the loss of each epoch, correct after."""
    with np.load(folder / "data/samples.npz") as file:
        inputs, y = [file[name] for name in file.files if name.startswith("x")], file["y"]
    several = len(inputs) > 1
    with kt.open_build(folder / "model").open() as device:

        def correct() -> str:
            return f"{int((device.predict(inputs if several else inputs[0]) == y).sum())} of {len(y)} correct"

        lines = [f"before: {correct()}"]
        for epoch in range(1, EPOCHS + 1):
            total = np.float32(0)
            for *sample, label in zip(*inputs, y, strict=True):
                total += np.float32(device.train_step(sample if several else sample[0], label))
                device.apply()
            lines.append(f"epoch {epoch}: loss {int(total * np.float32(1000) / np.float32(len(y)))} / 1000")
        return [*lines, f"after: {correct()}", "DONE"]


@needs_cmake
@pytest.mark.qemu
@pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547", "riscv32-virt"])
def test_a_project_for_an_emulated_board_learns_as_the_host(board: str, tmp_path: Path, qemu: str, riscv_gcc: str) -> None:
    kilotune("new", tmp_path / "p", "--board", board)
    built(tmp_path / "p")
    output = run([sys.executable, "emulate.py", f"boards/qemu/{board.replace('-', '_')}", "build/firmware.elf"], tmp_path / "p")
    assert output.splitlines() == expected(tmp_path / "p")
    before, after = (int(re.findall(rf"{word}: (\d+) of 30", output)[0]) for word in ("before", "after"))
    assert after > before + 10, "the example teaches nothing"


@needs_cmake
@pytest.mark.parametrize("board", ["nucleo-f446re", "pico"])
def test_a_project_for_a_real_board_links(board: str, tmp_path: Path, arm_gcc: str) -> None:
    assert f"kilotune flash model --board {board} --elf build/firmware.elf" in kilotune("new", tmp_path / "p", "--board", board).stdout
    assert built(tmp_path / "p").stat().st_size > 10_000
    assert f"kilotune flash model --board {board}" in (tmp_path / "p/README.md").read_text()
    assert not (tmp_path / "p/emulate.py").exists() and len(list((tmp_path / "p/boards").glob("*/*/board.toml"))) == 1


@pytest.mark.qemu
def test_platformio_builds_and_runs_it_without_a_download(tmp_path: Path, qemu: str) -> None:
    if importlib.util.find_spec("platformio") is None or importlib.util.find_spec("SCons") is None:
        pytest.skip("platformio and scons not found: pip install platformio scons")
    kilotune("new", tmp_path / "p", "--board", "mps2-an386")
    offline = {"PLATFORMIO_CORE_DIR": str(tmp_path / "core"), "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no", "HTTPS_PROXY": "http://127.0.0.1:9"}
    output = run([sys.executable, "-m", "platformio", "run", "-t", "upload"], tmp_path / "p", **offline)
    assert [line for line in output.splitlines() if re.match(r"before|epoch|after|DONE", line)] == expected(tmp_path / "p")


@needs_cmake
@pytest.mark.qemu
def test_a_model_of_several_inputs_and_outputs(tmp_path: Path, qemu: str) -> None:
    """Each of a type of its own, and noise for samples."""
    (tmp_path / "many.tflite").write_bytes(many_ends())
    command = ("new", tmp_path / "p", "--board", "mps2-an386", "--model", tmp_path / "many.tflite", "--method", "lora=all,rank=1")
    assert "the samples are noise" in kilotune(*command).stderr and "nothing can\nbe learned" in (tmp_path / "p/README.md").read_text()
    built(tmp_path / "p")
    output = run([sys.executable, "emulate.py", "boards/qemu/mps2_an386", "build/firmware.elf"], tmp_path / "p")
    assert output.splitlines() == expected(tmp_path / "p")


@needs_cmake
@pytest.mark.qemu
def test_a_model_and_data_of_one_s_own(tmp_path: Path, qemu: str) -> None:
    (tmp_path / "mine.tflite").write_bytes(tflite.write(tiny()))
    rows = "\n".join(",".join([*map(str, np.arange(8) / 8 - i / 9), ("low", "mid", "top")[i % 3]]) for i in range(9))
    (tmp_path / "d.csv").write_text(rows)
    command = ("new", tmp_path / "p", "--board", "mps2-an386", "--model", tmp_path / "mine.tflite", "--data", tmp_path / "d.csv")
    kilotune(*command, "--class-names", "top,mid,low", "--method", "lora=last:1,rank=2")
    manifest = kt.open_build(tmp_path / "p/model").manifest
    assert manifest["class_names"] == ["top", "mid", "low"] and manifest["options"]["methods"] == ["lora r=2 last:1"]
    built(tmp_path / "p")
    output = run([sys.executable, "emulate.py", "boards/qemu/mps2_an386", "build/firmware.elf"], tmp_path / "p")
    assert output.splitlines()[-1] == "DONE" and re.search(r"before: \d of 9 correct", output)
    header = (tmp_path / "p/src/samples.h").read_text()
    assert "sample_labels[SAMPLES] = {2, 1, 0, 2, 1, 0, 2, 1, 0}" in header
    run([sys.executable, "samples.py", str(tmp_path / "d.csv")], tmp_path / "p")
    assert (tmp_path / "p/src/samples.h").read_text() == header.replace("from samples.npz", "from d.csv")


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/notes.txt").write_text("mine")
    assert "exists and is not empty" in kilotune("new", tmp_path / "p", "--board", "mps2-an386", code=3).stderr
    assert [p.name for p in tmp_path.rglob("*")] == ["p", "notes.txt"]
    assert "did you mean" in kilotune("new", tmp_path / "q", "--board", "mps2-an38", code=1).stderr
    assert not (tmp_path / "q").exists()
