"""The programs of hostile files and slots, compiled object by object through the cache: of a mutant only one file is compiled anew.

No part of the usual run of tests, which compiles them with the whole runtime optimised; its name keeps pytest from finding it there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kilotune import compilers, resources, toolchain

FLAGS = ("-std=c99", "-O0", "-g", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-variable", "-Werror")
CHECKS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
DRIVERS = Path(__file__).parent


@pytest.mark.parametrize("driver", ["hostile_files", "hostile_slots"])
def test_hostile(driver: str) -> None:
    passes(driver)


def passes(driver: str, *others: Path) -> None:
    """Compile a program of this folder with the runtime's adapters, or with other sources, and run it."""
    runtime = resources.runtime()
    include, flags = (runtime / "include", DRIVERS, resources.agent(), resources.boards()), (*FLAGS, *CHECKS)
    adapters = tuple(runtime / "src" / "core" / f"{name}.c" for name in ("adapter", "adapter_pool", "adapter_slots"))
    sources = [DRIVERS / f"{driver}.c", *(others or adapters)]
    units = tuple(toolchain._Unit(source, flags, include) for source in sources)
    program = toolchain._link(toolchain._Program(compilers.host_compiler(), units, CHECKS, ""), driver)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "passed\n"), done.stdout[-2000:] + done.stderr[-2000:]
