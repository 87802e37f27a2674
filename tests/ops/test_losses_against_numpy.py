"""Losses in C against the NumPy meaning of their operators, bit for bit; and that meaning against the formulas in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from kernel_driver import (
    Array,
    Case,
    Library,
    Rng,
    Run,
    accumulator,
    check,
    generated,
    int8,
    library,
    one,
    pick,
    scale,
    seeds,
    zero_point,
)  # fmt: skip

from kiloc.ir.types import TensorType, activation, scalar
from kiloc.ops.backward.loss import (
    BinaryCrossEntropy,
    Huber,
    InformationMaximisation,
    MeanSquaredError,
    NextToken,
    OpenCrossEntropy,
    ReconstructionError,
    SoftCrossEntropy,
    SoftmaxCrossEntropy,
)
from kiloc.ops.model.embedding import token_quantization

__all__ = ["library"]

Types = dict[str, TensorType]
Arrays = dict[str, Array]


def cross_entropy(r: Rng) -> Case:
    classes = pick(r, 1, 2, 10, 35, 1000)
    y = activation((1, classes), scale(r, -10, 3), zero_point(r))
    arrays = {"y": int8(r, 1, classes), "label": one(int(r.integers(classes)), "int32")}
    weights = tuple(float(np.float32(w)) for w in r.uniform(0.1, 5, classes)) if r.random() < 0.4 else ()
    return Case(SoftmaxCrossEntropy(pick(r, 0.0, 0.0, 0.1, 0.9), weights), {"y": y, "label": scalar("int32")}, arrays)


def factors(r: Rng, size: int) -> tuple[float, ...]:
    return tuple(float(np.float32(w)) for w in r.uniform(0.1, 5, size)) if r.random() < 0.4 else ()


def open_cross_entropy(r: Rng) -> Case:
    known, extra = pick(r, 1, 2, 10), pick(r, 1, 3, 30)
    shut = r.random(extra) < 0.5
    floors = r.integers(-(2**30), -1000, extra)
    bias = np.concatenate([r.integers(-(2**30), 2**30, known), np.where(shut, floors - r.integers(0, 9, extra), floors + r.integers(1, 9, extra))])
    y = activation((1, known + extra), scale(r, -10, 3), zero_point(r))
    label = int(r.choice(np.flatnonzero(np.concatenate([np.zeros(known, np.bool_), shut]) == 0)))
    arrays = {"y": int8(r, 1, known + extra), "label": one(label, "int32"), "bias": bias.astype(np.int32)}
    types = {"y": y, "label": scalar("int32"), "bias": TensorType((known + extra,), "int32")}
    return Case(OpenCrossEntropy(tuple(int(f) for f in floors)), types, arrays)


def soft_cross_entropy(r: Rng) -> Case:
    classes = pick(r, 1, 2, 10, 35, 1000)
    y = activation((1, classes), scale(r, -10, 3), zero_point(r))
    target = r.dirichlet(np.full(classes, pick(r, 0.1, 1.0, 10.0)))
    if r.random() < 0.3:  # one class alone
        target = np.eye(classes)[int(r.integers(classes))]
    arrays = {"y": int8(r, 1, classes), "target": target.astype(np.float32).reshape(1, classes)}
    types = {"y": y, "target": TensorType((1, classes), "float32")}
    return Case(SoftCrossEntropy(pick(r, 0.0, 0.0, 0.1, 0.9), factors(r, classes)), types, arrays)


def binary_cross_entropy(r: Rng) -> Case:
    size = pick(r, 1, 3, 64, 640)
    y = activation((1, size), scale(r, -10, 3), zero_point(r))
    target = r.random((1, size)) if r.random() < 0.3 else r.integers(0, 2, (1, size))
    arrays = {"y": int8(r, 1, size), "target": target.astype(np.float32)}
    return Case(BinaryCrossEntropy(pick(r, 0.0, 0.0, 0.1), factors(r, size)), {"y": y, "target": TensorType((1, size), "float32")}, arrays)


def values_and_targets(r: Rng) -> tuple[Types, Arrays]:
    """Of losses in the result's units."""
    size = pick(r, 1, 3, 64, 640)
    y = activation((1, size), scale(r, -10, 3), zero_point(r))
    values = int8(r, 1, size)
    near = (values - y.zero_point).astype(np.float32) * np.float32(y.scale)
    target = near if r.random() < 0.2 else near + accumulator(r, 1, size)
    return {"y": y, "target": TensorType((1, size), "float32")}, {"y": values, "target": target.astype(np.float32)}


