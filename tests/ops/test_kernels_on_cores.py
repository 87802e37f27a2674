"""Every kernel on every emulated core: the variants for its instructions give the bits of the NumPy meaning, and so of the portable C."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import test_kernels_against_numpy
import test_merging_against_numpy
import test_method_kernels_against_numpy
import test_optimizers_against_numpy
import test_packed_gradients_against_numpy
import test_packed_kernels_against_numpy
import test_triple_kernels_against_numpy
import test_wide_kernels_against_numpy
from emulated_core import run_cases, runs
from kernel_driver import Generators, generated, seeds

BOARDS = ("mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps2-an505-m23", "mps3-an547", "riscv32-virt")
TABLES = {
    "kernels": test_kernels_against_numpy.GENERATORS,
    "methods": test_method_kernels_against_numpy.GENERATORS,
    "packed": test_packed_kernels_against_numpy.GENERATORS,
    "packed gradients": test_packed_gradients_against_numpy.GENERATORS,
    "wide": test_wide_kernels_against_numpy.GENERATORS,
    "merging": test_merging_against_numpy.GENERATORS,
}
WITHOUT_DSP = {"mps2-an385": "armv7m", "mps2-an505-m23": "armv6m", "riscv32-virt": "triple"}
"""Boards whose cores have kernels with three sums in two words, as the emulator has them: M23 stands for M0 and M0+."""

STREAMED = tuple(f"streamed_{name}" for name in ("weights", "near_limit", "growth", "first", "channels", "sparse", "ties", "clipped", "extremes"))
IN_INTEGERS = {name: test_optimizers_against_numpy.UPDATES[name] for name in ("sgd", "step_block16", *STREAMED)}
"""Updates whose float32 these cores work out in integers; the host's kernels do so too, for many more cases."""
BY_INSTRUCTIONS = {name: test_optimizers_against_numpy.UPDATES[name] for name in (*STREAMED, "streamed_limits", "step_block16", "sgd")}
"""Updates that find large codes, and take steps, by instructions of a core."""

EACH = 30
"""Cases of each kernel on a core; the host runs more."""
FEW = 8
"""Where a core runs the kernels of another one here, or those of the host."""
SAME = {
    "mps2-an385": ("packed", "packed gradients", "merging"),
    "mps2-an500": ("kernels", "methods", "wide"),
    "mps2-an505": tuple(TABLES),
    "mps2-an505-m23": tuple(TABLES),
    "riscv32-virt": tuple(TABLES),
}
"""Board -> those tables. Packed kernels and merging are portable C on Cortex-M3; M7 has a form of its own of packed ones alone; M33 runs those of
M4, and M23 and RISC-V those of M3 but what is in `WITHOUT_DSP`."""

NEVER = {
    **dict.fromkeys(("mps2-an505-m23", "riscv32-virt"), ("packed", "packed gradients")),
    **dict.fromkeys(("mps2-an500", "mps2-an505"), ("merging",)),
}
"""Board -> tables of kernels that no build for its core takes, or that are those of Cortex-M4."""


@pytest.mark.parametrize("board", WITHOUT_DSP)
def test_three_sums_in_two_words_give_the_same_bits(board: str, tmp_path: Path) -> None:
    on_board(board, test_triple_kernels_against_numpy.GENERATORS, EACH, tmp_path)


@pytest.mark.parametrize("board", WITHOUT_DSP)
def test_updates_without_a_float_unit_give_the_same_bits(board: str, tmp_path: Path) -> None:
    on_board(board, IN_INTEGERS, EACH, tmp_path)


@pytest.mark.parametrize("board", ["mps2-an505-m23", "riscv32-virt"])
def test_updates_of_builds_for_size_give_the_same_bits(board: str, tmp_path: Path) -> None:
    on_board(board, IN_INTEGERS, EACH, tmp_path, ("KT_SMALL",))


def test_kernels_of_builds_for_size_give_the_same_bits(tmp_path: Path) -> None:
    """Portable kernels with the instructions of Cortex-M4 that these builds take."""
    on_board("mps2-an386", {**TABLES["kernels"], **TABLES["methods"]}, FEW, tmp_path, ("KT_SMALL", "KT_WITHOUT_DSP"))


@pytest.mark.parametrize("macros", [(), ("KT_SMALL", "KT_WITHOUT_DSP", "KT_WITHOUT_MVE")], ids=["usual", "for size"])
@pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547"])
def test_updates_with_instructions_of_a_core_give_the_same_bits(board: str, macros: tuple[str, ...], tmp_path: Path) -> None:
    on_board(board, BY_INSTRUCTIONS, EACH, tmp_path, macros)


@pytest.mark.parametrize(("table", "board"), [(table, board) for table in TABLES for board in BOARDS if table not in NEVER.get(board, ())])
def test_kernels_give_the_same_bits(board: str, table: str, tmp_path: Path) -> None:
    on_board(board, TABLES[table], FEW if table in SAME.get(board, ()) else EACH, tmp_path)


def test_other_ranks_in_the_runtime_of_a_build_of_rank_four(tmp_path: Path) -> None:
    """Two models of a program share a runtime, and the one whose kt/target.h is read has LoRA of rank 4 alone."""
    tables = {**TABLES["packed"], **TABLES["packed gradients"]}
    of_lora = {name: tables[name] for name in ("packed_lora", "packed_lora_any", "packed_path_ties")}
    on_board("mps2-an386", of_lora, EACH, tmp_path, ("KT_RANK_FOUR",))


def on_board(board: str, generators: Generators, most: int, folder: Path, macros: Sequence[str] = ()) -> None:
    if not runs(board):
        pytest.skip("no cross compiler or emulator")
    chosen = [(name, seed) for name, seed in seeds(generators) if seed < most]
    run_cases(((f"{name} {seed}", generated(generators, name, seed)) for name, seed in chosen), board, folder, macros=macros)
