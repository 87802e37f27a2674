"""Every kernel of the runtime has generated cases, a file of its own, and a declaration."""

from __future__ import annotations

import pytest
import test_kernels_against_numpy
import test_losses_against_numpy
import test_merging_against_numpy
import test_method_kernels_against_numpy
import test_optimizers_against_numpy
import test_packed_gradients_against_numpy
import test_packed_kernels_against_numpy
import test_triple_kernels_against_numpy
from kernel_driver import FOLDERS, Generators, called, declared, defined, generated, seeds

TABLES: dict[str, tuple[Generators, ...]] = {
    "kernels": (
        test_kernels_against_numpy.GENERATORS,
        test_method_kernels_against_numpy.GENERATORS,
        test_packed_kernels_against_numpy.GENERATORS,
        test_packed_gradients_against_numpy.GENERATORS,
        test_triple_kernels_against_numpy.GENERATORS,
        test_merging_against_numpy.GENERATORS,
    ),
    "loss": (test_losses_against_numpy.LOSSES,),
    "optim": (test_optimizers_against_numpy.UPDATES,),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_kernel_has_cases_and_its_own_file(folder: str) -> None:
    found: dict[str, str] = {}
    for table in TABLES[folder]:
        found |= called(generated(table, *s) for s in seeds(table))
    assert found == defined(folder)


def test_what_is_declared_is_defined() -> None:
    assert declared() == set(defined(*FOLDERS))