def squared_error(r: Rng) -> Case:
    return Case(MeanSquaredError(), *values_and_targets(r))


def huber(r: Rng) -> Case:
    return Case(Huber(pick(r, 1.0, 0.01, 30.0, 1e15)), *values_and_targets(r))


def reconstruction(r: Rng) -> Case:
    size = pick(r, 1, 3, 64, 640)
    types = {o: activation((1, size), scale(r, -10, 3), zero_point(r)) for o in ("y", "x")}
    arrays = {o: int8(r, 1, size) for o in types}
    if r.random() < 0.2:  # a perfect reconstruction
        types["x"], arrays["x"] = types["y"], arrays["y"].copy()
    return Case(ReconstructionError(), types, arrays)


def next_token(r: Rng) -> Case:
    """Also with more logits than tokens there are, and with a sequence that has one target."""
    rows, size = pick(r, 2, 3, 17, 64), pick(r, 1, 2, 96, 256)
    vocabulary = int(r.integers(1, size + 1))
    types = {"y": activation((1, rows, size), scale(r, -10, 3), zero_point(r)), "x": TensorType((1, rows), "int8", token_quantization(vocabulary))}
    tokens = r.integers(0, vocabulary, (1, rows)) + types["x"].zero_point
    return Case(NextToken(), types, {"y": int8(r, 1, rows, size), "x": tokens.astype(np.int8)})


def information_maximisation(r: Rng) -> Case:
    """At the first sample, after many, and where some classes have never been answered."""
    classes = pick(r, 2, 3, 10, 35, 300)
    y = activation((1, classes), scale(r, -10, 3), zero_point(r))
    mean = np.full(classes, 1 / classes) if r.random() < 0.3 else r.dirichlet(np.full(classes, pick(r, 0.01, 1.0, 10.0)))
    arrays = {"y": int8(r, 1, classes), "deviation": (mean - 1 / classes).astype(np.float32)}
    types = {"y": y, "deviation": TensorType((classes,), "float32")}
    return Case(InformationMaximisation(pick(r, 0.0, 0.7, 1.0, 3.0), pick(r, 1.0, 1 / 64, 1 / 1000), factors(r, classes)), types, arrays)


LOSSES: dict[str, tuple[Callable[[Rng], Case], int]] = {
    f.__name__: (f, count)
    for f, count in (
        (cross_entropy, 50), (soft_cross_entropy, 50), (binary_cross_entropy, 40), (squared_error, 30), (huber, 30), (reconstruction, 30),
        (next_token, 40), (open_cross_entropy, 30), (information_maximisation, 50),
    )
}  # fmt: skip


@pytest.mark.parametrize(("name", "seed"), list(seeds(LOSSES)))
def test_kernel_equals_numpy(library: Library, name: str, seed: int) -> None:
    check(library, generated(LOSSES, name, seed))


# -- the meaning against float64 --------------------------------------------------------------------------


def loss_and_gradient(case: Case) -> tuple[float, Array]:
    """Loss, and the dequantised gradient."""
    found = case.expected()
    return float(found["result 2"][0]), found["result 0"].ravel() * 2.0 ** float(found["result 1"][0])


def numeric(loss: Callable[[Array], float], y: Array) -> Array:
    """Central differences."""
    steps = np.eye(y.size) * 1e-5
    return np.array([(loss(y + s) - loss(y - s)) / 2e-5 for s in steps])


def assert_same_loss(case: Case, formula: Callable[[Array], float], codes: float = 0.5) -> None:
    """Loss to float32 accuracy, gradient to half a code, or so many, of the largest element."""
    t = case.types["y"]
    y = (case.arrays["y"].astype(np.float64).ravel() - t.zero_point) * t.scale
    loss, g = loss_and_gradient(case)
    truth = numeric(formula, y)
    assert loss == pytest.approx(formula(y), rel=2e-5, abs=2e-6)
    assert np.abs(g - truth).max() <= codes * np.abs(truth).max() / 63.5 + 2e-6


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("smoothing", "weighted"), [(0.0, False), (0.1, False), (0.3, True)])
def test_cross_entropy_is_the_formula(smoothing: float, weighted: bool, seed: int) -> None:
    r = np.random.default_rng(seed)
    weights = tuple(r.uniform(0.2, 4, 7)) if weighted else ()
    label = int(r.integers(7))
    q = np.full(7, smoothing / 7)
    q[label] += 1 - smoothing

    def formula(y: Array) -> float:
        log_p = y - y.max() - np.log(np.exp(y - y.max()).sum())
        return float(-(weights[label] if weighted else 1) * (q * log_p).sum())

    y = activation((1, 7), 0.05, 3)
    arrays = {"y": int8(r, 1, 7), "label": one(label, "int32")}
    assert_same_loss(Case(SoftmaxCrossEntropy(smoothing, weights), {"y": y, "label": scalar("int32")}, arrays), formula)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("smoothing", "weighted"), [(0.0, False), (0.1, False), (0.3, True)])
