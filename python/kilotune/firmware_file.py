"""Firmware as an ELF file: is it a board's, and how much of its memories does it take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from kiloc import CORES

from .boards import Board
from .errors import DeviceError

_ARCHITECTURES = {10: "v7-M", 11: "v6-M", 12: "v6-M", 13: "v7E-M", 16: "v8-M.base", 17: "v8-M.main", 21: "v8.1-M.main"}
"""Tag_CPU_arch of the ARM ABI's build attributes; v6S-M is v6-M with SVC, which every Cortex-M has."""

_MACHINES = {"arm": ("EM_ARM", "Arm"), "riscv": ("EM_RISCV", "RISC-V")}
"""Family of cores -> what an ELF file calls it, and what people do."""

_FPUS = {None: (0, False), "fpv4-sp-d16": (6, False), "fpv5-sp-d16": (8, False), "fpv5-d16": (8, True), "helium": (8, True)}
"""FPU -> highest Tag_FP_arch, and whether it has doubles, which a program needs unless its Tag_ABI_HardFP_use is 1."""

_HINT = "build it for this board: kilotune flash DIR --board BOARD"


@dataclass(frozen=True)
class Use:
    """Bytes of one memory of a board."""

    used: int
    size: int


def _open(path: Path) -> ELFFile:
    try:
        return ELFFile(path.open("rb"))
    except OSError as error:
        raise DeviceError(str(path), f"the firmware cannot be read: {error.strerror}", _HINT) from None
    except ELFError:
        raise DeviceError(str(path), "this is no ELF file", _HINT) from None


def _attributes(elf: ELFFile) -> dict[str, Any]:
    section: Any = elf.get_section_by_name(".ARM.attributes") or elf.get_section_by_name(".riscv.attributes")
    if section is None:
        return {}
    return {a.tag: a.value for part in section.iter_subsections() for whole in part.iter_subsubsections() for a in whole.iter_attributes()}


def architecture(elf: ELFFile, family: str) -> str:
    """What a program needs of a core of a family, as `kiloc.cores` names it.

    Of RISC-V base and extensions, `rv32imc` of Tag_RISCV_arch rv32i2p1_m2p0_c2p0_zicsr2p0_zmmul1p0: Zmmul is part of M, Zca of C, and every core
    that boots has Zicsr.
    """
    attributes = _attributes(elf)
    if family == "arm":
        return _ARCHITECTURES.get(attributes.get("TAG_CPU_ARCH", 0), "another core")
    parts = [re.sub(r"\d+p\d+$", "", part) for part in str(attributes.get("TAG_ARCH", "")).split("_")]
    known = ("zicsr", "zmmul", "zca")
    return "".join(part for part in parts if part not in known) or "another core"


def check(path: Path, board: Board) -> None:
    """DeviceError unless the file holds a program for the board's core that lies in the board's flash."""
    elf = _open(path)
    with elf.stream:
        core = CORES[board.core]
        machine, name = _MACHINES[core.family]
        if elf["e_machine"] != machine:
            raise DeviceError(str(path), f"this is not a program for {name}", _HINT)
        found = _attributes(elf)
        program = architecture(elf, core.family)
        if program not in core.runs:
            raise DeviceError(str(path), f"the program is for {program}, the {core.title} of {board.name} takes {core.architecture}", _HINT)
        needs, highest = found.get("TAG_FP_ARCH", 0), _FPUS.get(board.fpu, (0, False))
        if needs > highest[0] or (needs and found.get("TAG_ABI_HARDFP_USE") != 1 and not highest[1]):
            raise DeviceError(str(path), f"the program is for another FPU than that of {board.name}: {board.fpu or 'none'}", _HINT)
        flash = [m for m in board.memories if m.name != "RAM"]
        for segment in elf.iter_segments("PT_LOAD"):
            start, end = segment["p_paddr"], segment["p_paddr"] + segment["p_filesz"]
            if start != end and not any(m.origin <= start and end <= m.origin + m.size for m in flash):
                raise DeviceError(str(path), f"the program is loaded at 0x{start:08x}, which is not in the FLASH of {board.name}", _HINT)


def sections(path: Path) -> dict[str, int]:
    """Section -> bytes, of those that take memory on the device."""
    elf = _open(path)
    with elf.stream:
        return {s.name: int(s["sh_size"]) for s in elf.iter_sections() if s["sh_flags"] & 2}


def memory_use(path: Path, board: Board) -> dict[str, Use]:
    """ "FLASH" and "RAM" of a board -> what a firmware takes of it; the stack counts with its whole reserve."""
    found = sections(path)
    size = {m.name: m.size for m in board.memories}
    ram = sum(found.get(name, 0) for name in (".data", ".bss", ".stack"))
    flash = sum(n for name, n in found.items() if name not in (".bss", ".stack"))
    return {"FLASH": Use(flash, size.get("FLASH", 0)), "RAM": Use(ram, size.get("RAM", 0))}
