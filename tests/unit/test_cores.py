"""What is read without Python agrees with the table of cores."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from kiloc.cores import CORES, TARGETS, VARIANTS, WITHOUT_DSP, Core, bus_of, kernels_of
from kilotune import compilers, firmware_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("family", {core.family: core.name for core in CORES.values()}.items(), ids=lambda family: family[0])
def test_cmake_gives_the_same_flags(family: tuple[str, str]) -> None:
    text = (ROOT / f"cmake/{compilers.prefix_of(family[1])}.cmake").read_text()
    found = dict(re.findall(r'^set\(_flags_(\S+) "([^"]+)"\)$', text, re.MULTILINE))
    cores = [core for core in CORES.values() if core.family == family[0]]
    assert found == {core.name: " ".join(f for f in core.flags() if f != "-mthumb") for core in cores}
    (named,) = re.findall(r"PROPERTY STRINGS ([^)]+)\)", text)
    assert named.split() == [core.name for core in cores]


def compiler(core: Core, request: pytest.FixtureRequest) -> list[str]:
    """With the flags of the core."""
    program = str(request.getfixturevalue("riscv_gcc" if core.family == "riscv" else "arm_gcc"))
    return [program, *compilers.library_flags(core.name), *core.flags()]


@pytest.mark.parametrize("core", CORES.values(), ids=lambda c: c.name)
def test_the_header_decides_for_the_same_kernels(core: Core, request: pytest.FixtureRequest) -> None:
    macro = f"-DKT_TARGET_{core.name.upper().replace('-', '_')}"
    header = ROOT / "runtime/include/kt/architecture.h"
    command = [*compiler(core, request), "-O2", macro, f"-I{header.parents[1]}", "-dM", "-E", str(header)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    variants = [name for name in WITHOUT_DSP if VARIANTS[name]]
    defined = dict(re.findall(r"^#define (KT_\w+) (.*)$", text, re.MULTILINE))
    assert (defined["KT_DSP"], defined["KT_MVE"] != "0") == ("1" if core.kernels in ("dsp", "mve") else "0", core.kernels == "mve")
    assert [defined[f"KT_{name.upper()}"] for name in variants] == [str(int(core.kernels == name)) for name in variants]
    assert defined["KT_TRIPLE"] == str(int(core.kernels in WITHOUT_DSP))
    # The M55 has the bus, but its Helium kernels load vectors.
    assert defined["KT_LOADS_TWO_WORDS"] == str(int(core.bus == 8 and core.kernels == "dsp"))


@pytest.mark.parametrize("core", CORES.values(), ids=lambda c: c.name)
def test_the_compiler_builds_for_the_architecture_of_the_table(core: Core, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A program of each core runs there by the table, and on no core whose architecture it is too new for."""
    (tmp_path / "x.c").write_text("int x;\n")
    subprocess.run([*compiler(core, request), "-c", "x.c", "-o", "x.o"], cwd=tmp_path, check=True)
    with (tmp_path / "x.o").open("rb") as file:
        assert firmware_file.architecture(ELFFile(file), core.family) == core.architecture
    assert core.architecture in core.runs
    older = [c for c in CORES.values() if len(c.runs) < len(core.runs) and c.family == core.family]
    assert all(core.architecture not in c.runs for c in older)


def test_targets_are_cores() -> None:
    assert set(TARGETS) == {c.name for c in CORES.values() if c.target}
    assert (kernels_of(""), bus_of("")) == ("portable", 4)
