"""The kernels for the vectors of 64-bit Arm, as programs of Linux that QEMU runs, give the bits of the NumPy meaning, and so of portable C."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_losses_against_numpy
import test_optimizers_against_numpy
import test_triple_kernels_against_numpy
from emulated_core import run_each
from kernel_driver import generated, seeds
from test_kernels_on_cores import TABLES

from kilotune import compilers, host_runtime

TABLES_OF_COMPUTERS = {
    **TABLES,
    "triple": test_triple_kernels_against_numpy.GENERATORS,
    "losses": test_losses_against_numpy.LOSSES,
    "updates": test_optimizers_against_numpy.UPDATES,
}
EACH = 30
"""Cases of each kernel; the vectors of this computer run more."""
POINTER = 8


@pytest.mark.parametrize("beyond", [(), (host_runtime.DOT_PRODUCTS,)], ids=["vectors", "dot products"])
@pytest.mark.parametrize("table", TABLES_OF_COMPUTERS)
def test_kernels_give_the_same_bits(table: str, beyond: tuple[str, ...], tmp_path: Path, arm64: tuple[str, str]) -> None:
    compiler, generators = compilers.tool_of(arm64[:1], ""), TABLES_OF_COMPUTERS[table]
    chosen = [(name, seed) for name, seed in seeds(generators) if seed < EACH]
    cases = ((f"{name} {seed}", generated(generators, name, seed)) for name, seed in chosen)
    run_each(cases, lambda batch: batch.run_on_computer(compiler, arm64[1], tmp_path, *beyond), POINTER)
