"""Cases of the steps that stored values take: of each storage format, and of SGD from the factors of a gradient, which stands nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from kernel_driver import Array, Case, Rng, accumulator, bias, codes, int8, one, pick, real, scale, zero_point

from kiloc.ir.types import TensorType, activation, gradient, scalar
from kiloc.ops._window import Window
from kiloc.ops.update.storage_step import StepBlock8, StepBlock16, StepInt32
from kiloc.ops.update.streamed_update import StreamedBias, StreamedRows, StreamedWeights

Types = dict[str, TensorType]
Arrays = dict[str, Array]


def decayed(r: Rng, types: Types, arrays: Arrays) -> float:
    """Adds a learning rate where weights decay; returns the decay."""
    if r.random() < 0.5:
        return 0.0
    types["learning_rate"], arrays["learning_rate"] = scalar("float32"), real(pick(r, 0.1, 0.0, 1e17))
    return float(pick(r, 0.01, 0.5, 1e3))


def step_int32(r: Rng) -> Case:
    size = int(r.integers(1, 40))
    types = {"value": TensorType((size,), "int32"), "accumulator": TensorType((size,), "float32")}
    arrays = {"value": bias(r, size), "accumulator": accumulator(r, size) * np.float32(pick(r, 0.0, 1.0, 1e30))}
    unit = tuple(scale(r, -20, -5) for _ in range(size))
    return Case(StepInt32(unit, decay=decayed(r, types, arrays)), types, arrays)


def near(r: Rng, shape: tuple[int, ...], exponent: int) -> Array:
    """Steps of a few units of 16-bit values, or of as many as these have: also such as lie at half a unit, and beside it."""
    units = r.normal(size=shape) * 2.0 ** r.integers(-2, 17)
    halves = np.round(units) + 0.5 + r.integers(-1, 2, shape) * 2.0 ** -r.integers(8, 30, shape)
    return (np.where(r.random(shape) < 0.3, halves, units) * 2.0**exponent).astype(np.float32)


def block16_masters(r: Rng, shape: tuple[int, ...]) -> dict[str, Array]:
    """Values in 16 bits: none, any, or such as start with the largest."""
    some = np.int8(pick(r, 0, 1, 1))
    value, remainder = r.integers(-127, 128, shape).astype(np.int8) * some, r.integers(-128, 128, shape).astype(np.int8) * some
    if r.random() < 0.2:
        value.flat[0] = remainder.flat[0] = 127
    return {"value": value, "remainder": remainder}


def step_block16(r: Rng) -> Case:
    shape = (int(r.integers(1, 6)), int(r.integers(1, 12)))
    types = {"value": TensorType(shape, "int8"), "exponent": scalar("int8"), "remainder": TensorType(shape, "int8")}
    types |= {"accumulator": TensorType(shape, "float32")}
    arrays = block16_masters(r, shape)
    step = accumulator(r, *shape) * np.float32(pick(r, 0.0, 0.0, 1e-3, 1.0, 1e35))
    held = pick(r, -32, -20, -14, 90)
    if r.random() < 0.5:
        step = near(r, shape, held)
    if r.random() < 0.3:  # one alone decides of the exponent
        step = (r.normal(size=shape) * 2.0**held).astype(np.float32)
        step.flat[r.integers(step.size)] = pick(r, -1.0, 1.0) * r.uniform(1, 8) * 2.0 ** (held + 16)
    arrays |= {"exponent": one(held + 8), "accumulator": step}
    return Case(StepBlock16(decay=decayed(r, types, arrays)), types, arrays)


def streamed_bias(r: Rng) -> Case:
    size = int(r.integers(1, 40))
    g = gradient((1, size), scale(r, -12, 0))
    types = {"g": g, "exponent": scalar("int32"), "value": TensorType((size,), "int32"), "count": scalar("int32"), "learning_rate": scalar("float32")}
    arrays = {
        "g": codes(r, 1, size),
        "exponent": one(int(r.integers(-20, 4)), "int32"),
        "value": bias(r, size),
        "count": one(pick(r, 1, 1, 3), "int32"),
    }
    arrays["learning_rate"] = np.array([pick(r, 0.1, 1.0, 1e-4)], np.float32)
    arrays["g"][r.random(arrays["g"].shape) < pick(r, 0.0, 0.5)] = 0
    arrays["value"][r.random(size) < pick(r, 0.0, 0.1)] = pick(r, -(2**31), 2**31 - 1, 2**30 + 1)
    unit = tuple(scale(r, -20, -5) for _ in range(size))
    return Case(StreamedBias(pick(r, 0.0, 1.0, 0.01), pick(r, 0.0, 0.0, 0.1, 5.0), unit), types, arrays)


def streamed_weights(r: Rng) -> Case:
    rows, columns = int(r.integers(1, 9)) * int(pick(r, 1, 1, 20)), int(pick(r, 4, r.integers(1, 12), r.integers(12, 70)))
    stored, case = step_block16(r), streamed_bias(r)
    shape = (rows, columns)
    types = {**case.types, "g": gradient((1, rows), scale(r, -12, 0)), "x": activation((1, columns), scale(r), zero_point(r))}
    types |= {"value": TensorType(shape, "int8"), "value_exponent": scalar("int8"), "remainder": TensorType(shape, "int8")}
    arrays = {**case.arrays, "g": codes(r, 1, rows), "x": int8(r, 1, columns), **block16_masters(r, shape)}
    arrays |= {"value_exponent": stored.arrays["exponent"]}
    if r.random() < 0.5:
        types["exponent_offset"], arrays["exponent_offset"] = scalar("int8"), one(int(r.integers(-9, 9)))
    return Case(StreamedWeights(pick(r, 0.0, 1.0, 0.01), pick(r, 0.0, 0.0, 0.1, 5.0), scale(r, -6, 2)), types, arrays)


def streamed_limits(r: Rng) -> Case:
    """Gradients and values as large as they may get, and larger ones, which are limited."""
    case = streamed_weights(r)
    case.arrays["exponent"][:] = r.integers(40, 128)  # type: ignore[index]
    case.arrays["learning_rate"][:] = pick(r, 1e-4, 1.0, 1e17)  # type: ignore[index]
    return replace(case, op=replace(case.op, clip=pick(r, 0.0, 0.0, 1e30)))


def streamed_near_limit(r: Rng) -> Case:
    """Values of which many are nearly the largest or just above its half, and steps of a few codes: another exponent is to be had, or not. Often the
    largest value is the one of the largest step, and becomes smaller, so that another one decides."""
    case = streamed_weights(r)
    op, t, a = replace(case.op, clip=pick(r, 0.0, 0.0, 1e3)), case.node_types(), case.arrays
    x = a["x"].astype(np.int64) - t.type("x").zero_point
    largest = np.abs(a["g"].astype(np.int64)).max() * np.abs(x).max() * product_scale(case)
    least = pick(r, 118, 60)
    value = r.integers(least, least + pick(r, 8, 10), a["value"].shape) * r.choice([-1, 1], a["value"].shape)
    if r.random() < 0.5:
        place = np.abs(a["g"].ravel()).argmax(), np.abs(x.ravel()).argmax()
        value[place] = (np.abs(value).max() + 1) * (1 if int(a["g"].ravel()[place[0]]) * int(x.ravel()[place[1]]) >= 0 else -1)
    codes_of_step = pick(r, 0.01, 0.5, 2.0, 4.0, 8.0, 40.0)
    unit = 2.0 ** float(a["value_exponent"][0])
    rate = min(codes_of_step * unit / largest, 1e38) if largest else 1.0
    changed = {"value": value.astype(np.int8), "learning_rate": np.array([rate], np.float32)}
    return replace(case, op=replace(op, decay=pick(r, 0.0, 0.0, 0.01 / rate)), arrays={**a, **changed})


def streamed_growth(r: Rng) -> Case:
    """One value leaves the range by its step, if only just, where others nearly reach it."""
    rows, columns = int(r.integers(2, 6)), int(r.integers(4, 70))
    case, shape = streamed_weights(r), (rows, columns)
    types = {**case.types, "g": gradient((1, rows), scale(r, -12, 0)), "x": activation((1, columns), scale(r), zero_point(r))}
    types |= {name: TensorType(shape, "int8") for name in ("value", "remainder")}
    arrays = {**case.arrays, "g": r.integers(-8, 9, (1, rows)).astype(np.int8), "x": int8(r, 1, columns), **block16_masters(r, shape)}
    row, step = int(r.integers(1, rows)), float(pick(r, 1.0, 2.0, 3.0, 6.0))
    arrays["g"][0, row] = pick(r, -127, 127)
    case = replace(case, op=replace(case.op, clip=0.0, decay=0.0), types=types, arrays=arrays)  # type: ignore[call-arg]
    x = arrays["x"].ravel().astype(np.int64) - case.node_types().type("x").zero_point
    column, unit = int(np.abs(x).argmax()), 2.0 ** float(arrays["value_exponent"][0])
    rate = min(step * unit / (product_scale(case) * 127 * max(np.abs(x).max(), 1)), 1e38)
    value, away = r.integers(100, 128, shape) * r.choice([-1, 1], shape), -1 if int(arrays["g"][0, row]) * int(x[column]) > 0 else 1
    value[row] = 0
    value[row, column], arrays["remainder"][row, column] = away * (128 - int(step) - pick(r, 0, 1)), away * 127
    return replace(case, arrays={**arrays, "value": value.astype(np.int8), "learning_rate": np.array([rate], np.float32)})


def streamed_first(r: Rng) -> Case:
    """Steps that are far larger than the values, as of a tensor that was never trained, or hardly."""
    case = streamed_weights(r)
    arrays = {name: array.copy() for name, array in case.arrays.items()}
    x = arrays["x"].astype(np.int64) - case.node_types().type("x").zero_point
    largest = max(np.abs(arrays["g"].astype(np.int64)).max() * np.abs(x).max() * product_scale(case), 1e-30)
    held = pick(r, -32, -32, -20)
    rate = 2.0 ** (held + 16 + int(r.integers(0, 24))) * r.uniform(0.5, 1.0) / largest
    arrays |= {"value_exponent": one(held + 8), "learning_rate": np.array([min(rate, 1e38)], np.float32)}
    return replace(case, op=replace(case.op, clip=0.0, decay=pick(r, 0.0, 0.0, 0.3 / rate)), arrays=arrays)  # type: ignore[call-arg]


def streamed_channels(r: Rng) -> Case:
    """Not every channel is trained."""
    case = pick(r, streamed_weights, streamed_near_limit, streamed_sparse)(r)
    trained = case.types["value"].shape[0]
    channels = trained + int(r.integers(0, 9))
    rows = np.full(channels, -1, np.int16)
    rows[np.sort(r.permutation(channels)[:trained])] = np.arange(trained, dtype=np.int16)
    g = codes(r, 1, channels)
    g[0, rows >= 0] = case.arrays["g"][0]
    types = {**case.types, "g": replace(case.types["g"], shape=(1, channels)), "rows": TensorType((channels,), "int16")}
    return replace(case, types=types, arrays={**case.arrays, "g": g, "rows": rows})


def streamed_sparse(r: Rng) -> Case:
    """Most products 0, as behind a ReLU: such steps are 0 unless a factor has no bound, and what they leave is held or brought to another exponent.
    Codes of -128, which no step stores; norms about as long as the limit."""
    case = pick(r, streamed_weights, streamed_limits, streamed_near_limit, streamed_near_limit)(r)
    op, t, a = case.op, case.node_types(), {name: array.copy() for name, array in case.arrays.items()}
    assert isinstance(op, StreamedWeights)
    kept = pick(r, 0.0, 0.2, 0.7)
    a["g"][r.random(a["g"].shape) > kept] = 0
    a["x"][r.random(a["x"].shape) > kept] = t.type("x").zero_point
    if r.random() < 0.3:
        a["value"][r.random(a["value"].shape) < 0.1] = -128
    if r.random() < 0.2:
        a["learning_rate"][:] = pick(r, np.inf, np.nan, 0.0)
    x = a["x"].astype(np.float64) - t.type("x").zero_point
    length = np.linalg.norm(np.outer(a["g"], x)) * product_scale(case)
    clip = pick(r, op.clip, 1.0, min(length, 1e30) * pick(r, 0.8, 0.95, 1.05, 1.2, 2.0))
    return replace(case, op=replace(op, clip=float(clip)), arrays=a)


def product_scale(case: Case) -> float:
    """The gradient of a product of 1."""
    op, t, a = case.op, case.node_types(), case.arrays
    assert isinstance(op, StreamedWeights)
    power = int(a["exponent"][0]) + int(a["exponent_offset"][0] if "exponent_offset" in a else 0)
    return float(op.fields(t, t.type("g").size)["scale"]) * 2.0 ** max(power, -126)


def streamed_ties(r: Rng) -> Case:
    """Steps of halves and quarters of a last bit, more or less a few of float32's own: many a moved value lies where its rounding changes."""
    case = streamed_weights(r)
    arrays = {name: array.copy() for name, array in case.arrays.items()}
    held = pick(r, -14, -14, 3)
    step = pick(r, 0.5, 0.5, 0.25, 1.5, 128.5) * 2.0 ** (held - pick(r, 0, 0, 1, -1))
    rate = np.float32(step / product_scale(case)) * np.float32(1 + int(r.integers(-60, 61)) * 2.0**-23)
    arrays |= {"value_exponent": one(held + 8), "learning_rate": np.array([rate], np.float32)}
    arrays["g"] //= pick(r, 1, 4, 16, 16)
    arrays["x"][r.random(arrays["x"].shape) < 0.3] = case.node_types().type("x").zero_point
    decay = pick(r, 0.0, 0.0, 0.5 / float(rate), 0.03125 / float(rate))
    return replace(case, op=replace(case.op, clip=0.0, decay=float(decay)), arrays=arrays)  # type: ignore[call-arg]


