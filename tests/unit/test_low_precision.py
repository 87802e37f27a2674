"""Trained values in low precision: no silent truncation, drift or wrap-around, in C and in NumPy, for every storage format.

One rounding moves a value by at most half a step of the format (to nearest) or one step (stochastically). The step is the
unit of an int32 bias, and of a block the power of two that just holds its largest element; a larger element makes it
coarser for all. Where a bound is a multiple of a standard deviation, 6 of them are allowed: one element in 10^9 exceeds
that by chance, and the random numbers are fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernel_driver import Array, Case, Library, Run, library

import kilotune as kt
from kiloc.ir.types import TensorType
from kiloc.ops.update.storage_step import BIAS_LIMIT, StepBlock8, StepBlock16, StepInt32, StorageStep

__all__ = ["library"]

SIZE = 48
UNIT = 2.0**-13
"""Real value of one step of the biases: about 1e-4, as in real models."""


@dataclass
class Stored:
    """A tensor in one storage format, moved by its storage step in C or in NumPy."""

    op: StorageStep
    arrays: dict[str, Array]
    library: Library | None
    coarsest: float = 0.0
    """The largest step of the format so far."""
    run: Run | None = None
    kernel: Callable[[], None] | None = None

    def real(self) -> Array:
        a = self.arrays
        if isinstance(self.op, StepInt32):
            return a["value"].astype(np.float64) * UNIT
        held = a["value"].astype(np.float64)
        if isinstance(self.op, StepBlock16):
            held += a["remainder"] / 256
        return np.asarray(held * 2.0 ** float(a["exponent"][0]))

    @property
    def step(self) -> float:
        """Distance of neighbouring values now."""
        if isinstance(self.op, StepInt32):
            return UNIT
        return float(2.0 ** (float(self.arrays["exponent"][0]) - 8 * isinstance(self.op, StepBlock16)))

    def subtract(self, step: Array) -> None:
        step = np.broadcast_to(step, SIZE).astype(np.float32)
        changed = self.in_c(step) if self.library else self.case(step).expected()
        assert not changed["accumulator"].any(), "the step is left behind"
        self.arrays = {o: changed.get(o, a) for o, a in self.arrays.items()}
        if "updates" in self.arrays:
            self.arrays["updates"] += 1
        self.coarsest = max(self.coarsest, self.step)

    def case(self, step: Array) -> Case:
        arrays = {**self.arrays, "accumulator": step}
        return Case(self.op, {o: TensorType(a.shape, a.dtype.name) for o, a in arrays.items()}, arrays)

    def in_c(self, step: Array) -> dict[str, Array]:
        """The C works on the same buffers all the time, as a device's state does."""
        if self.run is None or self.kernel is None:
            assert self.library
            self.run = Run(self.library, self.case(step), False)
            self.kernel = self.run.prepared()
        self.run.buffers["accumulator"].array[:] = step
        self.kernel()
        self.run.check_guards()
        return {name: buffer.array for name, buffer in self.run.buffers.items()}

    def with_decay(self, decay: float, rate: float) -> None:
        """From now on."""
        self.op, self.run = replace(self.op, decay=decay), None
        self.arrays = {**{o: a.copy() for o, a in self.arrays.items()}, "learning_rate": np.array([rate], np.float32)}


def stored(form: str, library: Library | None, start: Array) -> Stored:
    """A tensor that holds `start`, rounded to its format."""
    zeros8 = np.zeros(SIZE, np.int8)
    if form == "int32":
        return Stored(StepInt32((UNIT,) * SIZE), {"value": np.floor(start / UNIT + 0.5).astype(np.int32)}, library)
    arrays: dict[str, Array] = {"value": zeros8, "exponent": np.array([-32], np.int8)}
    if form == "block16":
        arrays |= {"remainder": np.zeros(SIZE, np.int8)}
        made = Stored(StepBlock16(), arrays, library)
    else:
        arrays |= {"updates": np.zeros(1, np.int32), "seed": np.array([7], np.int32)}
        made = Stored(StepBlock8(3), arrays, library)
    made.subtract(-start)
    made.coarsest = 0.0
    return made


