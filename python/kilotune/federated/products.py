"""Means of LoRA by its products: the mean of B A, taken apart again into factors of a rank.

The mean of B times the mean of A is not the mean of B A, and less so the further clients went apart. Here the products are summed, and the best
product of the rank is found by singular values. Clients may have other ranks.

A product has many factors: B A = (B M) (M^-1 A). Learning goes on from them, and A decides how: its rows are what u = A x was scaled for, and a
gradient of B grows with u. So A stays as near to that of the clients as the product lets it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..adapters import Adapter
from ..adapters.compare import real_values
from .contributions import Contribution
from .real import Reals, adapter_of

A, B = ".lora_a", ".lora_b"
LEAST = 0.25
"""Of the typical singular value of A: no direction of a new A is shorter, so that no column of B becomes long for it."""


def product_mean(contributions: Sequence[Contribution], like: Adapter) -> Adapter:
    """An adapter with the table, and so the ranks, of another one; its tensors that are no factors are plain weighted means.

    A is the one nearest to the mean A of the clients of this rank (to that of `like` where there are none) whose rows hold the product. Exponents of
    A x are the largest of the clients, each for how much longer the longest row of A is than its own.
    """
    weights = np.array([c.samples for c in contributions], np.float64)
    weights /= weights.sum()
    found, start = [real_values(c.adapter) for c in contributions], real_values(like)
    values: dict[str, Reals] = {}
    for name, own in start.items():
        layer = name.removesuffix(A).removesuffix(B)
        if name.endswith(A):
            product = np.asarray(sum(w * (v[layer + B] @ v[name]) for w, v in zip(weights, found, strict=True)))
            alike = [(w, v[name]) for w, v in zip(weights, found, strict=True) if v[name].shape == own.shape]
            near = np.average([a for _, a in alike], axis=0, weights=[w for w, _ in alike]) if alike else own
            values[layer + B], values[name] = factors(product, np.asarray(near, np.float64))
        elif not name.endswith(B):
            values[name] = np.tensordot(weights, np.stack([v[name] for v in found]), axes=1)
    ranges = [grown_ranges(values, v, c.adapter) for v, c in zip(found, contributions, strict=True)]
    return adapter_of(values, like, {name: max(r[name] for r in ranges) for name in ranges[0]})


def factors(product: Reals, near: Reals) -> tuple[Reals, Reals]:
    """B [out, rank] and A [rank, in] of the best product of the rank of `near` [rank, in], A as near to it as the product lets it.

    The rows of A span the right singular vectors V of the product, and, where it has fewer than `rank`, those of what they leave of `near`. Of all A
    with these rows R, near R^T R is the nearest; B is product A^+. Singular values of near R^T are raised to LEAST of those of `near`.
    """
    rank = len(near)
    _, sizes, v = np.linalg.svd(product, full_matrices=False)
    rows = v[: min(rank, int((sizes > 1e-9 * sizes[0]).sum()))]
    if len(rows) < rank:
        rest = np.linalg.svd(near - near @ rows.T @ rows, full_matrices=False)[2]
        rows = np.concatenate([rows, rest[: rank - len(rows)]])
    left, lengths, right = np.linalg.svd(near @ rows.T)
    least = LEAST * float(np.linalg.norm(near)) / rank**0.5 or 1.0
    lengths = np.maximum(lengths, least)
    b = product @ rows.T @ (right.T / lengths) @ left.T
    return b, (left * lengths) @ right @ rows


def grown_ranges(values: dict[str, Reals], start: dict[str, Reals], like: Adapter) -> dict[str, int]:
    """Exponents of A x: those of `like`, of real values `start`, for the length of the longest row of A, to the nearest power of two.

    Not to the next larger one: devices raise an exponent that turns out too small, but lower none, and small growth in each of many rounds would
    leave no bit of A x.
    """
    raw, found = like.values(), dict[str, int]()
    for entry in like.entries:
        if entry.part == "range":
            name = f"{entry.layer}.{entry.role}"
            before, after = (float(np.linalg.norm(v[name], axis=1).max()) for v in (start, values))
            growth = int(np.rint(np.log2(after / before))) if after > 0 and before > 0 else 0
            found[entry.name] = int(np.clip(int(raw[entry.name][0, 0]) + growth, -128, 127))
    return found
