"""What a server makes of adapters: exact means against fractions, whatever the order; robust ones against clients that send anything; products of
LoRA; and what is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kilotune as kt
from kiloc.emit import Entry
from kilotune import federated
from kilotune.adapters.compare import real_values
from kilotune.federated import Contribution, accepted, exact_mean

BASE = bytes(range(8))
RANK, INPUTS, OUTPUTS = 3, 5, 4


def table(rank: int = RANK) -> tuple[Entry, ...]:
    def scaled(role: str, rows: int, columns: int) -> list[Entry]:
        return [Entry("layer", role, "value", "int8", rows, columns), Entry("layer", role, "exponent", "int8", 1, 1)]

    bias = Entry("layer", "bias", "value", "int32", 1, OUTPUTS)
    return (bias, *scaled("lora_a", rank, INPUTS), *scaled("lora_b", OUTPUTS, rank), Entry("layer", "lora_a", "range", "int8", 1, 1))


def adapter(rng: np.random.Generator, exponents: tuple[int, int] = (-9, -9), rank: int = RANK, bias: int = 1000, base: bytes = BASE) -> kt.Adapter:
    parts = [
        rng.integers(-bias, bias + 1, OUTPUTS).astype("<i4"),
        rng.integers(-127, 128, (rank, INPUTS)).astype(np.int8), np.int8(exponents[0]),
        rng.integers(-127, 128, (OUTPUTS, rank)).astype(np.int8), np.int8(exponents[1]),
        np.int8(rng.integers(-3, 3)),
    ]  # fmt: skip
    return kt.Adapter.make(base, "lora", table(rank), b"".join(np.asarray(p).tobytes() for p in parts))


def sent(count: int, seed: int = 0, **options: Any) -> list[Contribution]:
    rng = np.random.default_rng(seed)
    return [Contribution(adapter(rng, **options), int(rng.integers(1, 100)), f"client {i}") for i in range(count)]


# -- exact means --------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), exponents=st.lists(st.integers(-32, 20), min_size=1, max_size=6), largest=st.sampled_from([1, 50, 2**28]),
    bias=st.sampled_from([3, 2**31 - 1]),
)  # fmt: skip
def test_exact_means_are_fractions_rounded_once(seed: int, exponents: list[int], largest: int, bias: int) -> None:
    """Biases to the nearest integer; codes within a step of the largest exponent's fraction, and half a step of their own."""
    rng = np.random.default_rng(seed)
    found = [Contribution(adapter(rng, (e, -9), bias=bias), int(rng.integers(1, largest + 1)), str(i)) for i, e in enumerate(exponents)]
    mean, total = exact_mean(found), sum(c.samples for c in found)
    arrays = [c.adapter.values() for c in found]
    exact = [sum(Fraction(c.samples) * int(a["layer.bias"][0, i]) for c, a in zip(found, arrays, strict=True)) / total for i in range(OUTPUTS)]
    for value, real in zip(mean.values()["layer.bias"][0], exact, strict=True):
        assert abs(int(value) - real) <= Fraction(1, 2)
    step = Fraction(2) ** int(mean.values()["layer.lora_a.exponent"][0, 0])
    slack = step / 2 + Fraction(2) ** (max(exponents) - 23)
    for row, column in np.ndindex(RANK, INPUTS):
        real = sum(
            Fraction(c.samples) * int(a["layer.lora_a"][row, column]) * Fraction(2) ** e for c, a, e in zip(found, arrays, exponents, strict=True)
        )
        assert abs(int(mean.values()["layer.lora_a"][row, column]) * step - real / total) <= slack


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 8), data=st.data())
def test_the_order_of_clients_does_not_matter(seed: int, count: int, data: st.DataObject) -> None:
    found = sent(count, seed)
    assert exact_mean(data.draw(st.permutations(found))).data == exact_mean(found).data


def test_equal_adapters_give_themselves() -> None:
    one = adapter(np.random.default_rng(1), (-7, -12))
    assert exact_mean([Contribution(one, n) for n in (1, 5, 2)]).data == one.data
    assert exact_mean([Contribution(one, 3)]).data == one.data


