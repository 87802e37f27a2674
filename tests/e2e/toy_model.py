"""A small model written by hand, as a build directory: what the tests of devices, boards and flashing share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kilotune import resources

HAVE_ARM = shutil.which("arm-none-eabi-gcc") is not None
HAVE_QEMU = HAVE_ARM and shutil.which("qemu-system-arm") is not None
HAVE_RISCV = all(shutil.which(name) for name in ("riscv64-unknown-elf-gcc", "qemu-system-riscv32"))
needs_riscv = pytest.mark.skipif(not HAVE_RISCV, reason="needs gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-system-riscv")
needs_arm = pytest.mark.skipif(not HAVE_ARM, reason="needs gcc-arm-none-eabi and libnewlib-arm-none-eabi")
needs_qemu = pytest.mark.skipif(not HAVE_QEMU, reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm")

RNG = np.random.default_rng(5)
X = (RNG.normal(size=(40, 4)) * 20).astype(np.float32)
Y = RNG.integers(0, 3, 40)


def make_toy(folder: Path, **changes: Any) -> Path:
    """A build directory with the hand-written model; changes go into its manifest."""
    shutil.copytree(Path(__file__).parent / "fake_model", folder)
    headers = [f"include/kt/{name}.h" for name in ("model", "adapter", "adapter_pool", "adapter_slots")]
    sources = [f"src/core/{name}" for name in ("adapter.c", "adapter_pool.c", "adapter_slots.c", "little_endian.h")]
    for name in (*headers, *sources):
        (folder / "runtime" / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(resources.runtime() / name, folder / "runtime" / name)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