FORMS = ("int32", "block16", "block8")
Make = Callable[[str, Array], Stored]


@pytest.fixture(params=["c", "numpy"])
def make(request: pytest.FixtureRequest, library: Library) -> Make:
    return lambda form, start: stored(form, library if request.param == "c" else None, start)


def values() -> Array:
    """Up to 0.5, from both sides of zero, with zeros."""
    start = np.random.default_rng(0).uniform(-0.5, 0.5, SIZE)
    start[:3] = (0.5, -0.5, 0.0)
    return start


@pytest.mark.parametrize("form", FORMS)
def test_alternating_steps_return_to_the_start(form: str, make: Make) -> None:
    """200 updates of +0.01 and -0.01 in turn.

    To nearest: within one step of the coarsest grid on the way. From a value on the grid, +d and -d round to k and to
    minus k steps, unless d lies exactly between two; only a grid that got coarser for a while costs, at most one step.
    Stochastically: 200 roundings of standard deviation <= step / 2, so each element is within 6 sqrt(200) / 2 steps, and
    the mean of all within that divided by sqrt(SIZE). Truncation would lose 100 steps or more, always downwards.
    """
    tensor = make(form, values())
    start = tensor.real()
    for i in range(200):
        tensor.subtract(np.float32(-0.01 if i % 2 == 0 else 0.01))
    moved = tensor.real() - start
    if form == "block8":
        assert np.abs(moved).max() <= 6 * np.sqrt(200) / 2 * tensor.coarsest
        assert abs(moved.mean()) <= 6 * np.sqrt(200 / SIZE) / 2 * tensor.coarsest
    else:
        assert np.abs(moved).max() <= tensor.coarsest


@pytest.mark.parametrize("form", FORMS)
def test_noise_does_not_drift(form: str, make: Make) -> None:
    """10,000 steps of noise with mean zero: the tensor ends where the exact sum of the steps does.

    Each rounding is off by at most half a step (variance 1/12 where the noise is as wide as a step, as it is here) or, if
    stochastic, has variance 1/4 at most; they are independent. So each element is within 6 sqrt(10,000 / 12) = 173 steps
    (300 if stochastic), their mean within that divided by sqrt(SIZE): 25 (43) steps. A bias of a hundredth of a step in
    each rounding would show in the mean.
    """
    tensor, rng = make(form, values()), np.random.default_rng(1)
    exact = tensor.real()
    width = 4 * tensor.step
    for _ in range(10_000):
        step = (rng.normal(size=SIZE) * width).astype(np.float32)
        tensor.subtract(step)
        exact = exact - step.astype(np.float64)
    bound = 6 * np.sqrt(10_000 * (1 / 4 if form == "block8" else 1 / 12)) * tensor.coarsest
    off = tensor.real() - exact
    assert np.abs(off).max() <= bound
    assert abs(off.mean()) <= bound / np.sqrt(SIZE)


@pytest.mark.parametrize("form", FORMS)
def test_steps_below_half_a_step_of_the_format(form: str, make: Make) -> None:
    """Stochastic rounding keeps them on average (1,000 steps of 0.1: within 6 standard deviations), nearest drops them whole."""
    tensor = make(form, values())
    start, step = tensor.real(), tensor.step
    small = np.float32(0.1 * step)
    for _ in range(1000):
        tensor.subtract(small)
    moved = (tensor.real() - start).mean()
    if form == "block8":
        assert moved == pytest.approx(-100 * step, abs=6 * np.sqrt(1000 / 4 / SIZE) * tensor.coarsest)
    else:
        assert moved == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_high_rate_saturates_and_recovers(form: str, make: Make) -> None:
    """10,000 steps far beyond the format's range: values rise to its end, stay, and come back with the steps; no sign flips."""
    top = BIAS_LIMIT * UNIT if form == "int32" else (127 + 127 / 256) * 2.0**108 if form == "block16" else 127 * 2.0**100
    step, signs = np.float32(top / 700), np.where(np.arange(SIZE) % 2, 1, -1)
    tensor = make(form, np.zeros(SIZE))
    last = np.zeros(SIZE)
    for i in range(10_000):
        up = i < 5000
        tensor.subtract(-signs * step if up else signs * step)
        now = tensor.real() * signs
        if up:
            assert (now >= 0).all() and (now >= last - 2 * tensor.step).all(), f"wrapped at step {i}"
        assert (np.abs(now) <= top).all()
        last = now
        if i == 4999:
            assert (now >= 0.99 * top).all(), "never reached the end"
    assert (last <= -0.99 * top).all(), "never came back"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, 3e38])
