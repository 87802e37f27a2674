"""The programs that compile and emulate: which there are for a core, and what installs them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

from kiloc import CORES

from .errors import DeviceError


@dataclass(frozen=True)
class Tool:
    """A program with what it says of its version."""

    program: str
    version: str


@cache
def tool_of(names: tuple[str, ...], package: str) -> Tool:
    """The first of these programs that is on PATH; DeviceError names the Debian package."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            return Tool(path, version)
    raise DeviceError(names[0], "the program is not installed, or not on PATH", f"on Debian: apt install {package}")


def host_compiler() -> Tool:
    """The C compiler of this computer."""
    return tool_of(("gcc", "cc"), "gcc libc6-dev")


@dataclass(frozen=True)
class Family:
    """The GNU tools for an instruction set: names before `-gcc` in the order in which they are looked for, and the packages of the first on
    Debian."""

    prefixes: tuple[str, ...]
    packages: str
    binutils: str

    def tool(self, name: str, package: str) -> Tool:
        return tool_of(tuple(f"{prefix}-{name}" for prefix in self.prefixes), package)


FAMILIES = {
    "arm": Family(("arm-none-eabi",), "gcc-arm-none-eabi libnewlib-arm-none-eabi", "binutils-arm-none-eabi"),
    "riscv": Family(
        ("riscv64-unknown-elf", "riscv-none-elf", "riscv32-esp-elf"),
        "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
        "binutils-riscv64-unknown-elf",
    ),
}


def prefix_of(core: str) -> str:
    """What the names of the GNU tools for a core begin with, as the toolchain files of cmake/ are called."""
    return FAMILIES[CORES[core].family].prefixes[0]


def cross_compiler(core: str) -> Tool:
    """The C compiler for a core of kiloc.cores.CORES."""
    family = FAMILIES[CORES[core].family]
    return family.tool("gcc", family.packages)


@cache
def library_flags(core: str) -> tuple[str, ...]:
    """What the compiler needs to find its C library: Debian's for RISC-V takes picolibc only when asked to."""
    program = cross_compiler(core).program
    if CORES[core].family != "riscv":
        return ()
    command = [program, *CORES[core].flags(), "-E", "-x", "c", "-"]
    plain = subprocess.run(command, input="#include <string.h>\n", capture_output=True, text=True, check=False)
    return () if plain.returncode == 0 else ("--specs=picolibc.specs",)


def require_emulator(program: str) -> str:
    """Path of an emulator; DeviceError names the package if it is missing."""
    return tool_of((program,), "qemu-system-riscv" if program.startswith("qemu-system-riscv") else "qemu-system-arm").program