def test_what_cancels_is_kept_in_finer_steps() -> None:
    """Two large values that nearly cancel leave more than the steps of either would."""
    rng = np.random.default_rng(2)
    large = adapter(rng, (-4, -9))
    raw = large.values()
    flipped = [-raw[e.name] if e.name == "layer.lora_a" else raw[e.name] for e in large.entries]
    other = kt.Adapter.make(BASE, "lora", large.entries, b"".join(np.asarray(v).tobytes() for v in flipped))
    small = adapter(rng, (-12, -9))
    mean = exact_mean([Contribution(a, 1) for a in (large, other, small)])
    assert mean.values()["layer.lora_a.exponent"][0, 0] <= -12
    assert np.abs(real_values(mean)["layer.lora_a"] - real_values(small)["layer.lora_a"] / 3).max() <= 2.0**-13


def test_exact_and_real_means_agree() -> None:
    found = sent(5)
    exact, real = (real_values(f(found)) for f in (exact_mean, federated.mean))
    for name in exact:
        assert np.abs(exact[name] - real[name]).max() <= np.abs(real[name]).max() / 127 + 0.5 * (name == "layer.bias")


# -- robust means -------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", [federated.median, federated.trimmed_mean, federated.krum], ids=lambda f: f.__name__)
def test_one_hostile_client_does_not_decide(rule: Any) -> None:
    rng = np.random.default_rng(3)
    honest = [Contribution(adapter(np.random.default_rng(4)), 1, f"client {i}") for i in range(5)]
    hostile = Contribution(adapter(rng, (20, 20), bias=2**31 - 1), 1, "hostile")
    found = real_values(rule([*honest, hostile]))
    truth = real_values(honest[0].adapter)
    assert all(np.allclose(found[name], truth[name], atol=1e-12) for name in truth)
    moved = real_values(federated.mean([*honest, hostile]))
    assert np.abs(moved["layer.lora_a"]).max() > 1000 * np.abs(truth["layer.lora_a"]).max()


@pytest.mark.parametrize(("count", "hostile"), [(4, 1), (6, 2), (5, -1)])
def test_krum_needs_enough_clients(count: int, hostile: int) -> None:
    with pytest.raises(kt.DeviceError, match="cannot outvote"):
        federated.krum(sent(count), hostile)
    with pytest.raises(kt.DeviceError, match="would leave no client"):
        federated.trimmed_mean(sent(count), 0.5)


# -- products of LoRA ---------------------------------------------------------------------------------
def product(a: kt.Adapter) -> Any:
    v = real_values(a)
    return v["layer.lora_b"] @ v["layer.lora_a"]


def test_products_of_one_rank_and_of_others() -> None:
    """A mean product of low enough rank comes back whole; of higher rank, as near as its singular values allow."""
    like = adapter(np.random.default_rng(0), rank=4)
    lower = [Contribution(adapter(np.random.default_rng(i), rank=2), i + 1) for i in range(2)]
    truth = sum((c.samples / 3) * product(c.adapter) for c in lower)
    found = product(federated.product_mean(lower, like))
    assert np.linalg.norm(found - truth) <= 0.03 * np.linalg.norm(truth)
    many = sent(4)
    truth = sum(c.samples * product(c.adapter) for c in many) / sum(c.samples for c in many)
    s = np.linalg.svd(truth, compute_uv=False)
    near = product(federated.product_mean(many, adapter(np.random.default_rng(9))))
    assert np.linalg.norm(near - truth) <= np.sqrt((s[RANK:] ** 2).sum()) + 0.03 * np.linalg.norm(truth)
    factors = {n: np.mean([real_values(c.adapter)[n] for c in many], axis=0) for n in ("layer.lora_a", "layer.lora_b")}
    assert np.linalg.norm(factors["layer.lora_b"] @ factors["layer.lora_a"] - truth) > 2 * np.linalg.norm(near - truth)


def test_products_keep_what_a_was_scaled_for() -> None:
    """After many rounds A is where the clients had it, not another factor of the same product, and the exponent of A x has not grown."""
    rng, shared = np.random.default_rng(1), adapter(np.random.default_rng(0), (-9, -9))
    start = real_values(shared)["layer.lora_a"]
    for _ in range(12):
        parts = [shared.values() for _ in range(3)]
        for values in parts:
            a = values["layer.lora_a"].astype(int)
            values["layer.lora_a"] = np.clip(a + rng.integers(-1, 2, a.shape), -127, 127).astype(np.int8)
        clients = [kt.Adapter.make(BASE, "lora", shared.entries, b"".join(v[e.name].tobytes() for e in shared.entries)) for v in parts]
        mean = federated.product_mean([Contribution(c, 1) for c in clients], shared)
        assert mean.values()["layer.lora_a.range"] == shared.values()["layer.lora_a.range"]
        shared = mean
    assert np.linalg.norm(real_values(shared)["layer.lora_a"] - start) < 0.2 * np.linalg.norm(start)