def streamed_clipped(r: Rng) -> Case:
    """Large tensors beyond the limit of their norm, and steps as long as the values: the last bit of a sum of squares changes some of them."""
    rows, columns = int(r.integers(100, 400)), int(r.integers(4, 40))
    case = streamed_weights(r)
    types, op = {**case.types, "g": gradient((1, rows), scale(r, -12, 0)), "x": activation((1, columns), scale(r), zero_point(r))}, case.op
    assert isinstance(op, StreamedWeights)
    types |= {name: TensorType((rows, columns), "int8") for name in ("value", "remainder")}
    wide = r.laplace(0, 127 / 6, rows).clip(-127, 127).astype(np.int8)[None]
    arrays = {**case.arrays, "g": pick(r, codes(r, 1, rows), wide), "x": int8(r, 1, columns), **block16_masters(r, (rows, columns))}
    arrays["g"][r.random(arrays["g"].shape) < pick(r, 0.0, 0.5)] = 0
    case = replace(case, types=types, arrays=arrays)
    x = arrays["x"].astype(np.float64) - case.node_types().type("x").zero_point
    products = np.abs(np.outer(arrays["g"], x))
    clip = np.linalg.norm(products) * product_scale(case) * pick(r, 0.9, 0.3, 1e-3)
    rate = min(2.0 ** float(arrays["value_exponent"][0]) * 60 / max(clip * products.max() / max(np.linalg.norm(products), 1.0), 1e-30), 1e38)
    arrays["learning_rate"] = np.array([rate], np.float32)
    return replace(case, op=replace(op, clip=float(clip), decay=0.0))


