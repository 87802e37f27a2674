"""Optimizers, storage formats and schedules in C against the NumPy meaning of their operators, bit for bit; and that
meaning against the formulas of the papers in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_driver import (
    Array,
    Case,
    Library,
    Rng,
    accumulator,
    check,
    compiled,
    generated,
    library,
    one,
    pick,
    real,
    seeds,
)  # fmt: skip
from stored_value_cases import STEPS

from kiloc.ir.types import TensorType, scalar
from kiloc.ops.model.lora import AdaptRange
from kiloc.ops.update import _moments
from kiloc.ops.update.integer_sum import FromIntegers, IntegerSum
from kiloc.ops.update.optimizer import SGD, SGD8, Adam, Adam8, ClipGradient, Lion, Lion8
from kiloc.ops.update.schedule import CosineSchedule, CountUpdate, LinearSchedule, NextPower, ScaledRate, Schedule, StepSchedule

__all__ = ["library"]

Types = dict[str, TensorType]
Arrays = dict[str, Array]


def size_of(r: Rng) -> int:
    """Below a block, whole blocks, and one more or less."""
    return int(pick(r, 1, 2, 31, 32, 33, 64, 95, 96, 100, int(r.integers(1, 200))))


def gradients(r: Rng, size: int) -> tuple[Types, Arrays]:
    """What every optimizer reads."""
    types = {"accumulator": TensorType((size,), "float32"), "count": scalar("int32"), "learning_rate": scalar("float32")}
    values = accumulator(r, size) * np.float32(pick(r, 0.0, 1.0, 1.0, 1e-3, 1e25))
    if r.random() < 0.1:
        values[int(r.integers(size))] = pick(r, np.inf, -np.inf, np.nan, 3e38)
    values[r.random(size) < 0.1] = 0
    return types, {"accumulator": values, "count": one(pick(r, 1, 3, 8, 1000), "int32"), "learning_rate": real(pick(r, 0.0, r.uniform(0, 1), 1e17))}


def float_moment(r: Rng, size: int, signed: bool = True) -> Array:
    values = accumulator(r, size) * np.float32(pick(r, 0.0, 1.0, 1.0, 1e10, 1e-38))
    return values if signed else values * values


def linear8(r: Rng, name: str, size: int) -> tuple[Types, Arrays]:
    codes8, scales = _moments.store_linear(float_moment(r, size))
    return {name: TensorType((size,), "int8"), f"{name}_scale": TensorType(scales.shape, "float32")}, {name: codes8, f"{name}_scale": scales}


def clip_gradient(r: Rng) -> Case:
    types, arrays = gradients(r, size_of(r))
    held = ("accumulator", "count")
    return Case(ClipGradient(pick(r, 0.0, 1.0, 1e-3)), {o: types[o] for o in held}, {o: arrays[o] for o in held})


def integer_sum(r: Rng) -> Case:
    size = size_of(r)
    types, arrays = gradients(r, size)
    held = r.integers(-(2**31) + 1, 2**31, size).astype(np.int32) >> r.integers(0, 24, size).astype(np.int32)
    return Case(
        IntegerSum(),
        {"gradient": types["accumulator"], "accumulator": types["accumulator"]},
        {"gradient": arrays["accumulator"], "accumulator": held.view(np.float32)},
    )


def from_integers(r: Rng) -> Case:
    case = integer_sum(r)
    return Case(FromIntegers(), {"accumulator": case.types["accumulator"]}, {"accumulator": case.arrays["accumulator"]})


def sgd(r: Rng) -> Case:
    size = size_of(r)
    types, arrays = gradients(r, size)
    if r.random() < 0.6:
        types["momentum"], arrays["momentum"] = TensorType((size,), "float32"), float_moment(r, size)
    if r.random() < 0.1:  # beyond the limit of an element, and below that of the norm
        arrays["accumulator"] *= np.float32(1e20)
        return Case(SGD(1e30), types, arrays)
    return Case(SGD(pick(r, 0.0, 1.0, 0.3), pick(r, 0.0, 0.9), pick(r, False, True)), types, arrays)


def sgd8(r: Rng) -> Case:
    size = size_of(r)
    types, arrays = gradients(r, size)
    more_types, more = linear8(r, "momentum", size)
    return Case(SGD8(pick(r, 0.0, 1.0, 0.3), pick(r, 0.5, 0.9), pick(r, False, True)), types | more_types, arrays | more)


def lion(r: Rng) -> Case:
    size = size_of(r)
    types, arrays = gradients(r, size)
    types["momentum"], arrays["momentum"] = TensorType((size,), "float32"), float_moment(r, size)
    return Case(Lion(pick(r, 0.0, 1.0), pick(r, 0.9, 0.0), 0.99), types, arrays)


def lion8(r: Rng) -> Case:
    size = size_of(r)
    types, arrays = gradients(r, size)
    more_types, more = linear8(r, "momentum", size)
    return Case(Lion8(pick(r, 0.0, 1.0), 0.9, pick(r, 0.99, 0.5)), types | more_types, arrays | more)


def with_powers(r: Rng, types: Types, arrays: Arrays) -> tuple[Types, Arrays]:
    t = int(pick(r, 1, 2, 10, 1000))
    powers = {"first_power": real(0.9**t), "second_power": real(0.999**t)}
    return types | {name: scalar("float32") for name in powers}, arrays | powers


def adam(r: Rng) -> Case:
    size = size_of(r)
    types, arrays = with_powers(r, *gradients(r, size))
    types |= {"first_moment": TensorType((size,), "float32"), "second_moment": TensorType((size,), "float32")}
    arrays |= {"first_moment": float_moment(r, size), "second_moment": float_moment(r, size, signed=False)}
    return Case(Adam(pick(r, 0.0, 1.0), pick(r, 0.9, 0.0), 0.999, pick(r, 1e-8, 1e-3)), types, arrays)


def adam8(r: Rng) -> Case:
    size = size_of(r)
    types, arrays = with_powers(r, *gradients(r, size))
    more_types, more = linear8(r, "first_moment", size)
    roots, scales = _moments.store_root(float_moment(r, size, signed=False), np.uint32(5))
    more_types |= {"second_moment": TensorType((size,), "uint8"), "second_moment_scale": TensorType(scales.shape, "float32")}
    more_types |= {"updates": scalar("int32"), "seed": scalar("int32")}
    more |= {"second_moment": roots, "second_moment_scale": scales}
    more |= {"updates": one(pick(r, 0, 7, 2**31 - 1), "int32"), "seed": one(int(r.integers(0, 2**31)), "int32")}
    return Case(Adam8(pick(r, 0.0, 1.0), 0.9, 0.999, 1e-8, int(r.integers(0, 50))), types | more_types, arrays | more)


# -- once an update ---------------------------------------------------------------------------------------


def schedule(r: Rng, make: Callable[[int, float], Schedule]) -> Case:
    length = int(pick(r, 1, 10, 1000, 2**31 - 1))
    updates = pick(r, 0, length // 3, length - 1, length, 2**31 - 1, int(r.integers(0, length)))
    types = {"base": scalar("float32"), "updates": scalar("int32"), "rate": scalar("float32")}
    arrays = {"base": real(r.uniform(0, 1)), "updates": one(int(updates), "int32"), "rate": real(0.5)}
    return Case(make(length, float(pick(r, 0.0, 0.1, 1.0, 0.99))), types, arrays)


def schedule_step(r: Rng) -> Case:
    return schedule(r, lambda every, factor: StepSchedule(every, factor or 0.5))


def schedule_linear(r: Rng) -> Case:
    return schedule(r, LinearSchedule)


def schedule_cosine(r: Rng) -> Case:
    return schedule(r, CosineSchedule)


def scaled_rate(r: Rng) -> Case:
    types = {name: scalar("float32") for name in ("base", "rate")}
    return Case(ScaledRate(pick(r, 1.0, 3.7, 33.0)), types, {"base": real(pick(r, 0.0, r.uniform(0, 1), 1e17, 1e-40)), "rate": real(0.5)})


def next_power(r: Rng) -> Case:
    return Case(NextPower(pick(r, 0.9, 0.999, 0.0)), {"power": scalar("float32")}, {"power": real(pick(r, 1.0, 0.37, 1e-38, 1e-45))})


def count_update(r: Rng) -> Case:
    return Case(CountUpdate(), {"updates": scalar("int32")}, {"updates": one(pick(r, 0, 41, 2**31 - 1), "int32")})


def adapt_range(r: Rng) -> Case:
    types = {"lora_range": scalar("int8"), "saturated": scalar("int8")}
    return Case(AdaptRange(), types, {"lora_range": one(pick(r, 0, 29, 30, -4)), "saturated": one(pick(r, 0, 1))})


UPDATES: dict[str, tuple[Callable[[Rng], Case], int]] = {
    f.__name__: (f, count)
    for f, count in (
        (clip_gradient, 30), (integer_sum, 20), (from_integers, 10), (sgd, 80), (sgd8, 40), (lion, 40), (lion8, 40), (adam, 50), (adam8, 60),
        (schedule_step, 20), (schedule_linear, 20), (schedule_cosine, 30), (scaled_rate, 8), (next_power, 8), (count_update, 6), (adapt_range, 16),
    )
} | STEPS  # fmt: skip


@pytest.mark.parametrize(("name", "seed"), list(seeds(UPDATES)))
def test_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(UPDATES, name, seed), compiled(in_integers=True))


# -- the meaning against float64 --------------------------------------------------------------------------


def run_updates(op: Any, moments: Arrays, steps: list[Array], **shared: Array) -> list[Array]:
    """Steps of an optimizer on these gradients; `moments` is changed."""
    taken = []
    for t, g in enumerate(steps, 1):
        arrays = {"accumulator": g, "count": one(1, "int32"), "learning_rate": real(0.1), **moments, **{k: v.copy() for k, v in shared.items()}}
        if isinstance(op, Adam):
            arrays |= {"first_power": real(op.beta1**t), "second_power": real(op.beta2**t)}
        if isinstance(op, Adam8):
            arrays |= {"updates": one(t - 1, "int32"), "seed": one(3, "int32")}
        types = {o: TensorType(a.shape, a.dtype.name) for o, a in arrays.items()}
        changed = Case(op, types, arrays).expected()
        taken.append(changed.pop("accumulator"))
        moments.update(changed)
    return taken


def noise(n: int, count: int) -> list[Array]:
    r = np.random.default_rng(0)
    return [(r.normal(size=n) * 0.1 + 0.05).astype(np.float32) for _ in range(count)]


def test_adam_is_the_formula() -> None:
    m, v = np.zeros(40), np.zeros(40)
    moments: Arrays = {"first_moment": np.zeros(40, np.float32), "second_moment": np.zeros(40, np.float32)}
    for t, (g, step) in enumerate(zip(noise(40, 30), run_updates(Adam(0.0), moments, noise(40, 30)), strict=True), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g.astype(np.float64) ** 2
        truth = 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(step, truth, rtol=1e-4, atol=1e-7)  # 1 - beta2^t of the first steps has 10 bits


def test_lion_is_the_formula() -> None:
    m = np.zeros(40)
    moments: Arrays = {"momentum": np.zeros(40, np.float32)}
    for g, step in zip(noise(40, 30), run_updates(Lion(0.0), moments, noise(40, 30)), strict=True):
        np.testing.assert_allclose(step, 0.1 * np.sign(0.9 * m + 0.1 * g), rtol=1e-6)
        m = 0.99 * m + 0.01 * g


def test_nesterov_is_the_formula() -> None:
    m = np.zeros(40)
    moments: Arrays = {"momentum": np.zeros(40, np.float32)}
    for g, step in zip(noise(40, 10), run_updates(SGD(0.0, 0.9, True), moments, noise(40, 10)), strict=True):
        m = 0.9 * m + g
        np.testing.assert_allclose(step, 0.1 * (g + 0.9 * m), rtol=1e-5, atol=1e-8)


def test_the_clip_limits_the_norm_of_every_optimizer() -> None:
    g = np.full(16, 100, np.float32)
    (step,) = run_updates(SGD(1.0), {}, [g])
    assert np.linalg.norm(step) == pytest.approx(0.1, rel=1e-5)
    for op in (Adam(1.0), Lion(1.0)):
        moments: Arrays = {name: np.zeros(16, np.float32) for name in op.remembers}
        run_updates(op, moments, [g])
        kept = moments[op.remembers[0]] / (np.float32(1) - np.float32(op.beta1 if isinstance(op, Adam) else op.beta2))
        assert np.linalg.norm(kept) == pytest.approx(1, rel=1e-4)


# -- moments in 8 bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 31, 32, 33, 100])
def test_linear_codes_are_within_half_a_code(size: int) -> None:
    x = np.random.default_rng(size).normal(size=size).astype(np.float32)
    codes8, scales = _moments.store_linear(x)
    assert codes8.shape == (size,) and scales.shape == (-(-size // 32),)
    assert (np.abs(_moments.load_linear(codes8, scales) - x) <= np.repeat(scales, 32)[:size] * 0.5001).all()


def test_a_small_second_moment_is_never_forgotten() -> None:
    """A block of one large and many small elements: code 0 would make Adam divide by epsilon."""
    x = np.full(64, 1e-12, np.float32)
    x[[0, 40]] = 1.0
    x[5] = 0.0
    codes8, _ = _moments.store_root(x, np.uint32(1))
    assert codes8[5] == 0 and (np.delete(codes8, 5) >= 1).all() and codes8[0] == codes8[40] == 255


def test_the_second_moment_decays_as_in_float32() -> None:
    """Without gradients v falls by beta2 an update, far less than a code; stochastic rounding follows it on average.

    8,000 elements, 700 updates: half of v is left. The root's mean is unbiased, so v is off by the variance of a code at
    most; 5 % is ten times the standard error.
    """
    n, updates = 8000, 700
    start = np.full(n, 1e-4, np.float32)
    start[::32] = 1.0  # so that the others are at code 2 or 3 of 255, where rounding is coarsest
    codes8, scales = _moments.store_root(start, np.uint32(0))
    moments: Arrays = {"first_moment": np.zeros(n, np.int8), "first_moment_scale": np.zeros(len(scales), np.float32)}
    moments |= {"second_moment": codes8, "second_moment_scale": scales}
    run_updates(Adam8(0.0), moments, [np.zeros(n, np.float32)] * updates)
    root = np.sqrt(_moments.load_root(moments["second_moment"], moments["second_moment_scale"]).astype(np.float64))
    expected = np.sqrt(start.astype(np.float64) * 0.999**updates)
    assert root[::32].mean() == pytest.approx(expected[0], rel=0.05)
    small = np.arange(n) % 32 != 0
    assert root[small].mean() == pytest.approx(expected[1], rel=0.05)


PAIRS = [(SGD(1.0, 0.9), SGD8(1.0, 0.9), 0.03), (Lion(1.0), Lion8(1.0), 0.25), (Adam(1.0), Adam8(1.0), 0.05)]


@pytest.mark.parametrize(("op", "op8", "limit"), PAIRS)
def test_eight_bit_moments_follow_float32(op: Any, op8: Any, limit: float) -> None:
    """The sum of 200 steps differs from float32's by less than `limit` of its norm; Lion's signs flip where they are undecided."""
    full: Arrays = {name: np.zeros(100, np.float32) for name in op.remembers}
    small: Arrays = {name: np.zeros(100, np.uint8 if name == "second_moment" else np.int8) for name in op.remembers}
    small |= {f"{name}_scale": np.zeros(4, np.float32) for name in op.remembers}
    steps = noise(100, 200)
    a, b = np.sum(run_updates(op, full, steps), axis=0), np.sum(run_updates(op8, small, steps), axis=0)
    assert np.linalg.norm(a - b) < limit * np.linalg.norm(a)


# -- schedules --------------------------------------------------------------------------------------------


def test_schedules_are_the_formulas() -> None:
    """Linear to float32 accuracy, cosine within 2e-7 of the base rate (stated: 1.5e-7 of the share, then one rounding)."""
    for t in range(0, 1201, 7):
        share = min(t / 1000, 1.0)
        assert LinearSchedule(1000, 0.2).share(t) == pytest.approx(1 - 0.8 * share, abs=2e-7)
        assert CosineSchedule(1000, 0.2).share(t) == pytest.approx(0.2 + 0.8 * (1 + np.cos(np.pi * share)) / 2, abs=2e-7)
        assert StepSchedule(100, 0.5).share(t) == 0.5 ** (t // 100)
    assert CosineSchedule(1000).share(0) == LinearSchedule(1000).share(0) == StepSchedule(9).share(0) == 1
    assert CosineSchedule(1000, 0.0).share(1000) == LinearSchedule(7, 0.0).share(9) == 0