def test_products_whose_rows_are_not_those_of_a() -> None:
    """The product decides where A must go; no column of B becomes long because a row of A hardly points there."""
    like, higher = adapter(np.random.default_rng(0), rank=1), adapter(np.random.default_rng(1), rank=4)
    u, s, v = np.linalg.svd(product(higher))
    found = real_values(federated.product_mean([Contribution(higher, 3)], like))
    best = s[0] * np.outer(u[:, 0], v[0])
    assert np.linalg.norm(found["layer.lora_b"] @ found["layer.lora_a"] - best) <= 0.03 * np.linalg.norm(best)
    near = np.linalg.norm(real_values(like)["layer.lora_a"])
    assert 0.24 * near <= np.linalg.norm(found["layer.lora_a"]) <= 1.01 * near


def test_products_of_zero_keep_a() -> None:
    start = adapter(np.random.default_rng(0))
    raw = start.values()
    zero = [np.zeros_like(raw[e.name]) if e.name == "layer.lora_b" else raw[e.name] for e in start.entries]
    fresh = kt.Adapter.make(BASE, "lora", start.entries, b"".join(np.asarray(v).tobytes() for v in zero))
    found = federated.product_mean([Contribution(fresh, 2)], fresh)
    assert np.abs(real_values(found)["layer.lora_a"] - real_values(fresh)["layer.lora_a"]).max() <= 2.0**-10
    assert not real_values(found)["layer.lora_b"].any()


# -- what clients may send ----------------------------------------------------------------------------
def test_what_does_not_fit_is_left_out_and_said() -> None:
    rng, like = np.random.default_rng(0), adapter(np.random.default_rng(5))
    good = Contribution(adapter(rng), 4, "good")
    damaged = bytearray(adapter(rng).data)
    damaged[-9] ^= 1
    answers = [
        good, Contribution(adapter(rng), 9, "good"), ("cut", 3, good.adapter.data[:40]), ("noise", 3, b"\0" * 50), ("changed", 3, bytes(damaged)),
        Contribution(adapter(rng, base=b"another!"), 1, "foreign"), Contribution(adapter(rng, rank=2), 1, "rank"),
        Contribution(adapter(rng), 0, "none"),
    ]  # fmt: skip
    taken, refused = accepted(answers, like)
    assert taken == [good]
    said = {r.client: r.why for r in refused}
    assert said["good"] == "answered twice" and "truncated" in said["cut"] and "not an adapter" in said["noise"] and "damaged" in said["changed"]
    assert "base model" in said["foreign"] and "another table" in said["rank"] and "0 samples" in said["none"]
    assert [c.client for c in accepted(answers[5:7], like, ranks=True)[0]] == ["rank"]


def test_rounds_without_anything_to_average() -> None:
    with pytest.raises(kt.DeviceError, match="no client sent"):
        exact_mean([])
    mixed = [*sent(1), Contribution(adapter(np.random.default_rng(0), base=b"another!"), 1, "foreign")]
    with pytest.raises(kt.DeviceError, match="foreign: belongs to the base model"):
        exact_mean(mixed)
    with pytest.raises(kt.DeviceError, match="divide all numbers"):
        exact_mean([Contribution(a.adapter, 2**30) for a in sent(3)])


@pytest.mark.parametrize(("value", "what"), [(np.nan, "not finite"), (np.inf, "not finite")])
def test_values_that_no_adapter_holds(value: float, what: str) -> None:
    like = adapter(np.random.default_rng(0))
    values = real_values(like)
    values["layer.lora_b"] = values["layer.lora_b"] + value
    with pytest.raises(kt.DeviceError, match=what):
        federated.adapter_of(values, like)
    with pytest.raises(kt.DeviceError, match="is \\(1, 2\\), not"):
        federated.adapter_of({**values, "layer.lora_b": np.zeros((1, 2))}, like)
