"""The kernels for the vectors of 64-bit Arm, as programs of Linux that QEMU runs, give the bits of the NumPy meaning, and so of portable C."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import test_losses_against_numpy
import test_optimizers_against_numpy
import test_triple_kernels_against_numpy
from emulated_core import run_each
from kernel_driver import generated, seeds
from test_kernels_on_cores import TABLES

from kilotune import compilers
from kilotune.devices import DeviceError

TABLES_OF_COMPUTERS = {
    **TABLES,
    "triple": test_triple_kernels_against_numpy.GENERATORS,
    "losses": test_losses_against_numpy.LOSSES,
    "updates": test_optimizers_against_numpy.UPDATES,
}
EACH = 30
"""Cases of each kernel; the vectors of this computer run more."""
POINTER = 8
EMULATOR = "qemu-aarch64"


def compiler() -> compilers.Tool:
    """Skips without it, and without the emulator."""
    try:
        found = compilers.tool_of(("aarch64-linux-gnu-gcc",), "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
    except DeviceError as error:
        pytest.skip(str(error))
    if shutil.which(EMULATOR) is None:
        pytest.skip("no qemu-aarch64 (on Debian: apt install qemu-user)")
    return found


@pytest.mark.parametrize("table", TABLES_OF_COMPUTERS)
def test_kernels_give_the_same_bits(table: str, tmp_path: Path) -> None:
    tool, generators = compiler(), TABLES_OF_COMPUTERS[table]
    chosen = [(name, seed) for name, seed in seeds(generators) if seed < EACH]
    cases = ((f"{name} {seed}", generated(generators, name, seed)) for name, seed in chosen)
    run_each(cases, lambda batch: batch.run_on_computer(tool, EMULATOR, tmp_path), POINTER)
