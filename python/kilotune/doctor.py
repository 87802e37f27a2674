"""What the machine and the compiler can do."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from typing import Any

from kiloc.ir import Op
from kiloc.ops import REGISTRY

_PROGRAMS = (
    ("gcc", "the host device", "apt-get install gcc", True),
    ("arm-none-eabi-gcc", "Cortex-M code and its sizes", "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi", False),
    ("qemu-system-arm", "emulated boards", "apt-get install qemu-system-arm", False),
    ("riscv64-unknown-elf-gcc", "RISC-V code and its sizes", "apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf", False),
    ("qemu-system-riscv32", "emulated RISC-V boards", "apt-get install qemu-system-riscv", False),
    ("openocd", "flashing boards", "apt-get install openocd", False),
    ("pyocd", "flashing boards", "pip install 'kilotune[flash]'", False),
    ("pio", "flashing boards, PlatformIO projects", "pip install 'kilotune[flash]'", False),
    ("renode", "emulated boards with peripherals", "https://renode.io (not on a package registry)", False),
)
_PACKAGES = ("numpy", "tflite", "onnx", "jinja2", "cffi", "click", "rich", "pyserial", "pyelftools")


def tools() -> list[dict[str, Any]]:
    """One entry a tool: tool, version (empty when missing), purpose, remedy, required."""
    found: list[dict[str, Any]] = []
    for name, purpose, remedy, required in _PROGRAMS:
        found.append({"tool": name, "version": _version(name), "purpose": purpose, "remedy": remedy, "required": required})
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        found.append({"tool": f"python: {package}", "version": version, "purpose": "kilotune", "remedy": f"pip install {package}", "required": True})
    return found


def _version(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        return ""
    result = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    said = result.stdout + result.stderr  # OpenOCD answers on standard error
    number = re.search(r"(?<![\d.])\d+\.\d+\.\d+", said)  # also of v1.2.3 and 1.2.3.4
    return number[0] if number else next((line.strip() for line in said.splitlines() if line.strip()), "yes")


def operators() -> list[dict[str, Any]]:
    """One entry an operator of models, whose file begins with its name in capitals: operator, gradient, meaning."""
    rows = []
    for mnemonic, op in sorted(REGISTRY.items()):
        meaning = (sys.modules[op.__module__].__doc__ or "").strip().partition("\n")[0]
        if op.role == "forward" and re.match(r"[A-Z][A-Z0-9_]{2,}\b", meaning):
            rows.append({"operator": mnemonic, "gradient": op.gradient is not Op.gradient, "meaning": meaning})
    return rows
