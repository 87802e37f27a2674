"""Costs of kernels as fitted to counts."""

from __future__ import annotations

from cost_fit import FEW, GROWING, Row, fitted


def alike(count: int) -> list[Row]:
    """Of networks whose layers are nearly the same; the larger one takes less, as may be where something else differs."""
    return [(n, "kt_example_s8", {"call": 1.0, "macs": 1000.0 + 7 * n, "results": 100.0 + n}, 4000 - 5 * n) for n in range(count)]


def test_a_kernel_that_was_counted_a_few_times_costs_more_in_a_larger_layer() -> None:
    terms = fitted(alike(FEW - 1))["kt_example_s8"]
    assert terms and set(terms) <= set(GROWING)
    small = sum(value * {"macs": 1e3, "results": 1e2}[unit] for unit, value in terms.items())
    assert 3800 < small < 4200


def test_a_kernel_that_was_counted_often_has_any_terms() -> None:
    assert set(fitted(alike(3 * FEW))["kt_example_s8"]) == {"call"}
