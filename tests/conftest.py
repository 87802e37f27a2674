"""Fixtures of all tests: where the data is, which tools there are, and a cache of compiled programs.

A test asks for what it needs by naming a fixture: `data_dir` or `model_path` for the real models, `arm_gcc` or `qemu`
for the emulated boards. What is not there skips the test with a reason; under $CI a missing tool fails it, because a
continuous integration that skips says nothing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from kilotune import monocypher_source
from kilotune.devices import DeviceError

REPOSITORY = Path(__file__).resolve().parents[1]

_CACHE = pytest.StashKey[str]()


# ---- The cache of compiled programs ----


def pytest_configure(config: pytest.Config) -> None:
    """One cache for the session and all its workers, empty at its start; a KILOTUNE_CACHE that is set stays.

    Nothing waits for the disk here: what that is for, a loss of power, no test sees, and it takes milliseconds for each of thousands of files.
    """
    os.fsync = lambda file: os.fstat(file) and None  # fails for what is no file, as the real one does
    if "KILOTUNE_CACHE" not in os.environ:  # workers inherit what the first process sets
        config.stash[_CACHE] = os.environ["KILOTUNE_CACHE"] = tempfile.mkdtemp(prefix="kilotune-cache-")


def pytest_unconfigure(config: pytest.Config) -> None:
    made = config.stash.get(_CACHE, None)
    if made is not None:
        shutil.rmtree(made, ignore_errors=True)
        os.environ.pop("KILOTUNE_CACHE", None)


@pytest.fixture(scope="session")
def kilotune_cache() -> Path:
    """The folder of compiled programs, shared by the workers of this session."""
    return Path(os.environ["KILOTUNE_CACHE"])


# ---- The shared data ----


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real models and data sets: $KILOTUNE_DATA, or shared/data beside the repository."""
    given = os.environ.get("KILOTUNE_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"shared data not found: {folder} (KILOTUNE_DATA names another folder)")
    return folder


@pytest.fixture(scope="session")
def model_path(data_dir: Path) -> Callable[[str], Path]:
    """model_path("kws_dscnn_int8") or ("kws_dscnn_int8.tflite") or ("gas_mlp_int8_qdq.onnx"): the file of a model."""

    def find(name: str) -> Path:
        candidates = [
            data_dir / folder / (name + suffix) for folder, suffix in (("models", ".tflite"), ("models", ""), ("onnx", ".onnx"), ("onnx", ""))
        ]
        for path in candidates:
            if path.is_file():
                return path
        pytest.skip(f"shared data not found: no model {name} in {data_dir}")

    return find


# ---- Tools ----


def unavailable(what: str, remedy: str) -> NoReturn:
    """Skip for want of a tool; fail where the tool must be there."""
    reason = f"{what} not found: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def arm_gcc() -> str:
    """The cross compiler with its C library."""
    program = shutil.which("arm-none-eabi-gcc")
    if program is None:
        unavailable("arm-none-eabi-gcc", "on Debian, apt install gcc-arm-none-eabi")
    header = subprocess.run([program, "-E", "-"], input="#include <string.h>\n", capture_output=True, text=True, check=False)
    if header.returncode != 0:
        unavailable("the C library of arm-none-eabi-gcc", "on Debian, apt install libnewlib-arm-none-eabi")
    return program


@pytest.fixture(scope="session")
def riscv_gcc() -> str:
    """The cross compiler for RISC-V with its C library, and the emulator of what it builds."""
    for name, package in (("riscv64-unknown-elf-gcc", "gcc-riscv64-unknown-elf"), ("qemu-system-riscv32", "qemu-system-riscv")):
        if shutil.which(name) is None:
            unavailable(name, f"on Debian, apt install {package}")
    command = ["riscv64-unknown-elf-gcc", "--specs=picolibc.specs", "-E", "-"]
    if subprocess.run(command, input="#include <string.h>\n", capture_output=True, text=True, check=False).returncode != 0:
        unavailable("the C library of riscv64-unknown-elf-gcc", "on Debian, apt install picolibc-riscv64-unknown-elf")
    return "riscv64-unknown-elf-gcc"


@pytest.fixture(scope="session")
def clang() -> str:
    """The compiler with libFuzzer."""
    program = shutil.which("clang")
    if program is None:
        unavailable("clang", "on Debian, apt install clang libclang-rt-dev")
    source = "#include <stddef.h>\nint LLVMFuzzerTestOneInput(const unsigned char *d, size_t n) { return d == 0 && n; }\n"
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-fsanitize=fuzzer,address", "-x", "c", "-", "-o", f"{folder}/program"]
        if subprocess.run(command, input=source, capture_output=True, text=True, check=False).returncode != 0:
            unavailable("libFuzzer of clang", "on Debian, apt install libclang-rt-dev")
    return program


@pytest.fixture(scope="session")
def monocypher() -> Path:
    """The folder of monocypher.c, for firmware that checks signatures; and the package that signs on the host."""
    if importlib.util.find_spec("monocypher") is None:
        unavailable("pymonocypher", "on Debian, apt install python3-dev, then pip install 'kilotune[sign]'")
    try:
        return monocypher_source.folder()
    except DeviceError as error:
        unavailable(f"monocypher.c ({error.what})", "on Debian, apt install python3-pip, or set MONOCYPHER_DIR")


@pytest.fixture(scope="session")
def ortools() -> None:
    """The solver behind `optimal=True`."""
    if importlib.util.find_spec("ortools") is None:
        unavailable("OR-Tools", "pip install 'kilotune[optimal]'")


@pytest.fixture(scope="session")
def arm64() -> tuple[str, str]:
    """The compiler of Linux for 64-bit Arm, and what runs its programs."""
    compiler, emulator = "aarch64-linux-gnu-gcc", "qemu-aarch64"
    for tool, package in ((compiler, "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"), (emulator, "qemu-user")):
        if shutil.which(tool) is None:
            unavailable(tool, f"on Debian, apt install {package}")
    return compiler, emulator


@pytest.fixture(scope="session")
def qemu(arm_gcc: str) -> str:
    """The emulator of boards with a Cortex-M, and the compiler of what runs on them."""
    program = shutil.which("qemu-system-arm")
    if program is None:
        unavailable("qemu-system-arm", "on Debian, apt install qemu-system-arm")
    return program
