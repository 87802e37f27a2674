"""That the runs on emulated cores see one byte that a kernel reads or writes where it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulated_core import run_cases
from kernel_driver import generated
from test_kernels_against_numpy import GENERATORS

pytestmark = pytest.mark.qemu

FAULTS = {
    "nothing": "",
    "write behind": "y[params->size] ^= 1;",
    "write before": "y[-1] ^= 1;",
    "write to an operand": "((int8_t *)(uintptr_t)other)[params->size - 1] ^= 1;",
    "read behind": "y[0] = (int8_t)(y[0] + other[params->size]);",
    "read before": "y[0] = (int8_t)(y[0] + other[-1]);",
}
WRAPPED = """
#include "kt/kernels/elementwise.h"
void __real_kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y);
void __wrap_kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y);
void __wrap_kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    __real_kt_add_s8(params, x, other, y);
    FAULT
}
"""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547"])
def test_one_byte_is_seen(board: str, fault: str, tmp_path: Path, qemu: str) -> None:
    """The kernel between a wrapper that does right, and then what it must not."""
    source = tmp_path / "wrapped.c"
    source.write_text(WRAPPED.replace("FAULT", FAULTS[fault]))
    cases = ((f"add {seed}", generated(GENERATORS, "add", seed)) for seed in range(2))
    options = ["-Wl,--wrap=kt_add_s8", str(source)]
    if fault == "nothing":
        run_cases(cases, board, tmp_path, options)
        return
    with pytest.raises(AssertionError, match="write outside of the results" if "write" in fault else "result 0"):
        run_cases(cases, board, tmp_path, options)
