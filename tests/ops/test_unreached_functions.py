"""What operators say that a call never reaches is not run: bounds of the stack leave it out (`KernelCall.unreached`).

QEMU writes down every block of code that it translates, and so every function that ran. The cases of each kernel run apart for each set of
functions that they claim not to reach.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest
import test_kernels_against_numpy
import test_packed_gradients_against_numpy
import test_packed_kernels_against_numpy
import test_triple_kernels_against_numpy
from emulated_core import LARGEST_IMAGE, Batch, runs
from kernel_driver import Case, Generators, generated, seeds

from kiloc.ir.operator import Names

TABLES: dict[str, tuple[Generators, ...]] = {
    "mps2-an386": (
        test_kernels_against_numpy.GENERATORS,
        test_packed_kernels_against_numpy.GENERATORS,
        test_packed_gradients_against_numpy.GENERATORS,
    ),
    "mps2-an385": (test_triple_kernels_against_numpy.GENERATORS, test_kernels_against_numpy.GENERATORS),
}
"""Boards whose cores run kernels that walk in several ways, and cases of these."""
SMALL_CORES = frozenset(
    {
        *("kt_triple_on_stack", "kt_triple_start_on_stack", "kt_trained_on_stack", "kt_started_on_stack"),
        *("kt_triple_weight_gradient", "kt_tapped_rows"),
    }
)
"""Functions that are on cores without the DSP extension alone."""
MOST = 9
"""Cases of a kernel with one claim."""


def claims(board: str) -> dict[tuple[str, frozenset[str]], list[Case]]:
    """Kernel and the functions of this board that it does not reach, none in some calls -> cases."""
    found = defaultdict[tuple[str, frozenset[str]], list[Case]](list)
    for generators in TABLES[board]:
        for name, seed in seeds(generators):
            case = generated(generators, name, seed)
            types = case.node_types()
            call = case.op.kernel_call(types, Names({o: o for o in case.types}, tuple(f"result {i}" for i in range(len(types.results)))))
            if call is None:
                continue
            unreached = frozenset(f for f in call.unreached if (f in SMALL_CORES) == (board == "mps2-an385"))
            if len(found[call.symbol, unreached]) < MOST:
                found[call.symbol, unreached].append(case)
    claiming = {symbol for symbol, unreached in found if unreached}
    return {(symbol, unreached): cases for (symbol, unreached), cases in found.items() if cases and symbol in claiming}


def functions(trace: str) -> set[str]:
    """Names of the functions in a trace, without what the compiler adds to those that it specialises."""
    return {name.split(".")[0] for name in re.findall(r"^IN: (\S+)", trace, re.MULTILINE)}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("board", TABLES)
def test_functions_that_calls_do_not_reach_do_not_run(board: str, tmp_path: Path) -> None:
    if not runs(board):
        pytest.skip("no cross compiler or emulator")
    found = claims(board)
    every = frozenset[str]().union(*(unreached for _, unreached in found))
    reached = set[str]()
    for number, ((symbol, unreached), cases) in enumerate(found.items()):
        batch, folder = Batch(), tmp_path / str(number)
        folder.mkdir()
        for i, case in enumerate(cases):
            if len(batch.image.data) < LARGEST_IMAGE // 4:
                batch.add(case, f"{symbol} {i}")
        batch.compare(batch.run(board, folder, trace=folder / "trace"))
        ran = functions((folder / "trace").read_text())
        assert symbol in ran
        assert not ran & unreached, (symbol, ran & unreached)
        reached |= ran & every
    assert reached == every, every - reached
