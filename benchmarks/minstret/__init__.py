"""Instructions of regions on an emulated RISC-V core, which counts them itself: what the counter of Cortex-M does, for `rv32imc`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kilotune import boards, compilers, resources, toolchain

HERE = Path(__file__).parent
BOARD = "riscv32-virt"


def compiler() -> list[str]:
    """The compiler with the flags of the core."""
    board = boards.load(BOARD)
    return [compilers.cross_compiler(board.core).program, *board.flags, *compilers.library_flags(board.core)]


def link(arguments: Sequence[str], folder: Path) -> int:
    """Links a program whose main() has regions; arguments as gcc takes them, folder: for objects. The exit code of gcc."""
    board, common = boards.load(BOARD), resources.boards()
    command = [*compiler(), *(f"-I{path}" for path in (HERE, common, common / "common")), "-O2", "-ffunction-sections", "-fdata-sections"]
    objects = []
    for source in (HERE / "regions.c", *board.sources):
        objects.append(str(folder / f"{source.stem}.board.o"))
        subprocess.run([*command, "-c", str(source), "-o", objects[-1]], check=True)
    script = ["-T", str(board.linker_script), f"-L{common / 'common'}"]
    return subprocess.run([*command, "-Dmain=measured", *arguments, *objects, *toolchain.FIRMWARE_LINK_FLAGS, *script], check=False).returncode


def run(elf: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit code, output, and the regions in their order."""
    emulator = boards.load(BOARD).emulator
    assert emulator is not None
    command = [compilers.require_emulator(emulator.program), "-M", emulator.machine, "-kernel", elf, "-display", "none", "-monitor", "none"]
    done = subprocess.run(
        [*command, "-serial", "stdio", *emulator.options, *emulator.counting], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^region (\d+) (.+)$", done.stdout, re.MULTILINE)
    return done.returncode, done.stdout + done.stderr, [{"roi": name, "insns": int(count)} for count, name in found]
