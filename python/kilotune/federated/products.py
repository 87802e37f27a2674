"""Means of LoRA by its products: the mean of B A, taken apart again into factors of a rank.

The mean of B times the mean of A is not the mean of B A, and less so the further clients went apart. Here the products are summed, and the best
factors of the rank are found by singular values. Clients may have other ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..adapters import Adapter
from ..adapters.compare import real_values
from .contributions import Contribution
from .real import Reals, adapter_of

A, B = ".lora_a", ".lora_b"


def product_mean(contributions: Sequence[Contribution], like: Adapter) -> Adapter:
    """An adapter with the table, and so the ranks, of another one; its tensors that are no factors are plain weighted means.

    The factors are sqrt(s) U and sqrt(s) V^T of the largest singular values s. Where the mean of the products is zero, A is that of `like`, so that
    it can go on learning. The exponents of A x become those that fit A as it has grown.
    """
    weights = np.array([c.samples for c in contributions], np.float64)
    weights /= weights.sum()
    found, start = [real_values(c.adapter) for c in contributions], real_values(like)
    values: dict[str, Reals] = {}
    for name, own in start.items():
        layer = name.removesuffix(A).removesuffix(B)
        if name.endswith(A):
            products = sum(w * (v[layer + B] @ v[name]) for w, v in zip(weights, found, strict=True))
            values[layer + B], values[name] = _factors(np.asarray(products), own)
        elif not name.endswith(B):
            values[name] = np.tensordot(weights, np.stack([v[name] for v in found]), axes=1)
    return adapter_of(values, like, grown_ranges(values, start, like))


def _factors(product: Reals, a: Reals) -> tuple[Reals, Reals]:
    """B [out, rank] and A [rank, in]. a: of the rank that is wanted."""
    rank = len(a)
    u, s, v = np.linalg.svd(product, full_matrices=False)
    if s[0] == 0:
        return np.zeros((len(product), rank)), a
    size = float(np.linalg.norm(a)) / max(float(np.linalg.norm(v[:rank] * np.sqrt(s[:rank, None]))), 1e-30)  # as large as it was, for its rate
    first, second = u[:, :rank] * np.sqrt(s[:rank]) / size, np.sqrt(s[:rank, None]) * v[:rank] * size
    missing = rank - len(second)
    return np.pad(first, ((0, 0), (0, missing))), np.pad(second, ((0, missing), (0, 0)))


def grown_ranges(values: dict[str, Reals], start: dict[str, Reals], like: Adapter) -> dict[str, int]:
    """Exponents of A x: those of `like`, as much larger as the longest row of A has grown."""
    raw, found = like.values(), dict[str, int]()
    for entry in like.entries:
        if entry.part == "range":
            name = f"{entry.layer}.{entry.role}"
            before, after = (float(np.linalg.norm(v[name], axis=1).max()) for v in (start, values))
            growth = int(np.ceil(np.log2(after / before))) if after > 0 and before > 0 else 0
            found[entry.name] = int(np.clip(int(raw[entry.name][0, 0]) + growth, -128, 127))
    return found
