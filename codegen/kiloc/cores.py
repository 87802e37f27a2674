"""The processor cores: one entry of one table for each, from which everything that depends on the core is derived.

The table decides the flags of the compiler, the alignment of the arena, which kernels a build is written for and which firmware a board
takes. What cannot be derived from it, because it is read without Python (`kt/architecture.h`, the toolchain files of `cmake/`), is compared
with it by the tests. A core is added by an entry here; a board names its core in board.toml.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Core:
    """One core as compilers and the planner see it.

    architecture: as build attributes of a program name it (`Tag_CPU_arch` of the ARM ABI; of RISC-V the base and its extensions without
    versions, `rv32imc`); runs: architectures whose programs it takes, its own among them.
    kernels: the fastest kernels that it has: "armv6m", "armv7m" or "triple" (three sums in two words, in assembly or in C), "dsp" (two pairs of
    16-bit values multiplied at once) or "mve" (integer Helium).
    family: the instruction set, and so the compiler: "arm" or "riscv".
    bus: bytes that a load takes in one cycle, and to which the arena is aligned.
    fpu: the floating-point unit as `-mfpu` names it, None where there is none; a board whose chip has another says so.
    option: what `-mcpu` says beyond the name.
    target: whether `target=` offers it.
    """

    name: str
    architecture: str
    runs: tuple[str, ...]
    kernels: str
    bus: int = 4
    fpu: str | None = None
    option: str = ""
    target: bool = True
    family: str = "arm"

    def flags(self, fpu: str | None = None) -> tuple[str, ...]:
        """Options of gcc for this core, with the FPU that a board names or with the core's own."""
        if self.family == "riscv":
            return (f"-march={self.architecture}", "-mabi=ilp32")
        unit = fpu or self.fpu
        units = () if unit in (None, HELIUM) else (f"-mfpu={unit}",)
        return (f"-mcpu={self.name}{self.option}", "-mthumb", *units, f"-mfloat-abi={'hard' if unit else 'soft'}")

    @property
    def title(self) -> str:
        """As people write it: Cortex-M0+, RV32IMC."""
        return self.name.upper() if self.family == "riscv" else self.name.replace("cortex-m", "Cortex-M").replace("plus", "+")


HELIUM = "helium"
"""The FPU of cores with Helium, which `-mcpu` implies."""

_V6M = ("v6-M",)
_V7M = (*_V6M, "v7-M")
_V7EM = (*_V7M, "v7E-M")
_V8M = (*_V7EM, "v8-M.base", "v8-M.main")

CORES = {
    core.name: core
    for core in (
        Core("cortex-m0", "v6-M", _V6M, "armv6m", target=False),
        Core("cortex-m0plus", "v6-M", _V6M, "armv6m"),
        Core("cortex-m3", "v7-M", _V7M, "armv7m"),
        Core("cortex-m4", "v7E-M", _V7EM, kernels="dsp", fpu="fpv4-sp-d16"),
        Core("cortex-m7", "v7E-M", _V7EM, kernels="dsp", bus=8, fpu="fpv5-sp-d16"),
        Core("cortex-m23", "v8-M.base", (*_V6M, "v8-M.base"), "armv6m"),
        Core("cortex-m33", "v8-M.main", _V8M, kernels="dsp", fpu="fpv5-sp-d16"),
        # Helium without its float half, which would flush subnormals to zero.
        Core("cortex-m55", "v8.1-M.main", (*_V8M, "v8.1-M.main"), kernels="mve", bus=8, fpu=HELIUM, option="+nomve.fp"),
        # ESP32-C3 and C6 among others: one multiplication at a time, floats in software. C6 has atomics too, which nothing here needs.
        Core("rv32imc", "rv32imc", ("rv32i", "rv32im", "rv32ic", "rv32imc"), kernels="triple", family="riscv"),
    )
}

TARGETS = tuple(core.name for core in CORES.values() if core.target)
"""What `target=` takes."""


def kernels_of(target: str) -> str:
    """The fastest kernels of a target; those of no core ("") are portable."""
    return CORES[target].kernels if target else "portable"


VARIANTS = {"portable": (), "triple": (), "armv6m": ("armv6m",), "armv7m": ("armv7m",), "dsp": ("dsp",), "mve": ("dsp", "mve")}
"""Kernels of a core -> folders beside the portable ones with the same for its instructions."""


WITHOUT_DSP = ("armv6m", "armv7m", "triple")
"""Kernels of cores that multiply one pair of numbers at a time."""

FOLDERS = tuple(dict.fromkeys(folder for folders in VARIANTS.values() for folder in folders))
"""All such folders."""


def variants_of(target: str) -> tuple[str, ...]:
    """Folders of kernels that a build for a target takes beside the portable ones; none for no core ("")."""
    return VARIANTS[kernels_of(target)]


def bus_of(target: str) -> int:
    """Bytes that a load of a target takes in one cycle; 4 for no core ("")."""
    return CORES[target].bus if target else 4
