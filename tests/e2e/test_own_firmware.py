"""examples/own_firmware as a user builds it: by CMake and by PlatformIO, run under QEMU, to the state that the host computes."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import kilotune as kt

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 8
CMAKE = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake") or ""
needs_cmake = pytest.mark.skipif(not CMAKE, reason="cmake not found: pip install cmake, or on Debian, apt install cmake")

pytestmark = pytest.mark.qemu


@pytest.fixture
def project(tmp_path: Path, qemu: str) -> Path:
    """A clean copy of the example where it stands in a checkout, with its model built as the README says."""
    for name in ("boards", "cmake"):
        (tmp_path / name).symlink_to(ROOT / name)
    folder = tmp_path / "examples" / "own_firmware"
    shutil.copytree(ROOT / "examples/own_firmware", folder, ignore=shutil.ignore_patterns("model", "build", ".pio"))
    model = kt.load(ROOT / "examples/digits/digits.tflite")
    kt.build(model, folder / "model", method=[kt.BiasOnly(layers="all"), kt.LoRA(rank=4, layers="all")], optimizer=kt.SGD(lr=0.2), measure=False)
    return folder


def expected(project: Path) -> list[str]:
    """What the firmware must print: the same training on the host."""
    text = (project / "src/samples.h").read_text()
    rows = [np.array(row.split(","), np.int8) for row in re.findall(r"^    \{([-\d, ]+)\},$", text, re.MULTILINE)]
    labels = np.array(re.findall(r"sample_labels\[SAMPLES\] = \{([\d, ]+)\}", text)[0].split(","), np.int32)
    x = np.stack(rows).reshape(-1, 8, 8, 1)
    assert len(x) == len(labels) == 30
    with kt.open_build(project / "model").open("host") as host:
        before = int((host.predict(x) == labels).sum())
        for _ in range(EPOCHS):
            for sample, label in zip(x, labels, strict=True):
                host.train_step(sample, label)
                host.apply()
        after = int((host.predict(x) == labels).sum())
        assert after > before + 10, "the example teaches nothing"
        return [f"before: {before} correct", f"after: {after} correct", f"state {zlib.crc32(host.state()):08x}", "DONE"]


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def said(output: str) -> list[str]:
    return [line for line in output.splitlines() if re.match(r"before|after|state |DONE", line)]


@needs_cmake
@pytest.mark.parametrize(
    ("board", "cpu"),
    [("qemu/mps2_an386", "cortex-m4"), ("qemu/microbit_1m", "cortex-m0"), ("qemu/mps3_an547", "cortex-m55"), ("st/nucleo_h743zi", "cortex-m7")],
)
def test_cmake(project: Path, tmp_path: Path, board: str, cpu: str) -> None:
    options = [f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'cmake/arm-none-eabi.cmake'}", f"-DKILOTUNE_CPU={cpu}", f"-DBOARD={ROOT / 'boards' / board}"]
    # One build for all of them: a core without the DSP extension takes it with portable kernels.
    run([CMAKE, "-S", ".", "-B", "build", *options], project, CFLAGS="-DKT_PORTABLE" if cpu == "cortex-m0" else "")
    run([CMAKE, "--build", "build"], project)
    if board.startswith("qemu/"):
        output = run([sys.executable, "emulate.py", f"../../boards/{board}", "build/firmware.elf"], project)
        assert said(output) == expected(project)


@needs_cmake
def test_cmake_says_what_is_wrong(project: Path, tmp_path: Path) -> None:
    def failed(*options: str) -> str:
        toolchain = f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'cmake/arm-none-eabi.cmake'}"
        done = subprocess.run([CMAKE, "-S", ".", "-B", "build", toolchain, *options], cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        shutil.rmtree(project / "build")
        return " ".join(done.stderr.split())

    assert "has a cortex-m7: pass -DKILOTUNE_CPU=cortex-m7" in failed("-DKILOTUNE_CPU=cortex-m4", f"-DBOARD={ROOT / 'boards/st/disco_f746ng'}")
    assert "name a folder such as boards/qemu/mps2_an386" in failed("-DKILOTUNE_CPU=cortex-m4", f"-DBOARD={tmp_path}/none")
    assert "is not one of cortex-m0" in failed("-DKILOTUNE_CPU=cortex-m9")
    shutil.rmtree(project / "model")
    assert "run kilotune build first" in failed("-DKILOTUNE_CPU=cortex-m4")


def test_platformio(project: Path, tmp_path: Path) -> None:
    """`pio run`, its upload to the emulator and `pio test`, from an empty PlatformIO folder and without a download."""
    if importlib.util.find_spec("platformio") is None or importlib.util.find_spec("SCons") is None:
        reason = "platformio and scons not found: pip install platformio scons"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    environment = {"PLATFORMIO_CORE_DIR": str(tmp_path / "core"), "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no", "HTTPS_PROXY": "http://127.0.0.1:9"}
    pio = [sys.executable, "-m", "platformio"]
    output = run([*pio, "run", "-t", "upload"], project, **environment)
    assert said(output) == expected(project)
    assert re.search(r"4 test cases: 4 succeeded", run([*pio, "test"], project, **environment))
    run([*pio, "run", "-e", "nucleo_f446re"], project, **environment)
    test = project / "test/test_training/test_main.c"
    test.write_text(test.read_text().replace("last < first", "last > first"))
    failing = subprocess.run([*pio, "test"], cwd=project, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert failing.returncode != 0 and "loss_falls:FAIL: the loss did not fall" in failing.stdout