def test_an_infinite_step_saturates(form: str, bad: float, make: Make) -> None:
    tensor = make(form, values())
    step = np.zeros(SIZE, np.float32)
    step[5] = bad
    tensor.subtract(step)
    assert np.isfinite(tensor.real()).all() and np.sign(tensor.real()[5]) == -np.sign(bad)


def test_decay_shrinks_towards_zero(make: Make) -> None:
    """500 updates at rate * decay = 0.01: (1 - 0.01)^500 of each value is left, within the rounding of each format.

    int32 to nearest cannot lose less than half a unit: it stops at 1 / (2 * 0.01) units.
    """
    for form in FORMS:
        tensor = make(form, values())
        start = tensor.real()
        tensor.with_decay(0.1, 0.1)
        for _ in range(500):
            tensor.subtract(np.float32(0))
        stop = 51 * UNIT if form == "int32" else 6 * np.sqrt(500 / 4) * tensor.coarsest if form == "block8" else 50 * tensor.step
        assert np.abs(tensor.real() - start * 0.99**500).max() <= stop


# -- a bad sample changes nothing ---------------------------------------------------------------------------

BAD = [np.nan, np.inf, -np.inf, 1e30]


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> kt.Build:
    model = kt.load(data_dir / "models" / "gas_mlp_int8.tflite")
    folder = tmp_path_factory.mktemp("regressor") / "build"
    return kt.build(model, folder, method=[kt.BiasOnly(), kt.LoRA(rank=2, layers="all")], loss="mse", optimizer=kt.Adam(state_bits=8), measure=False)


@pytest.mark.parametrize("bad", BAD)
def test_a_target_that_is_not_finite_changes_nothing(bad: float, regressor: kt.Build) -> None:
    """Also not the flags that the forward pass keeps. The host checks targets too, so they are handed to the C directly."""
    inputs, outputs = (int(np.prod(regressor.manifest[k][0]["shape"])) for k in ("inputs", "outputs"))
    rng = np.random.default_rng(0)
    with regressor.open("host") as device:
        x, y = rng.integers(-128, 128, (4, inputs)).astype(np.int8), np.zeros((4, outputs), np.float32)
        device.fit(x, y, epochs=1)
        device.train_step(x[0], y[0])
        before = device.state()
        target = np.zeros(outputs, np.float32)
        target[-1] = bad
        raw: Any = device
        for sample in (x[1], np.full(inputs, 127, np.int8), np.full(inputs, -128, np.int8)):
            with pytest.raises(kt.DeviceError, match="loss is not finite"):
                raw._train_step(sample.tobytes(), 0, target.tobytes())
            assert device.state() == before
        with pytest.raises((ValueError, kt.DeviceError), match="finite"):
            device.train_step(x[1], target)
        assert device.state() == before


@pytest.mark.parametrize("rate", [np.nan, np.inf, -1.0])
def test_a_learning_rate_that_is_no_number_is_refused(rate: float, regressor: kt.Build) -> None:
    with regressor.open("host") as device:
        before = device.state()
        with pytest.raises(ValueError, match="learning_rate"):
            device.set_learning_rate(rate)
        raw: Any = device
        with pytest.raises(kt.DeviceError):
            raw._set_learning_rate(rate)
        assert device.state() == before
