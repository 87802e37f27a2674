"""Small C programs around a generated model on any board, by any compiler and flags. What they print is their result."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from kilotune import boards, compilers, resources, toolchain
from kilotune.devices.manifest import Manifest

from .programs import SANITIZERS

WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Werror")
SECONDS = 120
"""The longest that a program may run."""
BOARDS = {"mps2-an386": "cortex-m4", "riscv32-virt": "rv32imc"}
"""Two compilers: what is tested on them is portable C on every core, and kernels have tests of their own."""


def printed_on(
    board: str, directories: Sequence[Path], source: Path, folder: Path, flags: Sequence[str] = (), here: Sequence[str] = SANITIZERS
) -> str:
    """What the program prints on one of BOARDS, or on this computer: "posix", with `here` for its flags."""
    core = BOARDS.get(board)
    compiler = compilers.cross_compiler(core).program if core else "gcc"
    own = ("-Os", *compilers.library_flags(core)) if core else here
    return printed(linked(directories, source, board, folder / board, compiler, ["-std=c99", *flags, *own]), board)


def linked(directories: Sequence[Path], source: Path, board: str, output: Path, compiler: str, flags: Sequence[str], timer: bool = True) -> Path:
    """The program of `source` with the models of build directories, for `posix` or an emulated board. The linker drops nothing that the
    compiler left, so whatever is called anywhere has to be there. timer: whether the board's counter of ticks has the timer."""
    b, common = boards.load(board), resources.boards() / "common"
    include = [resources.boards(), common]
    sources = [source, *(s for s in b.sources if timer or s.name != "systick.c")]
    shared: dict[str, Path] = {}
    for directory in directories:
        manifest = Manifest.load(directory)
        shared |= {name: directory / name for name in manifest.sources if name.startswith("runtime")}
        sources += [directory / name for name in manifest.sources if not name.startswith("runtime")]
        include += [directory / folder for folder in manifest.include]
    sources += shared.values()
    given = [Path(flag[2:]) for flag in flags if flag.startswith("-I")]
    core = (*b.flags, *(toolchain.portable_flags(b.core, Manifest.load(directories[0]).target) if b.core != boards.HOST else ()))
    every = (*core, *WARNINGS, *(flag for flag in flags if not flag.startswith("-I") and flag not in WARNINGS))
    units = tuple(toolchain._Unit(path, every, (*given, *include)) for path in sources)
    bare = (*toolchain.FIRMWARE_LINK_FLAGS, "-Wl,--no-gc-sections") if b.linker_script else ()
    scripts = (b.linker_script,) if b.linker_script else ()
    tool = compilers.tool_of((compiler,), compiler)
    toolchain._build(toolchain._Program(tool, units, (*every, *bare), "", scripts, (common,)), f"{board}, {' '.join(flags)}", output)
    return output


def printed(program: Path, board: str, counting: bool = False) -> str:
    """What a program prints on its board until it ends itself; an exit code other than 0 fails. counting: emulated time follows the
    instructions, so that a run repeats exactly."""
    emulator = boards.load(board).emulator
    command = [str(program)]
    if emulator is not None:
        quiet = ["-display", "none", "-monitor", "none", "-serial", "stdio", "-semihosting-config", "enable=on,target=native"]
        options = (*emulator.options, *(emulator.counting if counting else ()))
        command = [emulator.program, "-M", emulator.machine, *options, *quiet, "-kernel", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{board}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout
