"""What is read without Python agrees with the table of cores."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from kiloc.cores import CORES, TARGETS, WITHOUT_DSP, Core, bus_of, kernels_of

ROOT = Path(__file__).resolve().parents[2]


def test_cmake_gives_the_same_flags() -> None:
    text = (ROOT / "cmake/arm-none-eabi.cmake").read_text()
    found = dict(re.findall(r'^set\(_flags_(\S+) "([^"]+)"\)$', text, re.MULTILINE))
    assert found == {core.name: " ".join(f for f in core.flags() if f != "-mthumb") for core in CORES.values()}
    (named,) = re.findall(r"PROPERTY STRINGS ([^)]+)\)", text)
    assert named.split() == list(CORES)


@pytest.mark.parametrize("core", CORES.values(), ids=lambda c: c.name)
def test_the_header_decides_for_the_same_kernels(core: Core, arm_gcc: str) -> None:
    macro = f"-DKT_TARGET_{core.name.upper().replace('-', '_')}"
    header = ROOT / "runtime/include/kt/architecture.h"
    command = [arm_gcc, *core.flags(), "-O2", macro, f"-I{header.parents[1]}", "-dM", "-E", str(header)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    defined = dict(re.findall(r"^#define (KT_\w+) (.*)$", text, re.MULTILINE))
    assert (defined["KT_DSP"], defined["KT_MVE"] != "0") == ("1" if core.kernels in ("dsp", "mve") else "0", core.kernels == "mve")
    assert [defined[f"KT_{name.upper()}"] for name in WITHOUT_DSP] == [str(int(core.kernels == name)) for name in WITHOUT_DSP]
    # The M55 has the bus, but its Helium kernels load vectors.
    assert defined["KT_LOADS_TWO_WORDS"] == str(int(core.bus == 8 and core.kernels == "dsp"))


@pytest.mark.parametrize("core", CORES.values(), ids=lambda c: c.name)
def test_the_compiler_builds_for_the_architecture_of_the_table(core: Core, arm_gcc: str, tmp_path: Path) -> None:
    """A program of each core runs there by the table, and on no core whose architecture it is too new for."""
    (tmp_path / "x.c").write_text("int x;\n")
    subprocess.run([arm_gcc, *core.flags(), "-c", "x.c", "-o", "x.o"], cwd=tmp_path, check=True)
    text = subprocess.run([arm_gcc.replace("gcc", "readelf"), "-A", "x.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(r"Tag_CPU_arch: (\S+)", text)
    assert {"v6S-M": "v6-M", "v7": "v7-M"}.get(found, found.replace("line", "").replace(".baseline", ".base")) == core.architecture
    assert core.architecture in core.runs
    older = [c for c in CORES.values() if len(c.runs) < len(core.runs)]
    assert all(core.architecture not in c.runs for c in older)


def test_targets_are_cores() -> None:
    assert set(TARGETS) == {c.name for c in CORES.values() if c.target}
    assert (kernels_of(""), bus_of("")) == ("portable", 4)