def test_soft_cross_entropy_is_the_formula(smoothing: float, weighted: bool, seed: int) -> None:
    r = np.random.default_rng(seed)
    weights = tuple(r.uniform(0.2, 4, 7)) if weighted else ()
    t = r.dirichlet(np.ones(7)).astype(np.float32)
    q = (1 - smoothing) * t + smoothing / 7

    def formula(y: Array) -> float:
        log_p = y - y.max() - np.log(np.exp(y - y.max()).sum())
        return float(-(np.dot(weights, t) if weighted else 1) * (q * log_p).sum())

    types = {"y": activation((1, 7), 0.05, 3), "target": TensorType((1, 7), "float32")}
    assert_same_loss(Case(SoftCrossEntropy(smoothing, weights), types, {"y": int8(r, 1, 7), "target": t.reshape(1, 7)}), formula)


@pytest.mark.parametrize("seed", range(5))
def test_next_token_is_the_formula(seed: int) -> None:
    """A mean over the tokens that have one behind them; the last row has no part in it."""
    r = np.random.default_rng(seed)
    types = {"y": activation((1, 4, 6), 0.05, 3), "x": TensorType((1, 4), "int8", token_quantization(6))}
    tokens = r.integers(0, 6, (1, 4)).astype(np.int8)

    def formula(y: Array) -> float:
        rows = y.reshape(4, 6)[:3]
        return float(np.mean(np.log(np.exp(rows).sum(1)) - rows[range(3), tokens[0, 1:]]))

    assert_same_loss(Case(NextToken(), types, {"y": int8(r, 1, 4, 6), "x": tokens}), formula, codes=1)


def test_unlikely_tokens_get_their_share_of_a_gradient() -> None:
    """Probabilities of far less than half a unit: over the rows their codes add up to what they are in real numbers, and each row's to nearly 0."""
    r, rows, size, likely = np.random.default_rng(0), 257, 90, slice(1, 4)
    types = {"y": activation((1, rows, size), 0.05, 0), "x": TensorType((1, rows), "int8", token_quantization(size))}
    y, tokens = r.normal(0, 2, (1, rows, size)).round().astype(np.int8), np.zeros((1, rows), np.int8)
    y[..., likely] = 100
    codes, exponent = (Case(NextToken(), types, {"y": y, "x": tokens}).expected()[f"result {i}"] for i in (0, 1))
    p = np.exp(y[0, :-1].astype(np.float64) * 0.05)
    real = (p / p.sum(1, keepdims=True) / (rows - 1) / 2.0 ** float(exponent[0]))[:, 4:]
    assert real.max() < 0.4 and np.abs(codes[0, :-1, 4:].sum(0) - real.sum(0)).max() < 20 < real.sum(0).min()
    assert np.abs(codes[0].sum(1)).max() <= 1


@pytest.mark.parametrize(("diversity", "rate", "prior"), [(1.0, 1 / 64, ()), (0.5, 1.0, (0.1, 0.2, 0.1, 0.5, 0.1)), (0.0, 1 / 8, ())])
def test_information_maximisation_is_the_formula(diversity: float, rate: float, prior: tuple[float, ...]) -> None:
    """The mean prediction takes in the sample first, and is held while the gradient is taken."""
    r = np.random.default_rng(4)
    types = {"y": activation((1, 5), 0.05, 3), "deviation": TensorType((5,), "float32")}
    mean, codes = r.dirichlet(np.ones(5)), int8(r, 1, 5)
    case = Case(InformationMaximisation(diversity, rate, prior), types, {"y": codes, "deviation": (mean - 0.2).astype(np.float32)})

    def softmax(y: Array) -> Array:
        return np.asarray(np.exp(y - y.max()) / np.exp(y - y.max()).sum())

    after = mean + rate * (softmax((codes[0] - 3.0) * 0.05) - mean)

    def formula(y: Array) -> float:
        p = softmax(y)
        return float((p * (diversity * (np.log(after) - np.log(prior or np.ones(5))) - np.log(p))).sum())

    assert_same_loss(case, formula)
    assert np.abs(case.expected()["deviation"] + 0.2 - after).max() < 1e-6