def streamed_extremes(r: Rng) -> Case:
    """Gradients that are subnormal, or about as large as they may be, with rates that make steps of some last bits of them."""
    case = streamed_weights(r)
    arrays = {name: array.copy() for name, array in case.arrays.items()}
    arrays["exponent"][:] += int(np.round(pick(r, r.uniform(-147, -110), r.uniform(38, 66)) - np.log2(product_scale(case))))
    unit = max(product_scale(replace(case, arrays=arrays)), 2.0**-149)
    held = int(np.clip(np.round(np.log2(unit)) + r.integers(-40, 126), -32, 90)) if unit < 1 else int(r.integers(-32, 91))
    rate = min(pick(r, 0.01, 0.3, 1.0, 20.0) * 2.0**held / unit, 3e38)
    arrays |= {"value_exponent": one(held + 8), "learning_rate": np.array([rate], np.float32)}
    return replace(case, op=replace(case.op, clip=pick(r, 0.0, 0.0, 1e10)), arrays=arrays)  # type: ignore[call-arg]


def streamed_rows(r: Rng) -> Case:
    """Rows in parts that need not divide them, under windows of one position or more."""
    height, width, depth, rows, kernel = (int(r.integers(1, n)) for n in (5, 6, 9, 9, 4))
    window = Window((kernel, kernel), (1, 1), (kernel // 2, kernel // 2, (kernel - 1) // 2, (kernel - 1) // 2))
    case, shape = streamed_weights(r), (rows, kernel, kernel, depth)
    x, y = (height, width, depth), (height, width, rows)
    types = {**case.types, "g": gradient((1, *y), scale(r, -12, 0)), "x": activation((1, *x), scale(r), zero_point(r))}
    types |= {"value": TensorType(shape, "int8"), "remainder": TensorType(shape, "int8")}
    arrays = {**case.arrays, "g": codes(r, 1, *y), "x": int8(r, 1, *x), "value": codes(r, *shape)}
    arrays |= block16_masters(r, shape)
    settings = pick(r, 0.0, 1.0, 0.01), pick(r, 0.0, 0.0, 0.1, 5.0), scale(r, -6, 2)
    return Case(StreamedRows(*settings, window=window, x_image=x, y_image=y, part=int(r.integers(1, rows + 1))), types, arrays)


def step_block8(r: Rng) -> Case:
    shape = (int(r.integers(1, 6)), int(r.integers(1, 12)))
    types = {"value": TensorType(shape, "int8"), "exponent": scalar("int8"), "accumulator": TensorType(shape, "float32")}
    types |= {"updates": scalar("int32"), "seed": scalar("int32")}
    step = accumulator(r, *shape) * np.float32(pick(r, 0.0, 0.0, 1e-3, 1.0, 1e35))
    arrays = {"value": codes(r, *shape), "exponent": one(pick(r, -32, -20, -8, 90)), "accumulator": step}
    arrays |= {"updates": one(int(r.integers(0, 1000)), "int32"), "seed": one(int(r.integers(0, 2**31)), "int32")}
    return Case(StepBlock8(int(r.integers(0, 9)), decay=decayed(r, types, arrays)), types, arrays)


STEPS: dict[str, tuple[Callable[[Rng], Case], int]] = {
    f.__name__: (f, count)
    for f, count in (
        (step_int32, 40), (step_block16, 50), (step_block8, 50),
        (streamed_bias, 40), (streamed_weights, 60), (streamed_limits, 40), (streamed_near_limit, 80), (streamed_sparse, 120),
        (streamed_growth, 80), (streamed_first, 80), (streamed_channels, 40), (streamed_ties, 120), (streamed_clipped, 24),
        (streamed_extremes, 60), (streamed_rows, 40),
    )
}  # fmt: skip
