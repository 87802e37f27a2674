"""The arithmetic that kernels are made of (rounding, functions, random numbers) in C against `kiloc.numerics`, bit for bit; and
`kiloc.numerics` against float64 and against what random numbers have to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_driver import Array, Library, assert_equal, library

from kiloc import numerics as nm

__all__ = ["library"]

EDGES = np.array([0, 1, -1, 2, -2, 127, 128, -128, 2**30, -(2**30), 2**30 - 1, 2**31 - 1, -(2**31), -(2**31) + 1], np.int64)


def integers(seed: int) -> Array:
    """int32 of all magnitudes, with the edge values."""
    r = np.random.default_rng(seed)
    values = r.integers(-(2**31), 2**31, 100_000) >> r.integers(0, 32, 100_000)
    values[: EDGES.size**2] = np.tile(EDGES, EDGES.size) if seed % 2 else np.repeat(EDGES, EDGES.size)
    return values.astype(np.int32)


def primitive(library: Library, name: str, *operands: Any, dtype: str = "int32") -> Array:
    size = operands[0].size
    kept = [np.ascontiguousarray(o) if isinstance(o, np.ndarray) else o for o in operands]
    result = np.empty(size, dtype)
    passed = [library.pointer(o) if isinstance(o, np.ndarray) else o for o in kept]
    getattr(library.lib, f"run_{name}")(size, *passed, library.pointer(result))
    return result


def shifts(low: int, high: int) -> Array:
    return np.random.default_rng(5).integers(low, high + 1, 100_000).astype(np.int32)


def test_requantize_wide(library: Library) -> None:
    """Sums of up to 47 bits whose results fit in int32."""
    multipliers, shift = np.abs(integers(1).astype(np.int64)).clip(0, 2**31 - 1).astype(np.int32), shifts(-31, 7)
    sums = np.random.default_rng(3).integers(-(2**47), 2**47, 100_000) >> np.random.default_rng(4).integers(0, 47, 100_000)
    expected = nm.requantize_wide(sums, multipliers, shift)
    fits = np.abs(expected) < 2**31
    sums = np.where(fits, sums, 0)
    found = primitive(library, "requantize_wide", sums, multipliers, shift)
    assert fits.mean() > 0.5
    assert_equal(found, nm.requantize_wide(sums, multipliers, shift).astype(np.int32), "wide")


def test_high_product_of_halves_is_the_high_product(library: Library) -> None:
    """Of all but the one pair that saturates, which its caller sees to."""
    a, b = integers(0), integers(1)
    a = np.where((a == -(2**31)) & (b == -(2**31)), 7, a).astype(np.int32)
    assert_equal(primitive(library, "high_product_of_halves", a, b), nm.high_multiply(a, b).astype(np.int32), "halves")


def test_requantize_right_is_requantize_by_a_right_shift(library: Library) -> None:
    multipliers, right = np.abs(integers(1).astype(np.int64)).clip(0, 2**31 - 1).astype(np.int32), shifts(1, 31)
    found = primitive(library, "requantize_right", integers(0), multipliers, right)
    assert_equal(found, nm.requantize(integers(0), multipliers, -right).astype(np.int32), "right")


@pytest.mark.parametrize(
    ("name", "shift", "meaning"),
    [
        ("high_multiply", None, nm.high_multiply),
        ("divide_by_power", (0, 31), nm.divide_by_power),
        ("requantize", (-40, 40), nm.requantize),
        ("requantize_once", (-31, 29), nm.requantize_once),
        ("shift_round", (-40, 40), nm.shift_round),
    ],
)
def test_rounding_primitives(library: Library, name: str, shift: tuple[int, int] | None, meaning: Any) -> None:
    operands = [integers(0)]
    if name in ("high_multiply", "requantize", "requantize_once"):
        operands.append(integers(1))
    if shift:
        operands.append(shifts(*shift))
    assert_equal(primitive(library, name, *operands), meaning(*operands).astype(np.int32), name)


def test_integer_primitives(library: Library) -> None:
    values = integers(1)
    assert_equal(primitive(library, "saturate8", values), nm.saturate8(values.astype(np.int64)).astype(np.int32), "saturate8")
    assert_equal(primitive(library, "bit_length", values), nm.bit_length(values.astype(np.int64)).astype(np.int32), "bit_length")


def test_exponent_primitives(library: Library) -> None:
    exponents = np.arange(-126, 128, dtype=np.int32)
    assert_equal(primitive(library, "power_of_two", exponents, dtype="float32"), nm.power_of_two(exponents), "power_of_two")
    r = np.random.default_rng(3)
    largest = np.concatenate([[0.0], 2.0 ** r.uniform(-149, 127, 50_000), 127 * 2.0 ** np.arange(-60.0, 60.0)]).astype(np.float32)
    for limit, lowest in ((127.0, -100), (32767.0, -32)):
        found = primitive(library, "exponent_for", largest, limit, lowest)
        assert_equal(found, nm.exponent_for(largest, limit, lowest).astype(np.int32), "exponent_for")


def test_round_half_up(library: Library) -> None:
    r = np.random.default_rng(4)
    halves = np.arange(-2000, 2000) / 2
    values = np.concatenate([halves, r.normal(size=50_000) * 2.0 ** r.uniform(-10, 34, 50_000), [np.inf, -np.inf, 2.0**30, -(2.0**30)]])
    values = values.astype(np.float32)
    assert_equal(primitive(library, "round_half_up", values), nm.round_half_up(values).astype(np.int32), "round_half_up")


def test_functions(library: Library) -> None:
    r = np.random.default_rng(6)
    down = np.concatenate([[0.0, -87.0, -87.1, -1e30, -1e-30], -(2.0 ** r.uniform(-20, 7, 100_000))]).astype(np.float32)
    up = np.concatenate([[1.0, 2.0**-126, 3e38, 2.0**0.5], 2.0 ** r.uniform(-126, 127, 100_000), r.uniform(0.5, 2, 10_000)]).astype(np.float32)
    assert_equal(primitive(library, "exp", down, dtype="float32"), nm.exp(down), "exp")
    assert_equal(primitive(library, "log", up, dtype="float32"), nm.log(up), "log")
    roots = np.concatenate([[0.0], up]).astype(np.float32)
    assert_equal(primitive(library, "sqrt", roots, dtype="float32"), nm.sqrt(roots), "sqrt")


def test_random_numbers(library: Library) -> None:
    seed, counter, stream = integers(0), integers(1), integers(2)
    keys = primitive(library, "random_key", seed, counter, stream)
    expected = [nm.random_key(*(int(v) for v in row)) for row in zip(seed[:500], counter[:500], stream[:500], strict=True)]
    assert_equal(keys[:500], np.array(expected, np.uint32).view(np.int32), "random_key")
    index = np.arange(seed.size, dtype=np.int32)
    key = np.full_like(index, keys[7])
    unit = nm.random_unit(keys.view(np.uint32)[7], index.size)
    assert_equal(primitive(library, "random_unit", key, index, dtype="float32"), unit, "random_unit")
    x = (np.random.default_rng(8).normal(size=index.size) * 2.0 ** np.random.default_rng(9).uniform(-10, 20, index.size)).astype(np.float32)
    x[:200] = np.arange(-100, 100)
    found = primitive(library, "round_stochastic", x, key, index)
    assert_equal(found, nm.round_stochastic(x, unit).astype(np.int32), "round_stochastic")
    assert (found[:200] == x[:200]).all(), "whole numbers moved"


def test_random_numbers_are_uniform_and_independent() -> None:
    """Means within 5 standard errors, for elements, updates, streams and seeds alike; neighbours are uncorrelated."""
    n = 100_000
    along_elements = nm.random_unit(nm.random_key(1, 2, 3), n)

    def first(*key: int) -> float:
        return float(nm.random_unit(nm.random_key(*key), 1)[0])

    found = {
        "elements": along_elements,
        "seeds": [first(i, 2, 3) for i in range(3000)],
        "updates": [first(1, i, 3) for i in range(3000)],
        "streams": [first(1, 2, i) for i in range(3000)],
    }
    for name, values in found.items():
        u = np.array(values, np.float64)
        assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * u.size), name
        assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 5 / np.sqrt(u.size), name
        counts = np.histogram(u, 16, (0, 1))[0]
        assert ((counts - u.size / 16) ** 2).sum() / (u.size / 16) < 45, name  # chi-square with 15 degrees of freedom, p < 1e-4


def test_functions_are_accurate() -> None:
    x = np.linspace(-80, 0, 10_001, dtype=np.float32)
    np.testing.assert_allclose(nm.exp(x), np.exp(x.astype(np.float64)), rtol=4e-7)
    y = np.geomspace(1e-30, 1e30, 10_001).astype(np.float32)
    np.testing.assert_allclose(nm.log(y), np.log(y.astype(np.float64)), rtol=4e-7, atol=1e-7)
    np.testing.assert_allclose(nm.sqrt(y), np.sqrt(y.astype(np.float64)), rtol=2e-7)