@pytest.mark.parametrize("sure", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_distribution_of_one_class_is_its_number(smoothing: float, sure: bool) -> None:
    """Also where the model is nearly sure: the gradient there is small, and a difference of probabilities would have lost its digits."""
    y, weights = activation((1, 5), 0.1, 0), (0.5, 2.0, 1.0, 3.0, 0.25)
    codes = np.array([[-60, 80, -50, -64, -70]], np.int8) if sure else int8(np.random.default_rng(3), 1, 5)
    number = Case(SoftmaxCrossEntropy(smoothing, weights), {"y": y, "label": scalar("int32")}, {"y": codes, "label": one(1, "int32")})
    target = np.eye(5, dtype=np.float32)[1:2]
    soft = Case(SoftCrossEntropy(smoothing, weights), {"y": y, "target": TensorType((1, 5), "float32")}, {"y": codes, "target": target})
    (loss, g), (soft_loss, soft_g) = loss_and_gradient(number), loss_and_gradient(soft)
    assert soft_loss == pytest.approx(loss, rel=1e-5) and np.abs(soft_g - g).max() <= np.abs(g).max() / 127 and np.abs(g).max() > 0


def test_a_distribution_that_misses_its_sum_has_the_gradient_of_its_loss() -> None:
    """As rounding leaves it, or firmware that counts: the gradient still sums to zero."""
    y, target = activation((1, 3), 0.1, 0), np.array([[0.3, 0.3, 0.3]], np.float32)
    codes = np.array([[10, -20, 0]], np.int8)

    def formula(v: Array) -> float:
        return float(-(target[0] * (v - np.log(np.exp(v).sum()))).sum())

    assert_same_loss(Case(SoftCrossEntropy(), {"y": y, "target": TensorType((1, 3), "float32")}, {"y": codes, "target": target}), formula)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("smoothing", "weighted"), [(0.0, False), (0.2, False), (0.0, True), (0.3, True)])
def test_binary_cross_entropy_is_the_formula(smoothing: float, weighted: bool, seed: int) -> None:
    r = np.random.default_rng(seed)
    target = r.integers(0, 2, (1, 9)).astype(np.float32) if seed else r.random((1, 9)).astype(np.float32)
    weights = tuple(r.uniform(0.2, 9, 9)) if weighted else ()
    t, w = (1 - smoothing) * target[0] + smoothing / 2, np.array(weights or 1)

    def formula(y: Array) -> float:
        s = 1 / (1 + np.exp(-y))
        return float(np.mean(-w * t * np.log(s) - (1 - t) * np.log(1 - s)))

    types = {"y": activation((1, 9), 0.04, -5), "target": TensorType((1, 9), "float32")}
    assert_same_loss(Case(BinaryCrossEntropy(smoothing, weights), types, {"y": int8(r, 1, 9), "target": target}), formula)


@pytest.mark.parametrize("delta", [0.5, 2.0, 100.0])
def test_huber_is_the_formula(delta: float) -> None:
    r = np.random.default_rng(1)
    t = r.normal(0, 3, (1, 9)).astype(np.float32)

    def formula(y: Array) -> float:
        d = np.abs(y - t[0])
        return float(np.mean(np.where(d <= delta, d * d / 2, delta * (d - delta / 2))))

    types = {"y": activation((1, 9), 0.04, -5), "target": TensorType((1, 9), "float32")}
    assert_same_loss(Case(Huber(delta), types, {"y": int8(r, 1, 9), "target": t}), formula)


def test_loss_is_finite_for_every_allowed_target(library: Library) -> None:
    """At the ends of what is allowed, in C."""
    types = {"y": activation((1, 1000), 1e12, 127), "target": TensorType((1, 1000), "float32")}
    arrays = {"y": np.full((1, 1000), -128, np.int8), "target": np.full((1, 1000), 1e15, np.float32)}
    for op in (MeanSquaredError(), Huber(1e15)):
        assert np.isfinite(Run(library, Case(op, types, arrays), False).call()["result 2"][0])
